# shellcheck shell=sh disable=SC2034,SC2154
# Part of install.sh: puts files in place. Each function leaves a file alone that is right already,
# and notes in TOUCHED what has to be restarted because of one that was not.

CHANGED=0
KEPT=0
# Names with a blank on both sides.
TOUCHED=' '

touched() {
    CHANGED=$((CHANGED + 1))
    for part in $1; do TOUCHED="$TOUCHED$part "; done
}
is_touched() { case $TOUCHED in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
sum_of() { sha256sum <"$1" | cut -d ' ' -f 1; }

# Whole or not at all, so that a running program is not written to.
put() { # from, to, mode
    [ "$DRY" = no ] || return 0
    mkdir -p "$(dirname "$DESTDIR$2")"
    cp "$1" "$DESTDIR$2.holdfast-next"
    chmod "$3" "$DESTDIR$2.holdfast-next"
    mv -f "$DESTDIR$2.holdfast-next" "$DESTDIR$2"
}

# A file that is ours: always as delivered.
place() { # from, to, mode, what to restart
    if cmp -s "$1" "$DESTDIR$2"; then return 0; fi
    if [ -e "$DESTDIR$2" ]; then say updated "$2"; else say new "$2"; fi
    put "$1" "$2" "$3"
    touched "${4-}"
}

# Where it is noted how a configuration file was left.
record_of() { printf '%s' "$DESTDIR/var/lib/holdfast/installed$1.sha256"; }

# Whether a configuration file was changed by somebody and so stays as it is. One that was never
# ours may be replaced if it sets nothing, as packages deliver their files of defaults.
stays() { # as it would be, where it goes
    [ -e "$DESTDIR$2" ] || return 1
    ! cmp -s "$1" "$DESTDIR$2" || return 1
    [ "$(sum_of "$DESTDIR$2")" != "$(cat "$(record_of "$2")" 2>/dev/null)" ] || return 1
    grep -q '^[[:space:]]*[^#[:space:]]' "$DESTDIR$2"
}

# A file that people change: replaced only if it is as it was left.
place_config() { # from, to, what to restart
    if stays "$1" "$2"; then
        say kept "$2 was changed on this machine; see $2.new"
        todo "compare $2 with $2.new, take over what you want, remove $2.new"
        KEPT=$((KEPT + 1))
        put "$1" "$2.new" 0644
        return 0
    fi
    [ "$DRY" = yes ] || rm -f "$DESTDIR$2.new"
    place "$1" "$2" 0644 "${3-}"
    sum_of "$1" >"$WORK/sum"
    cmp -s "$WORK/sum" "$(record_of "$2")" ||
        put "$WORK/sum" "/var/lib/holdfast/installed$2.sha256" 0644
}

# Sets keys of a commented TOML example: `set_keys IN OUT 'key = value' ...`
set_keys() {
    cp "$1" "$WORK/toml"
    out=$2
    shift 2
    for line in "$@"; do
        awk -v line="$line" -v key="${line%% *}" '
            !done && ($1 == key || $1 == "#" key) && $2 == "=" { print line; done = 1; next }
            { print }
            END { exit !done }' "$WORK/toml" >"$WORK/toml.next" ||
            die "the example of $(basename "$out") has no key ${line%% *}: the files do not fit together"
        mv "$WORK/toml.next" "$WORK/toml"
    done
    mv "$WORK/toml" "$out"
}

# Sets keys in a file of libvirt's, in a block of our own at its end. libvirt takes the first line
# that sets a key, so what an operator set above stands, and is pointed out where it differs.
put_block() { # file, what to restart, 'key = value' ...
    file=$1
    restart=$2
    shift 2
    : >"$WORK/mine"
    : >"$WORK/block"
    mode=0600
    if [ -f "$DESTDIR$file" ]; then
        mode=$(stat -c %a "$DESTDIR$file")
        sed '/^# BEGIN holdfast/,/^# END holdfast/d' "$DESTDIR$file" >"$WORK/mine"
    fi
    for line in "$@"; do
        theirs=$(grep "^[[:space:]]*${line%% *}[[:space:]]*=" "$WORK/mine" | head -n 1 || true)
        if [ -z "$theirs" ]; then
            printf '%s\n' "$line" >>"$WORK/block"
        elif [ "$(echo "$theirs" | tr -d ' \t')" != "$(echo "$line" | tr -d ' \t')" ]; then
            todo "$file sets '$theirs', but should have '$line' (docs/install.md, libvirt)"
        fi
    done
    {
        cat "$WORK/mine"
        if [ -s "$WORK/block" ]; then
            echo '# BEGIN holdfast (replaced by install.sh; to differ, set a key above this line)'
            cat "$WORK/block"
            echo '# END holdfast'
        fi
    } >"$WORK/whole"
    place "$WORK/whole" "$file" "$mode" "$restart"
}
