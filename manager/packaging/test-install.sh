#!/bin/sh
# Tests install.sh: every role into a directory, with programs that only pretend; what is refused;
# the units as systemd reads them; the settings of etcd in a real cluster of three. Needs no root
# and changes nothing outside a directory of its own. What a machine lacks is skipped, and said.
#
# HOLDFAST_BIN_DIR=DIR: also asks the real programs in DIR about the configuration files.
set -uf
LC_ALL=C
export LC_ALL
HERE=$(cd "$(dirname "$0")" && pwd)
TREE=$(cd "$HERE/../.." && pwd)
T=$(mktemp -d)
chmod 0755 "$T"
# Only what this script started itself; quietly, bash would tell of every one.
ETCDS='' pid=''
# shellcheck disable=SC2086
trap 'exec 2>/dev/null; for pid in $ETCDS; do kill -9 $pid; done; rm -rf "$T"' EXIT
trap 'exit 130' INT TERM

PASSED=0
FAILED=0
SKIPPED=0
pass() { PASSED=$((PASSED + 1)); }
fail() {
    FAILED=$((FAILED + 1))
    printf 'FAILED  %s\n' "$1"
    [ -z "${2-}" ] || printf '%s\n' "$2" | sed 's/^/        /'
}
skip() {
    SKIPPED=$((SKIPPED + 1))
    printf 'skipped %s\n' "$1"
}
# A claim and a command that proves it.
that() {
    claim=$1
    shift
    if output=$("$@" 2>&1); then pass; else fail "$claim" "$* $output"; fi
}
not() { ! "$@"; }
has() { grep -qxF -- "$2" "$1"; } # file, whole line
says() {
    case $OUT in
        *"$2"*) pass ;;
        *) fail "$1" "not said: $2
$OUT" ;;
    esac
}

