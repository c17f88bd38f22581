# Services: what the service manager says of them.

# Asks about every service; sets STATE_<service>, PID_<service> and LOADED_<service>.
ask_services() {
    for as_service in $SERVICES; do
        ask_service "$as_service"
        eval "STATE_$as_service=\$STATE PID_$as_service=\$PID LOADED_$as_service=\$LOADED"
    done
}

# Sets ANSWER to the variable $1 (STATE, PID or LOADED) of the service $2, `-` for none, as ask_services found it.
answer() {
    ANSWER=''
    [ "$2" = - ] || eval "ANSWER=\${$1_$2:-}"
}

# Sets STATE (active, inactive, failed, absent), PID, and LOADED, the environment that systemd would start $1 with.
# shellcheck disable=SC2034  # ask_services reads them by name.
ask_service() {
    STATE=absent PID='' LOADED=''
    case $INIT:$1 in
        systemd:*) ask_systemd "$1" ;;
        upstart:docker) ask_sysvinit "$1" ;;
        *) ask_upstart "$1" ;;
    esac
}

# ask_service for systemd; one call, and no --value, which systemd 219 does not have.
# shellcheck disable=SC2034
ask_systemd() {
    sd_load='' sd_sub=''
    sd_text=$(systemctl show "$1" --property=LoadState,ActiveState,SubState,MainPID,Environment 2>/dev/null)
    sd_ifs=$IFS
    IFS=$NL
    set -f
    for sd_line in $sd_text; do
        case $sd_line in
            LoadState=*) sd_load=${sd_line#*=} ;;
            ActiveState=*) STATE=${sd_line#*=} ;;
            SubState=*) sd_sub=${sd_line#*=} ;;
            MainPID=*) PID=${sd_line#*=} ;;
            Environment=*) LOADED=${sd_line#*=} ;;
        esac
    done
    set +f
    IFS=$sd_ifs
    case $sd_load:$STATE:$sd_sub in
        not-found:*) STATE=absent ;;
        *:active:* | *:reloading:*) STATE=active ;;
        # Between two attempts of Restart=on-failure.
        *:failed:* | *:activating:auto-restart | :*) STATE=failed ;;
        *) STATE=inactive ;;
    esac
    [ "$PID" != 0 ] || PID=''
}

# ask_service for a sysvinit script: the exit status is that of the LSB.
ask_sysvinit() {
    sv_text=$(service "$1" status 2>&1)
    case $?:$sv_text in
        0:*) STATE=active ;;
        *:*nrecognized*) STATE=absent ;;
        1:* | 2:*) STATE=failed ;;
        *) STATE=inactive ;;
    esac
}

# ask_service for upstart: `ecs start/running, process 4711`.
ask_upstart() {
    us_text=$(initctl status "$1" 2>/dev/null) || return 0
    STATE=inactive
    case $us_text in
        *start/running*) STATE=active ;;
    esac
    case $us_text in
        *'start/running, process '*)
            PID=${us_text#*start/running, process }
            PID=${PID%%[!0-9]*}
            ;;
    esac
}
