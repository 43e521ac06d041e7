//! Every configuration file of the lab as text. No I/O.

use crate::boards::{PROGRAM, redfish_url};
use crate::layout::{API_PORT, Layout, Machine, STORAGE_DIR, subnet};
use crate::options::{Driver, LabOptions};
use crate::sink::{self, TARGET};

/// Name of the cluster in every file.
pub const CLUSTER: &str = "lab";

pub(crate) fn quoted_list(items: &[String]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", quoted.join(", "))
}

/// `/etc/holdfast/manager.toml`
pub fn manager_toml(layout: &Layout, machine: &Machine) -> String {
    format!(
        "cluster = \"{CLUSTER}\"\nname = \"{name}\"\nsite = \"{site}\"\n\
         listen = \"{address}:{API_PORT}\"\nextensions_dir = \"{EXTENSIONS_DIR}\"\n\
         requests_file = \"/var/lib/holdfast/requests.jsonl\"\n\n[etcd]\nendpoints = {endpoints}\n\n\
         [fence_agents]\nfence_lab = \"{PROGRAM}\"\n\n[targets.{TARGET}]\nurl = \"{url}\"\n{boards}",
        boards = board_targets(layout),
        url = sink::url(),
        name = machine.name,
        site = machine.site,
        address = machine.address,
        endpoints = quoted_list(&layout.control_urls(&machine.site, 2379)),
    )
}

/// The same on a machine from which no board can be asked.
pub fn manager_toml_without_agents(layout: &Layout, machine: &Machine) -> String {
    let line = format!("fence_lab = \"{PROGRAM}\"\n");
    manager_toml(layout, machine).replace(&line, "")
}

/// The Redfish service of each hypervisor's board.
fn board_targets(layout: &Layout) -> String {
    let hosts = layout.hypervisors();
    let target = |host: &Machine| {
        let (name, url) = (&host.name, redfish_url(&host.name));
        format!("\n[targets.{name}-board]\nurl = \"{url}\"\n")
    };
    hosts.map(target).collect()
}

/// `/etc/holdfast/host.toml`, read by the agent and by the guard.
///
/// Capacities are those of small hosts: all of them share one real machine's memory.
pub fn host_toml(layout: &Layout, machine: &Machine, options: &LabOptions) -> String {
    let check = if options.storage {
        "gluster"
    } else {
        "statvfs"
    };
    host_toml_with(layout, machine, options, &format!("check = \"{check}\"\n"))
}

/// The same with another check of the storage, in the words of its section.
pub fn host_toml_with(
    layout: &Layout,
    machine: &Machine,
    options: &LabOptions,
    check: &str,
) -> String {
    let uri = match options.driver {
        Driver::Qemu => "qemu:///system",
        Driver::Test => "test:///default",
    };
    format!(
        "cluster = \"{CLUSTER}\"\nname = \"{name}\"\nsite = \"{site}\"\n\
         machine_id_file = \"{MACHINE_ID_FILE}\"\nextensions_dir = \"{EXTENSIONS_DIR}\"\n\n\
         [etcd]\nendpoints = {endpoints}\n\n\
         [libvirt]\nuri = \"{uri}\"\nmigrate_address = \"{address}\"\n\n\
         [guard]\nsocket = \"/run/holdfast/guard.sock\"\n\n\
         [capacity]\nmemory_mib = 4096\ncpus = 8\n\n\
         [storage]\npath = \"{STORAGE_DIR}\"\n{check}{lease}\n\
         [labels]\nrack = \"{name}\"\n",
        // Without replicated storage there is nothing that lets only one side write.
        lease = if options.storage {
            format!("\n[lease]\nvolume = \"{LEASE_VOLUME}\"\n")
        } else {
            String::new()
        },
        name = machine.name,
        site = machine.site,
        address = machine.address,
        endpoints = quoted_list(&layout.control_urls(&machine.site, 2379)),
    )
}

/// Machine code of extensions, of managers and hosts.
const EXTENSIONS_DIR: &str = "/var/lib/holdfast/extensions";

/// The lease volume, on the storage that the VMs' disks are on.
pub const LEASE_VOLUME: &str = "/srv/holdfast/leases";

/// What `/etc/machine-id` is elsewhere: the machines of a lab share the real one's `/etc`.
pub const MACHINE_ID_FILE: &str = "/etc/holdfast/machine-id";

/// The content of [`MACHINE_ID_FILE`]: the same at every boot of a machine.
pub fn machine_id(machine: &Machine) -> String {
    let name: String = machine
        .name
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{name:0>32}\n")
}

/// Boot sectors hear no request to shut down: stopping them need not take the usual minute.
const GRACE_MS: u64 = 3_000;

/// The cluster policy, applied once after the first start.
pub fn policy_toml(options: &LabOptions) -> String {
    format!(
        "[timing]\nprofile = \"{}\"\n\n[[sites]]\nname = \"a\"\n\n[[sites]]\nname = \"b\"\n\n\
         [[sites]]\nname = \"witness\"\nwitness = true\n\n[failback]\nhold_down_ms = {hold}\n\n\
         [rejoin]\nhold_down_ms = {hold}\nhold_down_max_ms = {longest}\n\n[restart]\nshutdown_grace_ms = {GRACE_MS}\n",
        options.profile,
        hold = options.hold_down_ms,
        // The lab's faults hit the same hosts again and again; how the hold-down grows is simulated.
        longest = 2 * options.hold_down_ms,
    )
}

