#!/bin/sh
# curl for two questions: does a proxy let me through, and does the ECS agent answer.
# shellcheck source-path=SCRIPTDIR source=common.sh
. "${0%/*}/../library/common.sh"

refuse() {
    complain "curl: the simulated host does not know: $*"
    exit 2
}

proxy='' format='' url='' output='' silent=0 show_error=0 fail=0
while [ $# -gt 0 ]; do
    case $1 in
    -x | --proxy)
        proxy=$2
        shift
        ;;
    --proxy=*) proxy=${1#--proxy=} ;;
    -w | --write-out)
        format=$2
        shift
        ;;
    -o | --output)
        output=$2
        shift
        ;;
    -m | --max-time | --connect-timeout | --noproxy | --retry | -A | --user-agent | -X | --request | -H | --header) shift ;;
    -s | --silent) silent=1 ;;
    -S | --show-error) show_error=1 ;;
    -sS | -Ss) silent=1 show_error=1 ;;
    -f | --fail) fail=1 ;;
    -sf | -fs) silent=1 fail=1 ;;
    -fsS | -sSf | -sfS | -fSs) silent=1 show_error=1 fail=1 ;;
    -I | --head | -q | --disable | -4 | --ipv4 | -k | --insecure | -g | --globoff) ;;
    -*) refuse "$1" ;;
    *)
        [ -z "$url" ] || refuse "a second URL"
        url=$1
        ;;
    esac
    shift
done

body() {
    case $output in
    '') printf '%s' "$1" ;;
    /dev/null) ;;
    *) printf '%s' "$1" >"$output" ;;
    esac
}

# Ends with exit code $1, CONNECT status $2, status $3 and, for a failure, message $4.
finish() {
    if [ -n "$format" ]; then
        text=$format
        while :; do
            case $text in
            *'%{http_connect}'*) text=${text%%'%{http_connect}'*}$2${text#*'%{http_connect}'} ;;
            *'%{http_code}'*) text=${text%%'%{http_code}'*}$3${text#*'%{http_code}'} ;;
            *'%{response_code}'*) text=${text%%'%{response_code}'*}$3${text#*'%{response_code}'} ;;
            *'%{exitcode}'*) text=${text%%'%{exitcode}'*}$1${text#*'%{exitcode}'} ;;
            *) break ;;
            esac
        done
        case $text in
        *'%{'*) refuse "-w $format" ;;
        esac
        # shellcheck disable=SC2059  # The format holds escapes such as \n; every % was refused or replaced.
        printf "$text"
    fi
    if [ "$1" -ne 0 ] && { [ "$silent" = 0 ] || [ "$show_error" = 1 ]; }; then
        complain "curl: ($1) $4"
    fi
    exit "$1"
}

# Sets $answer to the word of the host's list for proxy $1: a CONNECT status or `unreachable`.
look_up() {
    answer=unreachable
    while read -r known word; do
        case $known in
        "$1")
            answer=$word
            return 0
            ;;
        '*') answer=$word ;;
        esac
    done <"$sim/proxies"
}

introspection() {
    is_active ecs || finish 7 000 000 "Failed to connect to localhost port 51678: Connection refused"
    case $url in
    */v1/metadata)
        cluster=default
        while IFS= read -r assignment; do
            case $assignment in
            ECS_CLUSTER=*) cluster=${assignment#*=} ;;
            esac
        done <"$sim/running/agent.env"
        body "{\"Cluster\":\"$cluster\",\"ContainerInstanceArn\":\"arn:aws:ecs:eu-central-1:111122223333:container-instance/$cluster/0d2b1f6c4e8a97350c6b1d2e3f4a5b6c\",\"Version\":\"Amazon ECS Agent - v1.106.1 (*5a2c3d4e)\"}"
        ;;
    */v1/tasks) body '{"Tasks":[]}' ;;
    *)
        [ "$fail" = 1 ] && finish 22 000 404 "The requested URL returned error: 404"
        body '404 page not found'
        finish 0 000 404 ''
        ;;
    esac
    finish 0 000 200 ''
}

case $url in
http://localhost:51678/* | http://127.0.0.1:51678/*) introspection ;;
http://* | https://*) [ -n "$proxy" ] || refuse "$url without --proxy" ;;
*) refuse "URL '$url'" ;;
esac

address=${proxy#*://}
address=${address##*@}
address=${address%%/*}
look_up "$address"
case $answer in
unreachable) finish 7 000 000 "Failed to connect to ${address%:*} port ${address##*:}: Connection refused" ;;
esac
case $url:$answer in
https://*:2*) finish 0 "$answer" 200 '' ;;
https://*) finish 56 "$answer" 000 "Received HTTP code $answer from proxy after CONNECT" ;;
*) finish 0 000 "$answer" '' ;;
esac