# The files side by side, as a released archive has them, readable to everybody.
P=$T/packaging
mkdir -m 0755 "$P" "$T/bin"
set +f
cp "$HERE"/*.sh "$HERE"/*.toml "$HERE"/*.service "$TREE"/host-plugin/packaging/* "$P"
set -f
for name in holdfast-manager holdfast-host holdfast-guard holdfast; do
    # Refuses a file that has the word REFUSE in it, as the daemons refuse an unknown key.
    cat >"$T/bin/$name" <<'FAKE'
#!/bin/sh
[ "$1" = --config ] && [ "$3" = --check-config ] || exit 0
if grep -n REFUSE "$2"; then echo "$2: unknown key REFUSE"; exit 1; fi
FAKE
    chmod 0755 "$T/bin/$name"
done

URLS=http://192.0.2.11:2379,http://198.51.100.11:2379,http://203.0.113.11:2379
PEERS=a1=http://192.0.2.11:2380,b1=http://198.51.100.11:2380,w=http://203.0.113.11:2380
D=''
# Runs the script into $D; the status is in STATUS, what it says in OUT.
into() {
    OUT=$("$P/install.sh" "$@" --bin-dir "$T/bin" --destdir "$D" 2>&1)
    STATUS=$?
}
fresh() { D=$T/root.$1; mkdir "$D"; }
# Everything below a directory: names, modes, contents.
tree_of() { (cd "$1" && find . -printf '%m %p\n' | sort && find . -type f -exec sha256sum {} + | sort -k 2); }

# ---------------------------------------------------------------- manager
fresh manager
into manager --cluster lab --site a --name a1 --etcd "$URLS" --listen 192.0.2.11:7070 --api http://192.0.2.11:7070
that "manager: installs" [ "$STATUS" = 0 ]
for file in 755:usr/bin/holdfast-manager 755:usr/bin/holdfast 755:etc/holdfast \
    644:usr/lib/systemd/system/holdfast-manager.service 644:etc/holdfast/manager.toml \
    644:usr/share/doc/holdfast/policy.toml 644:etc/profile.d/holdfast.sh; do
    that "manager: ${file#*:} has mode ${file%%:*}" [ "$(stat -c %a "$D/${file#*:}" 2>&1)" = "${file%%:*}" ]
done
for line in 'cluster = "lab"' 'name = "a1"' 'site = "a"' 'listen = "192.0.2.11:7070"' \
    'endpoints = ["http://192.0.2.11:2379", "http://198.51.100.11:2379", "http://203.0.113.11:2379"]'; do
    that "manager.toml: $line" has "$D/etc/holdfast/manager.toml" "$line"
done
that "manager: the comments of the example stay" grep -q '^# Client addresses' "$D/etc/holdfast/manager.toml"
that "manager: no agent" not test -e "$D/usr/bin/holdfast-host"
that "manager: no etcd unless asked for" not test -e "$D/etc/default/etcd"
that "manager: the units' program is where it was put" \
    grep -q '^ExecStart=/usr/bin/holdfast-manager --config /etc/holdfast/manager.toml$' \
    "$D/usr/lib/systemd/system/holdfast-manager.service"

before=$(tree_of "$D")
into manager --cluster lab --site a --name a1 --etcd "$URLS" --listen 192.0.2.11:7070 --api http://192.0.2.11:7070
says "second run says so" "Everything is in place already."
that "second run changes nothing" [ "$before" = "$(tree_of "$D")" ]

into manager --cluster lab --site a --name a1 --etcd "$URLS" --listen 192.0.2.12:7070
says "an untouched file follows new options" "updated    /etc/holdfast/manager.toml"
that "an untouched file follows new options" has "$D/etc/holdfast/manager.toml" 'listen = "192.0.2.12:7070"'

echo '# mine' >>"$D/etc/holdfast/manager.toml"
before=$(sha256sum "$D/etc/holdfast/manager.toml")
into manager --cluster lab --site a --name a1 --etcd "$URLS" --listen 192.0.2.13:7070
says "a changed file is kept and said" "kept       /etc/holdfast/manager.toml was changed on this machine"
says "and there is something to do" "compare /etc/holdfast/manager.toml with /etc/holdfast/manager.toml.new"
that "a changed file is kept" [ "$before" = "$(sha256sum "$D/etc/holdfast/manager.toml")" ]
that "the new one lies beside it" has "$D/etc/holdfast/manager.toml.new" 'listen = "192.0.2.13:7070"'
mv "$D/etc/holdfast/manager.toml.new" "$D/etc/holdfast/manager.toml"
into manager --cluster lab --site a --name a1 --etcd "$URLS" --listen 192.0.2.13:7070
says "taken over, all is well" "Everything is in place already."

# The new programs are asked about the file they are going to find, which is the changed one.
echo 'REFUSE = 1' >>"$D/etc/holdfast/manager.toml"
echo '# newer' >>"$T/bin/holdfast-manager"
before=$(tree_of "$D")
into manager --cluster lab --site a --name a1 --etcd "$URLS" --listen 192.0.2.13:7070
that "a file that the new program refuses stops the upgrade" [ "$STATUS" = 2 ]
says "and its words are shown" "manager.toml: unknown key REFUSE"
that "before anything is changed" [ "$before" = "$(tree_of "$D")" ]

fresh dry
into manager --cluster lab --site a --name a1 --etcd "$URLS" --dry-run
says "dry run: says what it would do" "new        /etc/holdfast/manager.toml"
that "dry run: does nothing" [ -z "$(find "$D" -mindepth 1)" ]
says "without --listen the API is closed" "the API listens on this machine only"

# ---------------------------------------------------------------- host
fresh host
mkdir -p "$D/etc/libvirt/qemu/autostart"
printf 'auth_tcp = "sasl"\n' >"$D/etc/libvirt/libvirtd.conf"
printf '# comments only\n' >"$D/etc/libvirt/qemu.conf"
chmod 0600 "$D/etc/libvirt/qemu.conf"
: >"$D/etc/libvirt/qemu/autostart/old.xml"
host() {
    into host --cluster lab --site b --name b2 --etcd "$URLS" --lab-tcp --migrate-address 192.0.2.22 \
        --storage /srv/holdfast --storage-check gluster --watchdog i6300esb "$@"
}
host
that "host: installs" [ "$STATUS" = 0 ]
for file in 755:usr/bin/holdfast-host 755:usr/bin/holdfast-guard 755:usr/bin/holdfast \
    644:usr/lib/systemd/system/holdfast-host.service 644:etc/holdfast/host.toml \
    644:usr/lib/systemd/system/holdfast-guard.service 600:etc/libvirt/qemu.conf \
    644:etc/systemd/system/libvirtd-tcp.socket.d/holdfast.conf \
    644:etc/systemd/system/libvirt-guests.service.d/holdfast.conf; do
    that "host: ${file#*:} has mode ${file%%:*}" [ "$(stat -c %a "$D/${file#*:}" 2>&1)" = "${file%%:*}" ]
done
for line in 'cluster = "lab"' 'name = "b2"' 'site = "b"' 'migrate_address = "192.0.2.22"' \
    'path = "/srv/holdfast"' 'check = "gluster"' '#run_dir = "/run/holdfast"'; do
    that "host.toml: $line" has "$D/etc/holdfast/host.toml" "$line"
done
that "host: migrations listen there only" \
    has "$D/etc/systemd/system/libvirtd-tcp.socket.d/holdfast.conf" 'ListenStream=192.0.2.22:16509'
that "host: the watchdog's driver is loaded" \
    has "$D/etc/systemd/system/holdfast-guard.service.d/watchdog.conf" 'ExecStartPre=-+/sbin/modprobe i6300esb'
ADDITION=etc/systemd/system/holdfast-guard.service.d/systemd-watchdog.conf
that "host: systemd does not watch over the guard unless host.toml says so" not test -e "$D/$ADDITION"
that "host: but it is known how" cmp "$P/systemd-watchdog.conf" "$D/usr/share/doc/holdfast/systemd-watchdog.conf"
that "host: libvirt-guests does nothing" \
    has "$D/etc/systemd/system/libvirt-guests.service.d/holdfast.conf" 'ExecStop='
that "qemu.conf: the owner is not remembered" has "$D/etc/libvirt/qemu.conf" 'remember_owner = 0'
that "qemu.conf: what was there stays" has "$D/etc/libvirt/qemu.conf" '# comments only'
that "libvirtd.conf: the operator's line stays" has "$D/etc/libvirt/libvirtd.conf" 'auth_tcp = "sasl"'
that "libvirtd.conf: and is not contradicted" not has "$D/etc/libvirt/libvirtd.conf" 'auth_tcp = "none"'
says "libvirtd.conf: but pointed out" "should have 'auth_tcp = \"none\"'"
says "host: autostarted domains are pointed out" "virsh autostart --disable old"
before=$(tree_of "$D")
host
that "host: second run changes nothing" [ "$before" = "$(tree_of "$D")" ]
host --storage-check statvfs
that "host: one block, however often" [ "$(grep -c 'BEGIN holdfast' "$D/etc/libvirt/qemu.conf")" = 1 ]
that "host.toml: follows new options" has "$D/etc/holdfast/host.toml" 'check = "statvfs"'
fresh watched
host
sed -i '/^\[guard\.watchdog\]/,/^\[/s/^#kind = .*/kind = "systemd"/' "$D/etc/holdfast/host.toml"
host
that "host: systemd watches over the guard if host.toml says so" cmp "$P/systemd-watchdog.conf" "$D/$ADDITION"
# A sign each third of the time-out; the one in host.toml is the example for a device.
limit=$(sed -n 's/^WatchdogSec=\([0-9]*\)s$/\1/p' "$D/$ADDITION")
timeout=$(sed -n 's/^#timeout_s = \([0-9]*\)$/\1/p' "$P/host.toml")
that "host: systemd waits for longer than the guard gives no sign" [ "$((${limit:-0} * 3))" -gt "${timeout:-9999}" ]
sed -i 's/^kind = "systemd"/kind = "none"/' "$D/etc/holdfast/host.toml"
host
says "host: and if it does not any more, that is said" "remove /$ADDITION"
fresh tls
into host --cluster lab --site b --name b2 --etcd "$URLS"
that "host: migrates over TLS unless told" has "$D/etc/holdfast/host.toml" 'migrate_address = "qemu+tls://b2/system"'
that "host: no TCP unless told" not test -e "$D/etc/systemd/system/libvirtd-tcp.socket.d"

