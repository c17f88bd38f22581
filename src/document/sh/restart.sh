# Starting services. Only the scripts that write have this part.

# Starts the service $1 again. No pipe of ours may stay open in what it starts, and nothing may take the whole time limit.
restart_service() {
    case $INIT:$1 in
        systemd:*) timeout 90 systemctl restart "$1" ;;
        upstart:docker) timeout 90 service "$1" restart ;;
        *)
            # `initctl restart` keeps the old definition of the job and with it the old override.
            timeout 60 initctl stop "$1"
            timeout 60 initctl start "$1"
            ;;
    esac >/dev/null 2>&1 </dev/null
}

# Makes sure that the service $1 runs; leaves it alone if it does.
start_service() {
    case $INIT:$1 in
        systemd:*) timeout 60 systemctl start "$1" ;;
        upstart:docker) timeout 60 service "$1" start ;;
        *)
            ask_service "$1"
            [ "$STATE" = active ] || timeout 60 initctl start "$1"
            ;;
    esac >/dev/null 2>&1 </dev/null
}

# Lets the service manager read its definitions again.
reload_definitions() {
    case $INIT in
        systemd) systemctl daemon-reload ;;
        # Upstart watches its folder; this only makes sure, so it may fail.
        *) initctl reload-configuration || : ;;
    esac >/dev/null 2>&1
}

# Takes the mark of a failed or too often started service off $1, so that it can be started.
forget_failure() {
    case $INIT in
        systemd) systemctl reset-failed "$1" >/dev/null 2>&1 || : ;;
    esac
}
