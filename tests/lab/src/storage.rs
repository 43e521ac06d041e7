//! The replicated storage: one GlusterFS volume, a brick per site, the arbiter at the witness.
//!
//! Only the side with two of the three bricks can write. The options below matter more than they
//! look: with the defaults a brick keeps the image locks of a host whose power is gone for 35 s,
//! and writers on the surviving side stall for 42 s.

use std::time::Duration;

use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::layout::{Layout, Machine, STORAGE_DIR};
use crate::machine::Power;
use crate::run::{Output, wait_until};

/// Name of the volume.
pub const VOLUME: &str = "hf";
const BRICK: &str = "/var/lib/holdfast/brick";

/// Set after the group `virt` (strict O_DIRECT, client and server quorum).
const OPTIONS: [(&str, &str); 11] = [
    ("network.ping-timeout", "3"),
    ("server.tcp-user-timeout", "3"),
    ("server.keepalive-time", "1"),
    ("server.keepalive-interval", "1"),
    ("server.keepalive-count", "3"),
    ("client.tcp-user-timeout", "3"),
    ("client.keepalive-time", "1"),
    ("client.keepalive-interval", "1"),
    ("client.keepalive-count", "3"),
    // How often the self-heal daemon looks; the default of 10 min would hold up every failback.
    ("cluster.heal-timeout", "5"),
    // All hosts write to the lease volume: one that keeps its lock for another second holds the others up.
    ("cluster.post-op-delay-secs", "0"),
];

/// Where a client is gone, its locks go with it: as soon as servers can notice, who count in seconds. Counts for
/// connections that begin afterwards.
const NOTICE_SOON: [(&str, &str); 2] = [
    ("server.tcp-user-timeout", "1"),
    ("server.keepalive-count", "1"),
];

/// Has the servers notice clients that are gone after one second instead of three: for a measurement of what else takes
/// its time.
pub fn notice_soon(lab: &Lab) -> Result<()> {
    let control = lab.layout().controls().next();
    let control = control.ok_or_else(|| LabError::Refused("no control machine".into()))?;
    for (option, value) in NOTICE_SOON {
        gluster(lab, control, &["volume", "set", VOLUME, option, value])?;
    }
    Ok(())
}

/// Command line of a hypervisor's client, own site's server first.
pub(crate) fn client_argv(layout: &Layout, machine: &Machine) -> Vec<String> {
    let mut servers: Vec<&Machine> = layout.controls().collect();
    servers.sort_by_key(|server| server.site != machine.site);
    let mut argv = vec!["glusterfs".to_owned(), "--no-daemon".into()];
    argv.extend(
        servers
            .iter()
            .map(|server| format!("--volfile-server={}", server.address)),
    );
    argv.push(format!("--volfile-id={VOLUME}"));
    argv.extend(["--process-name".into(), "fuse".into()]);
    argv.push("--log-file=/var/log/glusterfs/storage.log".into());
    argv.push(STORAGE_DIR.into());
    argv
}

/// What is known about the volume.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StorageState {
    /// Per brick: address, whether it is connected, entries that wait to be healed (none =
    /// unknown).
    pub bricks: Vec<(String, bool, Option<u64>)>,
}

impl StorageState {
    /// Every brick is up and nothing waits to be healed: only then is the volume what it was.
    pub fn in_sync(&self) -> bool {
        self.bricks.len() == 3
            && self
                .bricks
                .iter()
                .all(|(_, connected, waiting)| *connected && *waiting == Some(0))
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let brick = |(address, connected, waiting): &(String, bool, Option<u64>)| match waiting {
            _ if !connected => format!("{address} away"),
            Some(0) => format!("{address} in sync"),
            Some(count) => format!("{address} {count} to heal"),
            None => format!("{address} unknown"),
        };
        self.bricks.iter().map(brick).collect::<Vec<_>>().join(", ")
    }
}

/// Reads the output of `gluster volume heal VOLUME info`.
fn parse_heal_info(text: &str) -> StorageState {
    let mut bricks: Vec<(String, bool, Option<u64>)> = Vec::new();
    for line in text.lines() {
        if let Some(brick) = line.strip_prefix("Brick ") {
            bricks.push((brick.split(':').next().unwrap_or(brick).into(), false, None));
        } else if let Some((_, connected, waiting)) = bricks.last_mut() {
            if let Some(status) = line.strip_prefix("Status: ") {
                *connected = status == "Connected";
            } else if let Some(count) = line.strip_prefix("Number of entries: ") {
                *waiting = count.trim().parse().ok();
            }
        }
    }
    StorageState { bricks }
}

/// Runs a program inside a machine.
pub(crate) trait Exec {
    /// `argv` inside `machine`, bounded.
    fn exec_in(&self, machine: &Machine, argv: &[&str], limit: Duration) -> Result<Output>;
    /// Whether a machine has power.
    fn power_of(&self, machine: &Machine) -> Power;
}

const GLUSTER_LIMIT: Duration = Duration::from_secs(60);

