# What every script begins with: a clean environment, the system it runs on, and helpers for text.

set -u
umask 022
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
export LC_ALL PATH
# Scripts inherit the SSM agent's environment, its own proxy included.
unset http_proxy https_proxy no_proxy all_proxy ftp_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY FTP_PROXY CDPATH

# Every path begins with this folder, which is empty outside of tests and of the embedded fleet.
ROOT=${PROXYFLEET_ROOT:-}
# Where proxyfleet keeps its lock, its record of what it wrote, and backups.
HOME_DIR=$ROOT/var/lib/proxyfleet
# The record of what proxyfleet wrote, one setting a line, separated by tabs: component, key, policy, `created` where the
# file is ours, state of the setting before us (set, malformed, unset), value written, value before us, line before us.
RECORD=$HOME_DIR/managed
NL='
'
TAB=$(printf '\t')

# Sets SYSTEM_ID and SYSTEM_VERSION from os-release; both are empty where it cannot be read.
read_system() {
    SYSTEM_ID='' SYSTEM_VERSION=''
    [ -r "$ROOT/etc/os-release" ] || return 0
    while IFS= read -r rs_line || [ -n "$rs_line" ]; do
        rs_value=${rs_line#*=}
        rs_value=${rs_value#[\"\']}
        rs_value=${rs_value%[\"\']}
        case $rs_line in
            ID=*) SYSTEM_ID=$rs_value ;;
            VERSION_ID=*) SYSTEM_VERSION=$rs_value ;;
        esac
    done <"$ROOT/etc/os-release"
}

# Whether the word $1 is in the list $2 of words separated by blanks.
has_word() {
    case " $2 " in
        *" $1 "*) return 0 ;;
    esac
    return 1
}

# Sets RESOLVED to the path behind $1, symbolic links followed inside ROOT; fails where they lead nowhere or in a circle.
resolve_path() {
    RESOLVED=$1
    rp_hops=0
    while [ -L "$ROOT$RESOLVED" ]; do
        rp_hops=$((rp_hops + 1))
        [ "$rp_hops" -le 20 ] || return 1
        rp_link=$(readlink "$ROOT$RESOLVED") || return 1
        case $rp_link in
            /*) RESOLVED=$rp_link ;;
            *) RESOLVED=${RESOLVED%/*}/$rp_link ;;
        esac
    done
    [ "$rp_hops" -eq 0 ] || [ -e "$ROOT$RESOLVED" ]
}

# The text of stdin with every byte that is not printable ASCII replaced by `?`.
printable() {
    tr -c '\n -~' '?'
}

# An awk function for fields separated by tabs.
# shellcheck disable=SC2016  # A program for awk.
AWK_TEXT='
    # What follows the first `count` tabs of a text.
    function tail(text, count) {
        for (; count > 0; count--) text = substr(text, index(text, "\t") + 1)
        return text
    }
'

#@catalogue@
