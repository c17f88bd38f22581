# What is on this host: the three truths of every setting, other sources of the same variables, and our own record.
#
# The shell walks the catalogue and pours what it finds into one awk program, section by section; a section begins with a
# line `@@ name words`. That takes some twenty processes in all.

# Sets FACTS, one fact a line, separated by tabs, a value always last:
#   service NAME STATE
#   truth COMPONENT KEY KIND carrier|loaded|running set|malformed|unset|na|unknown VALUE
#   foreign COMPONENT KEY overrides|inert KIND PATH VALUE
#   blocked COMPONENT REASON PATH
#   record LINE-OF-THE-RECORD
gather_facts() {
    ask_services
    FACTS=$(emit_sections | awk "$AWK_FACTS")
}

# Prints the sections that AWK_FACTS reads.
emit_sections() {
    for es_service in $SERVICES; do
        answer STATE "$es_service"
        printf '@@ service %s %s\n' "$es_service" "$ANSWER"
    done
    each_component emit_component
    each_rival emit_rival
    if [ -r "$RECORD" ]; then
        printf '@@ record\n'
        cat "$RECORD"
    fi
}

# Prints the sections of one component; the arguments are those of each_component.
emit_component() {
    ec_component=$1 ec_service=$2 ec_syntax=$3 ec_loaded=$5 ec_probe=$6 ec_path=$7
    shift 7
    printf '@@ component %s %s\n' "$ec_component" "$ec_path"
    ec_keys=''
    for ec_setting in "$@"; do
        ec_key=${ec_setting%%:*}
        ec_rest=${ec_setting#*:}
        printf '@@ setting %s %s\n' "$ec_key" "${ec_rest%%:*}"
        ec_keys="$ec_keys $ec_key"
    done
    case $ec_keys in
        *HTTP_PROXY*) ec_keys="$ec_keys http_proxy https_proxy no_proxy" ;;
    esac
    printf '@@ carrier\n'
    # shellcheck disable=SC2086  # Keys are words.
    carrier_at "$ec_syntax" "$ec_path" $ec_keys
    answer STATE "$ec_service"
    [ "$ec_loaded" = - ] || emit_loaded "$ec_service"
    emit_running "$ec_probe" "$ec_service"
}

# Prints what the service manager has loaded for the service $1, whose state is in ANSWER.
emit_loaded() {
    [ "$ANSWER" != absent ] || return 0
    el_state=$ANSWER
    answer LOADED "$1"
    printf '@@ loaded\n%s\n' "$ANSWER"
    ANSWER=$el_state
}

# Prints what the process behind the service $2, whose state is in ANSWER, was started with, by the probe $1.
emit_running() {
    [ "$ANSWER" = active ] || return 0
    case $1 in
        process)
            answer PID "$2"
            if [ -r "$ROOT/proc/$ANSWER/environ" ]; then
                printf '@@ running environment\n'
                tr '\000\n' '\n?' <"$ROOT/proc/$ANSWER/environ"
                printf '\n'
            else
                printf '@@ running unknown\n'
            fi
            ;;
        container)
            # Any call of the client would start a stopped docker through its socket.
            answer STATE docker
            [ "$ANSWER" = active ] || return 0
            er_text=$(timeout 10 docker inspect ecs-agent 2>&1)
            case $?:$er_text in
                0:*) printf '@@ running container\n%s\n' "$er_text" ;;
                *'No such'*) ;;
                *) printf '@@ running unknown\n' ;;
            esac
            ;;
        docker-info)
            if er_text=$(timeout 10 docker info 2>/dev/null); then
                printf '@@ running info\n%s\n' "$er_text"
            else
                printf '@@ running unknown\n'
            fi
            ;;
    esac
}

