# shellcheck shell=sh disable=SC2034,SC2154
# Part of install.sh: refuses what cannot work, and says what to do instead. Nothing is changed here.

check_name() { # option, value
    [ -n "$2" ] || die "--$1 is missing; give --$1 NAME"
    case $2 in
        *[!A-Za-z0-9._-]* | [!A-Za-z0-9]*)
            die "--$1 '$2' is no name; use a-z A-Z 0-9 . _ - and begin with a letter or a digit" ;;
    esac
    [ ${#2} -le 63 ] || die "--$1 '$2' has ${#2} characters; at most 63 are allowed"
}

check_url() { # option, url
    case $2 in
        *[!][A-Za-z0-9.:/_-]*) ;;
        http://?*:[0-9]*) return 0 ;;
        https://*) die "--$1 '$2': this version speaks no TLS there; use http:// on a network of its \
own" ;;
    esac
    die "--$1: '$2' is no address; write http://ADDRESS:PORT, several with commas between"
}

check_urls() { # option, list
    case ",$2," in *,,*) die "--$1 '$2' has an empty item; remove the comma too many" ;; esac
    for item in $(split "$2"); do check_url "$1" "$item"; done
}

# Sets ETCD_PEER, ETCD_ADDRESS, ETCD_CLIENT: this voter's own addresses.
check_voter() {
    [ -n "$PEERS" ] || die "a voter needs --etcd-cluster NAME=http://ADDRESS:2380,... of all voters"
    ETCD_PEER=''
    for item in $(split "$PEERS"); do
        case $item in *=*) ;; *) die "--etcd-cluster: '$item' is not NAME=PEER-URL" ;; esac
        check_name etcd-cluster "${item%%=*}"
        check_url etcd-cluster "${item#*=}"
        [ "${item%%=*}" != "$NAME" ] || ETCD_PEER=${item#*=}
    done
    [ -n "$ETCD_PEER" ] || die "--etcd-cluster does not name '$NAME'; add $NAME=http://ADDRESS:2380"
    ETCD_ADDRESS=$(host_of "$ETCD_PEER")
    case $ETCD_ADDRESS in
        \[*\]) ;;
        *[!0-9.]*) die "--etcd-cluster: etcd listens on addresses, not names; write $NAME's address \
instead of '$ETCD_ADDRESS'" ;;
    esac
    ETCD_CLIENT=''
    for item in $(split "$ETCD"); do
        [ "$(host_of "$item")" != "$ETCD_ADDRESS" ] || ETCD_CLIENT=$item
    done
    [ -n "$ETCD_CLIENT" ] || die "none of --etcd's addresses is $ETCD_ADDRESS, where --etcd-cluster \
puts $NAME; one of the two is wrong"
    case $ETCD_STATE in
        new | existing) ;;
        *) die "--etcd-state '$ETCD_STATE' is neither new nor existing" ;;
    esac
}

check_manager() {
    case $LISTEN in
        *[!][0-9A-Fa-f.:]* | *:0 | :*) die "--listen '$LISTEN' is no address; write IP:PORT, such as \
127.0.0.1:7070" ;;
        ?*:[0-9]*) ;;
        *) die "--listen '$LISTEN' has no port; write IP:PORT, such as 127.0.0.1:7070" ;;
    esac
}

check_host() {
    [ -n "$MIGRATE" ] || [ "$LAB_TCP" = yes ] || MIGRATE=qemu+tls://$NAME/system
    case $MIGRATE in
        '') die "--lab-tcp needs --migrate-address ADDRESS: where libvirtd is to listen" ;;
        *[!][A-Za-z0-9.:/_+?=\&%-]*) die "--migrate-address '$MIGRATE' is neither an address nor a \
libvirt URI" ;;
        *://*) [ "$LAB_TCP" = no ] || die "--lab-tcp goes with an address, not with '$MIGRATE'; \
