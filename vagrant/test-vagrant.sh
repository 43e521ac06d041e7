#!/bin/sh
# Tests the Vagrant lab as far as a machine without it can: the Vagrantfile as Ruby and as Vagrant
# reads it, that Vagrantfile, lab.sh and provisioning mean the same machines and addresses, cuts in a
# network namespace, and the proof on made-up disks. Starts no machine; what is missing is skipped,
# and said.
set -uf
LC_ALL=C
export LC_ALL
HERE=$(cd "$(dirname "$0")" && pwd)
TREE=$(cd "$HERE/.." && pwd)
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
trap 'exit 130' INT TERM
unset LAB_HOSTS LAB_HOST_MEMORY LAB_HOST_CPUS LAB_SMALL_MEMORY LAB_DRIVER LAB_CPU_MODE LAB_PROFILE LAB_BOX LAB_BOX_VERSION

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
# A claim, a text that must be said, a command that must fail.
refuses() {
    claim=$1
    wanted=$2
    shift 2
    if output=$("$@" 2>&1); then fail "$claim" "not refused: $* $output"; return; fi
    case $output in *"$wanted"*) pass ;; *) fail "$claim" "not said: $wanted
$output" ;; esac
}

# A tree of its own: Vagrant writes beside its Vagrantfile. With programs, so that their upload is
# checked too.
mkdir -p "$T/tree/manager" "$T/tree/host-plugin" "$T/bin" "$T/home"
cp -r "$TREE/manager/packaging" "$T/tree/manager"
cp -r "$TREE/host-plugin/packaging" "$T/tree/host-plugin"
mkdir "$T/tree/vagrant"
cp -r "$HERE/Vagrantfile" "$HERE/nodes" "$HERE/lab.sh" "$HERE/provision" "$T/tree/vagrant"
for name in holdfast-manager holdfast-host holdfast-guard holdfast; do
    printf '#!/bin/sh\n' >"$T/bin/$name"
    chmod 0755 "$T/bin/$name"
done
LAB_BIN_DIR=$T/bin
HOME=$T/home
VAGRANT_HOME=$T/vagrant-home
export LAB_BIN_DIR HOME VAGRANT_HOME
lab() { "$T/tree/vagrant/lab.sh" "$@"; }

# ---------------------------------------------------------------- the Vagrantfile
if command -v ruby >/dev/null; then
    that "the Vagrantfile is Ruby" ruby -c "$HERE/Vagrantfile"
    # Records what the Vagrantfile asks for, one line each, without Vagrant.
    cat >"$T/record.rb" <<'RUBY'
module Vagrant
  module Errors
    class VagrantError < StandardError; end
  end
  class Provider
    def initialize(name) = @name = name
    def watchdog(model:, action:) = puts("#{@name} watchdog #{model} #{action}")
    def method_missing(key, value) = @name && puts("#{@name} #{key}#{value}")
    def respond_to_missing?(*) = true
  end
  class Machine
    def initialize(name) = @name = name
    def vm = self
    def define(name) = yield(Machine.new(name))
    def provider(_) = yield(Provider.new(@name))
    def network(kind, ip:, **options)
      puts "#{@name} #{kind} #{ip} #{options[:libvirt__network_name]} #{options[:libvirt__forward_mode]}"
    end
    def provision(kind, **options)
      text = options[:inline] || options[:destination]
      raise "no file #{options[:source]}" if options[:source] && !File.exist?(options[:source])
      puts "#{@name} #{kind} #{text}"
    end
    def synced_folder(*path, disabled: false) = puts("synced #{path.join(' ')} #{disabled ? 'off' : 'ON'}")
    def method_missing(key, value) = @name && puts("#{@name} #{key}#{value}")
    def respond_to_missing?(*) = true
  end
  def self.configure(_) = yield(Machine.new(nil))
