#!/bin/sh
# Provisions one machine of the lab by its roles in the table: addresses and routes, then
# install.sh as on a production machine, then its part of the storage. May run again.
#   node.sh NAME            LAB_HOSTS, LAB_DRIVER in the environment
set -eu
HERE=$(cd "$(dirname "$0")" && pwd)
LAB=$(dirname "$HERE")
NODES=$LAB/nodes
export NODES
# shellcheck source-path=SCRIPTDIR source=nodes.sh
. "$HERE/nodes.sh"
NAME=$1
SITE=$(site_of "$NAME")
ADDRESS=$(address_of "$NAME")
[ -n "$SITE" ] || { echo "node.sh: $NAME is not in $NODES" >&2; exit 2; }
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND

# Vagrant gives it when it makes a machine, and never again.
[ -n "$(ip -4 -o address show to "$ADDRESS")" ] || {
    echo "node.sh: $NAME does not have its address $ADDRESS: its first start was interrupted;" \
        "vagrant destroy -f $NAME, then lab.sh up" >&2
    exit 1
}

# ---------------------------------------------------------------- names and routes
# Names resolve from here alone: a name server that a cut has taken away costs 5 s a question.
{
    echo '127.0.0.1 localhost'
    for each in $(names); do echo "$(address_of "$each") $each"; done
} >/etc/hosts
cat >/etc/systemd/system/holdfast-lab-route.service <<UNIT
[Unit]
Description=Lab: the other sites, through the router
After=network-online.target
Wants=network-online.target
Before=etcd.service holdfast-manager.service holdfast-host.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip route replace 10.78.0.0/16 via $(gateway_of "$SITE")
# The site's address may come late.
Restart=on-failure
RestartSec=1
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --quiet --now holdfast-lab-route.service

missing=''
for package in nftables busybox-static; do dpkg -s $package >/dev/null 2>&1 || missing="$missing $package"; done
# shellcheck disable=SC2086
[ -z "$missing" ] || { apt-get update -q; apt-get install -y -q --no-install-recommends $missing; }
install -m 0755 "$HERE/lab-cut" /usr/local/sbin/lab-cut

# ---------------------------------------------------------------- storage, the servers
# A brick each; the volume is made when all of them are there (cluster.sh).
if has_role "$NAME" control; then
    dpkg -s glusterfs-server >/dev/null 2>&1 ||
        apt-get install -y -q --no-install-recommends glusterfs-server glusterfs-client glusterfs-cli attr
    mkdir -p /var/lib/holdfast/brick
    systemctl enable --quiet --now glusterd.service
fi

# ---------------------------------------------------------------- Holdfast
# The files of manager and host side by side, as the script finds them in a release.
mkdir -p "$LAB/packaging"
cp "$LAB"/manager/* "$LAB"/host-plugin/* "$LAB/packaging"
INSTALL="sh $LAB/packaging/install.sh"
set -- --cluster lab --site "$SITE" --name "$NAME" --etcd "$(urls "$SITE" 2379)" \
    --api "$(urls "$SITE" 7070)" --bin-dir "$LAB/bin"
if has_role "$NAME" control; then
    peers=$(for each in $(with_role control); do echo "$each=http://$(address_of "$each"):2380"; done | paste -s -d ,)
    role=manager
    has_role "$NAME" host || role=witness
    $INSTALL $role "$@" --listen "$ADDRESS:7070" --etcd-voter --etcd-cluster "$peers"
fi
if has_role "$NAME" host; then
    # The site networks are closed: plain TCP for migrations.
    $INSTALL host "$@" --lab-tcp --migrate-address "$ADDRESS" --watchdog i6300esb \
        --storage /srv/holdfast --storage-check gluster

    # ------------------------------------------------------------ storage, the client
    servers=$(for each in $(controls "$SITE"); do echo "--volfile-server=$(address_of "$each")"; done | paste -s -d ' ')
    cat >/etc/systemd/system/holdfast-lab-storage.service <<UNIT
[Unit]
Description=Lab: the replicated storage at /srv/holdfast
After=holdfast-lab-route.service
StartLimitIntervalSec=0
[Service]
# The client itself rather than a mount unit: it tries again until the volume is there.
ExecStartPre=-/bin/umount -l /srv/holdfast
ExecStart=/usr/sbin/glusterfs --no-daemon $servers --volfile-id=hf --process-name fuse --log-file=/var/log/glusterfs/storage.log /srv/holdfast
ExecStopPost=-/bin/umount -l /srv/holdfast
Restart=always
RestartSec=2
[Install]
WantedBy=multi-user.target
UNIT
    mkdir -p /srv/holdfast
    systemctl daemon-reload
    systemctl enable --quiet --now --no-block holdfast-lab-storage.service
fi
