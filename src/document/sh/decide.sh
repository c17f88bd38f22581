# What an apply has to do: the facts compared with what is wanted. It only compares; carrying out is in apply.sh.

# Sets DECISIONS from the facts and from what is wanted; $1 lists services that were restarted. Fails if it cannot. With
# WANT_STATE=back the carriers are taken for right.
#   refuse REASON TEXT           edit COMPONENT LINE-FOR-CARRIER_EDIT
#   touch COMPONENT w|x KEY      fresh COMPONENT KEY STATE WRITTEN PRIOR-VALUE
#   record LINE-OF-THE-RECORD    reload
#   restart SERVICE              left COMPONENT KEY
decide() {
    DECISIONS=$({
        printf 'option\tstate\t%s\noption\tpolicy\t%s\noption\tproven\t%s\n' "$WANT_STATE" "$POLICY" "$1"
        each_component ask_for
        printf '%s\n' "$FACTS"
    } | awk "$LIST_AWK$AWK_TEXT$AWK_DECIDE")
    # An awk that was killed half-way must not look like one that found nothing to do.
    case $DECISIONS in
        end | *"${NL}end") [ -n "$FACTS" ] ;;
        *) return 1 ;;
    esac
}

# shellcheck disable=SC2016  # A program for awk.
AWK_DECIDE='
    BEGIN { FS = "\t" }
    function is_right(c, k, t, wanted_state, wanted) {
        if (wanted_state == "set") return state[c, k, t] == "set" && same(kind[c, k], value[c, k, t], wanted)
        if (wanted_state == "unset") return state[c, k, t] == "unset"
        return state[c, k, t] == wanted_state && value[c, k, t] == wanted
    }
    # What the process would have after our edits: the target of the carrier, unless another source overrides it.
    function expect(c, k,   i, other) {
        expected_state = target_state[c, k]
        expected = target[c, k]
        for (i = 1; i <= overrides[c, k]; i++) {
            other = owner_of[override_path[c, k, i]]
            if (other != "" && ((other SUBSEP k) in target_state)) {
                if (target_state[other, k] == "unset") continue
                expected_state = target_state[other, k]
                expected = target[other, k]
            } else {
                expected_state = "set"
                expected = override_value[c, k, i]
            }
        }
    }
    function is_proven(c) { return index(" " option["proven"] " ", " " service_of[c] " ") }
    # Whether a process still has a value of ours that it would not get again. One that was just restarted has its values
    # from somewhere else, even if they are the same.
    function keeps_ours(c, k, t,   i) {
        if (state[c, k, t] != "set" || is_proven(c)) return 0
        expect(c, k)
        if (expected_state != "unset" && same(kind[c, k], expected, value[c, k, t])) return 0
        for (i = 1; i <= inert[c, k]; i++) if (same(kind[c, k], inert_value[c, k, i], value[c, k, t])) return 0
        for (i = 1; i <= written[c, k]; i++) if (same(kind[c, k], written_value[c, k, i], value[c, k, t])) return 1
        return 0
    }
    function refuse(reason, text) {
        print "refuse\t" reason "\t" text
        refused = 1
    }
    function restart(service) {
        if (service != "" && service_state[service] == "active") needs[service] = 1
    }
    function unknown(c, k) {
        return state[c, k, "running"] == "unknown" || \
            (state[c, k, "running"] == "na" && is_proven(c))
    }

    $1 == "option" { option[$2] = $3 }
    $1 == "ask" {
        asked[++asks] = $2
        service_of[$2] = $3
        path[$2] = $4
        owner_of[$4] = $2
    }
    $1 == "want" {
        want_component[++wants] = $2
        want_key[wants] = $3
        want[$2, $3] = $4
    }
    $1 == "service" { service_state[$2] = $3 }
    $1 == "truth" {
        kind[$2, $3] = $4
        state[$2, $3, $5] = $6
        value[$2, $3, $5] = tail($0, 6)
    }
    $1 == "foreign" && $4 == "overrides" {
        i = ++overrides[$2, $3]
        override_kind[$2, $3, i] = $5
        override_path[$2, $3, i] = $6
        override_value[$2, $3, i] = tail($0, 6)
    }
    $1 == "foreign" && $4 == "inert" { inert_value[$2, $3, ++inert[$2, $3]] = tail($0, 6) }
    $1 == "blocked" { blocked[$2] = $3 }
    $1 == "record" {
        i = ++written[$2, $3]
        written_value[$2, $3, i] = $7
        if (i > 1) next
        was_created[$2, $3] = $5
        prior_state[$2, $3] = $6
        prior[$2, $3] = $8
        prior_line[$2, $3] = tail($0, 8)
    }

    function decide_present(c, k,   i) {
        target_state[c, k] = "set"
        target[c, k] = want[c, k]
        for (i = 1; i <= overrides[c, k]; i++)
            if (!(override_path[c, k, i] in owner_of) && !same(kind[c, k], override_value[c, k, i], want[c, k]))
                refuse("conflict", c " " k " " override_path[c, k, i])
        if (!is_right(c, k, "carrier", "set", want[c, k])) {
            print "edit\t" c "\tset " k " " kind[c, k] " " want[c, k]
            print "touch\t" c "\tw\t" k
            if (written[c, k])
                print "record\t" c "\t" k "\t" option["policy"] "\t" was_created[c, k] "\t" prior_state[c, k] "\t" \
                    want[c, k] "\t" prior[c, k] "\t" prior_line[c, k]
            else
                print "fresh\t" c "\t" k "\t" state[c, k, "carrier"] "\t" want[c, k] "\t" value[c, k, "carrier"]
            if (state[c, k, "loaded"] != "na") reload = 1
        }
        if (state[c, k, "loaded"] != "na" && !is_right(c, k, "loaded", "set", want[c, k])) reload = 1
        if (unknown(c, k) || (state[c, k, "running"] != "na" && !is_right(c, k, "running", "set", want[c, k])))
            restart(service_of[c])
    }
    # Where the carrier still has what we wrote, it gets back what was there before.
    function aim_absent(c, k,   i, ours) {
        target_state[c, k] = state[c, k, "carrier"]
        target[c, k] = value[c, k, "carrier"]
        for (i = 1; i <= written[c, k]; i++)
            if (is_right(c, k, "carrier", "set", written_value[c, k, i])) ours = 1
        if (!written[c, k] || is_right(c, k, "carrier", prior_state[c, k], prior[c, k])) return
        if (!ours) {
            print "left\t" c "\t" k
            return
        }
        target_state[c, k] = prior_state[c, k]
        target[c, k] = prior[c, k]
        if (prior_state[c, k] == "unset") print "edit\t" c "\tremove " k
        else print "edit\t" c "\trestore " k " " prior_line[c, k]
        print "touch\t" c "\tx\t" k
        if (was_created[c, k] == "created") print "created\t" c
        if (state[c, k, "loaded"] != "na") reload = 1
    }
    function decide_absent(c, k) {
        if (!written[c, k]) return
        if (keeps_ours(c, k, "loaded")) reload = 1
        if (unknown(c, k) || keeps_ours(c, k, "running")) restart(service_of[c])
    }
    # Whether a truth differs from what the carriers give now. A service that has no setting may have one from elsewhere.
    function is_stale(c, k, t,   i) {
        if (state[c, k, t] == "na" || is_proven(c)) return 0
        expect(c, k)
        if (expected_state != "unset") return !is_right(c, k, t, "set", expected)
        for (i = 1; i <= inert[c, k]; i++) if (same(kind[c, k], inert_value[c, k, i], value[c, k, t])) return 0
        return state[c, k, t] != "unset"
    }
    # What the carriers say is right: only processes may have to follow.
    function decide_back(   i) {
        for (i = 1; i <= wants; i++) {
            target_state[want_component[i], want_key[i]] = state[want_component[i], want_key[i], "carrier"]
            target[want_component[i], want_key[i]] = value[want_component[i], want_key[i], "carrier"]
        }
        for (i = 1; i <= wants; i++)
            if (is_stale(want_component[i], want_key[i], "running")) restart(service_of[want_component[i]])
        asks = wants = 0
    }
    END {
        if (option["state"] == "back") decide_back()
        for (i = 1; i <= asks; i++) {
            c = asked[i]
            if (c in blocked) refuse("unsupported", c " " blocked[c] " " path[c])
            if (option["state"] == "present" && service_state[service_of[c]] == "absent") refuse("component-absent", c)
        }
        # What is not known is no reason to restart anything.
        for (i = 1; option["proven"] == "" && i <= wants; i++) {
            c = want_component[i]
            if (option["state"] == "absent" && !written[c, want_key[i]]) continue
            if (state[c, want_key[i], "running"] == "unknown") refuse("unreadable", c " " want_key[i])
        }
        if (refused) {
            print "end"
            exit
        }
        for (i = 1; i <= wants; i++) {
            if (option["state"] == "present") decide_present(want_component[i], want_key[i])
            else aim_absent(want_component[i], want_key[i])
        }
        if (option["state"] == "absent") for (i = 1; i <= wants; i++) decide_absent(want_component[i], want_key[i])
        if (reload) print "reload"
        for (service in needs) print "restart\t" service
        print "end"
    }
'

# Calls the function $2 with the fields of each decision of the kind $1.
each_decision() {
    ed_ifs=$IFS
    IFS=$NL
    set -f
    for ed_line in $DECISIONS; do
        IFS=$ed_ifs
        set +f
        case $ed_line in
            "$1") "$2" ;;
            "$1$TAB"*) "$2" "${ed_line#*"$TAB"}" ;;
        esac
    done
    set +f
    IFS=$ed_ifs
}

# Whether there is a decision of the kind $1.
decided() {
    case $NL$DECISIONS$NL in
        *"$NL$1$NL"* | *"$NL$1$TAB"*) return 0 ;;
    esac
    return 1
}