# Prints the files behind one row of each_rival: COMPONENT KIND PATH.
emit_rival() {
    case $2 in
        drop-ins)
            er_unit=${3##*/}
            for er_folder in "$3" "/run/systemd/system/$er_unit" "/usr/lib/systemd/system/$er_unit"; do
                for er_file in "$ROOT$er_folder"/*.conf; do
                    # A file hides those of the same name in later folders.
                    if [ "$er_folder" = "$3" ] || ! [ -e "$ROOT$3/${er_file##*/}" ]; then
                        emit_file "$1" "$2" "$er_file"
                    fi
                done
            done
            ;;
        default-environment)
            for er_file in "$ROOT${3%.d}" "$ROOT$3"/*.conf; do
                emit_file "$1" "$2" "$er_file"
            done
            ;;
        *) emit_file "$1" "$2" "$ROOT$3" ;;
    esac
}

# Prints the file $3 for the component $1 as a rival of the kind $2, unless it is not there.
emit_file() {
    [ -f "$3" ] && [ -r "$3" ] || return 0
    case $3 in
        *"$NL"* | *"$TAB"*) return 0 ;;
    esac
    printf '@@ rival %s %s %s\n' "$1" "$2" "${3#"$ROOT"}"
    tr '\000' '\001' <"$3"
    printf '\n'
}

# shellcheck disable=SC2016  # A program for awk.
AWK_FACTS='
    function fact(a, b, c, d, e, f, g) {
        print a "\t" b "\t" c "\t" d "\t" e "\t" f "\t" g
    }
    function has_key(key) { return (component SUBSEP key) in kind }
    # Whether a variable is one of our keys, in the one or the other case.
    function is_ours(key) { return has_key(key) || (key == tolower(key) && has_key(toupper(key))) }
    function put(truth, key, state, value) {
        truth_state[component, truth, key] = state
        truth_value[component, truth, key] = value
    }
    # Gives every key of the component the same state.
    function put_all(truth, state,   i) {
        for (i = 1; i <= keys[component]; i++) put(truth, key_name[component, i], state, "")
    }
    # One character of a C escape.
    function hex(digits,   i, number) {
        number = 0
        for (i = 1; i <= length(digits); i++)
            number = number * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
        return sprintf("%c", number)
    }
    # Splits a list of assignments as systemd writes and reads it into word[1..]; returns their number.
    function split_words(text,   i, c, next_c, quote, inside, count, current) {
        count = 0
        current = quote = ""
        inside = 0
        for (i = 1; i <= length(text) + 1; i++) {
            c = substr(text, i, 1)
            if (c == "" || (quote == "" && (c == " " || c == "\t"))) {
                if (inside) word[++count] = current
                current = ""
                inside = 0
                continue
            }
            if (quote == "" && c == "$" && !inside && substr(text, i + 1, 1) == "\047") continue
            inside = 1
            if (quote == "" && (c == "\"" || c == "\047")) quote = c
            else if (c == quote) quote = ""
            else if (c == "\\") {
                next_c = substr(text, ++i, 1)
                if (next_c == "x") {
                    current = current hex(substr(text, i + 1, 2))
                    i += 2
                } else current = current next_c
            } else current = current c
        }
        return count
    }
    # Puts assignments to our keys among the words of a text into found[key]; specifiers are resolved in a unit only.
    function find_assignments(text, unit,   count, i, at, key, value) {
        count = split_words(text)
        for (i = 1; i <= count; i++) {
            at = index(word[i], "=")
            key = substr(word[i], 1, at - 1)
            if (!is_ours(key)) continue
            value = substr(word[i], at + 1)
            if (unit) gsub(/%%/, "%", value)
            found[key] = value
        }
    }
    function forget(   key) { for (key in found) delete found[key] }

    # The value of a string in an output of docker inspect.
    function json_text(text,   at, result) {
        result = ""
        while (at = index(text, "\\")) {
            result = result substr(text, 1, at - 1)
            if (substr(text, at + 1, 3) == "u00") {
                result = result hex(substr(text, at + 4, 2))
                text = substr(text, at + 6)
            } else {
                result = result substr(text, at + 1, 1)
                text = substr(text, at + 2)
            }
        }
        return result text
    }
    # Finds the strings of the object `proxies` in a daemon.json.
    function find_json(text,   i, c, depth, text_start, string, name) {
        depth = 0
        for (i = 1; i <= length(text); i++) {
            c = substr(text, i, 1)
            if (c == "{" || c == "[") name[++depth] = ""
            else if (c == "}" || c == "]") depth--
            else if (c == ",") name[depth] = ""
            else if (c == "\"") {
                text_start = i + 1
                for (i++; i <= length(text) && substr(text, i, 1) != "\""; i++) if (substr(text, i, 1) == "\\") i++
                string = json_text(substr(text, text_start, i - text_start))
                if (name[depth] == "") name[depth] = string
                else if (depth == 2 && name[1] == "proxies" && (name[2] in json_key)) found[json_key[name[2]]] = string
            }
        }
    }
    BEGIN {
        json_key["http-proxy"] = "HTTP_PROXY"
        json_key["https-proxy"] = "HTTPS_PROXY"
        json_key["no-proxy"] = "NO_PROXY"
    }

    # Closes a section that is only understood as a whole.
    function close_section(   i, key) {
        if (section == "rival" && rival_path != path[component]) {
            if (rival_kind == "daemon-json") find_json(whole)
            for (i = 1; i <= keys[component]; i++) {
                key = key_name[component, i]
                if (key in found) add_rival(key, found[key])
                if (tolower(key) != key && (tolower(key) in found)) add_lower_case(key, rival_path, found[tolower(key)])
            }
        }
        if (section == "carrier" && truth_state[component, "carrier", key_name[component, 1]] == "")
            fact("blocked", component, "unreadable", path[component])
        if (section == "running" && how == "container" && !container_runs) put_all("running", "na")
        section = whole = pending = ""
        forget()
    }
    # Of several drop-ins that override ours the last one counts.
    function add_rival(key, value,   effect, name, i) {
        effect = "overrides"
        if (rival_kind == "inert-exports" || rival_kind == "default-environment") effect = "inert"
        if (rival_kind == "drop-ins") {
            name = rival_path
            sub(/.*\//, "", name)
            # Ours hides one of the same name in a later folder.
            if (name <= own_name[component]) effect = "inert"
            i = winner[component, key]
            if (effect == "overrides" && i && rival_name[i] < name) foreign_effect[i] = "inert"
            if (effect == "overrides" && i && rival_name[i] > name) effect = "inert"
            if (effect == "overrides") winner[component, key] = foreigns + 1
        }
        foreigns++
        rival_name[foreigns] = name
        foreign_head[foreigns] = component "\t" key
        foreign_effect[foreigns] = effect
        foreign_tail[foreigns] = rival_kind "\t" rival_path "\t" value
    }

    # A variable in lower case counts only where the one in upper case is not set (proxy-by-os 11.2).
    function add_lower_case(key, where, value) {
        foreigns++
        foreign_head[foreigns] = component "\t" key
        foreign_effect[foreigns] = "inert"
        foreign_tail[foreigns] = "lower-case\t" where "\t" value
    }

    /^@@ / {
        close_section()
        section = $2
        if (section == "service") fact("service", $3, $4)
        else if (section == "component") {
            component = $3
            path[component] = $4
            own_name[component] = $4
            sub(/.*\//, "", own_name[component])
            order[++components] = component
        } else if (section == "setting") {
            key_name[component, ++keys[component]] = $3
            kind[component, $3] = $4
        } else if (section == "loaded") {
            put_all("loaded", "unset")
        } else if (section == "running") {
            how = $3
            put_all("running", how == "unknown" ? "unknown" : "unset")
            container_runs = 0
        } else if (section == "rival") {
            component = $3
            rival_kind = $4
            rival_path = $0
            sub(/^@@ rival [^ ]* [^ ]* /, "", rival_path)
            unit_section = ""
        }
        next
    }
    section == "carrier" && $1 == "unsupported" {
        put_all("carrier", "unknown")
        fact("blocked", component, $2, path[component])
    }
    section == "carrier" {
        value = $0
        sub(/^[^ ]* [^ ]* ?/, "", value)
        if (has_key($1)) put("carrier", $1, $2, value)
        else if (has_key(toupper($1)) && $2 != "unset") {
            add_lower_case(toupper($1), path[component], value)
        }
    }
    section == "loaded" {
        find_assignments($0, 0)
        for (key in found) if (has_key(key)) put("loaded", key, "set", found[key])
    }
    section == "running" && how == "environment" {
        key = $0
        sub(/=.*/, "", key)
        if (has_key(key) && index($0, "=")) put("running", key, "set", substr($0, length(key) + 2))
    }
    section == "running" && how == "info" && match($0, /^ *(HTTP|HTTPS|No) Proxy: /) {
        key = toupper(substr($0, 1, RLENGTH))
        gsub(/^ *|: $/, "", key)
        sub(/ /, "_", key)
        if (has_key(key)) put("running", key, "set", substr($0, RLENGTH + 1))
    }
    section == "running" && how == "container" {
        if ($0 ~ /^ *"Running": true,?$/) container_runs = 1
        key = $0
        sub(/^ *"/, "", key)
        sub(/=.*/, "", key)
        if (has_key(key) && match($0, /^ *"[A-Z_]*=/)) {
            value = substr($0, RLENGTH + 1)
            sub(/",?$/, "", value)
            put("running", key, "set", json_text(value))
        }
    }
    section == "rival" && (rival_kind == "environment-file" || rival_kind == "inert-exports") {
        line = $0
        sub(/^[ \t]+/, "", line)
        sub(/[ \t\r]+$/, "", line)
        if ((rival_kind == "inert-exports") != sub(/^export[ \t]+/, "", line)) next
        at = index(line, "=")
        key = substr(line, 1, at - 1)
        sub(/[ \t]+$/, "", key)
        if (!is_ours(key)) next
        value = substr(line, at + 1)
        sub(/^[ \t]+/, "", value)
        if (value ~ /^".*"$/ || value ~ /^\047.*\047$/) value = substr(value, 2, length(value) - 2)
        found[key] = value
    }
    section == "rival" && rival_kind == "daemon-json" { whole = whole $0 "\n" }
    section == "rival" && (rival_kind == "drop-ins" || rival_kind == "default-environment") {
        line = pending $0
        pending = ""
        sub(/\r$/, "", line)
        if (line ~ /^[ \t]*[#;]/) next
        if (line ~ /\\$/) {
            pending = substr(line, 1, length(line) - 1) " "
            next
        }
        if (line ~ /^[ \t]*\[/) unit_section = line
        if (rival_kind == "drop-ins" && unit_section !~ /\[Service\]/) next
        if (rival_kind == "default-environment" && unit_section !~ /\[Manager\]/) next
        if (!sub(/^[ \t]*(Default)?Environment[ \t]*=[ \t]*/, "", line)) next
        if (line == "") forget()
        find_assignments(line, 1)
    }
    section == "record" && /\t/ { record[++records] = $0 }

    END {
        close_section()
        for (i = 1; i <= components; i++) {
            component = order[i]
            for (j = 1; j <= keys[component]; j++) {
                key = key_name[component, j]
                for (k = 1; k <= split("carrier loaded running", truths, " "); k++) {
                    state = truth_state[component, truths[k], key]
                    if (state == "") state = truths[k] == "carrier" ? "unknown" : "na"
                    fact("truth", component, key, kind[component, key], truths[k], state, \
                        truth_value[component, truths[k], key])
                }
            }
        }
        for (i = 1; i <= foreigns; i++) print "foreign\t" foreign_head[i] "\t" foreign_effect[i] "\t" foreign_tail[i]
        for (i = 1; i <= records; i++) print "record\t" record[i]
    }
'
