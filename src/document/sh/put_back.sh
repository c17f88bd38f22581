# What one run changed on this host, and putting it back. The folder of an apply holds, beside the files as they were:
#   run        the run that the apply belongs to; the name of this file is `back` once everything is put back
#   states     a line for each file before it is changed: NAME STATE-BEFORE STATE-AFTER KEYS PATH. NAME is that of the
#              component and of the backup; the record is called `managed`
#   restarted  the services that the apply restarted
#   folders    the folders that it made
# All of that is written before it happens, so an apply that is killed can be put back as well.

# Runs of which a backup was dropped.
DROPPED=$HOME_DIR/dropped
# `|NAME=STATE|...`: every state that this run has seen a file in or left it in.
LEFT='|'
# `|NAME=STATE FOLDER|...`: the state of each file before the run, and where the backup is.
FIRST='|'
# Services that the run restarted, and `NAME:KEY` for everything that it touched.
THEN='' TOUCHED_KEYS=''

# Sets FILE_STATE to what tells versions of the file $1 apart: digest, mode and owner; `none` where there is no file.
file_state() {
    FILE_STATE=none
    [ -e "$1" ] || return 0
    FILE_STATE=$(sha256sum 2>/dev/null <"$1")
    FILE_STATE=${FILE_STATE%% *}:$(stat -c %a:%u:%g "$1" 2>/dev/null)
}

# Notes that the file $2, called $1, is about to become as the file $3 is; $4 are the keys and $5 is the path for a report.
note_state() {
    file_state "$2"
    ns_before=$FILE_STATE
    file_state "$3"
    LEFT="$LEFT$1=$ns_before|$1=$FILE_STATE|"
    printf '%s\n' "$1 $ns_before $FILE_STATE $4 $5" 2>/dev/null >>"$WORK/states"
}

# Notes that the record is about to become as the file $1 is.
note_record() {
    case $PHASE in
        changing | ended) note_state managed "$RECORD" "$1" - "${RECORD#"$ROOT"}" ;;
    esac
}

# Whether the file $2, called $1, is in a state in which this run has seen or left it.
is_left() {
    file_state "$2"
    case $LEFT in
        *"|$1=$FILE_STATE|"*) return 0 ;;
    esac
    return 1
}

# Whether the folder $1 is that of an apply of this run; the file $2 says so.
is_of_run() {
    ir_run=''
    [ -n "$RUN" ] && [ -r "$1/$2" ] && read -r ir_run <"$1/$2" && [ "$ir_run" = "$RUN" ]
}

# Takes the folder $1 of an apply away, and notes that its run can no longer be put back.
drop_backup() {
    [ ! -r "$1/run" ] || cat "$1/run" >>"$DROPPED"
    rm -rf "$1"
}

# Sets KEPT to the folders of this run, the newest first, and reads them, the oldest first; ends where there are none.
find_kept() {
    KEPT='' fk_text='changed nothing here'
    if grep -qxF -e "$RUN" "$DROPPED" 2>/dev/null; then refuse no-backup "run $RUN"; fi
    for fk_folder in "$BACKUPS"/*; do
        ! is_of_run "$fk_folder" back || fk_text='was put back before'
        is_of_run "$fk_folder" run || continue
        KEPT="${fk_folder##*/} $KEPT"
        read_kept "$fk_folder"
    done
    [ -z "$KEPT" ] || return 0
    detail "run $RUN $fk_text"
    finish unchanged
}

# Reads what the folder $1 says; refuses where somebody changed a file between two applies, and where a backup is gone.
read_kept() {
    [ ! -r "$1/restarted" ] || THEN="$THEN $(tr '\n' ' ' <"$1/restarted")"
    [ -r "$1/states" ] || return 0
    while read -r rk_name rk_before rk_after rk_keys rk_path; do
        case $LEFT in
            *"|$rk_name=$rk_before|"*) ;;
            *"|$rk_name="*) refuse changed-meanwhile "$rk_path" ;;
            *)
                file_state "$1/$rk_name"
                [ "$FILE_STATE" = "$rk_before" ] || refuse no-backup "$rk_path"
                FIRST="$FIRST$rk_name=$rk_before $1|"
                ;;
        esac
        LEFT="$LEFT$rk_name=$rk_before|$rk_name=$rk_after|"
        for rk_key in $(printf '%s' "$rk_keys" | tr , ' '); do
            has_word "$rk_name:$rk_key" "$TOUCHED_KEYS" || TOUCHED_KEYS="$TOUCHED_KEYS $rk_name:$rk_key"
        done
    done <"$1/states"
}

