# Reads one unit as systemd does (systemd.syntax(7), systemd.exec(5)) and writes what it knows then to files:
#   OUT.env       Environment=, one assignment a line, specifiers resolved, the last of a name counts
#   OUT.envfiles  EnvironmentFile=, one a line, with the leading `-`
#   OUT.deps      `PartOf docker.service` and the like
#   OUT.dropins   the drop-in files that were read, in order, as paths on the host
# Without a unit name it reads the service manager's own DefaultEnvironment= instead.
# Arguments: the drop-in files of /etc, /run and /usr/lib, in this order; unmatched patterns among them are ignored.
BEGIN {
    section_wanted = unit == "" ? "Manager" : "Service"
    environment_key = unit == "" ? "DefaultEnvironment" : "Environment"
    if (unit == "") {
        add("LANG=en_US.UTF-8")
        add("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
    }
    if (fragment != "") read_file(root fragment)
    count = 0
    for (i = 1; i < ARGC; i++) {
        file = ARGV[i]
        if (file ~ /\*\.conf$/) continue
        name = file
        sub(/.*\//, "", name)
        if (name in seen) continue
        seen[name] = 1
        # Insertion by file name: drop-ins of all folders form one list.
        for (j = count; j > 0 && names[j] "" > name ""; j--) {
            names[j + 1] = names[j]
            files[j + 1] = files[j]
        }
        names[j + 1] = name
        files[j + 1] = file
        count++
    }
    for (i = 1; i <= count; i++) read_file(files[i])
    printf "" > (out ".env")
    for (i = 1; i <= variables; i++) if (order[i] in value) print order[i] "=" value[order[i]] > (out ".env")
    if (unit == "") exit
    printf "" > (out ".dropins")
    for (i = 1; i <= count; i++) print substr(files[i], length(root) + 1) > (out ".dropins")
    printf "" > (out ".envfiles")
    for (i = 1; i <= environment_files; i++) print environment_file[i] > (out ".envfiles")
    printf "" > (out ".deps")
    for (i = 1; i <= dependencies; i++) print dependency[i] > (out ".deps")
    exit
}

function read_file(path,   line, pending, continued) {
    section = ""
    continued = 0
    pending = ""
    while ((getline line < path) > 0) {
        sub(/\r$/, "", line)
        if (line ~ /^[ \t]*[#;]/) continue
        if (continued) line = pending " " line
        continued = line ~ /\\$/
        if (continued) {
            pending = substr(line, 1, length(line) - 1)
            continue
        }
        assignment(line)
    }
    if (continued) assignment(pending)
    close(path)
}

function trim(text) {
    sub(/^[ \t\r]+/, "", text)
    sub(/[ \t\r]+$/, "", text)
    return text
}

function assignment(line,   key, words, n, i, rest) {
    line = trim(line)
    if (line == "") return
    if (line ~ /^\[.*\]$/) {
        section = substr(line, 2, length(line) - 2)
        return
    }
    i = index(line, "=")
    if (i == 0) return
    key = trim(substr(line, 1, i - 1))
    rest = trim(substr(line, i + 1))
    if (section == "Unit" && key ~ /^(PartOf|Requires|Wants|After|BindsTo)$/) {
        n = split(rest, words, /[ \t]+/)
        for (i = 1; i <= n; i++) dependency[++dependencies] = key " " words[i]
        return
    }
    if (section != section_wanted) return
    if (key == "EnvironmentFile") {
        if (rest == "") environment_files = 0
        else environment_file[++environment_files] = rest
    } else if (key == environment_key) {
        environment(rest)
    }
}

# Words separated by blanks, with quotes and C escapes; a broken escape or an open quote drops the rest.
function environment(text,   i, n, c, word, quote, inside) {
    if (text == "") {
        for (i in value) delete value[i]
        variables = 0
        return
    }
    n = length(text)
    word = ""
    quote = ""
    inside = 0
    for (i = 1; i <= n; i++) {
        c = substr(text, i, 1)
        if (c == "\\") {
            if (i == n) return
            c = unescaped(substr(text, ++i, 1))
            if (c == "") return
            word = word c
            inside = 1
        } else if (quote != "") {
            if (c == quote) quote = ""
            else word = word c
        } else if (c == "\"" || c == "'") {
            quote = c
            inside = 1
        } else if (c == " " || c == "\t") {
            if (inside) add(word)
            word = ""
            inside = 0
        } else {
            word = word c
            inside = 1
        }
    }
    if (quote == "" && inside) add(word)
}

function unescaped(c) {
    if (c == "n") return "\n"
    if (c == "t") return "\t"
    if (c == "s") return " "
    if (c == "\\" || c == "\"" || c == "'") return c
    return ""
}

function add(word,   name, i) {
    word = resolved(word)
    i = index(word, "=")
    if (i < 2) return
    name = substr(word, 1, i - 1)
    if (name !~ /^[A-Za-z_][A-Za-z0-9_]*$/) return
    if (!(name in value)) order[++variables] = name
    value[name] = substr(word, i + 1)
}

# An unknown specifier drops the whole assignment; proxy-by-os 12.1 measured that for a lone `%40`.
function resolved(word,   i, c, result) {
    if (index(word, "%") == 0) return word
    result = ""
    for (i = 1; i <= length(word); i++) {
        c = substr(word, i, 1)
        if (c == "%" && i < length(word)) {
            c = substr(word, ++i, 1)
            if (c == "%") result = result "%"
            else if (c == "n") result = result unit
            else if (c == "N" || c == "p") result = result substr(unit, 1, length(unit) - 8)
            else if (c == "t") result = result "/run"
            else if (c == "S") result = result "/var/lib"
            else if (c == "C") result = result "/var/cache"
            else if (c == "L") result = result "/var/log"
            else if (c == "E") result = result "/etc"
            else if (c ~ /[A-Za-z0-9]/) return ""
            else result = result "%" c
        } else {
            result = result c
        }
    }
    return result
}
