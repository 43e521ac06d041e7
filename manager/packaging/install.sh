#!/bin/sh
# Installs Holdfast on a production machine. The Vagrant lab runs this same script.
#
# In this order: refuses what cannot work (install-checks.sh), installs packages that are missing,
# makes the configuration and asks the new binaries about it, puts files in place
# (install-files.sh), and only then starts what is new. A second run changes nothing, and a
# configuration file that somebody changed is never overwritten.
set -euf
umask 022
LC_ALL=C
export LC_ALL

usage() {
    cat <<'USAGE'
Usage: install.sh ROLE [OPTION]...

Roles (a machine with two roles runs this twice):
  manager   the manager daemon and the command line
  host      the agent, the guard and the command line; libvirt's settings
  witness   manager with an etcd voter, for the third place
  cli       the command line alone

Manager, host, witness:
  --cluster NAME          the cluster
  --site NAME             the site of this machine
  --name NAME             this machine, unique in the cluster
  --etcd URL,URL,URL      client addresses of all etcd voters, the own site's first
Manager, witness:
  --listen IP:PORT        where the API listens (default 127.0.0.1:7070: this machine only)
  --etcd-voter            this machine is an etcd voter (always so on a witness)
  --etcd-cluster LIST     NAME=PEER-URL,... of all voters, this machine's --name among them
  --etcd-state STATE      new (default), or existing: this voter joins a running cluster
Host:
  --migrate-address A     where the other hosts reach this one's libvirtd: a libvirt URI
                          (default qemu+tls://NAME/system), or with --lab-tcp an address
  --lab-tcp               plain TCP for migrations, no authentication: closed lab networks only
  --storage PATH          where the storage under the VMs' disks is mounted
  --storage-check KIND    none (default), statvfs or gluster
  --watchdog MODULE       load this watchdog driver (iTCO_wdt, i6300esb, ...) before the guard starts;
                          this version's guard does not use it yet (docs/install.md, watchdog)
Every role:
  --api URL,URL           managers that the command line asks, for all users of this machine
  --bin-dir DIR           take the binaries from here (default: they are in /usr/bin already)
  --destdir DIR           install into a directory: no packages, nothing is enabled or started
  --dry-run               say what would be done
USAGE
}

die() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 2
}
say() { printf '%-10s %s\n' "$1" "$2"; }
todo() { printf '%s\n' "$1" >>"$WORK/todo"; }
split() { printf '%s' "$1" | tr ',' '\n'; }
quoted_list() { split "$1" | sed 's/.*/"&"/' | paste -s -d , | sed 's/,/, /g'; }
host_of() { printf '%s' "$1" | sed 's|^[a-z]*://||; s|:[0-9]*/*$||'; }

# ---------------------------------------------------------------- what is asked for
SITE='' NAME='' CLUSTER='' ETCD='' LISTEN=127.0.0.1:7070 VOTER=no PEERS='' ETCD_STATE=new
MIGRATE='' LAB_TCP=no STORAGE='' CHECK=none WATCHDOG='' API='' BIN_DIR='' DESTDIR='' DRY=no
HERE=$(cd "$(dirname "$0")" && pwd)
# In the source tree, or all in one directory.
HOST_FILES=$HERE
[ -f "$HERE/host.toml" ] || HOST_FILES=$HERE/../../host-plugin/packaging

if [ $# -eq 0 ]; then
    usage >&2
    exit 2
fi
MANAGER=no
case $1 in
    -h | --help) usage; exit 0 ;;
    manager) MANAGER=yes BINARIES="holdfast-manager holdfast" ;;
    witness) MANAGER=yes BINARIES="holdfast-manager holdfast" VOTER=yes ;;
    host) BINARIES="holdfast-host holdfast-guard holdfast" ;;
    cli) BINARIES=holdfast ;;
    *) die "unknown role '$1'; use manager, host, witness or cli (install.sh --help)" ;;
