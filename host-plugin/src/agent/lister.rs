//! libvirt's list, taken beside the loop: while many domains start libvirtd may need seconds for it,
//! and the next grant must not wait for that.
//!
//! A list tells what was so when it *began*. So what ended after that (a call, a word of the guard)
//! is judged only by a list that began later: [`Lister::next`] is the number of the first such one.

use super::target::Tools;
use crate::domain_xml::stamp::{Phase, Stamp};
use crate::driver::libvirt::on_thread;
use crate::driver::{Activity, DomainRef, SeenDomain};
use crate::guard::scan::scan;
use holdfast_model::id::{Generation, Incarnation, VmName};
use holdfast_model::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// libvirt is listed at least this often, whatever it tells by itself.
const EVERY_MS: u64 = 5_000;
/// For a look at libvirtd's files and the processes they name.
const SCAN: Duration = Duration::from_secs(3);

/// What a list found.
pub struct Listed {
    /// Its number.
    pub number: u64,
    /// The domains; none if libvirt did not answer.
    pub domains: Option<Vec<SeenDomain>>,
    /// Migrations that libvirtd carries on although no call of this process is under way: an agent
    /// before this one began them.
    pub carried_on: BTreeMap<VmName, Generation>,
    /// If libvirt did not answer: whether a process of this cluster's VMs runs here.
    pub processes: Option<bool>,
}

/// What a list looks at more closely.
#[derive(Default)]
pub struct Closer {
    /// This host's life.
    pub own: Option<Incarnation>,
    /// VMs that this host reported to be migrating away.
    pub leaving: BTreeSet<VmName>,
    /// VMs with a call under way: it knows better.
    pub busy: BTreeSet<VmName>,
}

/// Takes lists, one at a time.
pub struct Lister {
    begun: u64,
    done: u64,
    due: bool,
    at: Instant,
    sender: UnboundedSender<Listed>,
    receiver: UnboundedReceiver<Listed>,
}

impl Default for Lister {
    fn default() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self {
            begun: 0,
            done: 0,
            due: true,
            at: Instant(0),
            sender,
            receiver,
        }
    }
}

impl Lister {
    /// Something may have changed.
    pub fn due(&mut self) {
        self.due = true;
    }

    /// The number of the next list to begin.
    pub fn next(&self) -> u64 {
        self.begun + 1
    }

    /// The number of the last list that ended.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Begins a list if one is due and none is under way.
    pub fn begin(&mut self, tools: &Tools, now: Instant, closer: impl FnOnce() -> Closer) {
        let due = self.due || now.since(self.at) >= EVERY_MS;
        if !due || self.begun != self.done {
            return;
        }
        self.due = false;
        self.at = now;
        self.begun += 1;
        let (number, tools, sender) = (self.begun, tools.clone(), self.sender.clone());
        let closer = closer();
        tokio::spawn(async move {
            let _ = sender.send(list(&tools, number, closer).await);
        });
    }

    /// The next list that ends.
    pub async fn ended(&mut self) -> Option<Listed> {
        let listed = self.receiver.recv().await;
        self.note(listed)
    }

    /// A list that has ended, if there is one.
    pub fn try_ended(&mut self) -> Option<Listed> {
        let listed = self.receiver.try_recv().ok();
        self.note(listed)
    }

    fn note(&mut self, listed: Option<Listed>) -> Option<Listed> {
        if let Some(listed) = &listed {
            self.done = listed.number;
        }
        listed
    }
}

async fn list(tools: &Tools, number: u64, closer: Closer) -> Listed {
    let domains = match tools.driver.list().await {
        Ok(domains) => domains,
        Err(error) => {
            tracing::debug!(%error, "no list of domains");
            return Listed {
                number,
                domains: None,
                carried_on: BTreeMap::new(),
                processes: scan_processes(tools).await,
            };
        }
    };
    let mut carried_on = BTreeMap::new();
    for seen in &domains {
        if !closer.busy.contains(&seen.stamp.vm)
            && closer.own == Some(seen.stamp.incarnation.clone())
        {
            let leaving = closer.leaving.contains(&seen.stamp.vm);
            look_closer(tools, seen, leaving, &mut carried_on).await;
        }
    }
    Listed {
        number,
        domains: Some(domains),
        carried_on,
        processes: None,
    }
}

/// What an agent before this one left half done: a migration that libvirtd carries on, a domain
/// that was resumed and not stamped so.
async fn look_closer(
    tools: &Tools,
    seen: &SeenDomain,
    leaving: bool,
    carried_on: &mut BTreeMap<VmName, Generation>,
) {
    let (vm, generation) = (seen.stamp.vm.clone(), seen.stamp.generation);
    let domain = DomainRef {
        uuid: seen.uuid.clone(),
        vm: vm.clone(),
        generation,
    };
    if seen.activity == Activity::Running && seen.stamp.phase == Phase::Created {
        let started = Stamp {
            phase: Phase::Started,
            ..seen.stamp.clone()
        };
        if let Err(error) = tools.driver.restamp(&domain, &started).await {
            tracing::debug!(%vm, %error, "not stamped as started");
        }
    }
    // Without an answer nobody knows that it has ended.
    if leaving && tools.driver.is_migrating(&domain).await != Ok(false) {
        carried_on.insert(vm, generation);
    }
}

/// What libvirtd's own files say runs here. Good enough to tell that a host without libvirt is
/// clean: a domain whose file is not written yet has never run.
async fn scan_processes(tools: &Tools) -> Option<bool> {
    if !tools.driver.has_processes() {
        return None;
    }
    let dir = tools.config.libvirt.run_dir.clone();
    let cluster = tools.config.cluster.clone();
    let look = move || !scan(&dir, &cluster).is_empty();
    on_thread("scan", SCAN, look).await.ok()
}