leave one of the two out" ;;
        *) [ "$LAB_TCP" = yes ] || die "--migrate-address $MIGRATE means libvirtd on plain TCP, where \
whoever reaches it is root; use qemu+tls://$NAME/system, or add --lab-tcp in a closed lab network" ;;
    esac
    case $CHECK in
        none) ;;
        statvfs | gluster) [ -n "$STORAGE" ] || die "--storage-check $CHECK needs --storage PATH" ;;
        *) die "--storage-check '$CHECK' is unknown; use none, statvfs or gluster" ;;
    esac
    case $STORAGE in
        '') ;;
        *[!A-Za-z0-9._/-]*) die "--storage '$STORAGE' has a character that is not a-z A-Z 0-9 . _ / -" ;;
        /*) ;;
        *) die "--storage '$STORAGE' must be a full path, beginning with /" ;;
    esac
    case $WATCHDOG in
        *[!A-Za-z0-9_-]*) die "--watchdog '$WATCHDOG' is no name of a kernel module" ;;
    esac
}

# The binaries are there, and nobody else's.
check_binaries() {
    if [ -z "$BIN_DIR" ]; then
        [ -z "$DESTDIR" ] || die "--destdir needs --bin-dir DIR: where the binaries are"
        for binary in $BINARIES; do
            [ -x "/usr/bin/$binary" ] || die "/usr/bin/$binary is not there; give --bin-dir DIR"
        done
        return 0
    fi
    for binary in $BINARIES; do
        if [ ! -f "$BIN_DIR/$binary" ] || [ ! -x "$BIN_DIR/$binary" ]; then
            die "there is no program $binary in $BIN_DIR; build it (cargo build --release \
--workspace) or give the right --bin-dir"
        fi
        if [ -z "$DESTDIR" ] && owner=$(dpkg -S "/usr/bin/$binary" 2>/dev/null); then
            die "/usr/bin/$binary belongs to the package ${owner%%:*}; upgrade that, or remove it first"
        fi
    done
}

check_all() {
    if [ "$ROLE" != cli ]; then
        check_name cluster "$CLUSTER"
        check_name site "$SITE"
        check_name name "$NAME"
        [ -n "$ETCD" ] || die "--etcd is missing; give --etcd http://ADDRESS:2379,... of all voters"
        check_urls etcd "$ETCD"
    fi
    if [ "$MANAGER" = yes ]; then
        check_manager
    elif [ "$VOTER" = yes ]; then
        die "--etcd-voter goes with the roles manager and witness; run install.sh manager for it"
    fi
    [ "$VOTER" = no ] || check_voter
    [ "$ROLE" != host ] || check_host
    [ -z "$API" ] || check_urls api "$API"
    case $DESTDIR in
        '' | /?*) ;;
        *) die "--destdir '$DESTDIR' must be a full path, beginning with /" ;;
    esac
    check_binaries
    if [ -z "$DESTDIR" ] && [ "$DRY" = no ]; then
        [ "$(id -u)" = 0 ] ||
            die "this needs root: run it with sudo, or give --destdir DIR or --dry-run"
        command -v apt-get >/dev/null || die "apt-get is missing: this script installs on Debian and \
Ubuntu; elsewhere install into a directory with --destdir DIR and copy from there"
    fi
}

# A configuration that the daemon itself refuses must not reach a running one: asks the new binary
# about the file that it is going to find.
check_config() { # binary, file as made here, where it goes
    file=$2
    ! stays "$2" "$3" || file=$DESTDIR$3
    program=${BIN_DIR:-/usr/bin}/$1
    mkdir -p "$WORK/check"
    cp "$file" "$WORK/check/$(basename "$3")"
    # The agent reads what lies beside its file as well.
    beside=$DESTDIR$(dirname "$3")/fence.toml
    if [ "$1" = holdfast-host ] && [ -e "$beside" ]; then
        cp "$beside" "$WORK/check/fence.toml"
    fi
    status=0
    "$program" --config "$WORK/check/$(basename "$3")" --check-config >"$WORK/check/out" 2>&1 || status=$?
    [ $status -ne 0 ] || return 0
    # 126 and 127: the loader's. Into a directory, the binaries may be for another machine.
    if [ $status -ge 126 ] && [ $status -le 127 ] && [ -n "$DESTDIR" ]; then
        todo "$1 does not run on this machine, so $3 was not checked"
        return 0
    fi
    die "$1 refuses $3 as it would be, or does not run on this machine; no file was changed:
$(sed "s|$WORK/check/||g" "$WORK/check/out")"
}
