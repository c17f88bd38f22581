# Prints `http VALUE`, `https VALUE` and `bypass VALUE` of the object `proxies` in daemon.json, and fails where the text is
# not JSON: dockerd does not start then.
{ text = text $0 "\n" }

END {
    position = 1
    blanks()
    if (!object(0)) exit 1
    blanks()
    if (position <= length(text)) exit 1
    if ("http-proxy" in found) print "http " found["http-proxy"]
    if ("https-proxy" in found) print "https " found["https-proxy"]
    if ("no-proxy" in found) print "bypass " found["no-proxy"]
}

function next_is(c) {
    return substr(text, position, 1) == c
}

function blanks() {
    while (substr(text, position, 1) ~ /^[ \t\r\n]$/) position++
}

# Each of these moves past what it read and says whether it was there. `depth` 1 is the object `proxies`.
function object(depth,   key, is_proxy) {
    if (!next_is("{")) return 0
    position++
    blanks()
    if (next_is("}")) { position++; return 1 }
    for (;;) {
        blanks()
        if (!string()) return 0
        key = last_string
        blanks()
        if (!next_is(":")) return 0
        position++
        blanks()
        is_proxy = depth == 0 && key == "proxies"
        if (is_proxy && next_is("{")) {
            if (!object(1)) return 0
        } else if (depth == 1 && next_is("\"")) {
            if (!string()) return 0
            found[key] = last_string
        } else if (!value()) return 0
        blanks()
        if (next_is("}")) { position++; return 1 }
        if (!next_is(",")) return 0
        position++
    }
}

function array() {
    position++
    blanks()
    if (next_is("]")) { position++; return 1 }
    for (;;) {
        blanks()
        if (!value()) return 0
        blanks()
        if (next_is("]")) { position++; return 1 }
        if (!next_is(",")) return 0
        position++
    }
}

function value() {
    if (next_is("{")) return object(2)
    if (next_is("[")) return array()
    if (next_is("\"")) return string()
    if (match(substr(text, position, 64), /^(true|false|null|-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?)/)) {
        position += RLENGTH
        return 1
    }
    return 0
}

function string(   c) {
    if (!next_is("\"")) return 0
    last_string = ""
    for (position++; position <= length(text); position++) {
        c = substr(text, position, 1)
        if (c == "\"") { position++; return 1 }
        if (c == "\n") return 0
        if (c == "\\") {
            position++
            c = substr(text, position, 1)
            if (c !~ /^["\\\/bfnrtu]$/) return 0
        }
        last_string = last_string c
    }
    return 0
}
