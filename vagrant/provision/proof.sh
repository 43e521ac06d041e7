#!/bin/sh
# Did any VM run twice? Answered from the guests' own disks: every record names the boot that wrote
# it and a counter, so records of one boot between those of another mean that both ran at once.
#   proof.sh DIR           of all DIR/*.img; exit 1 if any boots overlap, 2 if there is nothing to read
set -eu
found=0
twice=0
for image in "${1:?a directory}"/*.img; do
    [ -e "$image" ] || continue
    found=$((found + 1))
    name=$(basename "$image" .img)
    tr -d '\000' <"$image" | grep -a '^J ' | sort -n -k 3,3 | awk -v name="$name" '
        $2 != boot {
            if (boot != "") printf "%s  %s  %d..%d\n", name, boot, first, last
            if ($2 in seen) again[$2] = 1
            boot = $2; first = $3; seen[boot] = 1; lives++
        }
        NR > 1 && $3 > last + 1 { missing += $3 - last - 1 }
        { last = $3 }
        END {
            if (NR == 0) { printf "%s  has written nothing\n", name; exit 0 }
            printf "%s  %s  %d..%d\n", name, boot, first, last
            overlaps = 0
            for (each in again) { printf "%s  %s RAN AT THE SAME TIME AS ANOTHER\n", name, each; overlaps++ }
            printf "%s  %d lives, %d overlaps, %d records missing\n", name, lives, overlaps, missing
            exit overlaps > 0
        }' || twice=$((twice + 1))
done
[ "$found" -gt 0 ] || { echo "proof.sh: there is no guest's disk in $1" >&2; exit 2; }
if [ "$twice" -gt 0 ]; then echo "$twice of $found VMs ran twice"; exit 1; fi
echo "none of $found VMs ran twice"
