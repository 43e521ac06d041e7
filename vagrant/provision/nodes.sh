# shellcheck shell=sh
# Part of lab.sh and of the provisioning: the table of machines (../nodes), in words.
# NODES is the file, LAB_HOSTS how many hosts a site has.

# Rows without comments: name, site, roles, address.
nodes() {
    awk -v hosts="${LAB_HOSTS:-2}" '
        /^#/ || NF == 0 { next }
        $1 ~ /^[ab][0-9]+$/ && substr($1, 2) + 0 > hosts { next }
        { print $1, $2, $3, $4 }' "$NODES"
}
field() { nodes | awk -v name="$1" -v number="$2" '$1 == name { print $number }'; } # name, number
site_of() { field "$1" 2; }
address_of() { field "$1" 4; }
has_role() { # name, role
    case ",$(field "$1" 3)," in *",$2,"*) return 0 ;; *) return 1 ;; esac
}
names() { nodes | cut -d ' ' -f 1; }
sites() { nodes | cut -d ' ' -f 2 | uniq; }
with_role() { for name in $(names); do if has_role "$name" "$1"; then echo "$name"; fi; done; }
gateway_of() { # site
    nodes | awk -v site="$1" '$2 == site { sub(/[0-9]+$/, "254", $4); print $4; exit }'
}
# The machines a word means: a site, a machine, or all.
members() {
    for name in $(names); do
        case $1 in all | "$name" | "$(site_of "$name")") echo "$name" ;; esac
    done
}
# Control machines, those of a site first.
controls() { # site
    for name in $(with_role control); do [ "$(site_of "$name")" != "$1" ] || echo "$name"; done
    for name in $(with_role control); do [ "$(site_of "$name")" = "$1" ] || echo "$name"; done
}
# http://ADDRESS:PORT of all control machines, comma between.
urls() { # site, port
    for name in $(controls "$1"); do echo "http://$(address_of "$name"):$2"; done | paste -s -d ,
}
