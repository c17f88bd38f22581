#!/bin/sh
# The docker client, as far as it tells about proxies.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "${0%/*}/../library/common.sh"

need_daemon() {
    is_active docker && return 0
    complain "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    return 1
}

# Sets $found to the first of the variables $1 and $2 that dockerd was started with and that is not empty.
from_environment() {
    found='' other=''
    while IFS= read -r assignment; do
        case $assignment in
        "$1="*) found=${assignment#*=} ;;
        "$2="*) other=${assignment#*=} ;;
        esac
    done <"$sim/running/docker.env"
    found=${found:-$other}
}

# Sets $found to setting $1 of the daemon: daemon.json wins (proxy-by-os 6.1).
setting() {
    from_environment "$2" "$3"
    while IFS= read -r line; do
        case $line in
        "$1 "?*) found=${line#* } ;;
        esac
    done <"$sim/running/docker.json"
}

# Hides the userinfo of a URL, as Docker does; text that is no URL stays.
mask() {
    case $found in
    *://*) ;;
    *) return 0 ;;
    esac
    rest=${found#*://}
    authority=${rest%%/*}
    case $authority in
    *@*) found=${found%%://*}://xxxxx:xxxxx@${authority##*@}${rest#"$authority"} ;;
    esac
}

info() {
    printf 'Client:\n Context:    default\n Debug Mode: false\n\nServer:\n'
    if ! is_active docker; then
        complain "ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
        complain "errors pretty printing info"
        return 1
    fi
    containers=$tasks
    is_active ecs && containers=$((containers + 1))
    printf ' Containers: %s\n  Running: %s\n  Paused: 0\n  Stopped: 0\n Images: 3\n' "$containers" "$containers"
    printf ' Server Version: %s\n Storage Driver: overlay2\n Logging Driver: json-file\n' "$docker_version"
    printf ' Cgroup Driver: cgroupfs\n Plugins:\n  Volume: amazon-ecs-volume-plugin local\n  Network: bridge host null\n'
    printf ' Docker Root Dir: /var/lib/docker\n Debug Mode: false\n'
    setting http HTTP_PROXY http_proxy
    mask
    [ -n "$found" ] && printf ' HTTP Proxy: %s\n' "$found"
    setting https HTTPS_PROXY https_proxy
    mask
    [ -n "$found" ] && printf ' HTTPS Proxy: %s\n' "$found"
    setting bypass NO_PROXY no_proxy
    [ -n "$found" ] && printf ' No Proxy: %s\n' "$found"
    printf ' Experimental: false\n Insecure Registries:\n  127.0.0.0/8\n Live Restore Enabled: false\n\n'
}

# The agent container exists from the first start of ecs on, running or exited.
inspect() {
    format='' name=''
    while [ $# -gt 0 ]; do
        case $1 in
        --format | -f)
            format=$2
            shift
            ;;
        --format=*) format=${1#--format=} ;;
        --type | -t) shift ;;
        --type=*) ;;
        *) name=$1 ;;
        esac
        shift
    done
    need_daemon || return 1
    if [ "$name" != ecs-agent ] || [ ! -f "$sim/running/agent.env" ]; then
        [ -n "$format" ] && printf '\n' || printf '[]\n'
        complain "Error: No such object: $name"
        return 1
    fi
    running=false status=exited
    is_active ecs && running=true status=running
    case $format in
    '') inspect_json ;;
    '{{range .Config.Env}}{{println .}}{{end}}')
        cat "$sim/running/agent.env"
        # The client ends every formatted object with a line end of its own.
        printf '\n'
        ;;
    '{{.State.Running}}') printf '%s\n' "$running" ;;
    '{{.State.Status}}') printf '%s\n' "$status" ;;
    *)
        complain "docker: the simulated host does not know the format $format"
        return 1
        ;;
    esac
}

inspect_json() {
    printf '[\n    {\n        "Id": "0d2b1f6c4e8a97350c6b1d2e3f4a5b6c7d8e9f00112233445566778899aabbcc",\n'
    printf '        "Path": "/agent",\n        "Args": [],\n        "State": {\n'
    printf '            "Status": "%s",\n            "Running": %s\n        },\n' "$status" "$running"
    printf '        "Name": "/ecs-agent",\n        "HostConfig": {\n            "NetworkMode": "host"\n        },\n'
    printf '        "Config": {\n            "Image": "amazon/amazon-ecs-agent:latest",\n            "Env": [\n'
    sed -e 's/[\\"]/\\&/g' -e 's/.*/                "&",/' -e '$ s/,$//' "$sim/running/agent.env"
    printf '            ],\n            "Cmd": null\n        }\n    }\n]\n'
}

version() {
    case "${1-} ${2-}" in
    '--format {{.Server.Version}}' | '-f {{.Server.Version}}')
        need_daemon || return 1
        printf '%s\n' "$docker_version"
        ;;
    '--format {{.Client.Version}}' | '-f {{.Client.Version}}') printf '%s\n' "$docker_version" ;;
    ' ')
        printf 'Client:\n Version:           %s\n\n' "$docker_version"
        need_daemon || return 1
        printf 'Server:\n Engine:\n  Version:          %s\n' "$docker_version"
        ;;
    *)
        complain "docker: the simulated host does not know: version $*"
        return 1
        ;;
    esac
}

case ${1-} in
info)
    if [ $# -gt 1 ]; then
        complain "docker: the simulated host knows info only without options"
        exit 1
    fi
    info
    ;;
inspect)
    shift
    inspect "$@"
    ;;
container)
    shift
    [ "${1-}" = inspect ] && shift
    inspect "$@"
    ;;
version)
    shift
    version "$@"
    ;;
--version | -v) printf 'Docker version %s, build a872fc2\n' "$docker_version" ;;
*)
    complain "docker: the simulated host does not know: $*"
    exit 1
    ;;
esac