esac
ROLE=$1
shift
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --dry-run) DRY=yes; shift; continue ;;
        --etcd-voter) VOTER=yes; shift; continue ;;
        --lab-tcp) LAB_TCP=yes; shift; continue ;;
    esac
    value=${2-}
    case $1 in
        --cluster) CLUSTER=$value ;;
        --site) SITE=$value ;;
        --name) NAME=$value ;;
        --etcd) ETCD=$value ;;
        --listen) LISTEN=$value ;;
        --etcd-cluster) PEERS=$value ;;
        --etcd-state) ETCD_STATE=$value ;;
        --api) API=$value ;;
        --migrate-address) MIGRATE=$value ;;
        --storage) STORAGE=$value ;;
        --storage-check) CHECK=$value ;;
        --watchdog) WATCHDOG=$value ;;
        --bin-dir) BIN_DIR=${value%/} ;;
        --destdir)
            [ "$value" != / ] || die "--destdir / is this machine itself; leave it out"
            DESTDIR=${value%/} ;;
        *) die "unknown option '$1'; install.sh --help lists them" ;;
    esac
    [ -n "$value" ] || die "$1 needs a value; install.sh --help shows which"
    shift 2
done

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT TERM
: >"$WORK/todo"
# shellcheck source-path=SCRIPTDIR source=install-checks.sh
. "$HERE/install-checks.sh"
# shellcheck source-path=SCRIPTDIR source=install-files.sh
. "$HERE/install-files.sh"

# ---------------------------------------------------------------- packages
packages() {
    [ "$VOTER" = no ] || echo etcd-server etcd-client
    [ "$ROLE" = host ] || return 0
    case $(dpkg --print-architecture) in
        arm64) echo qemu-system-arm ;;
        *) echo qemu-system-x86 ;;
    esac
    # libvirt-daemon-system brings systemd-machined: each QEMU in a scope of its own.
    echo libvirt-daemon-system libvirt-clients qemu-utils
    [ "$CHECK" != gluster ] || echo glusterfs-client
}

install_packages() {
    missing=''
    for package in $(packages); do
        case $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null) in
            ii*) ;;
            *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    say packages "${missing# }"
    CHANGED=$((CHANGED + 1))
    [ "$DRY" = no ] || return 0
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    # shellcheck disable=SC2086
    apt-get install -y -q --no-install-recommends $missing </dev/null || {
        apt-get update -q
        apt-get install -y -q --no-install-recommends $missing </dev/null
    } || die "apt-get could not install$missing; its own words are above"
}

# ---------------------------------------------------------------- configuration
make_config() {
    set -- "cluster = \"$CLUSTER\"" "name = \"$NAME\"" "site = \"$SITE\"" \
        "endpoints = [$(quoted_list "$ETCD")]"
    if [ "$MANAGER" = yes ]; then
        set_keys "$HERE/manager.toml" "$WORK/manager.toml" "$@" "listen = \"$LISTEN\""
        check_config holdfast-manager "$WORK/manager.toml" /etc/holdfast/manager.toml
    elif [ "$ROLE" = host ]; then
        [ -z "$STORAGE" ] || set -- "$@" "path = \"$STORAGE\"" "check = \"$CHECK\""
        set_keys "$HOST_FILES/host.toml" "$WORK/host.toml" "$@" "migrate_address = \"$MIGRATE\""
        check_config holdfast-host "$WORK/host.toml" /etc/holdfast/host.toml
    fi
}

# ---------------------------------------------------------------- files
install_manager() {
    place "$HERE/holdfast-manager.service" /usr/lib/systemd/system/holdfast-manager.service 0644 \
        holdfast-manager
    place_config "$WORK/manager.toml" /etc/holdfast/manager.toml holdfast-manager
    place "$HERE/policy.toml" /usr/share/doc/holdfast/policy.toml 0644
    case $LISTEN in
        127.*) todo "the API listens on this machine only; --listen IP:7070 opens it to a network" ;;
    esac
}

