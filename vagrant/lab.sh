#!/bin/sh
# The Vagrant lab in a few verbs; the same ones as `cargo xtask lab`, where both have them.
# Everything here can be done with vagrant, virsh and ssh alone; README.md says how.
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
NODES=$HERE/nodes
export NODES
# shellcheck source-path=SCRIPTDIR source=provision/nodes.sh
. "$HERE/provision/nodes.sh"
PREFIX=holdfast-lab-
SSH_CONFIG=$HERE/.ssh-config
BIN_DIR=${LAB_BIN_DIR:-$HERE/../target/release}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/holdfast/lab

usage() {
    cat <<'USAGE'
Usage: vagrant/lab.sh VERB
  up                       make and start the machines (LAB_HOSTS, LAB_HOST_MEMORY, ...: README.md)
  guests COUNT             make guests with a journal and hand them to Holdfast
  status                   machines, cuts with what they dropped, and holdfast status
  nodes                    the machines of this lab
  ssh MACHINE [COMMAND]    a shell there, or one command
  cut A B [--one-way]      A, B: a site (a, b, witness), a machine, or all; one way: from A to B
  heal [A B]               take back all cuts, or this one
  delay MS [JITTER-MS]     slow the ways between the sites down, each way; 0 ends it
  power-off HOST|--site S  at once, nobody says goodbye
  power-on HOST|--site S
  proof                    from the guests' own journals: did any VM run twice? exit 1 if so
  down                     destroy all machines
USAGE
}
die() {
    printf 'lab.sh: %s\n' "$1" >&2
    exit "${2-2}"
}
need() { command -v "$1" >/dev/null || die "$1 is missing; apt-get install $2"; }
virsh() { command virsh --quiet --connect "${LIBVIRT_DEFAULT_URI:-qemu:///system}" "$@"; }
is_on() { [ "$(virsh domstate "$PREFIX$1" 2>/dev/null)" = running ]; }

# ssh without vagrant's start-up time: a cut has to happen when it is asked for.
on() { # machine, command
    if [ ! -s "$SSH_CONFIG" ]; then
        (cd "$HERE" && vagrant ssh-config >"$SSH_CONFIG") || die "no lab is up; lab.sh up makes one" 1
    fi
    name=$1
    shift
    ssh -F "$SSH_CONFIG" -o ConnectTimeout=10 "$name" "$@"
}

# The machines that a word means, or a refusal.
meant() { # word
    found=$(members "$1")
    [ -n "$found" ] || die "'$1' is neither a site nor a machine; there are: $(sites | paste -s -d ' '), $(names | paste -s -d ' ')"
    echo "$found"
}
target() { # HOST | --site S
    case ${1-} in
        '') die "a machine is missing: HOST or --site SITE" ;;
        --site)
            sites | grep -qx -- "${2-}" || die "'${2-}' is no site; there are: $(sites | paste -s -d ' ')"
            members "$2"
            ;;
        *)
            names | grep -qx -- "$1" || die "'$1' is no machine; there are: $(names | paste -s -d ' ')"
            echo "$1"
            ;;
    esac
}
addresses() { for each in "$@"; do address_of "$each"; done | paste -s -d ,; }
without() { # machine, machines...
    dropped=$1
    shift
    for each in "$@"; do [ "$each" = "$dropped" ] || echo "$each"; done
}