# ---------------------------------------------------------------- witness, etcd
fresh witness
mkdir -p "$D/etc/default"
printf '## etcd(1) daemon options\n\n' >"$D/etc/default/etcd"
witness() { into witness --cluster lab --site witness --name w --etcd "$URLS" --etcd-cluster "$PEERS" "$@"; }
witness
that "witness: installs" [ "$STATUS" = 0 ]
that "witness: a manager" test -x "$D/usr/bin/holdfast-manager"
for line in ETCD_NAME=\"w\" 'ETCD_DATA_DIR="/var/lib/etcd/holdfast"' "ETCD_INITIAL_CLUSTER=\"$PEERS\"" \
    'ETCD_LISTEN_PEER_URLS="http://203.0.113.11:2380"' 'ETCD_INITIAL_CLUSTER_STATE="new"' \
    'ETCD_LISTEN_CLIENT_URLS="http://203.0.113.11:2379,http://127.0.0.1:2379"' \
    'ETCD_ADVERTISE_CLIENT_URLS="http://203.0.113.11:2379"'; do
    that "etcd: $line" has "$D/etc/default/etcd" "$line"
done
that "etcd: restarted always" has "$D/etc/systemd/system/etcd.service.d/holdfast.conf" Restart=always
witness --etcd-state existing
that "etcd: follows new options" has "$D/etc/default/etcd" 'ETCD_INITIAL_CLUSTER_STATE="existing"'
echo 'ETCD_HEARTBEAT_INTERVAL="50"' >>"$D/etc/default/etcd"
witness
that "etcd: a changed file is kept" has "$D/etc/default/etcd" 'ETCD_HEARTBEAT_INTERVAL="50"'
says "etcd: and said" "kept       /etc/default/etcd"
fresh foreign
mkdir -p "$D/etc/default"
echo 'ETCD_NAME="other"' >"$D/etc/default/etcd"
witness
that "etcd: another cluster's file is kept" has "$D/etc/default/etcd" 'ETCD_NAME="other"'
into manager --cluster lab --site a --name a1 --etcd "$URLS" --etcd-voter --etcd-cluster \
    a1=http://192.0.2.11:2380,b1=http://198.51.100.11:2380