install_etcd() {
    # A data directory of our own: Debian starts a cluster of one in the default one as soon as the
    # package is there, and etcd ignores its initial cluster wherever it finds data.
    # Compaction: heartbeats are writes, several a second for ever.
    cat >"$WORK/etcd" <<ETCD
# Written by Holdfast's install.sh; a changed file is never overwritten.
ETCD_NAME="$NAME"
ETCD_DATA_DIR="/var/lib/etcd/holdfast"
ETCD_LISTEN_PEER_URLS="$ETCD_PEER"
ETCD_INITIAL_ADVERTISE_PEER_URLS="$ETCD_PEER"
ETCD_LISTEN_CLIENT_URLS="$ETCD_CLIENT,http://127.0.0.1:${ETCD_CLIENT##*:}"
ETCD_ADVERTISE_CLIENT_URLS="$ETCD_CLIENT"
ETCD_INITIAL_CLUSTER="$PEERS"
ETCD_INITIAL_CLUSTER_STATE="$ETCD_STATE"
ETCD_INITIAL_CLUSTER_TOKEN="holdfast-$CLUSTER"
ETCD_AUTO_COMPACTION_MODE="periodic"
ETCD_AUTO_COMPACTION_RETENTION="10m"
ETCD_LOGGER="zap"
# The defaults suit voters up to 10 ms apart; further away, the same on all of them:
# heartbeat = the longest round trip, election = ten times that, both in milliseconds.
#ETCD_HEARTBEAT_INTERVAL="100"
#ETCD_ELECTION_TIMEOUT="1000"
ETCD
    cat >"$WORK/etcd.conf" <<'UNIT'
# Debian's unit restarts etcd after a crash, but not after an exit with an error, such as an
# address that is not there yet at boot. A voter that stays away is half of a lost quorum.
[Unit]
StartLimitIntervalSec=0
[Service]
Restart=always
RestartSec=1
# It is ready only when it has a quorum; until then it waits, and is not to be killed for it.
TimeoutStartSec=infinity
OOMScoreAdjust=-900
# Heartbeats wait for its disk.
IOSchedulingClass=best-effort
IOSchedulingPriority=0
UNIT
    place_config "$WORK/etcd" /etc/default/etcd etcd
    place "$WORK/etcd.conf" /etc/systemd/system/etcd.service.d/holdfast.conf 0644 etcd
    voters=$(split "$PEERS" | grep -c .)
    case $voters in
        3 | 5) ;;
        *) todo "three or five etcd voters, one of them at the witness, survive the loss of a site; \
this cluster has $voters" ;;
    esac
}

install_host() {
    for unit in holdfast-guard holdfast-host; do
        place "$HOST_FILES/$unit.service" "/usr/lib/systemd/system/$unit.service" 0644 $unit
    done
    place_config "$WORK/host.toml" /etc/holdfast/host.toml "holdfast-guard holdfast-host"
    if [ -n "$WATCHDOG" ]; then
        # Debian's kernels put watchdog drivers on a deny list that only an explicit modprobe passes.
        printf '[Service]\nExecStartPre=-+/sbin/modprobe %s\n' "$WATCHDOG" >"$WORK/watchdog.conf"
        place "$WORK/watchdog.conf" \
            /etc/systemd/system/holdfast-guard.service.d/watchdog.conf 0644 holdfast-guard
    fi
    install_systemd_watchdog
    install_libvirt
}

# `kind = "systemd"` and WatchdogSec= of the unit belong together: without the latter the guard has no
# watchdog, and without the former it gives no sign of life, and systemd ends it again and again.
install_systemd_watchdog() {
    place "$HOST_FILES/systemd-watchdog.conf" /usr/share/doc/holdfast/systemd-watchdog.conf 0644
    addition=/etc/systemd/system/holdfast-guard.service.d/systemd-watchdog.conf
    kind=$(sed -n '/^\[guard\.watchdog\]/,/^\[/s/^ *kind *= *"\([a-z]*\)".*/\1/p' \
        "$DESTDIR/etc/holdfast/host.toml" 2>/dev/null)
    if [ "$kind" = systemd ]; then
        place "$HOST_FILES/systemd-watchdog.conf" "$addition" 0644 holdfast-guard
    elif [ -e "$DESTDIR$addition" ]; then
        todo "remove $addition, or set kind = \"systemd\" under [guard.watchdog] in \
/etc/holdfast/host.toml: as it is, systemd ends the guard again and again"
    fi
}

