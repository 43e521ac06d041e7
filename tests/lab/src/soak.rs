//! A long time of small troubles: every CPU busy, packets lost, every daemon stopped for a moment in turn.
//! None of it is a reason to give a host up or to stop a VM, nor to have one switched off.

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use holdfast_model::event::{Event, EventKind};
use holdfast_model::status::Vm;
use serde::Serialize;

use crate::boards::{Boards, Mode};
use crate::clock::now_ms;
use crate::error::{LabError, Result};
use crate::layout::Role;
use crate::run::{interrupted, wait_until};
use crate::stalls::{Stall, Stalls};
use crate::trial::Cluster;

/// A session that was closed, a host that was given up.
const GIVEN_UP: &[EventKind] = &[EventKind::HostIsolated, EventKind::HostFenced];
/// A VM did not just run on.
const STOPS: &[EventKind] = &[
    EventKind::SelfFenced,
    EventKind::VmExited,
    EventKind::VmGranted,
    EventKind::VmStopped,
];

/// For boards to answer all managers.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is done.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// For how long.
    pub length: Duration,
    /// Of the packets between machines, per cent.
    pub loss_percent: u32,
    /// How long a daemon is stopped.
    pub stop: Duration,
    /// Processes that do nothing but keep a CPU busy.
    pub busy_loops: usize,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Soaked {
    /// How long it was, in milliseconds.
    pub length_ms: u64,
    /// Stops by process.
    pub stopped: BTreeMap<String, u64>,
    /// Packets that were dropped.
    pub dropped: u64,
    /// The worst load of the machine (one minute).
    pub load_max: f64,
    /// Hosts that were suspected, by the way: no harm in itself.
    pub suspected: usize,
    /// Sessions that were closed, and hosts that were given up, in words.
    pub given_up: Vec<String>,
    /// VMs that were stopped by a guard, ended or granted anew, in words.
    pub stops: Vec<String>,
    /// VMs that ran twice, by their own signs.
    pub overlaps: usize,
    /// VMs that did not just run on, by their own signs.
    pub restarted: Vec<String>,
    /// Hosts whose fencing device was told to switch them off, in words: they were all there. Absent without devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told_off: Option<Vec<String>>,
    /// Moments in which the machine itself stood still, or something took all of its CPUs: whatever happened
    /// in one proves nothing about the cluster.
    pub stalls: Vec<Stall>,
}

impl Soaked {
    /// Nothing happened that should not.
    pub fn is_well(&self) -> bool {
        self.given_up.is_empty()
            && self.stops.is_empty()
            && self.overlaps == 0
            && self.restarted.is_empty()
            && self.told_off.iter().all(Vec::is_empty)
    }
}

/// Ends with it, however that ends.
struct Busy(Vec<Child>);

impl Busy {
    fn start(count: usize) -> Result<Self> {
        let mut loops = Self(Vec::new());
        for _ in 0..count {
            let child = Command::new("sh")
                .args(["-c", "while :; do :; done"])
                .spawn();
            loops.0.push(child.map_err(LabError::io("start", "sh"))?);
        }
        Ok(loops)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Gone already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Events seen so far: the cluster keeps the newest only.
#[derive(Default)]
struct Seen {
    since_unix_ms: u64,
    events: BTreeMap<(u64, String, String), Event>,
}

impl Seen {
    fn look(&mut self, cluster: &Cluster) -> Result<()> {
        for event in cluster.events()? {
            if event.at.0 >= self.since_unix_ms {
                let key = (event.at.0, event.actor.clone(), event.text.clone());
                self.events.insert(key, event);
            }
        }
        Ok(())
    }

    fn of(&self, kinds: &[EventKind]) -> Vec<String> {
        let events = self
            .events
            .values()
            .filter(|event| kinds.contains(&event.kind));
        let told = events.map(|event| {
            let after_s = event.at.0.saturating_sub(self.since_unix_ms) / 1_000;
            format!("after {after_s} s: {}", event.text)
        });
        told.collect()
    }
}

/// The boards of all hosts, where the policy has hosts switched off on suspicion: they count, and keep the power on.
struct Counting<'b> {
    boards: &'b Boards,
    since_ms: u64,
}

impl<'b> Counting<'b> {
    /// Fails if not every manager reaches every board: nothing that is counted then would prove anything.
    fn start(cluster: &Cluster, boards: &'b Boards) -> Result<Self> {
        let lab = cluster.lab;
        for host in lab.layout().hypervisors() {
            boards.set(&host.name, Mode::Keeps);
        }
        wait_until("all boards to answer", PATIENCE, "", || {
            let asked = lab.cli(&["fence", "status"]);
            let told = asked.and_then(|asked| asked.ok("holdfast fence status"));
            told.map(drop).map_err(|error| error.to_string())
        })?;
        let since_ms = now_ms();
        Ok(Self { boards, since_ms })
    }