says "etcd: two voters are pointed out" "this cluster has 2"

fresh cli
into cli --api http://192.0.2.11:7070,http://198.51.100.11:7070
that "cli: the command line alone" [ "$(find "$D/usr" -type f)" = "$D/usr/bin/holdfast" ]
that "cli: knows its managers" has "$D/etc/profile.d/holdfast.sh" \
    'export HOLDFAST_API=http://192.0.2.11:7070,http://198.51.100.11:7070'

# ---------------------------------------------------------------- refusals
fresh refused
refuses() { # what it must say, arguments
    wanted=$1
    shift
    into "$@"
    that "refused: $*" [ "$STATUS" = 2 ]
    says "refused: $*" "$wanted"
    that "refused: $* writes nothing" [ -z "$(find "$D" -mindepth 1)" ]
}
LONG=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
M="--cluster lab --site a --name a1 --etcd $URLS"
# shellcheck disable=SC2086
{
    refuses "unknown role 'node'; use manager, host, witness or cli" node
    refuses "unknown option '--sites'" manager --sites a
    refuses "--site is missing; give --site NAME" manager --cluster lab --name a1 --etcd "$URLS"
    refuses "--cluster is missing" manager --site a --name a1 --etcd "$URLS"
    refuses "--etcd is missing; give --etcd http://ADDRESS:2379" manager --cluster lab --site a --name a1
    refuses "--name 'a 1' is no name; use a-z" manager --cluster lab --site a --name "a 1" --etcd "$URLS"
    refuses "--name '-a' is no name" manager --cluster lab --site a --name -a --etcd "$URLS"
    refuses "is no name" manager --cluster lab --site a --name 'a"
x' --etcd "$URLS"
    refuses "has 64 characters; at most 63" manager --cluster lab --site a --name $LONG --etcd "$URLS"
    refuses "'192.0.2.11:2379' is no address; write http://" manager --cluster lab --site a --name a1 --etcd 192.0.2.11:2379
    refuses "'http://192.0.2.11' is no address" manager --cluster lab --site a --name a1 --etcd http://192.0.2.11
    refuses "is no address" manager --cluster lab --site a --name a1 --etcd 'http://x:1"]'
    refuses "has an empty item" manager --cluster lab --site a --name a1 --etcd "$URLS,"
    refuses "--listen 'localhost:7070' is no address" manager $M --listen localhost:7070
    refuses "has no port" manager $M --listen 192.0.2.11
    refuses "--listen needs a value" manager $M --listen ''
    refuses "a voter needs --etcd-cluster" witness $M
    refuses "--etcd-cluster does not name 'a1'" witness $M --etcd-cluster b1=http://198.51.100.11:2380
    refuses "is not NAME=PEER-URL" witness $M --etcd-cluster http://192.0.2.11:2380
    refuses "etcd listens on addresses, not names" witness $M --etcd-cluster a1=http://a1.example:2380
    refuses "this version speaks no TLS there; use http://" witness $M --etcd-cluster a1=https://192.0.2.11:2380
    refuses "this version speaks no TLS there; use http://" manager --cluster lab --site a --name a1 --etcd https://192.0.2.11:2379
    refuses "one of the two is wrong" witness $M --etcd-cluster a1=http://192.0.2.99:2380
    refuses "is neither new nor existing" witness $M --etcd-cluster $PEERS --etcd-state old
    refuses "--etcd-voter goes with the roles manager and witness" host $M --etcd-voter
    refuses "whoever reaches it is root" host $M --migrate-address 192.0.2.11
    refuses "--lab-tcp needs --migrate-address ADDRESS" host $M --lab-tcp
    refuses "--lab-tcp goes with an address" host $M --lab-tcp --migrate-address qemu+tls://a1/system
    refuses "is neither an address nor a" host $M --migrate-address 'qemu+tls://a1 /system'
    refuses "--storage-check gluster needs --storage PATH" host $M --storage-check gluster
    refuses "--storage-check 'ceph' is unknown; use none" host $M --storage /x --storage-check ceph
    refuses "must be a full path" host $M --storage srv
    refuses "is no name of a kernel module" host $M --watchdog '../x'
}
rm "$T/bin/holdfast-guard"
# shellcheck disable=SC2086
refuses "there is no program holdfast-guard in $T/bin; build it" host $M
cp "$T/bin/holdfast" "$T/bin/holdfast-guard"
OUT=$("$P/install.sh" cli --destdir relative --bin-dir "$T/bin" 2>&1)
says "a relative directory is refused" "must be a full path"
OUT=$("$P/install.sh" cli --destdir "$D" 2>&1)
says "a directory without binaries is refused" "--destdir needs --bin-dir DIR"
OUT=$("$P/install.sh" cli --destdir / --bin-dir "$T/bin" 2>&1)
says "the machine itself is no directory" "leave it out"
OUT=$("$P/install.sh" 2>&1)
says "no arguments: the usage" "Usage: install.sh ROLE"
as_nobody=''
[ "$(id -u)" != 0 ] || as_nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
# shellcheck disable=SC2086
OUT=$($as_nobody "$P/install.sh" cli --bin-dir "$T/bin" 2>&1)
says "not root is refused" "this needs root: run it with sudo, or give --destdir DIR"