install_libvirt() {
    # A peer that vanished is noticed after (count + 1) x interval = 8 s instead of 30: that long a
    # migration that was cut off holds its VM.
    set -- 'keepalive_interval = 2' 'keepalive_count = 3'
    # remember_owner notes a disk's users on the shared storage; those of a host that lost its power
    # are never taken back.
    put_block /etc/libvirt/qemu.conf libvirtd "$@" 'remember_owner = 0'
    [ "$LAB_TCP" = no ] || set -- "$@" 'auth_tcp = "none"'
    put_block /etc/libvirt/libvirtd.conf libvirtd "$@"
    if [ "$LAB_TCP" = yes ]; then
        printf '[Socket]\nListenStream=\nListenStream=%s:16509\nFreeBind=yes\n' "$MIGRATE" \
            >"$WORK/tcp.conf"
        place "$WORK/tcp.conf" /etc/systemd/system/libvirtd-tcp.socket.d/holdfast.conf 0644 \
            libvirtd-tcp.socket
    fi
    # libvirt-guests shuts guests down with the host and starts them with it; both are Holdfast's to
    # decide. To stop it would do the former, so it is emptied.
    printf '# Holdfast starts and stops the guests.\n[Service]\n%s\n%s\n%s\n' \
        ExecStart= ExecStart=/bin/true ExecStop= >"$WORK/guests.conf"
    place "$WORK/guests.conf" /etc/systemd/system/libvirt-guests.service.d/holdfast.conf 0644
    set +f
    for link in "$DESTDIR"/etc/libvirt/qemu/autostart/*.xml; do
        [ -e "$link" ] || continue
        domain=$(basename "$link" .xml)
        todo "libvirt starts $domain at boot; before Holdfast gets it: virsh autostart --disable $domain"
    done
    set -f
}

# ---------------------------------------------------------------- enable and start
# Starts what does not run and restarts what changed. Without waiting, and one that is starting is
# running: an etcd voter is ready only when the second one is there.
start() { # unit
    systemctl enable --quiet "$1.service"
    case $(systemctl is-active "$1.service") in
        active | activating | reloading) is_touched "$1" || return 0 ;;
    esac
    systemctl restart --no-block "$1.service"
    say started "$1"
}

start_libvirt() {
    systemctl disable --quiet libvirt-guests.service 2>/dev/null || true
    socket=''
    if [ "$LAB_TCP" = yes ]; then
        socket=libvirtd-tcp.socket
    elif [ -f /etc/pki/CA/cacert.pem ] && [ -f /etc/pki/libvirt/servercert.pem ]; then
        socket=libvirtd-tls.socket
    else
        todo "live migration needs libvirt's certificates (docs/install.md, libvirt); run this again \
when they are there"
    fi
    systemctl enable --quiet libvirtd.socket ${socket:+"$socket"}
    if [ -n "$socket" ] && { is_touched "$socket" || ! systemctl is-active --quiet "$socket"; }; then
        # A socket is not opened for a service that runs, and the others would start it again in
        # between. QEMU runs on without libvirtd.
        local_sockets="libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket"
        # shellcheck disable=SC2086
        systemctl stop $local_sockets libvirtd.service
        # shellcheck disable=SC2086
        systemctl start $local_sockets "$socket"
        say started "$socket"
    elif is_touched libvirtd; then
        systemctl try-restart libvirtd.service
        say restarted libvirtd
    fi
    systemctl start libvirtd.socket
}

start_all() {
    if [ ! -d /run/systemd/system ]; then
        todo "systemd does not run here, so nothing was enabled or started"
        return 0
    fi
    systemctl daemon-reload
    [ "$VOTER" = no ] || start etcd
    case $ROLE in
        manager | witness) start holdfast-manager ;;
        host)
            start_libvirt
            start holdfast-guard
            start holdfast-host
            ;;
    esac
}

check_all
[ -n "$DESTDIR" ] || install_packages
make_config
for binary in $BINARIES; do
    [ -z "$BIN_DIR" ] || place "$BIN_DIR/$binary" "/usr/bin/$binary" 0755 "$binary"
done
[ "$DRY" = yes ] || install -d -m 0755 "$DESTDIR/etc/holdfast" "$DESTDIR/var/lib/holdfast"
[ "$VOTER" = no ] || install_etcd
[ "$MANAGER" = no ] || install_manager
[ "$ROLE" != host ] || install_host
if [ -n "$API" ]; then
    printf '# Managers that the command line asks.\nexport HOLDFAST_API=%s\n' "$API" >"$WORK/api.sh"
    place_config "$WORK/api.sh" /etc/profile.d/holdfast.sh
fi
if [ "$DRY" = yes ]; then
    echo "Nothing was done (--dry-run)."
elif [ "$CHANGED" -eq 0 ] && [ "$KEPT" -eq 0 ]; then
    echo "Everything is in place already."
fi
if [ "$DRY" = no ] && [ -z "$DESTDIR" ]; then start_all; fi
if [ -s "$WORK/todo" ]; then
    echo "To do:"
    sed 's/^/  - /' "$WORK/todo"
fi