# What has to be dropped where, so that nothing of A reaches B: one line each of
# `machine|name|from addresses|to addresses`. Between sites at the router, inside a site where it
# arrives.
rules() { # a, b
    senders=$(meant "$1")
    receivers=$(meant "$2")
    [ "$senders" != "$receivers" ] || die "$1 and $2 are the same: nothing to cut"
    for receiver in $receivers; do
        # A machine on both sides does not cut itself off.
        # shellcheck disable=SC2046,SC2086
        set -- $(without "$receiver" $senders)
        near=$(for each in "$@"; do [ "$(site_of "$each")" != "$(site_of "$receiver")" ] || echo "$each"; done)
        far=$(for each in "$@"; do [ "$(site_of "$each")" = "$(site_of "$receiver")" ] || echo "$each"; done)
        # shellcheck disable=SC2086
        {
            [ -z "$near" ] || echo "$receiver|$(addresses $near)|$(address_of "$receiver")"
            [ -z "$far" ] || echo "link|$(addresses $far)|$(address_of "$receiver")"
        }
    done | awk -F '|' '
        { key = $1 "|" $2; if (key in to) to[key] = to[key] "," $3; else to[key] = $3 }
        END { for (key in to) print key "|" to[key] }' | sort
}
one_cut() { # add or del, from, to
    lines=$(rules "$2" "$3")
    number=0
    for line in $lines; do
        number=$((number + 1))
        machine=${line%%|*}
        line=${line#*|}
        # A machine without power needs no cut, and comes back without one.
        is_on "$machine" || continue
        if [ "$1" = add ]; then
            on "$machine" sudo lab-cut add "$2-to-$3.$number" "${line%|*}" "${line#*|}" </dev/null
        else
            on "$machine" sudo lab-cut del "$2-to-$3.$number" </dev/null
        fi
    done
}

holdfast() {
    if [ ! -x "$BIN_DIR/holdfast" ]; then
        echo "(no $BIN_DIR/holdfast: build it, or set LAB_BIN_DIR)"
        return 0
    fi
    HOLDFAST_API=$(urls a 7070) "$BIN_DIR/holdfast" "$@"
}

up() {
    for binary in holdfast-manager holdfast-host holdfast-guard holdfast; do
        [ -x "$BIN_DIR/$binary" ] || die "there is no $BIN_DIR/$binary; build on Debian 12 or older \
(cargo build --release --workspace), or set LAB_BIN_DIR"
    done
    need vagrant "vagrant vagrant-libvirt"
    need virsh libvirt-clients
    # One after the other: the last machine's provisioning needs all others.
    (cd "$HERE" && vagrant up --no-parallel --provider libvirt)
    (cd "$HERE" && vagrant ssh-config >"$SSH_CONFIG")
    holdfast status
}

guests() {
    case ${1-} in '' | *[!0-9]*) die "how many guests? lab.sh guests COUNT" ;; esac
    for file in vmlinuz initrd; do
        [ -f "$CACHE/$file" ] || die "there is no $CACHE/$file; cargo xtask setup makes it"
    done
    host=$(with_role host | while read -r each; do if is_on "$each"; then echo "$each"; break; fi; done)
    [ -n "$host" ] || die "no host has power" 1
    on "$host" mkdir -p /tmp/holdfast/guest
    for file in vmlinuz initrd; do
        on "$host" "cat >/tmp/holdfast/guest/$file" <"$CACHE/$file"
    done
    on "$host" sudo env "LAB_DRIVER=${LAB_DRIVER:-kvm}" "HOLDFAST_API=$(urls "$(site_of "$host")" 7070)" \
        sh /tmp/holdfast/provision/guests.sh "$1"
}

status() {
    for name in link $(names); do
        printf '%-8s %-8s %-15s %s\n' "$name" "$(site_of "$name")" "$(address_of "$name")" \
            "$(virsh domstate "$PREFIX$name" 2>/dev/null || echo 'not made')"
    done
    for name in link $(names); do
        is_on "$name" || continue
        on "$name" sudo lab-cut list </dev/null | sed "s/\(.*\) \(.*\)/cut at $name: \1, \2 packets dropped/"
    done
    holdfast status
}

proof() {
    for host in $(with_role host); do
        is_on "$host" || continue
        # Of the two answers that are none, "not mounted here" is asked elsewhere.
        status=0
        on "$host" sudo sh /tmp/holdfast/provision/proof.sh /srv/holdfast </dev/null || status=$?
        [ $status -ge 2 ] || return $status
    done
    die "no host with power can read the storage" 2
}

delay() {
    case ${1-} in '' | *[!0-9]*) die "how many milliseconds? lab.sh delay MS [JITTER-MS]" ;; esac
    # On the router's leg of every site: once on each way.
    for site in $(sites); do
        leg="\$(ip -o -4 addr show to $(gateway_of "$site") | cut -d ' ' -f 2)"
        if [ "$1" = 0 ]; then
            on link "sudo tc qdisc del dev $leg root 2>/dev/null || true" </dev/null
        else
            on link "sudo tc qdisc replace dev $leg root netem delay ${1}ms ${2:-0}ms" </dev/null ||
                die "the router's kernel cannot delay packets: it needs the module sch_netem" 1
        fi
    done
}

verb=${1-}
[ $# -eq 0 ] || shift
case $verb in
    up) up ;;
    guests) guests "$@" ;;
    status) status ;;
    nodes) nodes ;;
    ssh)
        [ $# -ge 1 ] || die "which machine? lab.sh ssh MACHINE [COMMAND]"
        on "$@"
        ;;
    rules)
        # What a cut would drop, for the tests.
        [ $# -ge 2 ] || die "which two? lab.sh rules A B"
        rules "$1" "$2"
        ;;
    cut)
        [ $# -ge 2 ] || die "cut what from what? lab.sh cut A B [--one-way]"
        one_cut add "$1" "$2"
        [ "${3-}" = --one-way ] || one_cut add "$2" "$1"
        ;;
    heal)
        if [ $# -ge 2 ]; then
            one_cut del "$1" "$2"
            one_cut del "$2" "$1"
        else
            for name in link $(names); do
                ! is_on "$name" || on "$name" sudo lab-cut flush </dev/null
            done
        fi
        ;;
    delay) delay "$@" ;;
    power-off)
        hosts=$(target "$@")
        # All at the same moment, as far as that goes.
        for name in $hosts; do virsh destroy "$PREFIX$name" & done
        wait
        ;;
    power-on)
        hosts=$(target "$@")
        for name in $hosts; do virsh start "$PREFIX$name"; done
        ;;
    proof) proof ;;
    down)
        (cd "$HERE" && vagrant destroy --force --no-parallel)
        rm -f "$SSH_CONFIG"
        ;;
    -h | --help) usage ;;
    *) usage >&2; exit 2 ;;
esac