end
load ARGV[0]
RUBY
    for hosts in 1 2 4; do
        LAB_HOSTS=$hosts
        export LAB_HOSTS
        if ! ruby "$T/record.rb" "$T/tree/vagrant/Vagrantfile" >"$T/recorded" 2>"$T/words"; then
            fail "LAB_HOSTS=$hosts: the Vagrantfile runs" "$(cat "$T/words")"
            continue
        fi
        pass
        # The table as the Vagrantfile has it: name, site's network, address; and as lab.sh has it.
        sed -n 's/^\([a-z0-9]*\) private_network \([0-9.]*\) holdfast-lab-\([a-z]*\) none$/\1 \3 \2/p' "$T/recorded" |
            grep -v '^link ' >"$T/vagrant"
        lab nodes | awk '{ print $1, $2, $4 }' >"$T/lab"
        that "LAB_HOSTS=$hosts: both mean the same machines and addresses" diff "$T/lab" "$T/vagrant"
        that "LAB_HOSTS=$hosts: two sites of $hosts hosts and a witness" \
            [ "$(wc -l <"$T/lab")" -eq $((2 * hosts + 1)) ]
        that "LAB_HOSTS=$hosts: no address twice" [ -z "$(cut -d ' ' -f 3 "$T/lab" | sort | uniq -d)" ]
        # A table of /24s: the site is the third number.
        that "LAB_HOSTS=$hosts: a site has one network, a network one site" \
            [ "$(awk '{ sub(/\.[0-9]+$/, "", $3); print $2, $3 }' "$T/lab" | sort -u | wc -l)" -eq 3 ]
        NODES=$HERE/nodes
        export NODES
        # shellcheck source-path=SCRIPTDIR source=provision/nodes.sh
        . "$HERE/provision/nodes.sh"
        for site in $(sites); do
            that "the router's leg in $site is where the routes go" \
                grep -qx "link private_network $(gateway_of "$site") holdfast-lab-$site none" "$T/recorded"
        done
        for name in $(with_role host); do
            that "$name is reset by a watchdog" grep -qx "$name watchdog i6300esb reset" "$T/recorded"
        done
        that "machines that are no hosts have none" [ "$(grep -c watchdog "$T/recorded")" -eq $((2 * hosts)) ]
        that "three voters, one of them at each site" [ "$(for name in $(with_role control); do site_of "$name"; done | sort -u | wc -l)" -eq 3 ]
        that "the cluster is made on the last machine" \
            [ "$(grep -n 'cluster.sh' "$T/recorded" | cut -d : -f 2 | cut -d ' ' -f 1)" = "$(names | tail -n 1)" ]
        that "and that is after all others" grep -q 'cluster.sh default$' "$T/recorded"
        that "every machine gets its own part" \
            [ "$(grep -c 'node.sh' "$T/recorded")" -eq $((2 * hosts + 1)) ]
        for name in $(names); do
            wanted=holdfast
            ! has_role "$name" control || wanted="$wanted holdfast-manager"
            ! has_role "$name" host || wanted="$wanted holdfast-host holdfast-guard"
            that "$name gets the programs of its roles" [ "$(echo "$wanted" | tr ' ' '\n' | sort)" = \
                "$(sed -n "s|^$name file /tmp/holdfast/bin/||p" "$T/recorded" | sort)" ]
        done
    done
    unset LAB_HOSTS
    that "no synced folder" [ "$(grep '^synced' "$T/recorded")" = "synced . /vagrant off" ]
    that "own site first" [ "$(urls b 2379)" = "http://10.78.2.11:2379,http://10.78.1.11:2379,http://10.78.3.11:2379" ]
    refuses "a wrong number is refused" "LAB_HOSTS=9 must be 1 to 4" \
        env LAB_HOSTS=9 ruby "$T/record.rb" "$T/tree/vagrant/Vagrantfile"
    refuses "a wrong word is refused" "LAB_DRIVER=xen must be one of kvm, qemu" \
        env LAB_DRIVER=xen ruby "$T/record.rb" "$T/tree/vagrant/Vagrantfile"
