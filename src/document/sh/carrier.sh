# Reading and editing of carrier files. The specification is src/catalog/carrier; a property test holds the two equal.
# Values reach awk through the environment and through files, never as program text and never with -v.

# What the awk programs of all scripts know of lists.
LIST_AWK='
function ltrim(s) { sub(/^[ \t]+/, "", s); return s }
function trim(s) { sub(/[ \t]+$/, "", s); return ltrim(s) }
# The normal form of a list: lower case, sorted, each entry once.
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
'

# What reads a carrier. The carrier comes on standard input, NUL bytes shown as \001, closed by \002 and a newline,
# so that a missing final newline and a broken read are both seen. Exit: 0 and 1 as the mode says, 2 failure, 3 unsupported.
CARRIER_AWK='
function has(s, set,   i) {
  for (i = length(s); i > 0; i--) if (index(set, substr(s, i, 1))) return 1
  return 0
}
function unsupported(reason) {
  if (mode == "read") reason = "unsupported " reason
  if (mode == "read" || mode == "edit") print reason
  exit 3
}

# Reads the carrier into T (texts) and E (endings), n lines, style the ending of new lines.
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

# Splits s at the separators into W[1..nw], quotes taken off, each cut at 256 bytes; quoted: the quote left open, if any;
# depth: grows and shrinks with the blocks of a shell.
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
# Whether one of the words assigns; leaves the value.
function among(assign,   i) {
  for (i = nw; i > 0; i--) if (index(W[i], assign) == 1) { value = substr(W[i], length(assign) + 1); return 1 }
  return 0
}
# Whether s stands in quotes as a whole; leaves what is within.
function within(s,   q) {
  q = substr(s, 1, 1); inner = substr(s, 2, length(s) - 2)
  return length(s) > 1 && (q == "\"" || q == "\047") && substr(s, length(s)) == q && !index(inner, q)
}
# Whether s is one assignment without anything special; leaves the value.
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

# What a line is to a key: "" nothing, "s" a simple occurrence, "c" a complex one, "r" a reset. s as it is, t trimmed.
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

