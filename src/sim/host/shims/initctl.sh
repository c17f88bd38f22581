#!/bin/sh
# upstart's initctl for the job ecs; start, stop, restart and status are the same program under other names.
# The override is read at a start, and not at a restart (proxy-by-os 13.3).
# shellcheck source-path=SCRIPTDIR source=common.sh
. "${0%/*}/../library/common.sh"

program=${0##*/}
case $program in
initctl)
    verb=${1-}
    [ $# -gt 0 ] && shift
    ;;
*) verb=$program ;;
esac
job=${1-}

unknown() {
    complain "$program: Unknown job: $job"
    exit 1
}

no_instance() {
    complain "$program: Unknown instance: "
    exit 1
}

print_status() {
    get_state ecs
    if [ "$state" = active ]; then
        printf 'ecs start/running, process %s\n' "$pid"
    else
        printf 'ecs stop/waiting\n'
    fi
}

# Starts the job with the environment in file $1.
start_job() {
    if ! start_ecs "$1"; then
        complain "$program: Job failed to start"
        exit 1
    fi
    get_state ecs
    # A job that dies right after its start was reported as started.
    [ "$pid" -gt 0 ] || read -r pid <"$sim/pid"
    printf 'ecs start/running, process %s\n' "$pid"
}

case $verb in
reload-configuration) exit 0 ;;
list)
    [ -e "$root/etc/init/ecs.conf" ] && print_status
    exit 0
    ;;
start | stop | restart | status) ;;
*)
    complain "$program: invalid command: $verb"
    exit 1
    ;;
esac
if [ "$job" != ecs ] || [ ! -e "$root/etc/init/ecs.conf" ]; then
    unknown
fi

case $verb in
status) print_status ;;
start)
    if is_active ecs; then
        complain "$program: Job is already running: ecs"
        exit 1
    fi
    awk -v root="$root" -f "$library/job.awk" </dev/null >"$sim/running/ecs.env.new"
    start_job "$sim/running/ecs.env.new"
    ;;
stop)
    is_active ecs || no_instance
    stop_ecs
    printf 'ecs stop/waiting\n'
    ;;
restart)
    is_active ecs || no_instance
    stop_ecs
    cp "$sim/running/ecs.env" "$sim/running/ecs.env.new"
    start_job "$sim/running/ecs.env.new"
    ;;
esac
