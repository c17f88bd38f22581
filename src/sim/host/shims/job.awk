# Prints the environment of the upstart job ecs: `env KEY=value` lines of its definition, then of the override
# (proxy-by-os 2.2). Lines without the word `env` set nothing.
BEGIN {
    push("PATH", "/sbin:/usr/sbin:/bin:/usr/bin")
    push("TERM", "linux")
    read_file(root "/etc/init/ecs.conf")
    read_file(root "/etc/init/ecs.override")
    push("UPSTART_JOB", "ecs")
    push("UPSTART_INSTANCE", "")
    for (i = 1; i <= variables; i++) print order[i] "=" value[order[i]]
    exit
}

function read_file(path,   line, inside, i, text) {
    inside = 0
    while ((getline line < path) > 0) {
        if (line ~ /^[ \t]*(pre-start |post-start |pre-stop |post-stop )?script[ \t\r]*$/) inside = 1
        if (line ~ /^[ \t]*end script/) inside = 0
        if (inside || line !~ /^[ \t]*env[ \t]+/) continue
        sub(/^[ \t]*env[ \t]+/, "", line)
        sub(/[ \t]+$/, "", line)
        i = index(line, "=")
        if (i < 2) continue
        text = substr(line, i + 1)
        if (text ~ /^".*"$/ || text ~ /^'.*'$/) text = substr(text, 2, length(text) - 2)
        push(substr(line, 1, i - 1), text)
    }
    close(path)
}

function push(name, text) {
    if (!(name in value)) order[++variables] = name
    value[name] = text
}