    /// What they were told to do, in words.
    fn told_off(&self) -> Vec<String> {
        let all = self.boards.calls().into_iter();
        let orders = all.filter(|call| call.action != "status" && call.at_ms > self.since_ms);
        orders
            .map(|call| {
                let after_s = (call.at_ms - self.since_ms) / 1_000;
                format!("after {after_s} s: {} was to be switched off", call.host)
            })
            .collect()
    }
}

/// Runs it on a cluster whose VMs run. With boards, the policy has hosts switched off on suspicion by them. `tell` hears
/// of each round.
pub fn soak(
    cluster: &Cluster,
    soak: Soak,
    boards: Option<&Boards>,
    mut tell: impl FnMut(&str),
) -> Result<Soaked> {
    let lab = cluster.lab;
    let counting = boards.map(|boards| Counting::start(cluster, boards));
    let counting = counting.transpose()?;
    let told_off = || counting.as_ref().map(Counting::told_off);
    let before: Vec<Vm> = cluster.status()?.vms;
    let mut seen = Seen {
        since_unix_ms: crate::clock::unix_ms(),
        ..Seen::default()
    };
    let turns = turns(cluster);
    let mut stopped: BTreeMap<String, u64> = BTreeMap::new();
    let mut load_max = 0_f64;
    lab.lose_packets(soak.loss_percent)?;
    let busy = Busy::start(soak.busy_loops)?;
    let stalls = Stalls::watch();
    let begin = Instant::now();
    let mut next = 0;
    while begin.elapsed() < soak.length {
        if interrupted() {
            return Err(LabError::Interrupted);
        }
        let (machine, process) = &turns[next % turns.len()];
        next += 1;
        lab.freeze(machine, process)?;
        std::thread::sleep(soak.stop);
        lab.thaw(machine, process)?;
        *stopped.entry(process.clone()).or_default() += 1;
        load_max = load_max.max(load());
        // An etcd that stood still may not answer yet; the next look sees all the same.
        let _ = seen.look(cluster);
        std::thread::sleep(soak.stop / 2);
        if next % turns.len() == 0 {
            let (suspected, given_up) = (&[EventKind::HostSuspect], GIVEN_UP);
            tell(&format!(
                "every daemon was stopped {} times: {} suspicions, {} hosts given up, {} told off, {} VMs stopped or \
                 started",
                next / turns.len(),
                seen.of(suspected).len(),
                seen.of(given_up).len(),
                told_off().map_or(0, |told| told.len()),
                seen.of(STOPS).len(),
            ));
        }
    }
    let length_ms = begin.elapsed().as_millis() as u64;
    drop(busy);
    let dropped = lab.lose_packets(0)?;
    cluster.wait_sites_online(Duration::from_secs(240))?;
    seen.look(cluster)?;
    let proof = lab.proof()?;
    let restarted = before.iter().filter(|vm| {
        let found = proof.vms.iter().find(|each| each.vm == vm.name.as_str());
        found.is_none_or(|found| found.stays.len() != 1)
    });
    Ok(Soaked {
        length_ms,
        stopped,
        dropped,
        load_max,
        suspected: seen.of(&[EventKind::HostSuspect]).len(),
        given_up: seen.of(GIVEN_UP),
        stops: seen.of(STOPS),
        overlaps: proof.overlaps,
        restarted: restarted.map(|vm| vm.name.to_string()).collect(),
        told_off: told_off(),
        stalls: stalls.seen(),
    })
}

/// Each daemon of each machine.
fn turns(cluster: &Cluster) -> Vec<(String, String)> {
    let machines = cluster.lab.layout().machines.iter();
    let daemons = machines.flat_map(|machine| {
        let processes: &[&str] = match machine.role {
            Role::Hypervisor => &["agent", "guard", "libvirtd"],
            Role::Control => &["manager", "etcd", "storage"],
        };
        let name = machine.name.clone();
        let daemon = move |process: &&str| (name.clone(), (*process).to_owned());
        processes.iter().map(daemon).collect::<Vec<_>>()
    });
    daemons.collect()
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().unwrap_or_default();
    first.parse().unwrap_or(0.0)
}