fn gluster(lab: &impl Exec, on: &Machine, args: &[&str]) -> Result<String> {
    let argv: Vec<&str> = ["gluster", "--mode=script"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    let output = lab.exec_in(on, &argv, GLUSTER_LIMIT)?;
    Ok(output
        .ok(&format!("{}: {}", on.name, argv.join(" ")))?
        .stdout)
}

/// Makes the volume out of the three servers, which are running and empty.
pub(crate) fn create(lab: &impl Exec, layout: &Layout, log_hint: &str) -> Result<()> {
    let servers: Vec<&Machine> = layout.controls().collect();
    let Some((first, others)) = servers.split_first() else {
        return Err(LabError::Refused("no machine for storage".into()));
    };
    let limit = Duration::from_secs(30);
    for server in &servers {
        wait_until(
            &format!("glusterd on {}", server.name),
            limit,
            log_hint,
            || {
                // Its command line program, started too early, waits 3 s before it tries again.
                let argv = ["test", "-S", "/run/glusterd.socket"];
                let there = lab
                    .exec_in(server, &argv, GLUSTER_LIMIT)
                    .and_then(|test| test.ok("socket"));
                there
                    .and_then(|_| gluster(lab, server, &["pool", "list"]))
                    .map_err(|error| error.to_string())
            },
        )?;
    }
    for other in others {
        gluster(lab, first, &["peer", "probe", &other.address])?;
    }
    for server in &servers {
        // The pool must be whole in everyone's eyes, or `volume create` is refused.
        wait_until(
            &format!("storage pool on {}", server.name),
            limit,
            log_hint,
            || {
                let list = gluster(lab, server, &["pool", "list"]).map_err(|e| e.to_string())?;
                let connected = list.matches("Connected").count();
                if connected == 3 {
                    Ok(())
                } else {
                    Err(format!("{connected} of 3 connected"))
                }
            },
        )?;
    }
    let bricks: Vec<String> = servers
        .iter()
        .map(|server| format!("{}:{BRICK}", server.address))
        .collect();
    let mut create = vec!["volume", "create", VOLUME, "replica", "3", "arbiter", "1"];
    create.extend(bricks.iter().map(String::as_str));
    create.push("force");
    gluster(lab, first, &create)?;
    gluster(lab, first, &["volume", "set", VOLUME, "group", "virt"])?;
    let mut set = vec!["volume", "set", VOLUME];
    set.extend(OPTIONS.iter().flat_map(|(key, value)| [*key, *value]));
    gluster(lab, first, &set)?;
    gluster(lab, first, &["volume", "start", VOLUME])?;
    Ok(())
}

/// Asks a control machine that has power and answers.
pub(crate) fn state(lab: &impl Exec, layout: &Layout) -> Result<StorageState> {
    let mut last = LabError::Refused("no control machine has power".into());
    for server in layout
        .controls()
        .filter(|machine| lab.power_of(machine) == Power::On)
    {
        let argv = ["gluster", "--mode=script", "volume", "heal", VOLUME, "info"];
        // Without its glusterd, or cut off, this one fails; another may know.
        match lab
            .exec_in(server, &argv, Duration::from_secs(15))
            .and_then(|output| output.ok(&format!("{}: {}", server.name, argv.join(" "))))
        {
            Ok(output) => return Ok(parse_heal_info(&output.stdout)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A brick whose machine has come back is up within seconds. After this long it stays away: GlusterFS 10.3 does
/// not start it now and then, when machines and their quorum come back at about the same time (twice
/// in one run of the suite, never in seven others; docs/install.md has it).
pub(crate) const BRICK_PATIENCE: Duration = Duration::from_secs(60);

/// Starts bricks that are away although their machines are on; says so. None: there is no such brick.
pub(crate) fn start_bricks(
    lab: &impl Exec,
    layout: &Layout,
    state: &StorageState,
) -> Option<String> {
    let away: Vec<&Machine> = layout
        .controls()
        .filter(|machine| lab.power_of(machine) == Power::On)
        .filter(|machine| {
            let mut bricks = state.bricks.iter();
            bricks.any(|(address, connected, _)| *address == machine.address && !connected)
        })
        .collect();
    let first = away.first()?;
    let names: Vec<&str> = away.iter().map(|machine| machine.name.as_str()).collect();
    let seconds = BRICK_PATIENCE.as_secs();
    let what = format!(
        "storage: glusterd left the brick of {} down for {seconds} s",
        names.join(" ")
    );
    Some(
        match gluster(lab, first, &["volume", "start", VOLUME, "force"]) {
            Ok(_) => format!("{what}; `gluster volume start {VOLUME} force` started it"),
            Err(error) => format!("{what}, and it cannot be started: {}", error.chain()),
        },
    )
}

/// Whether the storage is mounted and answers inside a hypervisor.
pub(crate) fn mounted(lab: &impl Exec, machine: &Machine) -> std::result::Result<(), String> {
    let argv = ["stat", "--file-system", "--format=%T", STORAGE_DIR];
    let output = lab
        .exec_in(machine, &argv, Duration::from_secs(5))
        .map_err(|error| error.to_string())?;
    match output.stdout.trim() {
        "fuseblk" | "fuse" => Ok(()),
        other => Err(format!(
            "{STORAGE_DIR} is {other:?} {}",
            output.stderr.trim()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: &str = "Brick 10.77.1.10:/x\nStatus: Connected\nNumber of entries: 0\n\n\
        Brick 10.77.2.10:/x\nStatus: Connected\nNumber of entries: 0\n\n\
        Brick 10.77.3.10:/x\nStatus: Connected\nNumber of entries: 0\n";

    #[test]
    fn heal_info() {
        assert!(parse_heal_info(HEALTHY).in_sync());
        let waiting = HEALTHY.replacen("entries: 0", "entries: 2", 1);
        assert!(!parse_heal_info(&waiting).in_sync());
        let away = HEALTHY.replacen(
            "Status: Connected\nNumber of entries: 0",
            "Status: Transport endpoint is not connected\nNumber of entries: -",
            1,
        );
        let state = parse_heal_info(&away);
        assert!(!state.in_sync());
        assert!(
            state.describe().starts_with("10.77.1.10 away"),
            "{}",
            state.describe()
        );
        assert!(!parse_heal_info("").in_sync());
    }
}
