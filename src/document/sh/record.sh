# What is wanted of a component, and the record of what was written: what a removal puts back.

# Sets VALUE to what the rule $1 of the catalogue gives.
value_by() {
    case $1 in
        http) VALUE=$WANT_HTTP ;;
        https) VALUE=$WANT_HTTPS ;;
        bypass) VALUE=$WANT_BYPASS ;;
        bypass-socket) VALUE=$WANT_BYPASS,$DOCKER_SOCKET ;;
    esac
}

# Prints what is wanted of one component; the arguments are those of each_component.
ask_for() {
    has_word "$1" "$REQUESTED" || return 0
    af_component=$1
    printf 'ask\t%s\t%s\t%s\n' "$1" "$2" "$7"
    shift 7
    for af_setting in "$@"; do
        value_by "${af_setting##*:}"
        printf 'want\t%s\t%s\t%s\n' "$af_component" "${af_setting%%:*}" "$VALUE"
    done
}

# Adds a line to those for the record.
add_record() {
    RECORD_LINES=$RECORD_LINES$1$NL
}

# Adds the line of a setting that we write for the first time: COMPONENT SYNTAX PATH KEY STATE WRITTEN PRIOR-VALUE.
add_first_record() {
    fr_line='' fr_made=existed fr_prior=''
    resolve_path "$3"
    [ -e "$ROOT$RESOLVED" ] || fr_made=created
    if [ "$5" != unset ]; then
        fr_prior=$(printf '%s' "$7" | tr '\t' ' ')
        fr_line=$(carrier_line "$2" "$ROOT$RESOLVED" "$4")
    fi
    add_record "$1$TAB$4$TAB$POLICY$TAB$fr_made$TAB$5$TAB$6$TAB$fr_prior$TAB$fr_line"
}

# Replaces the record by stdin.
write_record() {
    (umask 077 && cat >"$RECORD.new.$$") && flush "$RECORD.new.$$" && note_record "$RECORD.new.$$" &&
        mv -f "$RECORD.new.$$" "$RECORD"
}

# Puts RECORD_LINES, what is about to be written, into the record, beside what it says already: a crash must not make us
# forget.
record_ahead() {
    [ -n "$RECORD_LINES" ] || return 0
    {
        [ ! -e "$RECORD" ] || cat "$RECORD"
        printf '%s' "$RECORD_LINES"
    } | write_record
}

# Drops from the record what no longer holds: earlier values of what was written, and everything that was taken away.
record_behind() {
    [ -e "$RECORD" ] || return 0
    rb_now=$({
        printf 'option\tstate\t%s\n' "$WANT_STATE"
        each_component ask_for
        cat "$RECORD"
    } | awk '
        BEGIN { FS = "\t" }
        $1 == "option" { state = $3; next }
        $1 == "ask" { asked[$2] = 1; next }
        $1 == "want" { want[$2, $3] = $4; next }
        !($1 in asked) { print; next }
        state == "present" && (!(($1 SUBSEP $2) in last) || $6 == want[$1, $2]) {
            if (!(($1 SUBSEP $2) in last)) order[++count] = $1 SUBSEP $2
            last[$1, $2] = $0
        }
        END { for (i = 1; i <= count; i++) print last[order[i]] }
    ') || return 0
    rb_old=$(cat "$RECORD")
    [ "$rb_now" != "$rb_old" ] || return 0
    if [ -n "$rb_now" ]; then
        printf '%s\n' "$rb_now" | write_record
    else
        note_record '' && rm -f "$RECORD"
    fi
}
