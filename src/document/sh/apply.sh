# Makes the proxy settings of this host equal to the parameters, proves it, and takes everything back if it cannot. Or puts
# back what an earlier apply did.

#@parameters@

# The longest detail in a report, in bytes, and the number of details.
DETAIL_BYTES=180 DETAIL_LINES=5
# Seconds to wait for a service to come up, and between attempts.
VERIFY_SECONDS=60 PAUSE=1
[ -z "$ROOT" ] || VERIFY_SECONDS=${PROXYFLEET_WAIT:-$VERIFY_SECONDS}
BACKUPS=$HOME_DIR/backup
# Names the services that an apply was restarting when it ended early. They count as services that ran.
RESTARTING=$HOME_DIR/restarting
INTROSPECTION=http://localhost:51678/v1/metadata

PHASE=idle BODY='' DETAILS=0 CHANGED='' RESTARTED='' PENDING='' NEEDED='' WORK='' AGENT_ANSWERED=no

# Adds a detail to the report.
detail() {
    DETAILS=$((DETAILS + 1))
    [ "$DETAILS" -gt "$DETAIL_LINES" ] || BODY=$BODY$(printf "e %.${DETAIL_BYTES}s" "$1")$NL
}

# Prints the report with the result $1 (result and reason) and ends.
finish() {
    trap '' TERM INT HUP
    rm -f "$HOME_DIR"/*.new."$$" 2>/dev/null
    clean_work
    drop_lock
    printf 'proxyfleet/1 apply %s %s\n%send\n' "$DOCUMENT_PLATFORM" "$1" "$BODY" | printable
    case $1 in
        changed | unchanged) exit 0 ;;
    esac
    exit 1
}

# Leaves in the folder of this apply what was backed up, and of all such folders the newest five and those of this run.
clean_work() {
    if [ -z "$WORK" ] || [ "$ACTION" = put-back ]; then return 0; fi
    rm -f "$WORK"/*.edits "$WORK"/*.blank
    # What a run restarted it may have to restart again.
    [ -n "$CHANGED${RUN:+$RESTARTED}" ] || rm -rf "$WORK"
    set -- "$BACKUPS"/*
    while [ $# -gt 5 ]; do
        is_of_run "$1" run || drop_backup "$1"
        shift
    done
}

# Ends before anything was changed: the reason $1, and a detail if $2 is given.
refuse() {
    [ -z "${2:-}" ] || detail "$2"
    finish "refused $1"
}

# What a signal leads to: nothing happened yet, or everything is taken back.
interrupted() {
    trap '' TERM INT HUP
    case $PHASE in
        idle)
            discard_prepared
            refuse interrupted
            ;;
        changing) roll_back interrupted ;;
    esac
}

# Refuses parameters that the service should not have let through; the agent itself checks patterns only.
check_parameters() {
    case $WANT_STATE in
        present) if [ -z "$WANT_HTTP" ] || [ -z "$WANT_HTTPS" ] || [ -z "$WANT_BYPASS" ]; then refuse bad-parameters; fi ;;
        absent) ;;
        *) refuse bad-parameters ;;
    esac
    case $DOCKER_RESTART:$PREFLIGHT in
        allow:require | allow:skip | defer:require | defer:skip) ;;
        *) refuse bad-parameters ;;
    esac
    case $ACTION:$RUN in
        put-back: | *[!:0-9A-Za-z-]* | *:*:*) refuse bad-parameters ;;
        apply:* | put-back:*) [ ${#RUN} -le 64 ] || refuse bad-parameters ;;
        *) refuse bad-parameters ;;
    esac
    REQUESTED='' KNOWN=''
    each_component know_component
    cp_ifs=$IFS
    IFS=,
    for cp_component in $WANT_COMPONENTS; do
        IFS=$cp_ifs
        has_word "$cp_component" "$KNOWN" || refuse bad-parameters "component $cp_component"
        REQUESTED="$REQUESTED $cp_component"
    done
    IFS=$cp_ifs
    [ -n "$REQUESTED" ] || refuse bad-parameters 'no component'
}

# Collects the names of components.
know_component() {
    KNOWN="$KNOWN $1"
}

# Asks each proxy, from this host, for a way to the ECS endpoint of the region; refuses if there is none (decision D7).
preflight() {
    command -v curl >/dev/null 2>&1 || refuse preflight-no-curl
    case ${AWS_SSM_REGION_NAME:-} in
        '' | *[!a-z0-9-]*) refuse preflight-no-region ;;
        cn-*) pf_host=ecs.$AWS_SSM_REGION_NAME.amazonaws.com.cn ;;
        *) pf_host=ecs.$AWS_SSM_REGION_NAME.amazonaws.com ;;
    esac
    preflight_one "$WANT_HTTPS"
    [ "$WANT_HTTP" = "$WANT_HTTPS" ] || preflight_one "$WANT_HTTP"
}

# Asks the proxy $1, twice if need be.
preflight_one() {
    for pf_try in 1 2; do
        pf_answer=$(curl -sS -o /dev/null -m 10 --noproxy '' --proxy "$1" -w '%{http_connect} %{http_code}' \
            "https://$pf_host/" 2>/dev/null)
        case $pf_answer in
            2*) return 0 ;;
        esac
        [ "$pf_try" = 2 ] || sleep "$PAUSE"
    done
    case ${pf_answer%% *} in
        000 | '') refuse preflight-unreachable "$1 does not answer" ;;
    esac
    # A proxy that need not serve this host may refuse it.
    bypasses "$pf_host" || refuse preflight-refused "$1 answers ${pf_answer%% *} to CONNECT $pf_host:443"
}

# Whether the bypass list covers the host $1, as Go reads it.
bypasses() {
    by_ifs=$IFS
    IFS=,
    set -f
    by_found=1
    for by_entry in $WANT_BYPASS; do
        case $1 in
            "${by_entry#.}") [ "$by_entry" != "$1" ] || by_found=0 ;;
            *".${by_entry#.}") by_found=0 ;;
        esac
        [ "$by_entry" != '*' ] || by_found=0
    done
    set +f
    IFS=$by_ifs
    return "$by_found"
}

# Refuses for the reason and with the text of a decision.
refuse_decision() {
    refuse "${1%%"$TAB"*}" "${1#*"$TAB"}"
}

# Notes that a service must start again, now or, where the policy says so, later. What a run did not restart it does not
# restart to put something back.
note_restart() {
    [ "$ACTION" = apply ] || has_word "$1" "$THEN" || return 0
    case $1:$DOCKER_RESTART in
        docker:defer) PENDING="$PENDING $1" ;;
        *) NEEDED="$NEEDED $1" ;;
    esac
}

# Tells that a setting was changed by somebody else since we wrote it.
note_left() {
    detail "${1%%"$TAB"*} ${1#*"$TAB"} was changed by somebody else and is left alone"
}

# Makes the folder of this apply, for backups and edits.
make_work() {
    # Names in the order of time, within a second as well.
    WORK=$BACKUPS/$(date -u +%Y%m%dT%H%M%SZ)-$(printf %07d $$)
    (umask 077 && mkdir -p "$WORK") 2>/dev/null || refuse not-writable "${WORK#"$ROOT"}"
    if [ -e "$RECORD" ]; then
        cp -p "$RECORD" "$WORK/managed" || refuse not-writable "${WORK#"$ROOT"}"
    fi
    [ -z "$RUN" ] || printf '%s\n' "$RUN" 2>/dev/null >"$WORK/run" || refuse not-writable "${WORK#"$ROOT"}"
}

# Keeps a line for carrier_edit: COMPONENT LINE.
write_edit() {
    printf '%s\n' "${1#*"$TAB"}" >>"$WORK/${1%%"$TAB"*}.edits"
}

# Keeps the names of the components whose file is ours.
note_created() {
    OURS="$OURS $1"
}

# Writes the new version of one component's file beside it; the arguments are those of each_component.
prepare_component() {
    prepare_file "$@" || refuse_prepared "$REASON" "$REASON_TEXT"
    has_word "$1" "$PREPARED" || return 0
    # A file that we made goes when nothing of anybody is left in it.
    if has_word "$1" "$OURS"; then
        if [ ! -s "$NEW" ] || { [ "$4" = header ] && carrier_only_ours "$3" "$NEW" "$HEADER"; }; then
            rm -f "$NEW"
            REMOVED="$REMOVED $1"
        fi
    fi
    rc_component=$1 rc_keys=''
    for rc_verb in w x; do each_decision touch collect_key; done
    note_state "$1" "$WORK/$1" "$NEW" "${rc_keys#,}" "$7" || refuse_prepared not-writable "${WORK#"$ROOT"}"
}

# Collects the lines for the record.
collect_records() {
    RECORD_LINES=''
    each_decision record add_record
    each_component add_fresh_records
}

# Adds the lines of one component for settings that we write for the first time; the arguments are those of each_component.
add_fresh_records() {
    fr_component=$1 fr_syntax=$3 fr_path=$7
    each_decision fresh add_fresh_record
}

# Adds the line of one such setting: COMPONENT KEY STATE WRITTEN PRIOR-VALUE.
add_fresh_record() {
    case $1 in
        "$fr_component$TAB"*) ;;
        *) return 0 ;;
    esac
    fr_rest=${1#*"$TAB"}
    fr_key=${fr_rest%%"$TAB"*}
    fr_rest=${fr_rest#*"$TAB"}
    fr_state=${fr_rest%%"$TAB"*}
    fr_rest=${fr_rest#*"$TAB"}
    add_first_record "$fr_component" "$fr_syntax" "$fr_path" "$fr_key" "$fr_state" "${fr_rest%%"$TAB"*}" \
        "${fr_rest#*"$TAB"}"
}

# Refuses with the reason $1 and the text $2 after files were prepared.
refuse_prepared() {
    discard_prepared
    refuse "$1" "$2"
}

# Puts the prepared file of a component in place; the arguments are those of each_component.
commit_component() {
    has_word "$1" "$PREPARED" || return 0
    # What somebody else wrote since we looked must not be lost, nor what a link leads to only now.
    REASON_TEXT="$7 was changed by somebody else at the same time"
    resolve_path "$7" || roll_back changed-meanwhile
    cc_target=$ROOT$RESOLVED
    cc_temp=${cc_target%/*}/.${cc_target##*/}.proxyfleet.$$
    is_as_prepared "$1" "$cc_target" || roll_back changed-meanwhile
    [ -e "$cc_temp" ] || has_word "$1" "$REMOVED" || roll_back changed-meanwhile
    REASON_TEXT=''
    CHANGED="$CHANGED $1"
    if has_word "$1" "$REMOVED"; then
        rm -f "$cc_target" || roll_back write
    else
        put_in_place "$cc_temp" "$cc_target" || roll_back write
    fi
    report_component "$1" "$7"
}

