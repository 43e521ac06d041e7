#!/bin/sh
# Makes this machine the router between the sites. Everything that goes from one site to another
# passes here, so here it is cut (lab-cut) and slowed down (tc, by lab.sh delay).
set -eu
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
command -v nft >/dev/null || { apt-get update -q; apt-get install -y -q --no-install-recommends nftables; }
echo 'net.ipv4.ip_forward = 1' >/etc/sysctl.d/50-holdfast-lab.conf
sysctl -q -p /etc/sysctl.d/50-holdfast-lab.conf
install -m 0755 /tmp/holdfast/provision/lab-cut /usr/local/sbin/lab-cut
lab-cut list
