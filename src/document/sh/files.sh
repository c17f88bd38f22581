# New versions of files, written beside the old ones and put in their place by a rename. WORK is the folder of this run: of
# each component it has the edits and the old file.

TEMPS='' MADE_FOLDERS='' PREPARED=''

# Writes the new version of one component's file beside it, as NEW, where there are edits; the arguments are those of
# each_component. Adds the component to PREPARED where the file changes. Fails with REASON and REASON_TEXT.
prepare_file() {
    [ -e "$WORK/$1.edits" ] || return 0
    NEW='' REASON=unsupported REASON_TEXT="$1 dangling-link $7"
    resolve_path "$7" || return 1
    pf_target=$ROOT$RESOLVED
    NEW=${pf_target%/*}/.${pf_target##*/}.proxyfleet.$$
    TEMPS="$TEMPS$NEW$NL"
    REASON=not-writable REASON_TEXT=$7
    if [ -e "$pf_target" ]; then
        # A copy has the mode, the owner, the label and the attributes of the file that it will replace.
        { cp -a "$pf_target" "$WORK/$1" && cp -a "$pf_target" "$NEW"; } 2>/dev/null || return 1
        pf_source=$WORK/$1
    else
        make_folder "${pf_target%/*}" || return 1
        pf_source=$WORK/$1.blank
        if [ "$4" = header ]; then
            printf '%s\n' "$HEADER" >"$pf_source"
        else
            # Not `:`, a special builtin: where it cannot write, the whole shell would end.
            true >"$pf_source"
        fi
    fi
    pf_said=$(carrier_edit "$3" "$pf_source" "$WORK/$1.edits" "$NEW" 2>/dev/null)
    case $? in
        0) PREPARED="$PREPARED $1" ;;
        1) rm -f "$NEW" ;;
        3)
            REASON=unsupported REASON_TEXT="$1 $pf_said $7"
            return 1
            ;;
        *) return 1 ;;
    esac
}

# Makes the folder $1 and those above it, and remembers them for a way back.
make_folder() {
    [ -n "$1" ] || return 1
    [ ! -d "$1" ] || return 0
    make_folder "${1%/*}" && mkdir "$1" 2>/dev/null && MADE_FOLDERS="$1$NL$MADE_FOLDERS"
}

# Takes away what a run that was killed had prepared beside the file of one component; the arguments are those of
# each_component.
sweep_component() {
    resolve_path "$7" || return 0
    rm -f "$ROOT${RESOLVED%/*}/.${RESOLVED##*/}.proxyfleet".*
}

# Takes away what was prepared.
discard_prepared() {
    dp_ifs=$IFS
    IFS=$NL
    set -f
    for dp_path in $TEMPS; do rm -f "$dp_path"; done
    for dp_path in $MADE_FOLDERS; do rmdir "$dp_path" 2>/dev/null; done
    set +f
    IFS=$dp_ifs
}

# Whether two files hold the same; false if one cannot be read.
same_bytes() {
    sb_first=$(sha256sum 2>/dev/null <"$1") && [ "$sb_first" = "$(sha256sum 2>/dev/null <"$2")" ]
}

# Whether the file $2 of the component $1 is still the one that its new version was made of.
is_as_prepared() {
    if [ -e "$WORK/$1" ]; then
        same_bytes "$WORK/$1" "$2"
    else
        [ ! -e "$2" ]
    fi
}

# Puts the new version $1 in the place of the file $2.
put_in_place() {
    if [ -e "$2" ]; then
        mv -f "$1" "$2" 2>/dev/null
    else
        mv -f "$1" "$2" 2>/dev/null || return 1
        restorecon "$2" >/dev/null 2>&1 || :
    fi
}

# Brings files to the disk, so that a rename never shows an empty one after a crash.
flush() {
    sync "$@" 2>/dev/null || sync
}

# Brings every prepared file to the disk, and the files in the arguments.
flush_prepared() {
    fp_ifs=$IFS
    IFS=$NL
    set -f
    for fp_path in $TEMPS; do
        [ ! -e "$fp_path" ] || set -- "$@" "$fp_path"
    done
    set +f
    IFS=$fp_ifs
    [ "$#" -eq 0 ] || flush "$@"
}
