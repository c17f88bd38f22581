# Makes the files of this host equal to the policy while it boots, or at any later time, and restarts what already runs and
# has to read them again. Unlike an apply it waits for no service and takes nothing back: at boot nothing runs that it
# could break, and a host that comes up with some of its settings is better than one that comes up with none.

WANT_STATE=present
WORK=$HOME_DIR/boot
WAITING=--no-block
FAILED=0 RECORD_LINES='' TOUCHED='' RELOAD=no DONE=''

# Notes nothing: what user data does is not put back.
note_record() {
    :
}

# Says what was not done and why. cloud-init keeps what is said here in its log.
complain() {
    printf 'proxyfleet: %s\n' "$1" | printable >&2
    FAILED=1
}

# Ends, and leaves nothing behind but what is done.
leave() {
    trap '' TERM INT HUP
    discard_prepared
    rm -rf "$WORK" "$RECORD".new."$$"
    drop_lock
    exit "$FAILED"
}

# Ends early for the reason $1.
give_up() {
    complain "$1"
    leave
}

# Prepares the file of one component; the arguments are those of each_component.
prepare_component() {
    pc_edits=no pc_records=$RECORD_LINES
    decide_component "$@"
    [ "$pc_edits" = yes ] || return 0
    prepare_file "$@" && return 0
    complain "$1 not changed: $REASON $REASON_TEXT"
    RECORD_LINES=$pc_records
    [ -z "$NEW" ] || rm -f "$NEW"
}

# Writes the edits of one component and adds to RECORD_LINES; sets pc_edits where there are any.
decide_component() {
    dc_component=$1 dc_syntax=$3 dc_path=$7
    shift 7
    has_word "$dc_component" "$REQUESTED" || set --
    [ -z "$CLUSTER" ] || [ "$dc_component" != ecs-agent ] || set -- ECS_CLUSTER:url:cluster "$@"
    [ $# -gt 0 ] || return 0
    dc_keys=''
    for dc_setting in "$@"; do dc_keys="$dc_keys ${dc_setting%%:*}"; done
    # shellcheck disable=SC2086  # Keys are words.
    if ! dc_lines=$(carrier_at "$dc_syntax" "$dc_path" $dc_keys); then
        complain "$dc_component not changed: ${dc_lines:-unreadable} $dc_path"
        return 0
    fi
    for dc_setting in "$@"; do
        dc_line=${dc_lines%%"$NL"*}
        dc_lines=${dc_lines#*"$NL"}
        if [ "$dc_setting" = ECS_CLUSTER:url:cluster ]; then
            decide_cluster "${dc_line#* }"
            continue
        fi
        decide_setting "${dc_setting%%:*}" "${dc_setting#*:}" "${dc_line#* }"
    done
}

# Adds an edit that sets the key $2 of the kind $1 to $3.
add_edit() {
    printf 'set %s %s %s\n' "$2" "$1" "$3" >>"$WORK/$dc_component.edits"
    pc_edits=yes
}

# Decides on ECS_CLUSTER, of which the file says $1. An agent that has registered refuses to start with another cluster.
decide_cluster() {
    case $1 in
        unset | 'set ') ;;
        *) return 0 ;;
    esac
    for dc_file in $AGENT_STATE; do
        if [ -e "$ROOT$dc_file" ]; then
            complain 'ECS_CLUSTER not set: the agent has registered already'
            return 0
        fi
    done
    add_edit url ECS_CLUSTER "$CLUSTER"
}

# Decides on the key $1 with the kind and the rule $2, of which the file says $3: its state, and a value.
decide_setting() {
    ds_kind=${2%%:*} ds_prior=${3#* }
    value_by "${2#*:}"
    case $3 in
        "set $VALUE") return 0 ;;
        'set '*) [ "$ds_kind" = url ] || [ "$(list_normal "$ds_prior")" != "$(list_normal "$VALUE")" ] || return 0 ;;
    esac
    add_edit "$ds_kind" "$1" "$VALUE"
    ds_known=$(grep "^$dc_component$TAB$1$TAB" "$RECORD" 2>/dev/null)
    if [ -z "$ds_known" ]; then
        [ "$3" != unset ] || ds_prior=''
        add_first_record "$dc_component" "$dc_syntax" "$dc_path" "$1" "${3%% *}" "$VALUE" "$ds_prior"
        return 0
    fi
    # What was there before us stays what it was: component, key, policy, made, state, written, value before, line before.
    ds_known=${ds_known%%"$NL"*}
    ds_head=${ds_known#*"$TAB"*"$TAB"*"$TAB"}
    ds_tail=${ds_head#*"$TAB"*"$TAB"*"$TAB"}
    ds_made=${ds_head%%"$TAB"*}
    ds_head=${ds_head#*"$TAB"}
    add_record "$dc_component$TAB$1$TAB$POLICY$TAB$ds_made$TAB${ds_head%%"$TAB"*}$TAB$VALUE$TAB$ds_tail"
}

# Puts the prepared file of a component in place; the arguments are those of each_component.
commit_component() {
    has_word "$1" "$PREPARED" || return 0
    resolve_path "$7"
    cc_new=$ROOT${RESOLVED%/*}/.${RESOLVED##*/}.proxyfleet.$$
    if is_as_prepared "$1" "$ROOT$RESOLVED" && put_in_place "$cc_new" "$ROOT$RESOLVED"; then
        DONE="$DONE $1"
        TOUCHED="$TOUCHED $2"
        [ "$5" = - ] || RELOAD=yes
    else
        complain "$1 not changed: changed-meanwhile or not-writable $7"
    fi
}

# Whether the service $1 has to start again: it runs, and a file of its was changed.
is_stale() {
    has_word "$1" "$TOUCHED" || return 1
    is_running "$1"
}

# Whether the service $1 runs.
is_running() {
    ask_service "$1"
    [ "$STATE" = active ]
}

# Restarts what runs and has to read its files again.
restart_stale() {
    [ "$RELOAD" = no ] || reload_definitions || complain 'the service manager did not read its files again'
    if is_stale docker; then
        if [ "$DOCKER_RESTART" = allow ]; then
            rs_ecs=no
            ! is_running ecs || rs_ecs=yes
            restart_service docker || complain 'docker was not restarted'
            # A restart of docker takes ecs along, on some units only down.
            [ "$rs_ecs" = no ] || start_service ecs || complain 'ecs was not started'
            return 0
        fi
        echo 'proxyfleet: docker runs with its old settings until it is restarted'
    fi
    if is_stale ecs; then restart_service ecs || complain 'ecs was not restarted'; fi
}

read_system
if ! find_platform; then
    complain "nothing changed: this is ${SYSTEM_ID:-unknown} ${SYSTEM_VERSION:-unknown}, not $DOCUMENT_PLATFORM"
    exit 1
fi
(umask 077 && mkdir -p "$HOME_DIR") 2>/dev/null || { complain "nothing changed: not-writable $HOME_DIR"; exit 1; }
if ! take_lock; then
    complain 'nothing changed: an apply is at work'
    exit 1
fi
trap 'give_up interrupted' TERM INT HUP
rm -rf "$WORK"
if [ "$TOOK_OVER" = yes ]; then
    each_component sweep_component
    rm -f "$RECORD".new.*
fi
(umask 077 && mkdir "$WORK") 2>/dev/null || give_up "nothing changed: not-writable $HOME_DIR"
each_component prepare_component
flush_prepared
record_ahead || give_up "nothing changed: not-writable $RECORD"
each_component commit_component
record_behind
[ -z "$DONE" ] || restart_stale
echo "proxyfleet: policy $POLICY, changed:${DONE:- nothing}"
leave
