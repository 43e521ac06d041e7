#!/usr/bin/env bash
# Boots one small emulated machine with an i6300esb watchdog and runs the example `watchdog` in it:
#   host-plugin/examples/watchdog-guest.sh KERNEL [MODULES] [SECONDS]
# KERNEL is an image of Linux, MODULES the directory with its drivers (…/lib/modules/VERSION). Ends
# when the watchdog resets the machine, or after ten minutes; see docs/watchdog.md.
set -euo pipefail
kernel=$1 modules=${2:-} seconds=${3:-10}
target=${CARGO_TARGET_DIR:-$(dirname "$0")/../../target}
program=$target/debug/examples/watchdog
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

root=$work/root
mkdir -p "$root"/{bin,proc,sys,dev,modules,lib64}
cp "$(command -v busybox)" "$root/bin/busybox"
# Not `watchdog`: busybox has a program of that name, which would pet the device.
cp "$program" "$root/bin/try-watchdog"
# What it is linked against, where it looks for it.
ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
# In the order in which they are loaded; what is built into the kernel has no file.
for name in watchdog i6300esb; do
    [ -z "$modules" ] || find "$modules" -name "$name.ko" -exec cp {} "$root/modules/" \;
done
cat >"$root/init" <<END
#!/bin/busybox sh
/bin/busybox --install /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
for name in watchdog i6300esb; do
    [ ! -f /modules/\$name.ko ] || insmod /modules/\$name.ko || echo "W insmod \$name failed"
done
for device in /sys/bus/pci/devices/*; do
    [ "\$(cat \$device/vendor \$device/device | tr '\n' ' ')" != "0x8086 0x25ab " ] || echo "W i6300esb at \$device"
done
try-watchdog /dev/watchdog $seconds
echo "W the example ended"
poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"

# QMP needs an input that stays open, and says nothing before it is greeted.
mkfifo "$work/qmp"
exec 3<>"$work/qmp"
echo '{"execute": "qmp_capabilities"}' >&3
code=0
nice -n 15 timeout 600 qemu-system-x86_64 -M pc,accel=tcg -m 256 -nodefaults -display none \
    -device i6300esb -action watchdog=reset -no-reboot \
    -kernel "$kernel" -initrd "$work/initrd" \
    -append 'console=ttyS0 quiet panic=-1' \
    -serial "file:$work/serial" -qmp stdio <&3 >"$work/events" || code=$?
# `W 12.345 s …` is what the example says.
grep -a '^W ' "$work/serial" || tail -n 20 "$work/serial"
grep -E '"WATCHDOG"|"RESET"|"SHUTDOWN"' "$work/events" || true
[ "$code" -eq 0 ] && grep -q '"WATCHDOG"' "$work/events"