else
    skip "the Vagrantfile as Ruby, and its addresses: ruby is not installed"
fi

if command -v vagrant >/dev/null && [ -n "$(vagrant plugin list 2>/dev/null | grep libvirt)$(find /usr/share/rubygems-integration -maxdepth 3 -name 'vagrant-libvirt-*' 2>/dev/null)" ]; then
    validate() { (cd "$T/tree/vagrant" && vagrant validate); }
    that "vagrant validate" validate
    sed -i 's/libvirt.graphics_type = /libvirt.graphics_tipe = /' "$T/tree/vagrant/Vagrantfile"
    that "vagrant validate does find a wrong option" not validate
    cp "$HERE/Vagrantfile" "$T/tree/vagrant"
else
    skip "vagrant validate: Vagrant or vagrant-libvirt is not installed (apt-get install vagrant vagrant-libvirt)"
fi

# ---------------------------------------------------------------- lab.sh
refuses "lab.sh: no verb" "Usage: vagrant/lab.sh VERB" lab
refuses "lab.sh: an unknown word to cut" "'c' is neither a site nor a machine; there are: a b witness, a1 a2 b1 b2 witness" lab cut c a
refuses "lab.sh: nothing to cut" "a and a are the same" lab cut a a
refuses "lab.sh: half a cut" "cut what from what?" lab cut a
refuses "lab.sh: an unknown site" "'c' is no site; there are: a b witness" lab power-off --site c
refuses "lab.sh: an unknown machine" "'a9' is no machine" lab power-off a9
refuses "lab.sh: no number" "how many milliseconds?" lab delay x
refuses "lab.sh: guests without files" "cargo xtask setup makes it" lab guests 2
rm "$T/bin/holdfast-guard"
refuses "lab.sh: up without programs" "there is no $T/bin/holdfast-guard" lab up
drops() { # a, b, what
    that "cutting $1 from $2 drops $3" [ "$(lab rules "$1" "$2" 2>&1 | paste -s -d ' ')" = "$3" ]
}
drops a b 'link|10.78.1.11,10.78.1.12|10.78.2.11,10.78.2.12'
drops b a1 'link|10.78.2.11,10.78.2.12|10.78.1.11'
drops a1 a2 'a2|10.78.1.11|10.78.1.12'
drops a1 a 'a2|10.78.1.11|10.78.1.12'
drops a1 all 'a2|10.78.1.11|10.78.1.12 link|10.78.1.11|10.78.2.11,10.78.2.12,10.78.3.11'
drops witness b 'link|10.78.3.11|10.78.2.11,10.78.2.12'

# ---------------------------------------------------------------- cuts, for real
# Two addresses of one machine of our own making, so that nothing of it reaches this one.
PING=''
! command -v busybox >/dev/null || PING="busybox ping"
! command -v ping >/dev/null || PING=ping
export PING
if [ "$(id -u)" = 0 ] && command -v nft >/dev/null && [ -n "$PING" ] && unshare --net true 2>/dev/null; then
    cat >"$T/cut.sh" <<'CUT'