# The loader's refusal is no refusal of the file, where the binaries are for another machine.
fresh other
mkdir "$T/other"
cp "$T/bin/holdfast" "$T/other"
printf '#!/no/such/loader\n' >"$T/other/holdfast-manager"
chmod 0755 "$T/other/holdfast-manager"
# shellcheck disable=SC2086
OUT=$("$P/install.sh" manager $M --bin-dir "$T/other" --destdir "$D" 2>&1)
says "another machine's programs can be installed into a directory" "does not run on this machine"
that "and are" test -x "$D/usr/bin/holdfast-manager"

# ---------------------------------------------------------------- what others say about the files
if command -v shellcheck >/dev/null; then
    for script in install.sh install-checks.sh install-files.sh test-install.sh; do
        that "shellcheck $script" shellcheck -x "$P/$script"
    done
else
    skip "shellcheck: not installed (apt-get install shellcheck)"
fi

if command -v systemd-analyze >/dev/null; then
    mkdir "$T/units"
    # systemd wants the programs to be there, and words about other units are not about ours.
    verified() {
        words=$(systemd-analyze verify --man=no "$T/units/$1" 2>&1 | grep -F "$T/units")
        [ -z "$words" ] || { printf '%s\n' "$words"; return 1; }
    }
    for unit in holdfast-manager holdfast-host holdfast-guard; do
        sed "s|/usr/bin/|$T/bin/|" "$P/$unit.service" >"$T/units/$unit.service"
        that "systemd reads $unit.service" verified $unit.service
    done
    for part in root.witness:etcd.service root.host:libvirt-guests.service root.host:libvirtd-tcp.socket \
        root.watched:holdfast-guard.service; do
        unit=${part#*:}
        case $unit in
            *.socket) printf '[Socket]\nListenStream=1\nService=etcd.service\n' >"$T/units/$unit" ;;
            holdfast-*) ;;
            *) printf '[Service]\nExecStart=/bin/true\nExecStop=/bin/true\n' >"$T/units/$unit" ;;
        esac
        cp -r "$T/${part%%:*}/etc/systemd/system/$unit.d" "$T/units"
        that "systemd reads the addition to $unit" verified "$unit"
    done
    printf '[Service]\nExecStart=/bin/true\nRestartSeconds=1\n' >"$T/units/wrong.service"
    that "systemd's check does find a wrong key" not verified wrong.service