# Adds the lines about the file of the component $1 at $2 to the report.
report_component() {
    for rc_verb in w x; do
        rc_component=$1 rc_keys=''
        each_decision touch collect_key
        [ -z "$rc_keys" ] || BODY="$BODY$rc_verb $2 ${rc_keys#,}$NL"
    done
}

# Collects the keys of rc_component that were touched as rc_verb says.
collect_key() {
    case $1 in
        "$rc_component$TAB$rc_verb$TAB"*) rc_keys=$rc_keys,${1##*"$TAB"} ;;
    esac
}

# Whether the ECS agent answers on this host.
agent_answers() {
    curl --noproxy '*' -s -m 5 "$INTROSPECTION" >/dev/null 2>&1
}

# Whether the service $1 ran when this apply began.
ran() {
    has_word "$1" "$RAN"
}

# Restarts what NEEDED names, docker first; fails with REASON.
restart_needed() {
    answer PID ecs
    rn_pid=$ANSWER
    if has_word docker "$NEEDED"; then
        RESTARTED="$RESTARTED docker"
        REASON=restart-docker REASON_TEXT='docker did not start'
        restart_service docker || return 1
        ask_service docker
        REASON=service-not-up REASON_TEXT="docker is $STATE"
        [ "$STATE" = active ] || return 1
        ran ecs || return 0
        # A restart of docker takes ecs along, on some units only down (proxy-by-os 13.2).
        REASON=restart-ecs REASON_TEXT='ecs did not start'
        start_service ecs || return 1
        ask_service ecs
        [ "$PID" = "$rn_pid" ] || RESTARTED="$RESTARTED ecs"
    fi
    if has_word ecs "$NEEDED" && ! has_word ecs "$RESTARTED"; then
        RESTARTED="$RESTARTED ecs"
        REASON=restart-ecs REASON_TEXT='ecs did not start'
        restart_service ecs || return 1
    fi
}

