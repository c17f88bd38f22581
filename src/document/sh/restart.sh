# Starting services. Only the scripts that write have this part.

# An option that tells systemctl not to wait until what it starts is up; empty: it waits.
WAITING=''

# Starts the service $1 again. No pipe of ours may stay open in what it starts, and nothing may take the whole time limit.
restart_service() {
    # shellcheck disable=SC2086  # Nothing where it is empty.
    case $INIT:$1 in
        systemd:*) quietly 90 systemctl $WAITING restart "$1" ;;
        upstart:docker) quietly 90 service "$1" restart ;;
        *)
            # `initctl restart` keeps the old definition of the job and with it the old override.
            quietly 60 initctl stop "$1"
            quietly 60 initctl start "$1"
            ;;
    esac
}

# Makes sure that the service $1 runs; leaves it alone if it does.
start_service() {
    # shellcheck disable=SC2086  # Nothing where it is empty.
    case $INIT:$1 in
        systemd:*) quietly 60 systemctl $WAITING start "$1" ;;
        upstart:docker) quietly 60 service "$1" start ;;
        *)
            ask_service "$1"
            [ "$STATE" = active ] || quietly 60 initctl start "$1"
            ;;
    esac
}

# Lets the service manager read its definitions again.
reload_definitions() {
    case $INIT in
        systemd) quietly 60 systemctl daemon-reload ;;
        # Upstart watches its folder; this only makes sure, so it may fail.
        *) quietly 60 initctl reload-configuration || : ;;
    esac
}

# Takes the mark of a failed or too often started service off $1, so that it can be started.
forget_failure() {
    case $INIT in
        systemd) quietly 60 systemctl reset-failed "$1" || : ;;
    esac
}

# Runs a command without input and output, for at most $1 seconds. The redirections belong to the command alone: around a
# function of the shell they would also swallow what a trap prints.
quietly() {
    timeout "$@" >/dev/null 2>&1 </dev/null
}
