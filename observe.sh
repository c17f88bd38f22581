#!/bin/sh
set -u
umask 022
LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
export LC_ALL PATH
unset http_proxy https_proxy no_proxy all_proxy ftp_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY FTP_PROXY CDPATH
ROOT=${PROXYFLEET_ROOT:-}
HOME_DIR=$ROOT/var/lib/proxyfleet
NL='
'
TAB=$(printf '\t')
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
has_word() {
    case " $2 " in
        *" $1 "*) return 0 ;;
    esac
    return 1
}
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
printable() {
    tr -c '\n -~' '?'
}
# shellcheck disable=SC2016  # A program for awk.
AWK_TEXT='
    function normal(list,   parts, count, i, j, entry, sorted, total, text) {
        count = split(tolower(list), parts, ",")
        total = 0
        for (i = 1; i <= count; i++) {
            entry = parts[i]
            gsub(/^[ \t]+|[ \t]+$/, "", entry)
            if (entry == "") continue
            for (j = total; j >= 1 && sorted[j] > entry; j--) sorted[j + 1] = sorted[j]
            if (j >= 1 && sorted[j] == entry) {
                for (; j < total; j++) sorted[j + 1] = sorted[j + 2]
                continue
            }
            sorted[j + 1] = entry
            total++
        }
        text = ""
        for (i = 1; i <= total; i++) text = text (i > 1 ? "," : "") sorted[i]
        return text
    }
    function same(kind, left, right) {
        return (left "") == (right "") || (kind == "list" && normal(left) == normal(right))
    }
    function tail(text, count) {
        for (; count > 0; count--) text = substr(text, index(text, "\t") + 1)
        return text
    }
