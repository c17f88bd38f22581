#!/bin/sh
# systemctl for the units docker and ecs. Files on disk count only after daemon-reload; a start gives the process the
# loaded Environment= overlaid by the EnvironmentFile= contents of that moment (systemd.exec(5)).
# shellcheck source-path=SCRIPTDIR source=common.sh
. "${0%/*}/../library/common.sh"

# Sets $fragment to the unit file of $1, as a path on the host; fails where there is none.
find_fragment() {
    for fragment in /etc/systemd/system /run/systemd/system /usr/lib/systemd/system; do
        fragment=$fragment/$1.service
        [ -e "$root$fragment" ] && return 0
    done
    fragment=''
    return 1
}

# Sets $copy to where the contents of file $2 (below $root) were kept when unit $1 was loaded.
name_copy() {
    copy=${2#"$root"/}
    copy=$sim/loaded/$1.files/${copy%%/*}+${2##*/}
}

# Reads unit $1 (or `manager`, the service manager's own settings) again.
# Copies of its files keep contents and times, so that `show` can tell later whether a file on disk is another one.
load_unit() {
    rm -rf "$sim/loaded/$1.files"
    mkdir -p "$sim/loaded/$1.files"
    if [ "$1" = manager ]; then
        set -- manager '' /etc/systemd/system.conf \
            "$root"/etc/systemd/system.conf.d/*.conf "$root"/run/systemd/system.conf.d/*.conf
    else
        find_fragment "$1" || :
        set -- "$1" "$1.service" "$fragment" "$root/etc/systemd/system/$1.service.d"/*.conf \
            "$root/run/systemd/system/$1.service.d"/*.conf "$root/usr/lib/systemd/system/$1.service.d"/*.conf
    fi
    loading=$1 name=$2 fragment=$3
    shift 3
    awk -v root="$root" -v unit="$name" -v fragment="$fragment" -v out="$sim/loaded/$loading" \
        -f "$library/unit.awk" -- "$@" </dev/null
    for file in "$root$fragment" "$@"; do
        [ -f "$file" ] || continue
        name_copy "$loading" "$file"
        cp -p "$file" "$copy"
    done
}

# Two writes within one tick of the clock have the same time, so the contents are compared as well.
same_file() {
    # shellcheck disable=SC3013  # dash, bash and busybox ash all have -nt and -ot.
    if [ "$1" -nt "$2" ] || [ "$1" -ot "$2" ]; then
        return 1
    fi
    exec 3<"$1" 4<"$2"
    same=0
    while :; do
        left='' right='' left_end=0 right_end=0
        IFS= read -r left <&3 || left_end=1
        IFS= read -r right <&4 || right_end=1
        if [ "$left" != "$right" ] || [ "$left_end" != "$right_end" ]; then
            same=1
            break
        fi
        [ "$left_end" = 0 ] || break
    done
    exec 3<&- 4<&-
    return "$same"
}

# Whether a file of unit $1 was added, removed or written since it was loaded.
needs_reload() {
    known=0
    for file in "$sim/loaded/$1.files"/*; do
        [ -e "$file" ] && known=$((known + 1))
    done
    find_fragment "$1" || :
    for file in "$root$fragment" "$root/etc/systemd/system/$1.service.d"/*.conf \
        "$root/run/systemd/system/$1.service.d"/*.conf "$root/usr/lib/systemd/system/$1.service.d"/*.conf; do
        [ -f "$file" ] || continue
        name_copy "$1" "$file"
        if [ ! -e "$copy" ] || ! same_file "$file" "$copy"; then
            return 0
        fi
        known=$((known - 1))
    done
    [ "$known" -ne 0 ]
}

# Whether property $1 was asked for.
wanted() {
    case ,$properties, in
    *,"$1",* | ,,) return 0 ;;
    esac
    return 1
}

property() {
    wanted "$1" || return 0
    if [ "$value_only" = 1 ]; then
        printf '%s\n' "$2"
    else
        printf '%s=%s\n' "$1" "$2"
    fi
}

# Sets $quoted to assignment $1 as `show` prints it: systemd 219 escapes blanks, later versions quote as for a shell.
quote() {
    quoted=$1
    if [ "$systemd" -lt 230 ]; then
        case $1 in
        *[\ \\]*) quoted=$(printf '%s' "$1" | sed 's/\\/\\x5c/g; s/ /\\x20/g') ;;
        esac
        return 0
    fi
    case $1 in
    *[\"\\\`\$\ \	\*\?\[\'\(\)\<\>\|\&\;\!]*) quoted=\"$(printf '%s' "$1" | sed 's/["\\`$]/\\&/g')\" ;;
    esac
}

# Sets $joined to the lines of file $1, quoted, with blanks between.
join_lines() {
    joined=''
    [ -f "$1" ] || return 0
    while IFS= read -r line; do
        quote "$line"
        joined=$joined${joined:+ }$quoted
    done <"$1"
}

# Sets $joined to the units that the loaded unit $1 names for dependency $2.
dependencies() {
    joined=''
    [ -f "$sim/loaded/$1.deps" ] || return 0
    while read -r relation other; do
        [ "$relation" = "$2" ] && joined=$joined${joined:+ }$other
    done <"$sim/loaded/$1.deps"
    return 0
}

show_environment_files() {
    wanted EnvironmentFiles || wanted EnvironmentFile || return 0
    # The name under which systemd 219 prints this property is not the one under which it is asked for.
    label=EnvironmentFiles
    [ "$systemd" -lt 230 ] && label=EnvironmentFile
    while IFS= read -r file; do
        case $file in
        -*) printf '%s=%s (ignore_errors=yes)\n' "$label" "${file#-}" ;;
        *) printf '%s=%s (ignore_errors=no)\n' "$label" "$file" ;;
        esac
    done <"$sim/loaded/$1.envfiles"
}

# Properties come out in the order of the bus, not in that of the question.
show() {
    unit=$1
    if [ ! -f "$sim/loaded/$unit.env" ]; then
        property MainPID 0
        property Environment ''
        property Id "$unit.service"
        property LoadState not-found
        property ActiveState inactive
        property SubState dead
        property FragmentPath ''
        property DropInPaths ''
        property UnitFileState ''
        property NeedDaemonReload no
        return 0
    fi
    get_state "$unit"
    property MainPID "$pid"
    if wanted Environment; then
        join_lines "$sim/loaded/$unit.env"
        property Environment "$joined"
    fi
    show_environment_files "$unit"
    property Id "$unit.service"
    for kind in Requires Wants PartOf After; do
        wanted "$kind" || continue
        dependencies "$unit" "$kind"
        property "$kind" "$joined"
    done
    property LoadState loaded
    property ActiveState "$state"
    case $state in
    active) property SubState running ;;
    failed) property SubState failed ;;
    *) property SubState dead ;;
    esac
    if wanted FragmentPath; then
        find_fragment "$unit" || :
        property FragmentPath "$fragment"
    fi
    if wanted DropInPaths; then
        join_lines "$sim/loaded/$unit.dropins"
        property DropInPaths "$joined"
    fi
    property UnitFileState enabled
    if wanted NeedDaemonReload; then
        if needs_reload "$unit"; then property NeedDaemonReload yes; else property NeedDaemonReload no; fi
    fi
}

# Without a unit, `show` tells about the service manager itself.
show_manager() {
    property Version "systemd $systemd"
    if wanted Environment; then
        join_lines "$sim/loaded/manager.env"
        property Environment "$joined"
    fi
}

# Leaves in $sim/running/$1.env.new what a process of unit $1 gets when it starts now.
process_environment() {
    awk -v root="$root" -v manager="$sim/loaded/manager.env" -v unit="$sim/loaded/$1" \
        -f "$library/environment.awk" </dev/null >"$sim/running/$1.env.new"
}

start_unit() {
    is_active "$1" && return 0
    # ecs wants docker, so a start of ecs pulls docker in. The other way round nothing happens.
    if [ "$1" = ecs ] && ! is_active docker; then
        start_unit docker || :
    fi
    process_environment "$1"
    case $1 in
    docker) start_docker "$sim/running/docker.env.new" ;;
    ecs) start_ecs "$sim/running/ecs.env.new" ;;
    esac
}

# A stop of docker takes along the units that say so; without such a word the agent container dies and ecs fails.
stop_unit() {
    if [ "$1" = docker ] && is_active ecs; then
        if follows_docker; then
            stop_ecs
        else
            end_process "$pid"
            put_state ecs failed 0
        fi
    fi
    case $1 in
    docker) stop_docker ;;
    ecs) stop_ecs ;;
    esac
}

follows_docker() {
    dependencies ecs PartOf
    case " $joined " in *' docker.service '*) return 0 ;; esac
    dependencies ecs Requires
    case " $joined " in *' docker.service '*) return 0 ;; esac
    return 1
}

restart_unit() {
    again=0
    [ "$1" = docker ] && is_active ecs && follows_docker && again=1
    stop_unit "$1"
    result=0
    start_unit "$1" || result=1
    if [ "$again" = 1 ] && is_active docker; then
        start_unit ecs || :
    elif [ "$again" = 1 ]; then
        put_state ecs failed 0
    fi
    return "$result"
}

change() {
    verb=$1 unit=$2
    if [ ! -f "$sim/loaded/$unit.env" ]; then
        if [ "$systemd" -lt 230 ]; then
            complain "Failed to $verb $unit.service: Unit not found."
        else
            complain "Failed to $verb $unit.service: Unit $unit.service not found."
        fi
        return 5
    fi
    if [ "$verb" != stop ] && needs_reload "$unit"; then
        complain "Warning: The unit file, source configuration file or drop-ins of $unit.service changed on disk." \
            "Run 'systemctl daemon-reload' to reload units."
    fi
    failed=0
    case $verb in
    start) start_unit "$unit" || failed=1 ;;
    stop) stop_unit "$unit" ;;
    restart) restart_unit "$unit" || failed=1 ;;
    reset-failed)
        get_state "$unit"
        [ "$state" = failed ] && put_state "$unit" inactive 0
        ;;
    esac
    if [ "$failed" = 1 ]; then
        complain "Job for $unit.service failed because the control process exited with error code." \
            "See \"systemctl status $unit.service\" and \"journalctl -xe\" for details."
        return 1
    fi
}

print_state() {
    if [ -f "$sim/loaded/$1.env" ]; then
        get_state "$1"
    else
        state=inactive
        [ "$systemd" -lt 230 ] && state=unknown
    fi
    [ "$quiet" = 1 ] || printf '%s\n' "$state"
}

daemon_reload() {
    count daemon-reloads 1
    load_unit manager
    for unit in docker ecs; do
        if find_fragment "$unit"; then
            load_unit "$unit"
        else
            rm -rf "$sim/loaded/$unit".*
        fi
    done
}

cat_unit() {
    if ! find_fragment "$1"; then
        complain "No files found for $1.service."
        return 1
    fi
    printf '# %s\n' "$fragment"
    cat "$root$fragment"
    while IFS= read -r file; do
        printf '\n# %s\n' "$file"
        cat "$root$file"
    done <"$sim/loaded/$1.dropins"
}

verb='' units='' properties='' value_only=0 quiet=0
while [ $# -gt 0 ]; do
    case $1 in
    --property=*) properties=$properties${properties:+,}${1#--property=} ;;
    -p | --property)
        shift
        properties=$properties${properties:+,}$1
        ;;
    -p*) properties=$properties${properties:+,}${1#-p} ;;
    --value)
        if [ "$systemd" -lt 230 ]; then
            complain "systemctl: unrecognized option '--value'"
            exit 1
        fi
        value_only=1
        ;;
    -q | --quiet) quiet=1 ;;
    --no-pager | --full | -l | --no-block | --no-ask-password | --system) ;;
    --version) verb=version ;;
    -*)
        complain "systemctl: option '$1' is not known to the simulated host"
        exit 1
        ;;
    *)
        if [ -z "$verb" ]; then
            verb=$1
        else
            units="$units ${1%.service}"
        fi
        ;;
    esac
    shift
done

code=0
case $verb in
version) printf 'systemd %s\n' "$systemd" ;;
daemon-reload) daemon_reload ;;
show-environment) cat "$sim/loaded/manager.env" ;;
show)
    [ -n "$units" ] || show_manager
    blank=''
    for unit in $units; do
        printf '%s' "$blank"
        show "$unit"
        blank='
'
    done
    ;;
cat)
    for unit in $units; do cat_unit "$unit" || code=1; done
    ;;
start | stop | restart | reset-failed)
    for unit in $units; do change "$verb" "$unit" || code=$?; done
    ;;
is-active)
    code=3
    for unit in $units; do
        print_state "$unit"
        [ "$state" = active ] && code=0
    done
    ;;
is-failed)
    code=1
    for unit in $units; do
        print_state "$unit"
        [ "$state" = failed ] && code=0
    done
    ;;
is-enabled)
    for unit in $units; do
        if find_fragment "$unit"; then
            [ "$quiet" = 1 ] || printf 'enabled\n'
        else
            complain "Failed to get unit file state for $unit.service: No such file or directory"
            code=1
        fi
    done
    ;;
*)
    complain "Unknown operation '$verb'."
    code=1
    ;;
esac
exit "$code"