else
    skip "units: systemd-analyze is not installed"
fi

# That the examples have every key of the code and no other is tested with the schemas
# (manager/src/schema_tests.rs).
if [ -n "${HOLDFAST_BIN_DIR-}" ]; then
    for pair in holdfast-manager:root.dry holdfast-host:root.tls holdfast-guard:root.tls; do
        program=${pair%%:*}
        case $program in *manager) file=manager.toml ;; *) file=host.toml ;; esac
        that "$program takes the example" "$HOLDFAST_BIN_DIR/$program" --config "$P/$file" --check-config
        # What is said of the extension goes with the check that asks it; a target has a token or a user.
        sed 's/^#\(\[targets\.[a-z-]*\]\)$/\1/; /^#user = /d; /^#password_file = /d
            s/^#\([a-z_]* = \)/\1/; s/^check = "none"/check = "extension"/' "$P/$file" >"$T/$file"
        that "$program takes the example with everything set" \
            "$HOLDFAST_BIN_DIR/$program" --config "$T/$file" --check-config
        sed 's/^site = /sitte = /' "$P/$file" >"$T/$file"
        that "$program refuses a wrong key" \
            not "$HOLDFAST_BIN_DIR/$program" --config "$T/$file" --check-config
    done
else
    skip "the real programs: HOLDFAST_BIN_DIR is not set"
fi

