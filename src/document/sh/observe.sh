# Prints the report of what this host has. Reads only; writes nothing anywhere.

# The longest report, in bytes; longer output would be cut by the service.
REPORT_LIMIT=2400

# Prints the report of a system that the catalogue has.
observe() {
    gather_facts
    ob_report=$(report_facts 400)
    [ "${#ob_report}" -lt "$REPORT_LIMIT" ] || ob_report=$(report_facts 64)
    [ "${#ob_report}" -lt "$REPORT_LIMIT" ] || ob_report=$(printf '%s\n' "$ob_report" | shrink_report)
    printf '%s\n' "$ob_report"
}

# Prints FACTS as a report, with values of more than $1 bytes replaced by a digest.
report_facts() {
    printf '%s\n' "$FACTS" | LONGEST=$1 REPORT_PLATFORM=$PLATFORM awk "$LIST_AWK$AWK_TEXT$AWK_REPORT" |
        while IFS= read -r rf_line; do
            case $rf_line in
                '@digest '*)
                    rf_line=${rf_line#@digest }
                    rf_sum=$(printf '%s' "${rf_line#* }" | sha256sum)
                    rf_rest=${rf_sum#????????????????????????????????}
                    printf '= %s #%s\n' "${rf_line%% *}" "${rf_sum%"$rf_rest"}"
                    ;;
                *) printf '%s\n' "$rf_line" ;;
            esac
        done
}

# Leaves out of a report that is too long what a decision needs least: inert sources first, then other sources.
shrink_report() {
    awk -v limit="$REPORT_LIMIT" '
        { line[NR] = $0; size += length($0) + 1 }
        END {
            for (pass = 1; pass <= 2; pass++)
                for (i = NR; i >= 1 && size >= limit; i--)
                    if (line[i] ~ (pass == 1 ? "^f [^ ]* [^ ]* inert " : "^f ")) {
                        size -= length(line[i]) + 1
                        line[i] = ""
                    }
            for (i = 1; i <= NR; i++) if (line[i] != "") print line[i]
        }
    '
}

# shellcheck disable=SC2016  # A program for awk.
AWK_REPORT='
    # What may be shown of a value: no userinfo, nothing but printable ASCII.
    function shown(value,   at, head) {
        head = ""
        if (at = index(value, "://")) {
            head = substr(value, 1, at + 2)
            sub(/.*@/, "***@", head)
            value = substr(value, at + 3)
        }
        if (value ~ /@/) sub(/.*@/, "***@", value)
        value = head value
        gsub(/[^ -~]/, "?", value)
        return value
    }
    # The number of a value in the table.
    function number(kind, state, value,   text, id) {
        text = shown(value)
        id = "=" text
        if (length(text) > ENVIRON["LONGEST"] + 0) {
            if (kind == "list" && state == "set") value = normal(value)
            text = "@" value
            id = text
        }
        if (!(id in known)) {
            known[id] = ++values
            table[values] = substr(id, 1, 1) == "@" ? "@digest " values " " value : "= " values " " text
        }
        return (state == "malformed" ? "~" : "") known[id]
    }
    function word(kind, state, value) {
        if (state == "unset") return "-"
        if (state == "na") return "."
        if (state == "unknown") return "?"
        return number(kind, state, value)
    }
    BEGIN { FS = "\t" }
    $1 == "service" { service[++services] = "s " $2 " " $3 }
    $1 == "truth" {
        setting = $2 " " $3
        if (!(setting in seen)) {
            seen[setting] = ++settings
            name[settings] = setting
        }
        kind[$2, $3] = $4
        state[setting, $5] = $6
        value[setting, $5] = tail($0, 6)
    }
    $1 == "foreign" {
        effect[++foreigns] = $2 " " $3 " " $4
        source[foreigns] = shown($6)
        foreign_kind[foreigns] = kind[$2, $3]
        foreign_value[foreigns] = tail($0, 6)
    }
    $1 == "blocked" { blocked[++blocks] = "b " $2 " " $3 " " $4 }
    # Until an apply has ended the record may hold two values for one setting; each of them is ours.
    $1 == "record" && (($2 " " $3) in seen) {
        setting = $2 " " $3
        if (!(setting in owner)) owned[++owns] = setting
        owner[setting] = 1
        prior_state[setting] = $6
        prior_value[setting] = $8
        if (state[setting, "carrier"] == "set" && same(kind[$2, $3], value[setting, "carrier"], $7)) intact[setting] = 1
    }
    END {
        for (i = 1; i <= settings; i++) {
            setting = name[i]
            split(setting, part, " ")
            line = "k " setting
            for (j = 1; j <= split("carrier loaded running", truths, " "); j++)
                line = line " " word(kind[part[1], part[2]], state[setting, truths[j]], value[setting, truths[j]])
            fact[++facts] = line
        }
        for (i = 1; i <= owns; i++) {
            setting = owned[i]
            split(setting, part, " ")
            fact[++facts] = "m " setting " " (intact[setting] ? "intact" : "changed") " " \
                word(kind[part[1], part[2]], prior_state[setting], prior_value[setting])
        }
        for (i = 1; i <= foreigns; i++)
            fact[++facts] = "f " effect[i] " " number(foreign_kind[i], "set", foreign_value[i]) " " source[i]
        print "proxyfleet/1 observe " ENVIRON["REPORT_PLATFORM"]
        for (i = 1; i <= services; i++) print service[i]
        for (i = 1; i <= values; i++) print table[i]
        for (i = 1; i <= facts; i++) print fact[i]
        for (i = 1; i <= blocks; i++) print blocked[i]
        print "end"
    }
'

read_system
if find_platform; then
    observe
else
    printf 'proxyfleet/1 observe unsupported %.60s %.60s\nend\n' "${SYSTEM_ID:-unknown}" "${SYSTEM_VERSION:-unknown}" |
        printable
fi
exit 0