set -eu
ip link set lo up
ip address add 10.78.1.11/32 dev lo
ip address add 10.78.1.12/32 dev lo
reach() { $PING -q -c 1 -W 1 -I 10.78.1.11 10.78.1.12 >/dev/null; }
reach || { echo "unreachable before any cut"; exit 1; }
"$1" add a1-to-a2.1 10.78.1.11,10.78.1.99 10.78.1.12
"$1" add a1-to-a2.1 10.78.1.11,10.78.1.99 10.78.1.12
"$1" add a1-to-a2.10 10.78.9.9 10.78.9.10
! reach || { echo "reachable after the cut"; exit 1; }
"$1" list
"$1" del a1-to-a2.1
reach || { echo "unreachable after healing"; exit 1; }
"$1" list
"$1" flush
[ -z "$("$1" list)" ] || { echo "flush left something"; exit 1; }
CUT
    that "lab-cut drops, counts and heals" unshare --net sh "$T/cut.sh" "$HERE/provision/lab-cut"
    that "each rule once; only what was meant to drop did" [ "$output" = "a1-to-a2.1 1
a1-to-a2.10 0
a1-to-a2.10 0" ]
else
    skip "cuts: needs root, nft, ping (or busybox) and a network namespace"
fi

# ---------------------------------------------------------------- the proof
# A disk with these records, each in the slot its counter says: `disk FILE BOOT:COUNTER...`
disk() {
    file=$1
    shift
    truncate -s 8192 "$file"
    for record in "$@"; do
        echo "J ${record%%:*} ${record#*:} 1.0" |
            dd of="$file" bs=512 count=1 seek=$((${record#*:} % 16)) conv=notrunc,sync 2>/dev/null
    done
}
prove() { sh "$HERE/provision/proof.sh" "$T/disks"; }
proven() { # claim, status
    output=$(prove 2>&1)
    status=$?
    if [ $status -eq "$2" ]; then pass; else fail "$1" "status $status: $output"; fi
}
mkdir "$T/disks"
proven "no disks are no proof" 2
disk "$T/disks/vm1.img" x:1 x:2 y:3 y:4
# 21 records on a disk of 16: it starts over.
disk "$T/disks/vm2.img" x:1 x:2 x:3 x:4 x:5 x:6 x:7 x:8 x:9 x:10 x:11 x:12 x:13 x:14 x:15 x:16 x:17 x:18 y:19 y:20 y:21
truncate -s 8192 "$T/disks/vm3.img"
proven "lives that follow each other are well" 0
for line in "vm1  2 lives, 0 overlaps, 0 records missing" "vm2  2 lives, 0 overlaps, 0 records missing" \
    "vm2  x  6..18" "vm3  has written nothing" "none of 3 VMs ran twice"; do
    case $output in *"$line"*) pass ;; *) fail "the proof says: $line" "$output" ;; esac
done
disk "$T/disks/vm4.img" x:1 y:2 x:3 x:6
proven "two writers show" 1
for line in "vm4  x RAN AT THE SAME TIME AS ANOTHER" "vm4  3 lives, 1 overlaps, 2 records missing" "1 of 4 VMs ran twice"; do
    case $output in *"$line"*) pass ;; *) fail "the proof says: $line" "$output" ;; esac
done

# ---------------------------------------------------------------- agreement with others
# Storage options are in three places for three reasons; one list is right.
options() { sed -n 's/^    \([a-z]*\.[a-z-]*\) \([0-9]*\)\( \\\)\{0,1\}$/\1 \2/p' "$HERE/provision/cluster.sh"; }
that "the storage has options" [ "$(options | wc -l)" -eq 11 ]
options >"$T/options"
while read -r key value; do
    that "tests/lab sets $key $value too" grep -rqF "\"$key\", \"$value\"" "$TREE/tests/lab/src"
    that "docs/install.md names $key $value" grep -qE "$key +$value" "$TREE/docs/install.md"
done <"$T/options"
# shellcheck disable=SC2013
for option in $(grep -o -- ' --[a-z][a-z-]*' "$HERE/provision/node.sh" | sort -u); do
    case $option in --quiet | --now | --no-block | --no-install-recommends | --no-daemon | --volfile-* | --process-name | --log-file) continue ;; esac
    that "install.sh has $option" grep -q -- "^  $option " "$TREE/manager/packaging/install.sh"
done

if command -v shellcheck >/dev/null; then
    for script in lab.sh test-vagrant.sh provision/nodes.sh provision/node.sh provision/link.sh \
        provision/cluster.sh provision/guests.sh provision/proof.sh provision/lab-cut; do
        that "shellcheck $script" shellcheck -x "$HERE/$script"
    done
else
    skip "shellcheck: not installed (apt-get install shellcheck)"
fi

printf '%s passed, %s failed, %s skipped\n' "$PASSED" "$FAILED" "$SKIPPED"
[ "$FAILED" -eq 0 ]