# ---------------------------------------------------------------- a real etcd cluster
# Three voters, each with the environment that the script made for it, on three loopback addresses.
if command -v etcd >/dev/null && command -v etcdctl >/dev/null; then
    urls=http://127.0.77.1:23791,http://127.0.77.2:23792,http://127.0.77.3:23793
    peers=a1=http://127.0.77.1:23801,b1=http://127.0.77.2:23802,w=http://127.0.77.3:23803
    for name in a1 b1 w; do
        fresh "etcd.$name"
        into manager --cluster lab --site x --name $name --etcd $urls --etcd-voter --etcd-cluster $peers
        sed "s|/var/lib/etcd/holdfast|$D/data|" "$D/etc/default/etcd" >"$D/env"
        (
            set -a
            # shellcheck source=/dev/null
            . "$D/env"
            exec etcd
        ) >"$D/log" 2>&1 &
        ETCDS="$ETCDS $!"
    done
    quorum() {
        tries=0
        while [ $tries -lt 60 ]; do
            if ETCDCTL_API=3 etcdctl --endpoints "$urls" --command-timeout 2s endpoint health >"$T/health" 2>&1; then
                return 0
            fi
            tries=$((tries + 1))
            sleep 1
        done
        cat "$T/health"
        tail -n 3 "$T"/root.etcd.*/log
        return 1
    }
    that "etcd: the three voters find each other" quorum
    ETCDCTL_API=3 etcdctl --endpoints http://127.0.77.1:23791 --command-timeout 10s put k v >/dev/null 2>&1
    that "etcd: what one takes, another has" \
        [ "$(ETCDCTL_API=3 etcdctl --endpoints http://127.0.0.1:23793 --command-timeout 10s get k --print-value-only 2>&1)" = v ]
    # The example of a policy, as it is and with everything set that it names, as a manager takes it.
    if [ -n "${HOLDFAST_BIN_DIR-}" ]; then
        sed "s|^listen = .*|listen = \"127.0.77.1:7070\"|; s|^endpoints = .*|endpoints = [\"http://127.0.77.1:23791\"]|" \
            "$P/manager.toml" >"$T/manager.toml"
        "$HOLDFAST_BIN_DIR/holdfast-manager" --config "$T/manager.toml" >"$T/manager.log" 2>&1 &
        ETCDS="$ETCDS $!"
        # A device has a program or an extension, and an extension one way to read the power back.
        everything='s/^#\([a-z_]* = \)/\1/; s/^#\(\[[a-z0-9_.]*\]\)$/\1/'
        sed "/^#extension = /d; /^#bind = { board/d; /^#read_back/d; $everything" "$P/policy.toml" >"$T/policy.toml"
        sed "/^#agent = /d; /^#read_back_program/d; $everything" "$P/policy.toml" >"$T/by-extension.toml"
        apply() {
            tries=0
            while [ $tries -lt 60 ]; do
                "$HOLDFAST_BIN_DIR/holdfast" --api http://127.0.77.1:7070 config apply -f "$1" && return 0
                tries=$((tries + 1))
                sleep 1
            done
            tail -n 5 "$T/manager.log"
            return 1
        }
        that "a manager takes the example of a policy" apply "$P/policy.toml"
        that "a manager takes it with everything set" apply "$T/policy.toml"
        that "a manager takes it with a device behind an extension" apply "$T/by-extension.toml"
        sed 's/^taker_wait_ms = .*/taker_wait_ms = 17000/' "$T/policy.toml" >"$T/short.toml"
        that "and refuses a wait that is too short" \
            not "$HOLDFAST_BIN_DIR/holdfast" --api http://127.0.77.1:7070 config apply -f "$T/short.toml"
    fi
else
    skip "a real etcd cluster: etcd or etcdctl is not installed"
fi

printf '%s passed, %s failed, %s skipped\n' "$PASSED" "$FAILED" "$SKIPPED"
[ "$FAILED" -eq 0 ]
