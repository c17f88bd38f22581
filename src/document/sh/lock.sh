# One apply at a time on a host. The lock is a folder; within it an empty file whose name says who holds it. Making the
# folder and renaming the file are atomic, so of several contenders one wins.

LOCK=$HOME_DIR/lock
# Seconds to wait for another run.
LOCK_SECONDS=5
[ -z "$ROOT" ] || LOCK_SECONDS=${PROXYFLEET_WAIT:-$LOCK_SECONDS}
# Whether the holder before us died with its work half done.
TOOK_OVER=no

# Sets LOCK_TOKEN, the name under which the process $1 would hold the lock: its id, its start, this boot.
lock_token() {
    lt_start='' lt_boot=''
    if [ -r "$ROOT/proc/$1/stat" ]; then
        IFS= read -r lt_start <"$ROOT/proc/$1/stat"
        lt_rest=${lt_start##*) }
        case $lt_rest in
            # A zombie: it can still be signalled, but does nothing any more.
            Z*) lt_rest='' ;;
        esac
        # Field 22 of the line is the twentieth after the name.
        # shellcheck disable=SC2086  # Split into words.
        set -- "$1" $lt_rest
        [ $# -le 20 ] || shift 20
        lt_start=${1:-}
    fi
    [ ! -r "$ROOT/proc/sys/kernel/random/boot_id" ] || read -r lt_boot <"$ROOT/proc/sys/kernel/random/boot_id"
    LOCK_TOKEN=$lt_start.${lt_boot:-none}
}

# Whether the holder $1 still lives.
holder_lives() {
    hl_pid=${1%%.*}
    lock_token "$hl_pid"
    [ "$1" = "$hl_pid.$LOCK_TOKEN" ] && kill -0 "$hl_pid" 2>/dev/null
}

# Takes the lock, from a dead holder as well; waits LOCK_SECONDS for a living one, then fails.
take_lock() {
    lock_token $$
    LOCK_FILE=$LOCK/$$.$LOCK_TOKEN
    tl_left=$LOCK_SECONDS
    while ! try_lock; do
        [ "$tl_left" -gt 0 ] || return 1
        tl_left=$((tl_left - 1))
        sleep 1
    done
}

# One attempt at the lock.
try_lock() {
    if mkdir "$LOCK" 2>/dev/null; then
        # Not `:`, a special builtin: where it fails, the whole shell would end. Another contender may take the folder away.
        true 2>/dev/null >"$LOCK_FILE"
        return
    fi
    for tl_file in "$LOCK"/*; do
        # An empty folder is a holder that comes or goes, or that died between two commands.
        [ -e "$tl_file" ] || { rmdir "$LOCK" 2>/dev/null; return 1; }
        holder_lives "${tl_file##*/}" && return 1
        if mv "$tl_file" "$LOCK_FILE" 2>/dev/null; then
            TOOK_OVER=yes
            return 0
        fi
    done
    return 1
}

# Gives the lock back, if it was taken.
drop_lock() {
    [ -z "${LOCK_FILE:-}" ] || ! [ -e "$LOCK_FILE" ] || { rm -f "$LOCK_FILE" && rmdir "$LOCK"; } 2>/dev/null
}
