#!/bin/sh
# Makes guests on the replicated storage and hands them to Holdfast; runs on a host. Each is a kernel
# and a RAM disk that writes a record to its own disk every 0.2 s (cargo xtask setup makes the two).
#   guests.sh COUNT        kernel and RAM disk are /tmp/holdfast/guest/{vmlinuz,initrd}
set -eu
STORAGE=/srv/holdfast
DIR=/tmp/holdfast/guest
case $(stat -f -c %T $STORAGE) in
    fuse*) ;;
    *) echo "guests.sh: the replicated storage is not mounted at $STORAGE; see lab.sh status" >&2; exit 1 ;;
esac
# Emulated inside unless the machine can do it and the lab was told to.
type=qemu
if [ "${LAB_DRIVER:-qemu}" = kvm ] && [ -w /dev/kvm ]; then type=kvm; fi
cp "$DIR/vmlinuz" $STORAGE/lab-vmlinuz
cp "$DIR/initrd" $STORAGE/lab-initrd
number=0
while [ $number -lt "$1" ]; do
    number=$((number + 1))
    name=vm$number
    # Half of them belong to each site.
    if [ $((number % 2)) -eq 1 ]; then site=a; else site=b; fi
    [ -e $STORAGE/$name.img ] || truncate -s 4M $STORAGE/$name.img
    [ -e $STORAGE/$name.uuid ] || cat /proc/sys/kernel/random/uuid >$STORAGE/$name.uuid
    # Error policy and cache mode are what Holdfast asks of every VM.
    cat >"$DIR/$name.xml" <<XML
<domain type='$type'>
  <name>$name</name>
  <uuid>$(cat $STORAGE/$name.uuid)</uuid>
  <memory unit='MiB'>96</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>$STORAGE/lab-vmlinuz</kernel>
    <initrd>$STORAGE/lab-initrd</initrd>
    <cmdline>console=ttyS0 quiet loglevel=1 panic=1</cmdline>
  </os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' error_policy='stop'/>
      <source file='$STORAGE/$name.img'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <controller type='usb' model='none'/>
    <serial type='pty'><target port='0'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
XML
    cat >"$DIR/$name.toml" <<TOML
name = "$name"
run = true
memory_mib = 96
vcpus = 1
priority = 10
preferred_site = "$site"
site_rule = "should"
domain_xml_file = "$name.xml"
TOML
    (cd "$DIR" && holdfast vm apply -f $name.toml)
done