# Sets BEFORE to the state of the file called $1 before the run and WORK to where it is kept; fails where it was not changed.
first_of() {
    case $FIRST in
        *"|$1="*) ;;
        *) return 1 ;;
    esac
    BEFORE=${FIRST#*"|$1="}
    BEFORE=${BEFORE%%"|"*}
    WORK=${BEFORE#* }
    BEFORE=${BEFORE%% *}
}

# Refuses where the file of a component is not as the run left it; the arguments are those of each_component.
check_component() {
    first_of "$1" || return 0
    resolve_path "$7" || RESOLVED=$7
    is_left "$1" "$ROOT$RESOLVED" || refuse changed-meanwhile "$7"
    REQUESTED="$REQUESTED $1"
}

# Puts the file of one component back; the arguments are those of each_component.
put_back_component() {
    first_of "$1" || return 0
    CHANGED="$CHANGED $1"
    resolve_path "$7" || RESOLVED=$7
    file_state "$ROOT$RESOLVED"
    [ "$FILE_STATE" != "$BEFORE" ] || return 0
    restore_component "$@"
    file_state "$ROOT$RESOLVED"
    [ "$FILE_STATE" = "$BEFORE" ] || ROLLBACK=files
    pc_keys=''
    for pc_word in $TOUCHED_KEYS; do
        [ "${pc_word%%:*}" != "$1" ] || pc_keys=$pc_keys,${pc_word#*:}
    done
    BODY="${BODY}w $7 ${pc_keys#,}$NL"
    PUT_BACK=changed
}

# Counts services that did not survive what the run did to them among those that ran; they get a try with the old settings.
find_broken() {
    answer STATE docker
    fb_docker=$ANSWER
    for fb_service in $THEN; do
        answer STATE "$fb_service"
        case $fb_docker:$ANSWER in
            *:failed | failed:inactive) RAN="$RAN $fb_service" NEEDED="$NEEDED $fb_service" ;;
        esac
    done
}

# Puts back what the run changed on this host, all of it or, where somebody else changed something since, nothing; ends.
put_back() {
    REQUESTED='' PUT_BACK=unchanged ROLLBACK=''
    find_kept
    each_component check_component
    if first_of managed; then is_left managed "$RECORD" || refuse changed-meanwhile "${RECORD#"$ROOT"}"; fi
    # From here on a signal only delays.
    PHASE=back WANT_STATE=back
    each_component put_back_component
    if first_of managed; then
        file_state "$RECORD"
        [ "$FILE_STATE" = "$BEFORE" ] || PUT_BACK=changed
        restore_record
    fi
    for pb_folder in $KEPT; do
        [ ! -r "$BACKUPS/$pb_folder/folders" ] || MADE_FOLDERS=$MADE_FOLDERS$(cat "$BACKUPS/$pb_folder/folders")$NL
    done
    discard_prepared
    reload_definitions || ROLLBACK=reload
    gather_facts
    find_ran
    find_broken
    decide '' || ROLLBACK=verify
    each_decision restart note_restart
    if [ -n "$NEEDED" ]; then
        PUT_BACK=changed RESTARTED=$NEEDED
        note_restarting
        restart_after_rollback
    fi
    [ -z "$ROLLBACK" ] || finish "failed put-back-$ROLLBACK"
    rm -f "$RESTARTING"
    if [ -n "$PENDING" ] && ! has_word docker "$RESTARTED"; then
        BODY="${BODY}p docker$NL"
    else
        # The oldest last: without the newer ones it still leads to the same.
        for pb_folder in $KEPT; do mv -f "$BACKUPS/$pb_folder/run" "$BACKUPS/$pb_folder/back"; done
    fi
    finish "$PUT_BACK"
}