# Waits until everything is as decided and every service that ran runs again; fails with REASON after the time is over.
verify() {
    # By the clock: one look can take half a minute where docker hangs.
    vf_end=$(($(date +%s) + VERIFY_SECONDS))
    while ! verify_once; do
        [ "$(date +%s)" -lt "$vf_end" ] || return 1
        sleep "$PAUSE"
    done
}

# One look at everything; fails with REASON and REASON_TEXT.
verify_once() {
    vo_pending=$PENDING vo_needed=$NEEDED
    gather_facts
    for vo_service in $RAN; do
        answer STATE "$vo_service"
        REASON=service-not-up REASON_TEXT="$vo_service is $ANSWER"
        [ "$ANSWER" != active ] || continue
        # A restart of docker can take ecs down after we looked (proxy-by-os 13.2).
        ! has_word docker "$RESTARTED" || [ "$vo_service" = docker ] || start_service "$vo_service"
        return 1
    done
    REASON=agent-silent REASON_TEXT=$INTROSPECTION
    [ "$AGENT_ANSWERED" = no ] || agent_answers || return 1
    REASON=verify REASON_TEXT='it could not be found out'
    decide "$RESTARTED" || return 1
    REASON_TEXT=''
    PENDING='' NEEDED=''
    each_decision restart note_restart
    for vo_service in $NEEDED; do REASON_TEXT="$REASON_TEXT $vo_service runs with other values"; done
    PENDING=$vo_pending NEEDED=$vo_needed
    ! decided edit || REASON_TEXT="$REASON_TEXT a file has other values"
    ! decided reload || REASON_TEXT="$REASON_TEXT the service manager has other values"
    ! decided refuse || REASON_TEXT="$REASON_TEXT another source appeared"
    REASON_TEXT=${REASON_TEXT# }
    [ -z "$REASON_TEXT" ]
}

# Puts one component's file back as it was; the arguments are those of each_component.
restore_component() {
    has_word "$1" "$CHANGED" || return 0
    resolve_path "$7" || RESOLVED=$7
    ro_target=$ROOT$RESOLVED
    if ! is_left "$1" "$ro_target"; then
        detail "$7 was changed by somebody else and is left alone"
        ROLLBACK=files
    elif [ -e "$WORK/$1" ]; then
        ! same_bytes "$WORK/$1" "$ro_target" || return 0
        ro_temp=${ro_target%/*}/.${ro_target##*/}.proxyfleet.$$
        { cp -a "$WORK/$1" "$ro_temp" && flush "$ro_temp" && mv -f "$ro_temp" "$ro_target"; } 2>/dev/null || ROLLBACK=files
    else
        rm -f "$ro_target" || ROLLBACK=files
    fi
}

# Puts the record back as it was.
restore_record() {
    if [ -e "$WORK/managed" ]; then
        same_bytes "$WORK/managed" "$RECORD" || write_record <"$WORK/managed" || ROLLBACK=record
    else
        rm -f "$RECORD" || ROLLBACK=record
    fi
}

# Takes everything back for the reason $1 and ends.
roll_back() {
    trap '' TERM INT HUP
    PHASE=back ROLLBACK=''
    rb_reason=$1
    BODY=$(printf '%s' "$BODY" | grep '^e ')
    BODY=$BODY${BODY:+$NL}
    [ -z "${REASON_TEXT:-}" ] || detail "$REASON_TEXT"
    discard_prepared
    each_component restore_component
    discard_prepared
    restore_record
    reload_definitions || ROLLBACK=reload
    restart_after_rollback
    rm -f "$RESTARTING"
    [ -n "$ROLLBACK" ] || finish "rolled-back $rb_reason"
    detail "after $rb_reason"
    finish "failed rollback-$ROLLBACK"
}

# Keeps the names of the services whose files were changed; the arguments are those of each_component.
note_touched() {
    ! has_word "$1" "$CHANGED" || TOUCHED="$TOUCHED $2"
}

# Starts what was restarted once more, with the old settings; sets ROLLBACK to a service that does not come up.
restart_after_rollback() {
    TOUCHED=''
    each_component note_touched
    for ra_service in $SERVICES; do
        has_word "$ra_service" "$RESTARTED" || continue
        forget_failure "$ra_service"
        # Where nothing was put back, another restart would only stop the tasks once more.
        if has_word "$ra_service" "$TOUCHED"; then
            if ! restart_service "$ra_service"; then
                ask_service "$ra_service"
                # It may not even have stopped.
                [ "$STATE" != active ] || ROLLBACK=$ra_service
            fi
            BODY=${BODY}r\ $ra_service$NL
        elif ran "$ra_service"; then
            start_service "$ra_service"
        fi
    done
    [ -n "$RESTARTED" ] || return 0
    ! ran ecs || start_service ecs
    ra_end=$(($(date +%s) + VERIFY_SECONDS))
    while :; do
        ra_down=''
        for ra_service in $RAN; do
            ask_service "$ra_service"
            [ "$STATE" = active ] || [ -n "$ra_down" ] || ra_down=$ra_service
        done
        if [ -z "$ra_down" ] || [ "$(date +%s)" -ge "$ra_end" ]; then break; fi
        sleep "$PAUSE"
        # A unit that failed too often stays down until it is told otherwise.
        forget_failure "$ra_down"
        start_service "$ra_down"
    done
    [ -z "$ra_down" ] || ROLLBACK=$ra_down
}

# Writes down which services are about to stop: a restart of docker stops ecs as well.
note_restarting() {
    nr_services=$NEEDED
    ! has_word docker "$NEEDED" || nr_services=$RAN
    # shellcheck disable=SC2086  # Words.
    printf '%s\n' $nr_services >"$RESTARTING"
    [ "$ACTION" = put-back ] || cat "$RESTARTING" >>"$WORK/restarted"
}

# Carries the decisions out.
change() {
    OURS='' REMOVED=''
    make_work
    each_decision edit write_edit
    each_decision created note_created
    each_component prepare_component
    [ -z "$MADE_FOLDERS" ] || printf '%s' "$MADE_FOLDERS" >"$WORK/folders"
    flush_prepared "$WORK"/*
    collect_records
    PHASE=changing
    REASON_TEXT=''
    record_ahead || roll_back record
    each_component commit_component
    if decided reload; then
        reload_definitions || roll_back reload
    fi
    if [ -n "$NEEDED" ]; then
        note_restarting
        restart_needed || roll_back "$REASON"
    fi
    verify || roll_back "$REASON"
    PHASE=ended
    trap '' TERM INT HUP
    record_behind
    rm -f "$RESTARTING"
}

# The whole apply.
apply() {
    read_system
    find_platform || refuse wrong-platform "this is ${SYSTEM_ID:-unknown} ${SYSTEM_VERSION:-unknown}"
    check_parameters
    trap interrupted TERM INT HUP
    (umask 077 && mkdir -p "$HOME_DIR") 2>/dev/null || refuse not-writable "${HOME_DIR#"$ROOT"}"
    take_lock || refuse busy 'another apply is at work'
    if [ "$TOOK_OVER" = yes ]; then
        each_component sweep_component
        rm -f "$RECORD".new.*
    fi
    [ "$ACTION" = apply ] || put_back
    [ "$WANT_STATE:$PREFLIGHT" != present:require ] || preflight
    gather_facts
    find_ran
    decide '' || refuse internal 'the state of the host could not be compared'
    each_decision refuse refuse_decision
    each_decision restart note_restart
    each_decision left note_left
    ap_result=unchanged
    if decided edit || [ -n "$NEEDED" ]; then ap_result=changed; fi
    if [ -n "$NEEDED" ] && agent_answers; then AGENT_ANSWERED=yes; fi
    if decided edit || decided reload || [ -n "$NEEDED" ]; then
        change
    elif [ "$WANT_STATE" = absent ]; then
        record_behind
    fi
    for ap_service in $SERVICES; do
        ! has_word "$ap_service" "$RESTARTED" || BODY=${BODY}r\ $ap_service$NL
        ! has_word "$ap_service" "$PENDING" || BODY=${BODY}p\ $ap_service$NL
    done
    finish "$ap_result"
}

# Sets RAN to the services that ran when this apply began, and starts again what an apply that was killed had stopped.
find_ran() {
    RAN=''
    for fr_service in $SERVICES; do
        answer STATE "$fr_service"
        [ "$ANSWER" != active ] || RAN="$RAN $fr_service"
    done
    [ -r "$RESTARTING" ] || return 0
    fr_stopped=no
    while read -r fr_service; do
        if ! ran "$fr_service" && has_word "$fr_service" "$SERVICES"; then
            RAN="$RAN $fr_service"
            NEEDED="$NEEDED $fr_service"
            fr_stopped=yes
        fi
    done <"$RESTARTING"
    # Everything runs again: from now on whoever stops a service means it.
    [ "$fr_stopped" = yes ] || rm -f "$RESTARTING"
}

apply