'
SERVICES='docker ecs'
DOCKER_SOCKET=/var/run/docker.sock
HEADER='# Managed by proxyfleet. Its settings are kept equal to a policy; other lines are left alone.'
find_platform() {
 case $SYSTEM_ID:$SYSTEM_VERSION in
  amzn:2018.03 | amzn:2018.03.*)
   PLATFORM=amazon-linux-1 INIT=upstart
   ;;
  amzn:2 | amzn:2.*)
   PLATFORM=amazon-linux-2 INIT=systemd
   ;;
  amzn:2023 | amzn:2023.*)
   PLATFORM=amazon-linux-2023 INIT=systemd
   ;;
  *) return 1 ;;
 esac
}
each_component() {
 case $PLATFORM in
  amazon-linux-1)
   "$1" ecs-agent ecs env-file - - container /etc/ecs/ecs.config HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass-socket
   "$1" ecs-init ecs upstart header - process /etc/init/ecs.override HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass-socket
   "$1" docker docker shell-export - - docker-info /etc/sysconfig/docker HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass
   "$1" package-manager - ini - - none /etc/yum.conf proxy:url:http
   ;;
  amazon-linux-2)
   "$1" ecs-agent ecs env-file - - container /etc/ecs/ecs.config HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass-socket
   "$1" ecs-init ecs systemd header loaded process /etc/systemd/system/ecs.service.d/http-proxy.conf HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass-socket
   "$1" docker docker systemd header loaded docker-info /etc/systemd/system/docker.service.d/http-proxy.conf HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass
   "$1" package-manager - ini - - none /etc/yum.conf proxy:url:http
   ;;
  amazon-linux-2023)
   "$1" ecs-agent ecs env-file - - container /etc/ecs/ecs.config HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass-socket
   "$1" ecs-init ecs systemd header loaded process /etc/systemd/system/ecs.service.d/http-proxy.conf HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass-socket
   "$1" docker docker systemd header loaded docker-info /etc/systemd/system/docker.service.d/http-proxy.conf HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass
   "$1" package-manager - ini - - none /etc/dnf/dnf.conf proxy:url:http
   ;;
 esac
}
each_rival() {
 case $PLATFORM in
  amazon-linux-1)
   "$1" docker daemon-json /etc/docker/daemon.json
   ;;
  amazon-linux-2)
   "$1" ecs-init drop-ins /etc/systemd/system/ecs.service.d
   "$1" ecs-init environment-file /etc/ecs/ecs.config
   "$1" ecs-init default-environment /etc/systemd/system.conf.d
   "$1" docker drop-ins /etc/systemd/system/docker.service.d
   "$1" docker environment-file /etc/sysconfig/docker
   "$1" docker inert-exports /etc/sysconfig/docker
   "$1" docker daemon-json /etc/docker/daemon.json
   "$1" docker default-environment /etc/systemd/system.conf.d
   ;;
  amazon-linux-2023)
   "$1" ecs-init drop-ins /etc/systemd/system/ecs.service.d
   "$1" ecs-init environment-file /etc/ecs/ecs.config
   "$1" ecs-init default-environment /etc/systemd/system.conf.d
   "$1" docker drop-ins /etc/systemd/system/docker.service.d
   "$1" docker environment-file /etc/sysconfig/docker
   "$1" docker inert-exports /etc/sysconfig/docker
   "$1" docker daemon-json /etc/docker/daemon.json
   "$1" docker default-environment /etc/systemd/system.conf.d
   ;;
 esac
}
CARRIER_AWK='
function ltrim(s) { sub(/^[ \t]+/, "", s); return s }
function trim(s) { sub(/[ \t]+$/, "", s); return ltrim(s) }
function has(s, set,   i) {
  for (i = length(s); i > 0; i--) if (index(set, substr(s, i, 1))) return 1
  return 0
}
function unsupported(reason) {
  if (mode == "read") reason = "unsupported " reason
  if (mode == "read" || mode == "edit") print reason
  exit 3
}
function normal(list,   count, entries, sorted, m, i, j, k, e) {
  count = split(list, entries, ","); m = 0
  for (i = 1; i <= count; i++) {
    e = trim(tolower(entries[i])) ""
    if (e == "") continue
    for (j = m; j > 0 && sorted[j] > e; j--) ;
    if (j > 0 && sorted[j] == e) continue
    for (k = m++; k > j; k--) sorted[k + 1] = sorted[k]
    sorted[j + 1] = e
  }
  e = ""
  for (i = 1; i <= m; i++) e = e (i > 1 ? "," : "") sorted[i]
  return e
}
function same(kind, a, b) { return (a "") == (b "") || (kind == "list" && normal(a) == normal(b)) }
function load(   s, i, size) {
  n = size = 0
  while ((getline s) > 0) {
    size += length(s) + 1
    if (size - 2 > 262144) unsupported("too-large")
    T[++n] = s ""
  }
  if (!n || T[n] !~ /\002$/) exit 2
  T[n] = substr(T[n], 1, length(T[n]) - 1)
  for (i = 1; i <= n; i++) {
    E[i] = i < n ? "\n" : ""
    if (i < n && T[i] ~ /\r$/) { E[i] = "\r\n"; T[i] = substr(T[i], 1, length(T[i]) - 1) }
  }
  if (T[n] == "") n--
  style = n && E[1] == "\r\n" ? "\r\n" : "\n"
  for (i = 1; i <= n; i++) {
    if (T[i] ~ /[\001\r]/) unsupported("not-text")
    O[i] = T[i] E[i]
  }
  old = n
}
function words(s, separators, comments,   i, c, w, inside) {
  nw = 0; quoted = w = ""; inside = 0
  for (i = 1; i <= length(s); i++) {
    c = substr(s, i, 1)
    if (quoted != "") {
      if (c == quoted) { quoted = ""; continue }
      if (c == "\\" && quoted == "\"") c = c substr(s, ++i, 1)
    } else if (index(separators, c)) {
      if (inside) W[++nw] = w
      w = ""; inside = 0
      if (c == "{") depth++
      if (c == "}") depth--
      continue
    } else if (c == "#" && !inside && comments) break
    else {
      inside = 1
      if (c == "\"" || c == "\047") { quoted = c; continue }
      if (c == "\\") c = c substr(s, ++i, 1)
    }
    if (length(w) < 256) w = w c
  }
  if (inside) W[++nw] = w
}
function among(assign,   i) {
  for (i = nw; i > 0; i--) if (index(W[i], assign) == 1) { value = substr(W[i], length(assign) + 1); return 1 }
  return 0
}
function within(s,   q) {
  q = substr(s, 1, 1); inner = substr(s, 2, length(s) - 2)
  return length(s) > 1 && (q == "\"" || q == "\047") && substr(s, length(s)) == q && !index(inner, q)
}
function plain(s, assign) {
  if (within(s) && index(inner, assign) == 1) {
    value = substr(inner, length(assign) + 1)
    return !has(inner, "\"\047\\$\140")
  }
  if (index(s, assign) != 1) return 0
  value = substr(s, length(assign) + 1)
  if (within(value)) { value = inner; return !has(inner, "\"\047\\$\140") }
  return !has(value, " \t\"\047\\$\140#;&|<>(){}~")
}
function look(s, t, key,   assign, r, v, whole) {
  assign = key "="; ok = 1
  if (syntax == "env-file") {
    if (index(t, key) != 1) return ""
    r = substr(t, length(key) + 1); v = ltrim(r)
    if (substr(v, 1, 1) != "=") return ""
    value = trim(substr(v, 2)); ok = v == r && value == substr(v, 2)
    return "s"
  }
  if (syntax == "ini") {
    if (index(tolower(s), tolower(key)) != 1) return ""
    r = ltrim(substr(s, length(key) + 1))
    if (r !~ /^[=:]/) return ""
    value = trim(substr(r, 2)); ok = index(s, key) == 1
    if (value !~ /[ \t]/) return "s"
    sub(/[ \t].*/, "", value)
    return "c"
  }
  if (syntax == "systemd") {
    if (index(t, "Environment") != 1) return ""
    r = ltrim(substr(t, 12))
    if (substr(r, 1, 1) != "=") return ""
    r = ltrim(substr(r, 2))
    if (r == "") return "r"
    if (!index(r, assign)) return ""
    words(r, " \t", 0)
    if (!among(assign)) return ""
    whole = within(r); v = whole ? inner : r
    if (nw > 1 || quoted != "" || index(v, assign) != 1 || (!whole && has(v, " \t"))) return "c"
    value = substr(v, length(assign) + 1); r = value
    gsub(/%%/, "", r); ok = !index(r, "%") && !index(v, "\\") && (whole || !has(v, "\"\047"))
    if (ok) gsub(/%%/, "%", value)
    return "s"
  }
  if (!index(t, assign)) return ""
  if (syntax == "upstart") {
    if (t !~ /^env[ \t]/) return ""
    r = ltrim(substr(t, 4))
  } else if (t ~ /^export[ \t]/) r = ltrim(substr(t, 7))
  else { r = t; ok = 0 }
  if (plain(r, assign) && !blocked && (ok || index(r, assign) == 1)) return "s"
  words(t, separators, 1)
  return among(assign) ? "c" : ""
}
function scan(key,   i, j, s, t, f, r, inside, script, continued, before) {
  ns = last = depth = script = continued = 0; bad = ""
  inside = syntax != "systemd" && syntax != "ini"; place = inside ? n : -1
  separators = syntax == "upstart" ? " \t" : " \t;&|(){}"
  for (i = 1; i <= n && bad == ""; i++) {
    s = T[i]; t = trim(s); blocked = 0
    if (syntax == "systemd" || syntax == "ini") {
      f = syntax == "ini" ? s : t
      if (syntax == "systemd" && s ~ /\\$/) { bad = "continued-line"; break }
      if (substr(f, 1, 1) == "[") {
        inside = syntax == "ini" ? index(s, "[main]") == 1 : t == "[Service]"
        continued = 0
        if (inside) place = i
        continue
      }
      if (!inside || t == "") continue
      place = i
      if (f ~ /^[#;]/) continue
      if (syntax == "ini" && s != ltrim(s)) {
        if (continued) bad = "continued-value"
        continue
      }
    } else if (syntax == "env-file") {
      if (s ~ /\\$/) bad = "continued-line"
    } else {
      if (syntax == "upstart") {
        r = t; sub(/[ \t]*#.*/, "", r); gsub(/[ \t]+/, " ", r)
        if (script) { script = r != "end script"; continue }
        sub(/^(pre|post)-(start|stop) /, "", r)
        if (r == "script") { script = 1; continue }
      }
      if (t ~ /^#/) continue
      before = depth
      words(t, separators, 1)
      if (s ~ /\\$/) bad = "continued-line"
      else if (syntax == "shell-export") {
        for (j = 1; j <= nw; j++) {
          if (W[j] == "if" || W[j] == "do" || W[j] == "case") depth++
          if (W[j] == "fi" || W[j] == "done" || W[j] == "esac") depth--
        }
        blocked = before || depth
        if (t ~ /(&&|\|)$/) bad = "continued-line"
        else if (index(t, "<<")) bad = "here-document"
        else if (depth < 0) bad = "continued-value"
      }
      if (bad == "" && quoted != "") bad = "continued-value"
    }
    if (bad != "") break
    before = depth; f = look(s, t, key); depth = before
    continued = f == "s" || f == "c"
    if (f == "r") last = 0
    else if (f != "") { last = i; form = f; well = ok; current = value; if (f == "s") S[++ns] = i }
  }
  if (bad == "" && (script || depth)) bad = "continued-value"
}
function insert(at, text,   i) {
  for (i = n++; i > at; i--) { T[i + 1] = T[i]; E[i + 1] = E[i] }
  T[at + 1] = text; E[at + 1] = style
  if (at && E[at] == "") E[at] = style
}
function drop(keep,   i, j, m) {
  m = 0; j = 1
  for (i = 1; i <= n; i++) {
    if (j <= ns && S[j] == i) { j++; if (i != keep) continue }
    T[++m] = T[i]; E[m] = E[i]
  }
  n = m
}
function add(key, text) {
  scan(key)
  if (place < 0 && syntax == "ini") { insert(0, "[main]"); place = 1 }
  else if (place < 0) { insert(n, "[Service]"); place = n }
  insert(place, text)
}
function render(key, v) {
  if (syntax == "systemd") { gsub(/%/, "%%", v); return "Environment=\"" key "=" v "\"" }
  return (syntax == "upstart" ? "env " : syntax == "shell-export" ? "export " : "") key "=" v
}
function edit(verb, key, rest,   kind, keep) {
  scan(key)
  if (verb == "remove") drop(0)
  else if (verb == "restore") { if (ns) T[S[ns]] = rest; else add(key, rest) }
  else {
    kind = rest; sub(/ .*/, "", kind); rest = substr(rest, length(kind) + 2); keep = 0
    if (last && form == "s") {
      keep = last
      if (!well || !same(kind, current, rest)) T[keep] = render(key, rest)
    }
    drop(keep)
    if (!keep) add(key, render(key, rest))
  }
}
BEGIN {
  mode = ENVIRON["CARRIER_MODE"]; syntax = ENVIRON["CARRIER_SYNTAX"]; arg = ENVIRON["CARRIER_ARG"] ""
  if (mode == "normal") { print normal(arg); exit }
  if (mode == "same") exit !same("list", arg, ENVIRON["CARRIER_OUT"])
  load()
  if (mode == "only") {
    for (i = 1; i <= n; i++) { t = trim(T[i]); if (t != "" && t != "[Service]" && t != arg) exit 1 }
    exit
  }
  if (mode == "edit") {
    while ((i = (getline s < arg)) > 0) {
      V[++edits] = s; sub(/ .*/, "", V[edits]); s = substr(s, length(V[edits]) + 2)
      K[edits] = s; sub(/ .*/, "", K[edits]); R[edits] = substr(s, length(K[edits]) + 2)
    }
    if (i < 0) exit 2
  } else edits = split(arg, K, " ")
  for (i = 1; i <= edits; i++) {
    scan(K[i])
    if (bad != "") unsupported(bad)
    if (mode == "line") { if (last && form == "s") print T[last]; exit !(last && form == "s") }
    if (mode == "read") said = said K[i] (last ? (form == "s" && well ? " set " : " malformed ") current : " unset") "\n"
  }
  ORS = ""
  if (mode == "read") { print said; exit }
  for (i = 1; i <= edits; i++) edit(V[i], K[i], R[i])
  out = ENVIRON["CARRIER_OUT"]; size = 0; equal = n == old
  print "" > out
  for (i = 1; i <= n; i++) {
    s = T[i] E[i]; size += length(s)
    if (equal && s != O[i]) equal = 0
    print s > out
  }
  if (close(out)) exit 2
  print size
  exit equal
}'
carrier_run() {
  carrier_in=$3
  [ -e "$carrier_in" ] || carrier_in=/dev/null
  { tr '\000' '\001' <"$carrier_in" && printf '\002\n'; } 2>/dev/null |
    CARRIER_MODE=$1 CARRIER_SYNTAX=$2 CARRIER_ARG=$4 CARRIER_OUT=${5-} LC_ALL=C awk "$CARRIER_AWK"
}
carrier_read() {
  carrier_syntax=$1 carrier_file=$2
  shift 2
  carrier_run read "$carrier_syntax" "$carrier_file" "$*"
}
carrier_edit() {
  carrier_rc=0
  carrier_said=$(carrier_run edit "$1" "$2" "$3" "$4") || carrier_rc=$?
  case $carrier_rc in
    0 | 1) [ "$(wc -c <"$4")" -eq "$carrier_said" ] || carrier_rc=2 ;;
    3) printf '%s\n' "$carrier_said" ;;
  esac
  return "$carrier_rc"
}
carrier_line() { carrier_run line "$1" "$2" "$3"; }
carrier_only_ours() { carrier_run only "$1" "$2" "$3"; }
list_normal() {
  [ $# -gt 0 ] || { IFS= read -r carrier_list || :; set -- "$carrier_list"; }
  CARRIER_MODE=normal CARRIER_ARG=$1 LC_ALL=C awk "$CARRIER_AWK" </dev/null
}
list_same() { CARRIER_MODE=same CARRIER_ARG=$1 CARRIER_OUT=$2 LC_ALL=C awk "$CARRIER_AWK" </dev/null; }
ask_services() {
    for as_service in $SERVICES; do
        ask_service "$as_service"
        eval "STATE_$as_service=\$STATE PID_$as_service=\$PID LOADED_$as_service=\$LOADED"
    done
}
answer() {
    ANSWER=''
    [ "$2" = - ] || eval "ANSWER=\${$1_$2:-}"
}
ask_service() {
    STATE=absent PID='' LOADED=''
    case $INIT:$1 in
        systemd:*) ask_systemd "$1" ;;
        upstart:docker) ask_sysvinit "$1" ;;
        *) ask_upstart "$1" ;;
    esac
}
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
        *:failed:* | *:activating:auto-restart | :*) STATE=failed ;;
        *) STATE=inactive ;;
    esac
    [ "$PID" != 0 ] || PID=''
}
ask_sysvinit() {
    sv_text=$(service "$1" status 2>&1)
    case $?:$sv_text in
        0:*) STATE=active ;;
        *:*nrecognized*) STATE=absent ;;
        1:* | 2:*) STATE=failed ;;
        *) STATE=inactive ;;
    esac
}
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
restart_service() {
    case $INIT:$1 in
        systemd:*) timeout 90 systemctl restart "$1" ;;
        upstart:docker) timeout 90 service "$1" restart ;;
        *)
            timeout 60 initctl stop "$1"
            timeout 60 initctl start "$1"
            ;;
    esac >/dev/null 2>&1 </dev/null
}
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
reload_definitions() {
    case $INIT in
        systemd) systemctl daemon-reload ;;
        *) initctl reload-configuration || : ;;
    esac >/dev/null 2>&1
}
forget_failure() {
    case $INIT in
        systemd) systemctl reset-failed "$1" >/dev/null 2>&1 || : ;;
    esac
}
RECORD=$HOME_DIR/managed
gather_facts() {
    ask_services
    FACTS=$(emit_sections | awk "$AWK_TEXT$AWK_FACTS")
}
emit_sections() {
    for es_service in $SERVICES; do
        answer STATE "$es_service"
        printf '@@ service %s %s\n' "$es_service" "$ANSWER"
    done
    each_component emit_component
    each_rival emit_rival
    if [ -r "$RECORD" ]; then
        printf '@@ record\n'
        cat "$RECORD"
    fi
}
emit_component() {
    ec_component=$1 ec_service=$2 ec_syntax=$3 ec_loaded=$5 ec_probe=$6 ec_path=$7
    shift 7
    printf '@@ component %s %s\n' "$ec_component" "$ec_path"
    ec_keys=''
    for ec_setting in "$@"; do
        ec_key=${ec_setting%%:*}
        ec_rest=${ec_setting#*:}
        printf '@@ setting %s %s\n' "$ec_key" "${ec_rest%%:*}"
        ec_keys="$ec_keys $ec_key"
    done
    case $ec_keys in
        *HTTP_PROXY*) ec_keys="$ec_keys http_proxy https_proxy no_proxy" ;;
    esac
    printf '@@ carrier\n'
    if ! resolve_path "$ec_path"; then
        printf 'unsupported dangling-link\n'
    elif [ -e "$ROOT$RESOLVED" ] && ! [ -f "$ROOT$RESOLVED" ]; then
        printf 'unsupported not-a-file\n'
    elif [ -e "$ROOT$RESOLVED" ] && ! [ -r "$ROOT$RESOLVED" ]; then
        printf 'unsupported unreadable\n'
    else
        # shellcheck disable=SC2086  # Keys are words.
        carrier_read "$ec_syntax" "$ROOT$RESOLVED" $ec_keys
    fi
    answer STATE "$ec_service"
    [ "$ec_loaded" = - ] || emit_loaded "$ec_service"
    emit_running "$ec_probe" "$ec_service"
}
emit_loaded() {
    [ "$ANSWER" != absent ] || return 0
    el_state=$ANSWER
    answer LOADED "$1"
    printf '@@ loaded\n%s\n' "$ANSWER"
    ANSWER=$el_state
}
emit_running() {
    [ "$ANSWER" = active ] || return 0
    case $1 in
        process)
            answer PID "$2"
            if [ -r "$ROOT/proc/$ANSWER/environ" ]; then
                printf '@@ running environment\n'
                tr '\000\n' '\n?' <"$ROOT/proc/$ANSWER/environ"
                printf '\n'
            else
                printf '@@ running unknown\n'
            fi
            ;;
        container)
            answer STATE docker
            [ "$ANSWER" = active ] || return 0
            er_text=$(timeout 10 docker inspect ecs-agent 2>&1)
            case $?:$er_text in
                0:*) printf '@@ running container\n%s\n' "$er_text" ;;
                *'No such'*) ;;
                *) printf '@@ running unknown\n' ;;
            esac
            ;;
        docker-info)
            if er_text=$(timeout 10 docker info 2>/dev/null); then
                printf '@@ running info\n%s\n' "$er_text"
            else
                printf '@@ running unknown\n'
            fi
            ;;
    esac
}
emit_rival() {
    case $2 in
        drop-ins)
            er_unit=${3##*/}
            for er_folder in "$3" "/run/systemd/system/$er_unit" "/usr/lib/systemd/system/$er_unit"; do
                for er_file in "$ROOT$er_folder"/*.conf; do
                    if [ "$er_folder" = "$3" ] || ! [ -e "$ROOT$3/${er_file##*/}" ]; then
                        emit_file "$1" "$2" "$er_file"
                    fi
                done
            done
            ;;
        default-environment)
            for er_file in "$ROOT${3%.d}" "$ROOT$3"/*.conf; do
                emit_file "$1" "$2" "$er_file"
            done
            ;;
        *) emit_file "$1" "$2" "$ROOT$3" ;;
    esac
}
emit_file() {
    [ -f "$3" ] && [ -r "$3" ] || return 0
    case $3 in
        *"$NL"* | *"$TAB"*) return 0 ;;
    esac
    printf '@@ rival %s %s %s\n' "$1" "$2" "${3#"$ROOT"}"
    tr '\000' '\001' <"$3"
    printf '\n'
}
# shellcheck disable=SC2016  # A program for awk.
AWK_FACTS='
    function fact(a, b, c, d, e, f, g) {
        print a "\t" b "\t" c "\t" d "\t" e "\t" f "\t" g
    }
    function has_key(key) { return (component SUBSEP key) in kind }
    function put(truth, key, state, value) {
        truth_state[component, truth, key] = state
        truth_value[component, truth, key] = value
    }
    function put_all(truth, state,   i) {
        for (i = 1; i <= keys[component]; i++) put(truth, key_name[component, i], state, "")
    }
    function hex(digits,   i, number) {
        number = 0
        for (i = 1; i <= length(digits); i++)
            number = number * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
        return sprintf("%c", number)
    }
    function split_words(text,   i, c, next_c, quote, inside, count, current) {
        count = 0
        current = quote = ""
        inside = 0
        for (i = 1; i <= length(text) + 1; i++) {
            c = substr(text, i, 1)
            if (c == "" || (quote == "" && (c == " " || c == "\t"))) {
                if (inside) word[++count] = current
                current = ""
                inside = 0
                continue
            }
            if (quote == "" && c == "$" && !inside && substr(text, i + 1, 1) == "\047") continue
            inside = 1
            if (quote == "" && (c == "\"" || c == "\047")) quote = c
            else if (c == quote) quote = ""
            else if (c == "\\") {
                next_c = substr(text, ++i, 1)
                if (next_c == "x") {
                    current = current hex(substr(text, i + 1, 2))
                    i += 2
                } else current = current next_c
            } else current = current c
        }
        return count
    }
    function find_assignments(text, unit,   count, i, at, key, value) {
        count = split_words(text)
        for (i = 1; i <= count; i++) {
            at = index(word[i], "=")
            key = substr(word[i], 1, at - 1)
            if (!has_key(key)) continue
            value = substr(word[i], at + 1)
            if (unit) gsub(/%%/, "%", value)
            found[key] = value
        }
    }
    function forget(   key) { for (key in found) delete found[key] }
    function json_text(text,   at, result) {
        result = ""
        while (at = index(text, "\\")) {
            result = result substr(text, 1, at - 1)
            if (substr(text, at + 1, 3) == "u00") {
                result = result hex(substr(text, at + 4, 2))
                text = substr(text, at + 6)
            } else {
                result = result substr(text, at + 1, 1)
                text = substr(text, at + 2)
            }
        }
        return result text
    }
    function find_json(text,   i, c, depth, text_start, string, name) {
        depth = 0
        for (i = 1; i <= length(text); i++) {
            c = substr(text, i, 1)
            if (c == "{" || c == "[") name[++depth] = ""
            else if (c == "}" || c == "]") depth--
            else if (c == ",") name[depth] = ""
            else if (c == "\"") {
                text_start = i + 1
                for (i++; i <= length(text) && substr(text, i, 1) != "\""; i++) if (substr(text, i, 1) == "\\") i++
                string = json_text(substr(text, text_start, i - text_start))
                if (name[depth] == "") name[depth] = string
                else if (depth == 2 && name[1] == "proxies" && (name[2] in json_key)) found[json_key[name[2]]] = string
            }
        }
    }
    BEGIN {
        json_key["http-proxy"] = "HTTP_PROXY"
        json_key["https-proxy"] = "HTTPS_PROXY"
        json_key["no-proxy"] = "NO_PROXY"
    }
    function close_section(   i, key) {
        if (section == "rival" && rival_path != path[component]) {
            if (rival_kind == "daemon-json") find_json(whole)
            for (i = 1; i <= keys[component]; i++) {
                key = key_name[component, i]
                if (key in found) add_rival(key, found[key])
            }
        }
        if (section == "carrier" && truth_state[component, "carrier", key_name[component, 1]] == "")
            fact("blocked", component, "unreadable", path[component])
        if (section == "running" && how == "container" && !container_runs) put_all("running", "na")
        section = whole = pending = ""
        forget()
    }
    function add_rival(key, value,   effect, name, i) {
        effect = "overrides"
        if (rival_kind == "inert-exports" || rival_kind == "default-environment") effect = "inert"
        if (rival_kind == "drop-ins") {
            name = rival_path
            sub(/.*\//, "", name)
            if (name <= own_name[component]) effect = "inert"
            i = winner[component, key]
            if (effect == "overrides" && i && rival_name[i] < name) foreign_effect[i] = "inert"
            if (effect == "overrides" && i && rival_name[i] > name) effect = "inert"
            if (effect == "overrides") winner[component, key] = foreigns + 1
        }
        foreigns++
        rival_name[foreigns] = name
        foreign_head[foreigns] = component "\t" key
        foreign_effect[foreigns] = effect
        foreign_tail[foreigns] = rival_kind "\t" rival_path "\t" value
    }
    /^@@ / {
        close_section()
        section = $2
        if (section == "service") fact("service", $3, $4)
        else if (section == "component") {
            component = $3
            path[component] = $4
            own_name[component] = $4
            sub(/.*\//, "", own_name[component])
            order[++components] = component
        } else if (section == "setting") {
            key_name[component, ++keys[component]] = $3
            kind[component, $3] = $4
        } else if (section == "loaded") {
            put_all("loaded", "unset")
        } else if (section == "running") {
            how = $3
            put_all("running", how == "unknown" ? "unknown" : "unset")
            container_runs = 0
        } else if (section == "rival") {
            component = $3
            rival_kind = $4
            rival_path = $0
            sub(/^@@ rival [^ ]* [^ ]* /, "", rival_path)
            unit_section = ""
        }
        next
    }
    section == "carrier" && $1 == "unsupported" {
        put_all("carrier", "unknown")
        fact("blocked", component, $2, path[component])
    }
    section == "carrier" {
        value = $0
        sub(/^[^ ]* [^ ]* ?/, "", value)
        if (has_key($1)) put("carrier", $1, $2, value)
        else if (has_key(toupper($1)) && $2 != "unset") {
            rival_kind = "lower-case"
            rival_path = path[component]
            foreigns++
            foreign_head[foreigns] = component "\t" toupper($1)
            foreign_effect[foreigns] = "inert"
            foreign_tail[foreigns] = "lower-case\t" rival_path "\t" value
        }
    }
    section == "loaded" {
        find_assignments($0, 0)
        for (key in found) put("loaded", key, "set", found[key])
    }
    section == "running" && how == "environment" {
        key = $0
        sub(/=.*/, "", key)
        if (has_key(key) && index($0, "=")) put("running", key, "set", substr($0, length(key) + 2))
    }
    section == "running" && how == "info" && match($0, /^ *(HTTP|HTTPS|No) Proxy: /) {
        key = toupper(substr($0, 1, RLENGTH))
        gsub(/^ *|: $/, "", key)
        sub(/ /, "_", key)
        if (has_key(key)) put("running", key, "set", substr($0, RLENGTH + 1))
    }
    section == "running" && how == "container" {
        if ($0 ~ /^ *"Running": true,?$/) container_runs = 1
        key = $0
        sub(/^ *"/, "", key)
        sub(/=.*/, "", key)
        if (has_key(key) && match($0, /^ *"[A-Z_]*=/)) {
            value = substr($0, RLENGTH + 1)
            sub(/",?$/, "", value)
            put("running", key, "set", json_text(value))
        }
    }
    section == "rival" && (rival_kind == "environment-file" || rival_kind == "inert-exports") {
        line = $0
        sub(/^[ \t]+/, "", line)
        sub(/[ \t\r]+$/, "", line)
        if ((rival_kind == "inert-exports") != sub(/^export[ \t]+/, "", line)) next
        at = index(line, "=")
        key = substr(line, 1, at - 1)
        sub(/[ \t]+$/, "", key)
        if (!has_key(key)) next
        value = substr(line, at + 1)
        sub(/^[ \t]+/, "", value)
        if (value ~ /^".*"$/ || value ~ /^\047.*\047$/) value = substr(value, 2, length(value) - 2)
        found[key] = value
    }
    section == "rival" && rival_kind == "daemon-json" { whole = whole $0 "\n" }
    section == "rival" && (rival_kind == "drop-ins" || rival_kind == "default-environment") {
        line = pending $0
        pending = ""
        sub(/\r$/, "", line)
        if (line ~ /^[ \t]*[#;]/) next
        if (line ~ /\\$/) {
            pending = substr(line, 1, length(line) - 1) " "
            next
        }
        if (line ~ /^[ \t]*\[/) unit_section = line
        if (rival_kind == "drop-ins" && unit_section !~ /\[Service\]/) next
        if (rival_kind == "default-environment" && unit_section !~ /\[Manager\]/) next
        if (!sub(/^[ \t]*(Default)?Environment[ \t]*=[ \t]*/, "", line)) next
        if (line == "") forget()
        find_assignments(line, 1)
    }
    section == "record" && /\t/ { record[++records] = $0 }
    END {
        close_section()
        for (i = 1; i <= components; i++) {
            component = order[i]
            for (j = 1; j <= keys[component]; j++) {
                key = key_name[component, j]
                for (k = 1; k <= split("carrier loaded running", truths, " "); k++) {
                    state = truth_state[component, truths[k], key]
                    if (state == "") state = truths[k] == "carrier" ? "unknown" : "na"
                    fact("truth", component, key, kind[component, key], truths[k], state, \
                        truth_value[component, truths[k], key])
                }
            }
        }
        for (i = 1; i <= foreigns; i++) print "foreign\t" foreign_head[i] "\t" foreign_effect[i] "\t" foreign_tail[i]
        for (i = 1; i <= records; i++) print "record\t" record[i]
    }
'
REPORT_LIMIT=2400
observe() {
    gather_facts
    ob_report=$(report_facts 400)
    [ "${#ob_report}" -lt "$REPORT_LIMIT" ] || ob_report=$(report_facts 64)
    [ "${#ob_report}" -lt "$REPORT_LIMIT" ] || ob_report=$(printf '%s\n' "$ob_report" | shrink_report)
    printf '%s\n' "$ob_report"
}
report_facts() {
    printf '%s\n' "$FACTS" | LONGEST=$1 REPORT_PLATFORM=$PLATFORM awk "$AWK_TEXT$AWK_REPORT" |
        while IFS= read -r rf_line; do
            case $rf_line in
                '@digest '*)
                    rf_line=${rf_line#@digest }
                    rf_sum=$(printf '%s' "${rf_line#* }" | sha256sum)
                    rf_rest=${rf_sum#????????????????????????????????}
                    printf '= %s #%s\n' "${rf_line%% *}" "${rf_sum%"$rf_rest"}"
                    ;;
                *) printf '%s\n' "$rf_line" ;;
            esac
        done
}
shrink_report() {
    awk -v limit="$REPORT_LIMIT" '
        { line[NR] = $0; size += length($0) + 1 }
        END {
            for (pass = 1; pass <= 2; pass++)
                for (i = NR; i >= 1 && size >= limit; i--)
                    if (line[i] ~ (pass == 1 ? "^f [^ ]* [^ ]* inert " : "^f ")) {
                        size -= length(line[i]) + 1
                        line[i] = ""
                    }
            for (i = 1; i <= NR; i++) if (line[i] != "") print line[i]
        }
    '
}
# shellcheck disable=SC2016  # A program for awk.
AWK_REPORT='
    function shown(value,   at, head) {
        head = ""
        if (at = index(value, "://")) {
            head = substr(value, 1, at + 2)
            value = substr(value, at + 3)
        }
        if (value ~ /@/) sub(/.*@/, "***@", value)
        value = head value
        gsub(/[^ -~]/, "?", value)
        return value
    }
    function number(kind, state, value,   text, id) {
        text = shown(value)
        id = "=" text
        if (length(text) > ENVIRON["LONGEST"] + 0) {
            if (kind == "list" && state == "set") value = normal(value)
            text = "@" value
            id = text
        }
        if (!(id in known)) {
            known[id] = ++values
            table[values] = substr(id, 1, 1) == "@" ? "@digest " values " " value : "= " values " " text
        }
        return (state == "malformed" ? "~" : "") known[id]
    }
    function word(kind, state, value) {
        if (state == "unset") return "-"
        if (state == "na") return "."
        if (state == "unknown") return "?"
        return number(kind, state, value)
    }
    BEGIN { FS = "\t" }
    $1 == "service" { service[++services] = "s " $2 " " $3 }
    $1 == "truth" {
        setting = $2 " " $3
        if (!(setting in seen)) {
            seen[setting] = ++settings
            name[settings] = setting
        }
        kind[$2, $3] = $4
        state[setting, $5] = $6
        value[setting, $5] = tail($0, 6)
    }
    $1 == "foreign" {
        effect[++foreigns] = $2 " " $3 " " $4
        source[foreigns] = shown($6)
        foreign_kind[foreigns] = kind[$2, $3]
        foreign_value[foreigns] = tail($0, 6)
    }
    $1 == "blocked" { blocked[++blocks] = "b " $2 " " $3 " " $4 }
    $1 == "record" && (($2 " " $3) in seen) {
        setting = $2 " " $3
        if (!(setting in owner)) owned[++owns] = setting
        owner[setting] = 1
        prior_state[setting] = $6
        prior_value[setting] = $8
        if (state[setting, "carrier"] == "set" && same(kind[$2, $3], value[setting, "carrier"], $7)) intact[setting] = 1
    }
    END {
        for (i = 1; i <= settings; i++) {
            setting = name[i]
            split(setting, part, " ")
            line = "k " setting
            for (j = 1; j <= split("carrier loaded running", truths, " "); j++)
                line = line " " word(kind[part[1], part[2]], state[setting, truths[j]], value[setting, truths[j]])
            fact[++facts] = line
        }
        for (i = 1; i <= owns; i++) {
            setting = owned[i]
            split(setting, part, " ")
            fact[++facts] = "m " setting " " (intact[setting] ? "intact" : "changed") " " \
                word(kind[part[1], part[2]], prior_state[setting], prior_value[setting])
        }
        for (i = 1; i <= foreigns; i++)
            fact[++facts] = "f " effect[i] " " number(foreign_kind[i], "set", foreign_value[i]) " " source[i]
        print "proxyfleet/1 observe " ENVIRON["REPORT_PLATFORM"]
        for (i = 1; i <= services; i++) print service[i]
        for (i = 1; i <= values; i++) print table[i]
        for (i = 1; i <= facts; i++) print fact[i]
        for (i = 1; i <= blocks; i++) print blocked[i]
        print "end"
    }
'
read_system
if find_platform; then
    observe
else
    printf 'proxyfleet/1 observe unsupported %.60s %.60s\nend\n' "${SYSTEM_ID:-unknown}" "${SYSTEM_VERSION:-unknown}" |
        printable
fi
exit 0