/// `/etc/libvirt/libvirtd.conf`. Without a `host_uuid` of its own a libvirtd refuses to migrate
/// to another on the same real machine: "to itself".
pub fn libvirtd_conf(machine: &Machine) -> String {
    let number: u32 = machine
        .address
        .rsplit('.')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    format!(
        "listen_tls = 0\nlisten_tcp = 1\nauth_tcp = \"none\"\nauth_unix_rw = \"none\"\n\
         auth_unix_ro = \"none\"\nkeepalive_interval = 2\nkeepalive_count = 3\n\
         log_outputs = \"3:stderr\"\n\
         host_uuid = \"4f1d0a57-0000-4000-8000-0000000{:02x}{number:03x}\"\n",
        subnet(&machine.site),
    )
}

/// `/etc/libvirt/qemu.conf`. Short keepalive: a source gives up a cut migration after about 7 s.
pub const QEMU_CONF: &str = "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\n\
    cgroup_controllers = [ ]\nnamespaces = []\nstdio_handler = \"file\"\nremember_owner = 0\n\
    keepalive_interval = 2\nkeepalive_count = 3\n";

/// `/etc/nsswitch.conf`: a name that is not in `/etc/hosts` must fail at once instead of asking
/// a name server that cannot be reached (30 s per migration, 5 s per storage peer).
pub const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files\n\
    networks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n";

/// `/etc/hosts`, the same on all machines.
pub fn hosts(layout: &Layout) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    for machine in &layout.machines {
        text.push_str(&format!("{} {}\n", machine.address, machine.name));
    }
    text.push_str(&format!("{} observer\n", crate::layout::OBSERVER_ADDRESS));
    text
}

/// Command line of an etcd member.
pub fn etcd_argv(layout: &Layout, machine: &Machine, options: &LabOptions) -> Vec<String> {
    let cluster: Vec<String> = layout
        .controls()
        .map(|each| format!("{}=http://{}:2380", each.name, each.address))
        .collect();
    let client = format!("http://{}:2379", machine.address);
    let peer = format!("http://{}:2380", machine.address);
    let mut argv: Vec<String> = [
        ("--name", machine.name.clone()),
        ("--data-dir", crate::blueprint::ETCD_DIR.into()),
        (
            "--listen-client-urls",
            format!("{client},http://127.0.0.1:2379"),
        ),
        ("--advertise-client-urls", client),
        ("--listen-peer-urls", peer.clone()),
        ("--initial-advertise-peer-urls", peer),
        ("--initial-cluster", cluster.join(",")),
        ("--initial-cluster-state", "new".into()),
        ("--initial-cluster-token", "holdfast-lab".into()),
        ("--logger", "zap".into()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect();
    argv.insert(0, "etcd".into());
    // Off by default in 3.4: a member that lost one link would unseat a leader that others follow.
    argv.push("--pre-vote".into());
    let timers = [
        ("--heartbeat-interval", options.etcd_heartbeat_ms),
        ("--election-timeout", options.etcd_election_ms),
    ];
    for (flag, value) in timers {
        argv.extend(
            value
                .into_iter()
                .flat_map(|ms| [flag.to_owned(), ms.to_string()]),
        );
    }
    argv
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn manager_and_host_files() {
        let layout = Layout::new(2).unwrap();
        let manager = table(&manager_toml(&layout, layout.machine("b-ctl").unwrap()));
        assert_eq!(manager["listen"].as_str(), Some("10.77.2.10:7070"));
        assert_eq!(
            manager["etcd"]["endpoints"][0].as_str(),
            Some("http://10.77.2.10:2379")
        );
        let host = table(&host_toml(
            &layout,
            layout.machine("a2").unwrap(),
            &LabOptions::default(),
        ));
        assert_eq!(host["storage"]["check"].as_str(), Some("gluster"));
        assert_eq!(
            host["libvirt"]["migrate_address"].as_str(),
            Some("10.77.1.12")
        );
        assert_eq!(
            host["guard"]["socket"].as_str(),
            Some("/run/holdfast/guard.sock")
        );
        assert_eq!(host["site"].as_str(), Some("a"));
        let ids: Vec<String> = layout.machines.iter().map(machine_id).collect();
        let unlike: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!(unlike.len(), ids.len(), "two machines with one id: {ids:?}");
    }

    #[test]
    fn policy_file() {
        let options = LabOptions {
            profile: "fast".into(),
            ..LabOptions::default()
        };
        let policy = table(&policy_toml(&options));
        assert_eq!(policy["timing"]["profile"].as_str(), Some("fast"));
        assert_eq!(policy["sites"].as_array().unwrap().len(), 3);
        assert_eq!(policy["sites"][2]["witness"].as_bool(), Some(true));
        assert_eq!(
            policy["failback"]["hold_down_ms"].as_integer(),
            Some(10_000)
        );
    }

    #[test]
    fn host_uuids_differ_and_are_well_formed() {
        let layout = Layout::new(40).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for machine in &layout.machines {
            let conf = libvirtd_conf(machine);
            let uuid = conf
                .split("host_uuid = \"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap();
            assert_eq!(uuid.len(), 36, "{uuid}");
            assert!(seen.insert(uuid.to_owned()));
        }
    }

    #[test]
    fn etcd_timers_only_where_asked() {
        let layout = Layout::new(1).unwrap();
        let witness = layout.machine("witness").unwrap();
        let mut options = LabOptions::default();
        assert!(
            !etcd_argv(&layout, witness, &options)
                .join(" ")
                .contains("election")
        );
        options.etcd_election_ms = Some(500);
        assert!(
            etcd_argv(&layout, witness, &options)
                .join(" ")
                .ends_with("timeout 500")
        );
    }
}
