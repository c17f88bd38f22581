#!/bin/sh
# sysvinit's service for docker on Amazon Linux 1. Its script sources /etc/sysconfig/docker, so only exported variables
# reach dockerd. A restart of docker leaves ecs stopped (proxy-by-os 13.2).
# shellcheck source-path=SCRIPTDIR source=common.sh
. "${0%/*}/../library/common.sh"

stop() {
    printf 'Stopping docker: '
    if is_active docker; then
        stop_docker
        printf '                                          [  OK  ]\n'
        if is_active ecs; then
            stop_ecs
        fi
    else
        printf '                                          [FAILED]\n'
    fi
}

start() {
    is_active docker && return 0
    printf 'Starting docker: '
    environment=$sim/running/docker.env.new
    # `service` cleans the environment; what the shell itself adds is no variable of the script.
    # shellcheck disable=SC2016  # The inner shell expands $0.
    if env -i PATH=/sbin:/usr/sbin:/bin:/usr/bin TERM=dumb sh -c \
        'if [ -e "$0" ]; then . "$0"; fi; env' "$root/etc/sysconfig/docker" 2>/dev/null |
        grep -v -e '^PWD=' -e '^OLDPWD=' -e '^SHLVL=' -e '^_=' >"$environment" && start_docker "$environment"; then
        printf '                                          [  OK  ]\n'
        return 0
    fi
    put_state docker failed 0
    printf '                                          [FAILED]\n'
    return 1
}

service=${1-} verb=${2-}
if [ "$service" != docker ] || [ ! -e "$root/etc/init.d/docker" ]; then
    complain "$service: unrecognized service"
    exit 1
fi
case $verb in
start) start ;;
stop) stop ;;
restart)
    stop
    start
    ;;
status)
    get_state docker
    case $state in
    active) printf 'docker (pid  %s) is running...\n' "$pid" ;;
    *)
        printf 'docker is stopped\n'
        exit 3
        ;;
    esac
    ;;
*)
    complain "Usage: /etc/init.d/docker {start|stop|status|restart}"
    exit 2
    ;;
esac
