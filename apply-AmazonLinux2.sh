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
DOCUMENT_PLATFORM=amazon-linux-2
find_platform() {
 case $SYSTEM_ID:$SYSTEM_VERSION in
  amzn:2 | amzn:2.*)
   PLATFORM=amazon-linux-2 INIT=systemd
   ;;
  *) return 1 ;;
 esac
}
each_component() {
 case $PLATFORM in
  amazon-linux-2)
   "$1" ecs-agent ecs env-file - - container /etc/ecs/ecs.config HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass-socket
   "$1" ecs-init ecs systemd header loaded process /etc/systemd/system/ecs.service.d/http-proxy.conf HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass-socket
   "$1" docker docker systemd header loaded docker-info /etc/systemd/system/docker.service.d/http-proxy.conf HTTP_PROXY:url:http HTTPS_PROXY:url:https NO_PROXY:list:bypass
   "$1" package-manager - ini - - none /etc/yum.conf proxy:url:http
   ;;
 esac
}
each_rival() {
 case $PLATFORM in
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
LOCK=$HOME_DIR/lock
lock_token() {
    lt_start='' lt_boot=''
    if [ -r "$ROOT/proc/$1/stat" ]; then
        IFS= read -r lt_start <"$ROOT/proc/$1/stat"
        lt_rest=${lt_start##*) }
        # shellcheck disable=SC2086  # Split into words.
        set -- "$1" $lt_rest
        shift 20
        lt_start=${1:-}
    fi
    [ ! -r "$ROOT/proc/sys/kernel/random/boot_id" ] || read -r lt_boot <"$ROOT/proc/sys/kernel/random/boot_id"
    LOCK_TOKEN=$lt_start.${lt_boot:-none}
}
holder_lives() {
    hl_pid=${1%%.*}
    lock_token "$hl_pid"
    [ "$1" = "$hl_pid.$LOCK_TOKEN" ] && kill -0 "$hl_pid" 2>/dev/null
}
take_lock() {
    lock_token $$
    LOCK_FILE=$LOCK/$$.$LOCK_TOKEN
    tl_left=$1
    while ! try_lock; do
        [ "$tl_left" -gt 0 ] || return 1
        tl_left=$((tl_left - 1))
        sleep 1
    done
}
try_lock() {
    if mkdir "$LOCK" 2>/dev/null; then
        : >"$LOCK_FILE"
        return
    fi
    for tl_file in "$LOCK"/*; do
        [ -e "$tl_file" ] || { rmdir "$LOCK" 2>/dev/null; return 1; }
        holder_lives "${tl_file##*/}" && return 1
        mv "$tl_file" "$LOCK_FILE" 2>/dev/null && return 0
    done
    return 1
}
drop_lock() {
    [ -z "${LOCK_FILE:-}" ] || ! [ -e "$LOCK_FILE" ] || { rm -f "$LOCK_FILE" && rmdir "$LOCK"; } 2>/dev/null
}
WANT_STATE='{{ State }}'
WANT_HTTP='{{ HttpProxy }}'
WANT_HTTPS='{{ HttpsProxy }}'
WANT_BYPASS='{{ NoProxy }}'
WANT_COMPONENTS='{{ Components }}'
DOCKER_RESTART='{{ DockerRestart }}'
PREFLIGHT='{{ Preflight }}'
POLICY='{{ Policy }}'
DETAIL_BYTES=180 DETAIL_LINES=5
LOCK_SECONDS=5 VERIFY_SECONDS=60 PAUSE=1
if [ -n "$ROOT" ] && [ -n "${PROXYFLEET_WAIT:-}" ]; then
    LOCK_SECONDS=$PROXYFLEET_WAIT VERIFY_SECONDS=$PROXYFLEET_WAIT
fi
BACKUPS=$HOME_DIR/backup
RESTARTING=$HOME_DIR/restarting
INTROSPECTION=http://localhost:51678/v1/metadata
PHASE=idle BODY='' DETAILS=0 CHANGED='' RESTARTED='' PENDING='' NEEDED='' WORK='' TEMPS='' MADE_FOLDERS='' AGENT_ANSWERED=no
detail() {
    DETAILS=$((DETAILS + 1))
    [ "$DETAILS" -gt "$DETAIL_LINES" ] || BODY=$BODY$(printf "e %.${DETAIL_BYTES}s" "$1")$NL
}
finish() {
    trap '' TERM INT HUP
    rm -f "$HOME_DIR"/*.new."$$" 2>/dev/null
    clean_work
    drop_lock
    printf 'proxyfleet/1 apply %s %s\n%send\n' "$DOCUMENT_PLATFORM" "$1" "$BODY" | printable
    case $1 in
        changed | unchanged) exit 0 ;;
    esac
    exit 1
}
clean_work() {
    [ -n "$WORK" ] || return 0
    rm -f "$WORK"/*.edits "$WORK"/*.blank
    [ -n "$CHANGED" ] || rm -rf "$WORK"
    set -- "$BACKUPS"/*
    while [ $# -gt 5 ]; do
        rm -rf "$1"
        shift
    done
}
refuse() {
    [ -z "${2:-}" ] || detail "$2"
    finish "refused $1"
}
interrupted() {
    trap '' TERM INT HUP
    case $PHASE in
        idle)
            discard_prepared
            refuse interrupted
            ;;
        changing) roll_back interrupted ;;
    esac
}
check_parameters() {
    case $WANT_STATE:$WANT_HTTP:$WANT_HTTPS:$WANT_BYPASS in
        present:?*:?*:?* | absent:*) ;;
        *) refuse bad-parameters ;;
    esac
    case $WANT_STATE:$DOCKER_RESTART:$PREFLIGHT in
        *:allow:require | *:allow:skip | *:defer:require | *:defer:skip) ;;
        *) refuse bad-parameters ;;
    esac
    REQUESTED='' KNOWN=''
    each_component know_component
    cp_ifs=$IFS
    IFS=,
    for cp_component in $WANT_COMPONENTS; do
        IFS=$cp_ifs
        has_word "$cp_component" "$KNOWN" || refuse bad-parameters "component $cp_component"
        REQUESTED="$REQUESTED $cp_component"
    done
    IFS=$cp_ifs
    [ -n "$REQUESTED" ] || refuse bad-parameters 'no component'
}
know_component() {
    KNOWN="$KNOWN $1"
}
preflight() {
    command -v curl >/dev/null 2>&1 || refuse preflight-no-curl
    case ${AWS_SSM_REGION_NAME:-} in
        '' | *[!a-z0-9-]*) refuse preflight-no-region ;;
        cn-*) pf_host=ecs.$AWS_SSM_REGION_NAME.amazonaws.com.cn ;;
        *) pf_host=ecs.$AWS_SSM_REGION_NAME.amazonaws.com ;;
    esac
    preflight_one "$WANT_HTTPS"
    [ "$WANT_HTTP" = "$WANT_HTTPS" ] || preflight_one "$WANT_HTTP"
}
preflight_one() {
    for pf_try in 1 2; do
        pf_answer=$(curl -sS -o /dev/null -m 10 --noproxy '' --proxy "$1" -w '%{http_connect} %{http_code}' \
            "https://$pf_host/" 2>/dev/null)
        case $pf_answer in
            2*) return 0 ;;
        esac
        [ "$pf_try" = 2 ] || sleep "$PAUSE"
    done
    case ${pf_answer%% *} in
        000 | '') refuse preflight-unreachable "$1 does not answer" ;;
    esac
    bypasses "$pf_host" || refuse preflight-refused "$1 answers ${pf_answer%% *} to CONNECT $pf_host:443"
}
bypasses() {
    by_ifs=$IFS
    IFS=,
    set -f
    by_found=1
    for by_entry in $WANT_BYPASS; do
        case $1 in
            "${by_entry#.}") [ "$by_entry" != "$1" ] || by_found=0 ;;
            *".${by_entry#.}") by_found=0 ;;
        esac
        [ "$by_entry" != '*' ] || by_found=0
    done
    set +f
    IFS=$by_ifs
    return "$by_found"
}
decide() {
    DECISIONS=$({
        printf 'option\tstate\t%s\noption\tpolicy\t%s\noption\tproven\t%s\n' "$WANT_STATE" "$POLICY" "$1"
        each_component ask_for
        printf '%s\n' "$FACTS"
    } | awk "$AWK_TEXT$AWK_DECIDE")
}
ask_for() {
    has_word "$1" "$REQUESTED" || return 0
    af_component=$1
    printf 'ask\t%s\t%s\t%s\n' "$1" "$2" "$7"
    shift 7
    for af_setting in "$@"; do
        case ${af_setting##*:} in
            http) af_value=$WANT_HTTP ;;
            https) af_value=$WANT_HTTPS ;;
            bypass) af_value=$WANT_BYPASS ;;
            bypass-socket) af_value=$WANT_BYPASS,$DOCKER_SOCKET ;;
        esac
        printf 'want\t%s\t%s\t%s\n' "$af_component" "${af_setting%%:*}" "$af_value"
    done
}
# shellcheck disable=SC2016  # A program for awk.
AWK_DECIDE='
    BEGIN { FS = "\t" }
    function is_right(c, k, t, wanted_state, wanted) {
        if (wanted_state == "set") return state[c, k, t] == "set" && same(kind[c, k], value[c, k, t], wanted)
        if (wanted_state == "unset") return state[c, k, t] == "unset"
        return state[c, k, t] == wanted_state && value[c, k, t] == wanted
    }
    function expect(c, k,   i, other) {
        expected_state = target_state[c, k]
        expected = target[c, k]
        for (i = 1; i <= overrides[c, k]; i++) {
            other = owner_of[override_path[c, k, i]]
            if (other != "" && ((other SUBSEP k) in target_state)) {
                if (target_state[other, k] == "unset") continue
                expected_state = target_state[other, k]
                expected = target[other, k]
            } else {
                expected_state = "set"
                expected = override_value[c, k, i]
            }
        }
    }
    function keeps_ours(c, k, t,   i) {
        if (state[c, k, t] != "set") return 0
        expect(c, k)
        if (expected_state != "unset" && same(kind[c, k], expected, value[c, k, t])) return 0
        for (i = 1; i <= inert[c, k]; i++) if (same(kind[c, k], inert_value[c, k, i], value[c, k, t])) return 0
        for (i = 1; i <= written[c, k]; i++) if (same(kind[c, k], written_value[c, k, i], value[c, k, t])) return 1
        return 0
    }
    function refuse(reason, text) {
        print "refuse\t" reason "\t" text
        refused = 1
    }
    function restart(service) {
        if (service != "" && service_state[service] == "active") needs[service] = 1
    }
    function unknown(c, k) {
        return state[c, k, "running"] == "unknown" || \
            (state[c, k, "running"] == "na" && index(" " option["proven"] " ", " " service_of[c] " "))
    }
    $1 == "option" { option[$2] = $3 }
    $1 == "ask" {
        asked[++asks] = $2
        service_of[$2] = $3
        path[$2] = $4
        owner_of[$4] = $2
    }
    $1 == "want" {
        want_component[++wants] = $2
        want_key[wants] = $3
        want[$2, $3] = $4
    }
    $1 == "service" { service_state[$2] = $3 }
    $1 == "truth" {
        kind[$2, $3] = $4
        state[$2, $3, $5] = $6
        value[$2, $3, $5] = tail($0, 6)
    }
    $1 == "foreign" && $4 == "overrides" {
        i = ++overrides[$2, $3]
        override_kind[$2, $3, i] = $5
        override_path[$2, $3, i] = $6
        override_value[$2, $3, i] = tail($0, 6)
    }
    $1 == "foreign" && $4 == "inert" { inert_value[$2, $3, ++inert[$2, $3]] = tail($0, 6) }
    $1 == "blocked" { blocked[$2] = $3 }
    $1 == "record" {
        i = ++written[$2, $3]
        written_value[$2, $3, i] = $7
        if (i > 1) next
        was_created[$2, $3] = $5
        prior_state[$2, $3] = $6
        prior[$2, $3] = $8
        prior_line[$2, $3] = tail($0, 8)
    }
    function decide_present(c, k,   i) {
        target_state[c, k] = "set"
        target[c, k] = want[c, k]
        for (i = 1; i <= overrides[c, k]; i++)
            if (!(override_path[c, k, i] in owner_of) && !same(kind[c, k], override_value[c, k, i], want[c, k]))
                refuse("conflict", c " " k " " override_path[c, k, i])
        if (!is_right(c, k, "carrier", "set", want[c, k])) {
            print "edit\t" c "\tset " k " " kind[c, k] " " want[c, k]
            print "touch\t" c "\tw\t" k
            if (written[c, k])
                print "record\t" c "\t" k "\t" option["policy"] "\t" was_created[c, k] "\t" prior_state[c, k] "\t" \
                    want[c, k] "\t" prior[c, k] "\t" prior_line[c, k]
            else
                print "fresh\t" c "\t" k "\t" state[c, k, "carrier"] "\t" want[c, k] "\t" value[c, k, "carrier"]
            if (state[c, k, "loaded"] != "na") reload = 1
        }
        if (state[c, k, "loaded"] != "na" && !is_right(c, k, "loaded", "set", want[c, k])) reload = 1
        if (unknown(c, k) || (state[c, k, "running"] != "na" && !is_right(c, k, "running", "set", want[c, k])))
            restart(service_of[c])
    }
    function aim_absent(c, k,   i, ours) {
        target_state[c, k] = state[c, k, "carrier"]
        target[c, k] = value[c, k, "carrier"]
        for (i = 1; i <= written[c, k]; i++)
            if (is_right(c, k, "carrier", "set", written_value[c, k, i])) ours = 1
        if (!written[c, k] || is_right(c, k, "carrier", prior_state[c, k], prior[c, k])) return
        if (!ours) {
            print "left\t" c "\t" k
            return
        }
        target_state[c, k] = prior_state[c, k]
        target[c, k] = prior[c, k]
        if (prior_state[c, k] == "unset") print "edit\t" c "\tremove " k
        else print "edit\t" c "\trestore " k " " prior_line[c, k]
        print "touch\t" c "\tx\t" k
        if (was_created[c, k] == "created") print "created\t" c
        if (state[c, k, "loaded"] != "na") reload = 1
    }
    function decide_absent(c, k) {
        if (!written[c, k]) return
        if (keeps_ours(c, k, "loaded")) reload = 1
        if (unknown(c, k) || keeps_ours(c, k, "running")) restart(service_of[c])
    }
    END {
        for (i = 1; i <= asks; i++) {
            c = asked[i]
            if (c in blocked) refuse("unsupported", c " " blocked[c] " " path[c])
            if (option["state"] == "present" && service_state[service_of[c]] == "absent") refuse("component-absent", c)
        }
        if (refused) exit
        for (i = 1; i <= wants; i++) {
            if (option["state"] == "present") decide_present(want_component[i], want_key[i])
            else aim_absent(want_component[i], want_key[i])
        }
        if (option["state"] == "absent") for (i = 1; i <= wants; i++) decide_absent(want_component[i], want_key[i])
        if (reload) print "reload"
        for (service in needs) print "restart\t" service
    }
'
each_decision() {
    ed_ifs=$IFS
    IFS=$NL
    set -f
    for ed_line in $DECISIONS; do
        IFS=$ed_ifs
        set +f
        case $ed_line in
            "$1") "$2" ;;
            "$1$TAB"*) "$2" "${ed_line#*"$TAB"}" ;;
        esac
    done
    set +f
    IFS=$ed_ifs
}
decided() {
    case $NL$DECISIONS$NL in
        *"$NL$1$NL"* | *"$NL$1$TAB"*) return 0 ;;
    esac
    return 1
}
refuse_decision() {
    refuse "${1%%"$TAB"*}" "${1#*"$TAB"}"
}
note_restart() {
    case $1:$DOCKER_RESTART in
        docker:defer) PENDING="$PENDING $1" ;;
        *) NEEDED="$NEEDED $1" ;;
    esac
}
note_left() {
    detail "${1%%"$TAB"*} ${1#*"$TAB"} was changed by somebody else and is left alone"
}
make_work() {
    WORK=$BACKUPS/$(date -u +%Y%m%dT%H%M%SZ)-$$
    (umask 077 && mkdir -p "$WORK") 2>/dev/null || refuse not-writable "${WORK#"$ROOT"}"
    if [ -e "$RECORD" ]; then
        cp -p "$RECORD" "$WORK/managed" || refuse not-writable "${WORK#"$ROOT"}"
    fi
}
write_edit() {
    printf '%s\n' "${1#*"$TAB"}" >>"$WORK/${1%%"$TAB"*}.edits"
}
note_created() {
    OURS="$OURS $1"
}
prepare_component() {
    [ -e "$WORK/$1.edits" ] || return 0
    resolve_path "$7" || refuse_prepared unsupported "$1 dangling-link $7"
    pc_target=$ROOT$RESOLVED
    pc_temp=${pc_target%/*}/.${pc_target##*/}.proxyfleet.$$
    TEMPS="$TEMPS$pc_temp$NL"
    if [ -e "$pc_target" ]; then
        { cp -a "$pc_target" "$WORK/$1" && cp -a "$pc_target" "$pc_temp"; } 2>/dev/null || refuse_prepared not-writable "$7"
        pc_source=$WORK/$1
    else
        make_folder "${pc_target%/*}" || refuse_prepared not-writable "$7"
        pc_source=$WORK/$1.blank
        if [ "$4" = header ]; then
            printf '%s\n' "$HEADER" >"$pc_source"
        else
            : >"$pc_source"
        fi
    fi
    pc_reason=$(carrier_edit "$3" "$pc_source" "$WORK/$1.edits" "$pc_temp" 2>/dev/null)
    case $? in
        0) PREPARED="$PREPARED $1" ;;
        1) rm -f "$pc_temp" ;;
        3) refuse_prepared unsupported "$1 $pc_reason $7" ;;
        *) refuse_prepared not-writable "$7" ;;
    esac
    if has_word "$1" "$OURS" && [ "$4" = header ] && carrier_only_ours "$3" "$pc_temp" "$HEADER"; then
        rm -f "$pc_temp"
    fi
}
make_folder() {
    [ -n "$1" ] || return 1
    [ ! -d "$1" ] || return 0
    make_folder "${1%/*}" && mkdir "$1" 2>/dev/null && MADE_FOLDERS="$1$NL$MADE_FOLDERS"
}
discard_prepared() {
    dp_ifs=$IFS
    IFS=$NL
    set -f
    for dp_path in $TEMPS; do rm -f "$dp_path"; done
    for dp_path in $MADE_FOLDERS; do rmdir "$dp_path" 2>/dev/null; done
    set +f
    IFS=$dp_ifs
}
refuse_prepared() {
    discard_prepared
    refuse "$1" "$2"
}
flush() {
    sync "$@" 2>/dev/null || sync
}
flush_prepared() {
    fp_ifs=$IFS
    IFS=$NL
    set -f --
    for fp_path in $TEMPS; do
        [ ! -e "$fp_path" ] || set -- "$@" "$fp_path"
    done
    set +f
    IFS=$fp_ifs
    [ "$#" -eq 0 ] || flush "$@"
}
commit_component() {
    has_word "$1" "$PREPARED" || return 0
    resolve_path "$7" || return 0
    cc_target=$ROOT$RESOLVED
    cc_temp=${cc_target%/*}/.${cc_target##*/}.proxyfleet.$$
    CHANGED="$CHANGED $1"
    if [ ! -e "$cc_temp" ]; then
        rm -f "$cc_target" || roll_back write
    elif [ -e "$cc_target" ]; then
        mv -f "$cc_temp" "$cc_target" 2>/dev/null || roll_back write
    else
        mv -f "$cc_temp" "$cc_target" 2>/dev/null || roll_back write
        restorecon "$cc_target" >/dev/null 2>&1 || :
    fi
    report_component "$1" "$7"
}
report_component() {
    for rc_verb in w x; do
        rc_component=$1 rc_keys=''
        each_decision touch collect_key
        [ -z "$rc_keys" ] || BODY="$BODY$rc_verb $2 ${rc_keys#,}$NL"
    done
}
collect_key() {
    case $1 in
        "$rc_component$TAB$rc_verb$TAB"*) rc_keys=$rc_keys,${1##*"$TAB"} ;;
    esac
}
write_record() {
    (umask 077 && cat >"$RECORD.new.$$") && flush "$RECORD.new.$$" && mv -f "$RECORD.new.$$" "$RECORD"
}
record_ahead() {
    RECORD_LINES=''
    each_decision record add_record
    each_component add_fresh_records
    [ -n "$RECORD_LINES" ] || return 0
    {
        [ ! -e "$RECORD" ] || cat "$RECORD"
        printf '%s' "$RECORD_LINES"
    } | write_record
}
add_record() {
    RECORD_LINES=$RECORD_LINES$1$NL
}
add_fresh_records() {
    fr_component=$1 fr_syntax=$3 fr_path=$7
    each_decision fresh add_fresh_record
}
add_fresh_record() {
    case $1 in
        "$fr_component$TAB"*) ;;
        *) return 0 ;;
    esac
    fr_rest=${1#*"$TAB"}
    fr_key=${fr_rest%%"$TAB"*}
    fr_rest=${fr_rest#*"$TAB"}
    fr_state=${fr_rest%%"$TAB"*}
    fr_rest=${fr_rest#*"$TAB"}
    fr_line='' fr_made=existed fr_prior=''
    resolve_path "$fr_path"
    [ -e "$ROOT$RESOLVED" ] || fr_made=created
    if [ "$fr_state" != unset ]; then
        fr_prior=$(printf '%s' "${fr_rest#*"$TAB"}" | tr '\t' ' ')
        fr_line=$(carrier_line "$fr_syntax" "$ROOT$RESOLVED" "$fr_key")
    fi
    add_record "$fr_component$TAB$fr_key$TAB$POLICY$TAB$fr_made$TAB$fr_state$TAB${fr_rest%%"$TAB"*}$TAB$fr_prior$TAB$fr_line"
}
record_behind() {
    [ -e "$RECORD" ] || return 0
    rb_now=$({
        printf 'option\tstate\t%s\n' "$WANT_STATE"
        each_component ask_for
        cat "$RECORD"
    } | awk '
        BEGIN { FS = "\t" }
        $1 == "option" { state = $3; next }
        $1 == "ask" { asked[$2] = 1; next }
        $1 == "want" { want[$2, $3] = $4; next }
        !($1 in asked) { print; next }
        state == "present" && (!(($1 SUBSEP $2) in last) || $6 == want[$1, $2]) {
            if (!(($1 SUBSEP $2) in last)) order[++count] = $1 SUBSEP $2
            last[$1, $2] = $0
        }
        END { for (i = 1; i <= count; i++) print last[order[i]] }
    ')
    rb_old=$(cat "$RECORD")
    [ "$rb_now" != "$rb_old" ] || return 0
    if [ -n "$rb_now" ]; then
        printf '%s\n' "$rb_now" | write_record
    else
        rm -f "$RECORD"
    fi
}
agent_answers() {
    curl --noproxy '*' -s -m 5 "$INTROSPECTION" >/dev/null 2>&1
}
ran() {
    has_word "$1" "$RAN"
}
restart_needed() {
    answer PID ecs
    rn_pid=$ANSWER
    if has_word docker "$NEEDED"; then
        RESTARTED="$RESTARTED docker"
        REASON=restart-docker REASON_TEXT='docker did not start'
        restart_service docker || return 1
        ran ecs || return 0
        REASON=restart-ecs REASON_TEXT='ecs did not start'
        start_service ecs || return 1
        ask_service ecs
        [ "$PID" = "$rn_pid" ] || RESTARTED="$RESTARTED ecs"
    fi
    if has_word ecs "$NEEDED" && ! has_word ecs "$RESTARTED"; then
        RESTARTED="$RESTARTED ecs"
        REASON=restart-ecs REASON_TEXT='ecs did not start'
        restart_service ecs || return 1
    fi
}
verify() {
    vf_left=$VERIFY_SECONDS
    while ! verify_once; do
        [ "$vf_left" -gt 0 ] || return 1
        vf_left=$((vf_left - 1))
        sleep "$PAUSE"
    done
}
verify_once() {
    vo_pending=$PENDING vo_needed=$NEEDED
    gather_facts
    for vo_service in $RAN; do
        answer STATE "$vo_service"
        REASON=service-not-up REASON_TEXT="$vo_service is $ANSWER"
        [ "$ANSWER" = active ] || return 1
    done
    REASON=agent-silent REASON_TEXT=$INTROSPECTION
    [ "$AGENT_ANSWERED" = no ] || agent_answers || return 1
    decide "$RESTARTED"
    REASON=verify
    REASON_TEXT=''
    PENDING='' NEEDED=''
    each_decision restart note_restart
    for vo_service in $NEEDED; do REASON_TEXT="$REASON_TEXT $vo_service runs with other values"; done
    PENDING=$vo_pending NEEDED=$vo_needed
    ! decided edit || REASON_TEXT="$REASON_TEXT a file has other values"
    ! decided reload || REASON_TEXT="$REASON_TEXT the service manager has other values"
    ! decided refuse || REASON_TEXT="$REASON_TEXT another source appeared"
    REASON_TEXT=${REASON_TEXT# }
    [ -z "$REASON_TEXT" ]
}
restore_component() {
    has_word "$1" "$CHANGED" || return 0
    resolve_path "$7" || RESOLVED=$7
    ro_target=$ROOT$RESOLVED
    if [ -e "$WORK/$1" ]; then
        ro_temp=${ro_target%/*}/.${ro_target##*/}.proxyfleet.$$
        { cp -a "$WORK/$1" "$ro_temp" && flush "$ro_temp" && mv -f "$ro_temp" "$ro_target"; } 2>/dev/null || ROLLBACK=files
    else
        rm -f "$ro_target" || ROLLBACK=files
    fi
}
roll_back() {
    trap '' TERM INT HUP
    PHASE=back ROLLBACK=''
    rb_reason=$1
    BODY=$(printf '%s' "$BODY" | grep '^e ')
    BODY=$BODY${BODY:+$NL}
    [ -z "${REASON_TEXT:-}" ] || detail "$REASON_TEXT"
    discard_prepared
    each_component restore_component
    discard_prepared
    if [ -e "$WORK/managed" ]; then
        write_record <"$WORK/managed" || ROLLBACK=record
    else
        rm -f "$RECORD" || ROLLBACK=record
    fi
    reload_definitions || ROLLBACK=reload
    restart_after_rollback
    rm -f "$RESTARTING"
    [ -n "$ROLLBACK" ] || finish "rolled-back $rb_reason"
    detail "after $rb_reason"
    finish "failed rollback-$ROLLBACK"
}
restart_after_rollback() {
    for ra_service in $SERVICES; do
        has_word "$ra_service" "$RESTARTED" || continue
        forget_failure "$ra_service"
        restart_service "$ra_service"
        BODY=${BODY}r\ $ra_service$NL
    done
    [ -n "$RESTARTED" ] || return 0
    ! ran ecs || start_service ecs
    ra_left=$VERIFY_SECONDS
    while :; do
        ra_down=''
        for ra_service in $RAN; do
            ask_service "$ra_service"
            [ "$STATE" = active ] || ra_down=$ra_service
        done
        if [ -z "$ra_down" ] || [ "$ra_left" -eq 0 ]; then break; fi
        ra_left=$((ra_left - 1))
        sleep "$PAUSE"
        forget_failure "$ra_down"
        start_service "$ra_down"
    done
    [ -z "$ra_down" ] || ROLLBACK=$ra_down
}
note_restarting() {
    nr_services=$NEEDED
    ! has_word docker "$NEEDED" || nr_services=$RAN
    # shellcheck disable=SC2086  # Words.
    printf '%s\n' $nr_services >"$RESTARTING"
}
change() {
    PREPARED='' OURS=''
    make_work
    each_decision edit write_edit
    each_decision created note_created
    each_component prepare_component
    flush_prepared
    PHASE=changing
    record_ahead || roll_back record
    REASON_TEXT=''
    each_component commit_component
    if decided reload; then
        reload_definitions || roll_back reload
    fi
    if [ -n "$NEEDED" ]; then
        note_restarting
        restart_needed || roll_back "$REASON"
    fi
    verify || roll_back "$REASON"
    PHASE=ended
    trap '' TERM INT HUP
    record_behind
    rm -f "$RESTARTING"
}
apply() {
    read_system
    find_platform || refuse wrong-platform "this is ${SYSTEM_ID:-unknown} ${SYSTEM_VERSION:-unknown}"
    check_parameters
    trap interrupted TERM INT HUP
    (umask 077 && mkdir -p "$HOME_DIR") 2>/dev/null || refuse not-writable "${HOME_DIR#"$ROOT"}"
    take_lock "$LOCK_SECONDS" || refuse busy 'another apply is at work'
    [ "$WANT_STATE:$PREFLIGHT" != present:require ] || preflight
    gather_facts
    find_ran
    decide ''
    each_decision refuse refuse_decision
    each_decision restart note_restart
    each_decision left note_left
    ap_result=unchanged
    if decided edit || [ -n "$NEEDED" ]; then ap_result=changed; fi
    if [ -n "$NEEDED" ] && agent_answers; then AGENT_ANSWERED=yes; fi
    if decided edit || decided reload || [ -n "$NEEDED" ]; then
        change
    elif [ "$WANT_STATE" = absent ]; then
        record_behind
    fi
    for ap_service in $SERVICES; do
        ! has_word "$ap_service" "$RESTARTED" || BODY=${BODY}r\ $ap_service$NL
        ! has_word "$ap_service" "$PENDING" || BODY=${BODY}p\ $ap_service$NL
    done
    finish "$ap_result"
}
find_ran() {
    RAN=''
    for fr_service in $SERVICES; do
        answer STATE "$fr_service"
        [ "$ANSWER" != active ] || RAN="$RAN $fr_service"
    done
    [ -r "$RESTARTING" ] || return 0
    while read -r fr_service; do
        if ! ran "$fr_service" && has_word "$fr_service" "$SERVICES"; then
            RAN="$RAN $fr_service"
            NEEDED="$NEEDED $fr_service"
        fi
    done <"$RESTARTING"
}
apply
