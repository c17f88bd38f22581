# Prints the environment that systemd gives to a process: the manager's, then the unit's Environment=, then the files of
# EnvironmentFile= as they are now, the last of a name counts (proxy-by-os 13.1).
# The state machine is that of systemd's src/basic/env-file.c.
BEGIN {
    read_assignments(manager)
    read_assignments(unit ".env")
    while ((getline file < (unit ".envfiles")) > 0) {
        sub(/^-/, "", file)
        read_environment_file(root file)
    }
    for (i = 1; i <= variables; i++) print order[i] "=" value[order[i]]
    exit
}

function read_assignments(path,   line, i) {
    while ((getline line < path) > 0) {
        i = index(line, "=")
        push(substr(line, 1, i - 1), substr(line, i + 1))
    }
    close(path)
}

# Names such as `export HTTP_PROXY` are invalid and ignored.
function push(name, text) {
    if (name !~ /^[A-Za-z_][A-Za-z0-9_]*$/) return
    if (!(name in value)) order[++variables] = name
    value[name] = text
}

function trimmed(text) {
    sub(/[ \t\r]+$/, "", text)
    return text
}

function read_environment_file(path,   line, text, i, n, c, state, key, word, kept) {
    text = ""
    while ((getline line < path) > 0) text = text line "\n"
    close(path)
    n = length(text)
    state = "pre-key"
    key = word = ""
    # Characters before `kept` came from quotes or escapes: blanks among them stay.
    kept = 0
    for (i = 1; i <= n; i++) {
        c = substr(text, i, 1)
        if (c == "\r") c = "\n"
        if (state == "pre-key") {
            if (c == "#" || c == ";") state = "comment"
            else if (c !~ /[ \t\n]/) {
                state = "key"
                key = c
            }
        } else if (state == "key") {
            if (c == "\n") state = "pre-key"
            else if (c == "=") {
                state = "pre-value"
                word = ""
                kept = 0
            } else key = key c
        } else if (state == "pre-value" || state == "value") {
            if (c == "\n") {
                push(trimmed(key), substr(word, 1, kept) trimmed(substr(word, kept + 1)))
                state = "pre-key"
            } else if (c == "\\") state = "escape"
            else if (state == "pre-value" && c == "'") state = "single"
            else if (state == "pre-value" && c == "\"") state = "double"
            else if (state == "value" || c !~ /[ \t]/) {
                state = "value"
                word = word c
            }
        } else if (state == "escape") {
            state = "value"
            if (c != "\n") word = word c
            kept = length(word)
        } else if (state == "single") {
            if (c == "'") state = "pre-value"
            else word = word c
            kept = length(word)
        } else if (state == "double") {
            if (c == "\"") state = "pre-value"
            else if (c == "\\") state = "double-escape"
            else word = word c
            kept = length(word)
        } else if (state == "double-escape") {
            state = "double"
            if (index("\"\\`$", c) > 0) word = word c
            else if (c != "\n") word = word "\\" c
            kept = length(word)
        } else if (state == "comment") {
            if (c == "\\") state = "comment-escape"
            else if (c == "\n") state = "pre-key"
        } else {
            state = "comment"
        }
    }
    # An open quote at the end of the file still counts.
    if (state !~ /key|comment/) push(trimmed(key), word)
}
