# Sourced by every shim of a simulated host: where its state is, and what starting and stopping its two services does.
#
# The state is below $PROXYFLEET_ROOT/.sim, out of the operator's sight:
#   host              what the host is (systemd version, Docker version, number of tasks)
#   state/SERVICE     two lines that are sourced: state=active|inactive|failed, pid=N
#   loaded/UNIT.*     what the service manager knows of a unit since its last daemon-reload
#   running/*         what the processes were started with, one assignment a line
#   count/*           counters; fail/SERVICE: a fault to come; proxies: which proxies answer, and how
#   disk-full         is there where nothing can be written; reboot-after: so many calls of the shims to the next reboot
#
# Hundreds of hosts share few cores, so queries use shell builtins alone and a start needs about ten processes.
# shellcheck shell=sh
set -u
LC_ALL=C
export LC_ALL

root=${PROXYFLEET_ROOT:?names no simulated host}
sim=$root/.sim
library=${0%/*}/../library

# shellcheck disable=SC2034  # The shims use them.
systemd=0 docker_version='' tasks=0
# shellcheck source=/dev/null
. "$sim/host"

# The limit that stands for a full disk is not for what the simulation keeps.
# shellcheck disable=SC3045  # dash, bash and busybox ash all have -S.
[ ! -f "$sim/disk-full" ] || ulimit -S -f unlimited

# Where a reboot is due, nothing goes on any more until somebody has pulled the plug.
if { read -r steps <"$sim/reboot-after"; } 2>/dev/null; then
    steps=$((steps - 1))
    printf '%s\n' "$steps" >"$sim/reboot-after"
    if [ "$steps" -le 0 ]; then
        : >"$sim/rebooting"
        while :; do sleep 1; done
    fi
fi

complain() {
    printf '%s\n' "$*" >&2
}

# Sets $state and $pid of service $1.
get_state() {
    state=inactive pid=0
    # shellcheck source=/dev/null
    . "$sim/state/$1"
}

# Readers never see half a file.
put_state() {
    printf 'state=%s\npid=%s\n' "$2" "$3" >"$sim/state/$1.new"
    mv -f "$sim/state/$1.new" "$sim/state/$1"
}

is_active() {
    get_state "$1"
    [ "$state" = active ]
}

# Adds $2 to counter $1.
count() {
    number=0
    read -r number <"$sim/count/$1" || :
    printf '%s\n' "$((number + $2))" >"$sim/count/$1"
}

# Puts a new process with the environment in file $1 into /proc; its id is in $pid.
begin_process() {
    read -r pid <"$sim/pid"
    pid=$((pid + 7))
    printf '%s\n' "$pid" >"$sim/pid"
    mkdir -p "$root/proc/$pid"
    while IFS= read -r assignment; do
        printf '%s\000' "$assignment"
    done <"$1" >"$root/proc/$pid/environ"
    chmod 0400 "$root/proc/$pid/environ"
}

end_process() {
    [ "$1" -gt 0 ] && rm -rf "${root:?}/proc/$1"
}

# Whether the next start of service $1 fails. The other arguments are files with the environment it would get.
# A fault says in its first line when the service fails, and in its second line, if there is one, which text the
# environment must contain for that. `changed`: where the environment is another one than at the last start that went well,
# which is in the files without `.new`. Sets $fault to `start` or `late`, or to nothing.
find_fault() {
    fault='' text=''
    [ -f "$sim/fail/$1" ] || return 0
    { read -r fault && IFS= read -r text; } <"$sim/fail/$1" || :
    if [ "$fault" = changed ]; then
        shift
        fault=''
        for environment; do
            [ "$(sort "$environment")" = "$(sort "${environment%.new}")" ] || fault=start
        done
        return 0
    fi
    [ -n "$text" ] || return 0
    shift
    for environment; do
        while IFS= read -r assignment; do
            case $assignment in
            *"$text"*) return 0 ;;
            esac
        done <"$environment"
    done
    fault=''
}

# Stops dockerd, and every task with it: no host keeps them alive with live-restore.
stop_docker() {
    is_active docker || { put_state docker inactive 0; return 0; }
    end_process "$pid"
    rm -f "$root/var/run/docker.pid"
    put_state docker inactive 0
    count tasks-killed "$tasks"
}

# Starts dockerd with the environment in file $1.
start_docker() {
    count docker.starts 1
    : >"$sim/running/docker.json.new"
    if [ -e "$root/etc/docker/daemon.json" ] &&
        ! awk -f "$library/daemon-json.awk" <"$root/etc/docker/daemon.json" >"$sim/running/docker.json.new"; then
        put_state docker failed 0
        return 1
    fi
    # Before Engine 23 `proxies` is an unknown directive, which dockerd refuses.
    if [ -s "$sim/running/docker.json.new" ] && [ "${docker_version%%.*}" -lt 23 ]; then
        put_state docker failed 0
        return 1
    fi
    find_fault docker "$1" "$sim/running/docker.json.new"
    if [ "$fault" = start ]; then
        put_state docker failed 0
        return 1
    fi
    mv -f "$sim/running/docker.json.new" "$sim/running/docker.json"
    mv -f "$1" "$sim/running/docker.env"
    if [ "$fault" = late ]; then
        put_state docker failed 0
        return 0
    fi
    begin_process "$sim/running/docker.env"
    printf '%s' "$pid" >"$root/var/run/docker.pid"
    put_state docker active "$pid"
}

# Stops ecs-init and the agent container, which stays behind, exited, until the next start replaces it.
stop_ecs() {
    get_state ecs
    end_process "$pid"
    put_state ecs inactive 0
}

# Starts ecs-init with the environment in file $1. It creates a new agent container from ecs.config.
start_ecs() {
    count ecs.starts 1
    if ! is_active docker; then
        put_state ecs failed 0
        return 1
    fi
    awk -v root="$root" -f "$library/agent.awk" >"$sim/running/agent.env.new" </dev/null
    find_fault ecs "$1" "$sim/running/agent.env.new"
    if [ "$fault" = start ]; then
        put_state ecs failed 0
        return 1
    fi
    mv -f "$sim/running/agent.env.new" "$sim/running/agent.env"
    mv -f "$1" "$sim/running/ecs.env"
    if [ "$fault" = late ]; then
        put_state ecs failed 0
        return 0
    fi
    begin_process "$sim/running/ecs.env"
    put_state ecs active "$pid"
}
