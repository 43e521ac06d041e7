#!/bin/sh
# Runs once, on the machine that is provisioned last: makes the replicated volume out of the three
# bricks, waits for the managers and applies the cluster policy. May run again.
#   cluster.sh PROFILE
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
NODES=$(dirname "$HERE")/nodes
export NODES
# shellcheck source-path=SCRIPTDIR source=nodes.sh
. "$HERE/nodes.sh"
PROFILE=$1

# A condition, asked for at most that many seconds.
wait_for() { # seconds, what, command...
    left=$1
    what=$2
    shift 2
    while ! "$@" >/tmp/holdfast/wait 2>&1; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "cluster.sh: $what did not come; last: $(tail -n 3 /tmp/holdfast/wait)" >&2
            exit 1
        fi
        sleep 1
    done
}

# ---------------------------------------------------------------- storage
gluster() { command gluster --mode=script "$@"; }
connected() { [ "$(gluster pool list | grep -c Connected)" -eq "$(with_role control | wc -l)" ]; }
if ! gluster volume info hf >/dev/null 2>&1; then
    bricks=''
    for each in $(with_role control); do
        gluster peer probe "$(address_of "$each")"
        bricks="$bricks $(address_of "$each"):/var/lib/holdfast/brick"
    done
    wait_for 60 "the storage pool" connected
    # Replica at both sites, at the witness only the arbiter: one side of a cut can write, not both.
    # shellcheck disable=SC2086
    gluster volume create hf replica 3 arbiter 1 $bricks force
    # O_DIRECT, no caching of writes, quorum of clients and servers.
    gluster volume set hf group virt
fi
# With the defaults the bricks keep the image locks of a host that lost its power for 35 s, and
# writers of the surviving site stall for 42 s (docs/install.md, storage).
gluster volume set hf \
    network.ping-timeout 3 \
    server.tcp-user-timeout 3 \
    server.keepalive-time 1 \
    server.keepalive-interval 1 \
    server.keepalive-count 3 \
    client.tcp-user-timeout 3 \
    client.keepalive-time 1 \
    client.keepalive-interval 1 \
    client.keepalive-count 3 \
    cluster.heal-timeout 5 \
    cluster.post-op-delay-secs 0
gluster volume status hf >/dev/null 2>&1 || gluster volume start hf

# ---------------------------------------------------------------- policy
cat >/etc/holdfast/policy.toml <<TOML
# Applied by the lab: holdfast config apply -f /etc/holdfast/policy.toml
[timing]
profile = "$PROFILE"

[[sites]]
name = "a"

[[sites]]
name = "b"

[[sites]]
name = "witness"
witness = true

[failback]
hold_down_ms = 30000
TOML
HOLDFAST_API=$(urls witness 7070)
export HOLDFAST_API
wait_for 180 "a leading manager that takes the policy" holdfast config apply -f /etc/holdfast/policy.toml