# Finds what the lines are to a key: S[1..ns] the simple occurrences; last, form, well, current: the one that counts;
# place: the line to insert after, -1 for a section that is missing;
function scan(key,   i, j, s, t, f, r, inside, script, continued, sections, before) {
  ns = last = depth = script = continued = sections = 0
  inside = syntax != "systemd" && syntax != "ini"; place = inside ? n : -1
  separators = syntax == "upstart" ? " \t" : " \t;&|(){}"
  for (i = 1; i <= n; i++) {
    s = T[i]; t = trim(s); blocked = 0
    if (syntax == "systemd" || syntax == "ini") {
      f = syntax == "ini" ? s : t
      if (syntax == "systemd" && s ~ /\\$/) unsupported("continued-line")
      if (substr(f, 1, 1) == "[") {
        inside = syntax == "ini" ? index(s, "[main]") == 1 : t == "[Service]"
        continued = 0; sections = 1
        if (inside) place = i
        continue
      }
      if (t == "") continue
      if (inside) place = i
      if (f ~ /^[#;]/) continue
      if (syntax == "ini" && !sections) unsupported("no-section")
      if (syntax == "ini" && s != ltrim(s)) {
        if (continued) unsupported("continued-value")
        continue
      }
      if (!inside) continue
    } else if (syntax == "env-file") {
      if (s ~ /\\$/) unsupported("continued-line")
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
      if (s ~ /\\$/) unsupported("continued-line")
      if (syntax == "shell-export") {
        for (j = 1; j <= nw; j++) {
          if (W[j] == "if" || W[j] == "do" || W[j] == "case") depth++
          if (W[j] == "fi" || W[j] == "done" || W[j] == "esac") depth--
        }
        blocked = before || depth
        if (t ~ /(&&|\|)$/) unsupported("continued-line")
        if (index(t, "<<")) unsupported("here-document")
      }
      if (depth < 0 || quoted != "") unsupported("continued-value")
    }
    before = depth; f = look(s, t, key); depth = before
    continued = f == "s" || f == "c"
    if (f == "r") last = 0
    else if (f != "") { last = i; form = f; well = ok; current = value; if (f == "s") S[++ns] = i }
  }
  if (script || depth) unsupported("continued-value")
}

BEGIN {
  mode = ENVIRON["CARRIER_MODE"]; syntax = ENVIRON["CARRIER_SYNTAX"]; arg = ENVIRON["CARRIER_ARG"] ""
  if (mode == "normal") { print normal(arg); exit }
  load()
  edits = split(arg, K, " ")
  for (i = 1; i <= edits && (mode == "read" || mode == "line"); i++) {
    scan(K[i])
    if (mode == "line") { if (last && form == "s") print T[last]; exit !(last && form == "s") }
    said = said K[i] (last ? (form == "s" && well ? " set " : " malformed ") current : " unset") "\n"
  }
  ORS = ""
  if (mode == "read") { print said; exit }
}'

# What edits, in a script that writes: it goes on where reading has ended.
CARRIER_EDIT_AWK=''

# carrier_run MODE SYNTAX FILE ARG [OUT]: feeds a file, missing counts as empty, to the program.
carrier_run() {
  carrier_in=$3
  [ -e "$carrier_in" ] || carrier_in=/dev/null
  { tr '\000' '\001' <"$carrier_in" && printf '\002\n'; } 2>/dev/null |
    CARRIER_MODE=$1 CARRIER_SYNTAX=$2 CARRIER_ARG=$4 CARRIER_OUT=${5-} LC_ALL=C awk "$LIST_AWK$CARRIER_AWK$CARRIER_EDIT_AWK"
}

# carrier_read SYNTAX FILE KEY...: for each key a line "KEY set VALUE", "KEY malformed VALUE" or "KEY unset"; or
# "unsupported REASON" alone and status 3. Status 2: the file cannot be read.
carrier_read() {
  carrier_syntax=$1 carrier_file=$2
  shift 2
  carrier_run read "$carrier_syntax" "$carrier_file" "$*"
}

# carrier_at SYNTAX PATH KEY...: carrier_read of the file that PATH leads to on this host, and more reasons.
carrier_at() {
  carrier_syntax=$1
  resolve_path "$2" || { echo 'unsupported dangling-link'; return 3; }
  shift 2
  if [ -e "$ROOT$RESOLVED" ]; then
    [ -f "$ROOT$RESOLVED" ] || { echo 'unsupported not-a-file'; return 3; }
    [ -r "$ROOT$RESOLVED" ] || { echo 'unsupported unreadable'; return 3; }
  fi
  carrier_read "$carrier_syntax" "$ROOT$RESOLVED" "$@"
}

# list_normal [LIST]: prints the normal form of LIST, or of the line on standard input.
list_normal() {
  [ $# -gt 0 ] || { IFS= read -r carrier_list || :; set -- "$carrier_list"; }
  CARRIER_MODE=normal CARRIER_ARG=$1 LC_ALL=C awk "$LIST_AWK$CARRIER_AWK" </dev/null
}

#@writing@

# shellcheck disable=SC2016  # A program for awk.
CARRIER_EDIT_AWK='
function insert(at, text,   i) {
  for (i = n++; i > at; i--) { T[i + 1] = T[i]; E[i + 1] = E[i] }
  T[at + 1] = text; E[at + 1] = style
  if (at && E[at] == "") E[at] = style
}
# Takes the simple occurrences out, but for the line to keep.
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
# One line of the edits: verb, key and the rest.
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
  if (mode == "only") {
    for (i = 1; i <= n; i++) { t = trim(T[i]); if (t != "" && t != "[Service]" && t != arg) exit 1 }
    exit
  }
  edits = 0
  while ((i = (getline s < arg)) > 0) {
    V[++edits] = s; sub(/ .*/, "", V[edits]); s = substr(s, length(V[edits]) + 2)
    K[edits] = s; sub(/ .*/, "", K[edits]); R[edits] = substr(s, length(K[edits]) + 2)
  }
  if (i < 0) exit 2
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

# carrier_edit SYNTAX FILE EDITS OUT: writes FILE with the lines of EDITS applied ("set KEY url|list VALUE", "remove KEY",
# "restore KEY RAWLINE") to OUT. Status 0: it differs from FILE, 1: it is equal, 2: failure, 3: unsupported, reason printed.
carrier_edit() {
  carrier_rc=0
  carrier_said=$(carrier_run edit "$1" "$2" "$3" "$4") || carrier_rc=$?
  case $carrier_rc in
    0 | 1) [ "$(wc -c <"$4")" -eq "$carrier_said" ] || carrier_rc=2 ;;
    3) printf '%s\n' "$carrier_said" ;;
  esac
  return "$carrier_rc"
}

# carrier_only_ours SYNTAX FILE HEADER: status 0 when nothing but HEADER, [Service] and blank lines is left.
carrier_only_ours() { carrier_run only "$1" "$2" "$3"; }

# carrier_line SYNTAX FILE KEY: prints the line that sets KEY, as it is; status 1 when there is none that counts and is simple.
carrier_line() { carrier_run line "$1" "$2" "$3"; }
