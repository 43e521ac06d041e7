//! Was a VM stopped that nobody had to stop? Answered from the guests' own signs and the cluster's events.
//! No I/O.
//!
//! A trial names its *hits*: what it does that may stop VMs, right before it does it. From when all its VMs ran:
//!
//! - a VM that boots anew was heard last on a host that had been hit, or had been hit itself;
//! - it boots anew no more often than it is granted;
//! - only a hit host is given up, and only on such a host does a guard stop a VM.
//!
//! Not covered: a VM on a hit host that could have run on (a trial that knows better says so itself), and
//! whatever happens before all VMs ran. That each VM runs in the end is the caller's to see.

use holdfast_model::event::{Event, EventKind};
use serde::Serialize;

use crate::proof::{Began, Proof, Stay, TOLERANCE_MS, VmProof};

/// A VM may have been silent for so long when its host was hit: a guest that waits for its disk says nothing.
pub const SILENCE_MS: u64 = 5_000;

/// What a trial does that may stop VMs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Hit {
    /// To a host: it loses its power, a network or its storage. Its VMs may stop, and it may be given up.
    Host(String),
    /// To a VM: it is killed, ends by itself, or somebody asks for its end.
    Vm(String),
    /// To the cluster's records: events are lost, so that grants cannot be counted.
    Records,
}

impl Hit {
    /// [`Hit::Host`]
    pub fn host(name: &str) -> Hit {
        Hit::Host(name.to_owned())
    }

    /// [`Hit::Vm`]
    pub fn vm(name: &str) -> Hit {
        Hit::Vm(name.to_owned())
    }
}

/// A hit, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Struck {
    /// When it was named (CLOCK_BOOTTIME), just before it was done.
    pub at_ms: u64,
    /// What.
    pub hit: Hit,
}

/// What is known of a trial besides its guests' signs.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'t> {
    /// When it began: older signs are of earlier VMs of the same names (CLOCK_BOOTTIME).
    pub began_ms: u64,
    /// When all its VMs ran.
    pub ran_ms: u64,
    /// What it did.
    pub hits: &'t [Struck],
    /// The events that were written since all its VMs ran.
    pub events: &'t [Event],
}

impl Trial<'_> {
    /// Whether a VM that was heard last there and then may have been stopped for a hit.
    fn explains(&self, vm: &str, last: &Stay) -> bool {
        let about = |hit: &Hit| match hit {
            Hit::Host(host) => *host == last.host,
            Hit::Vm(name) => name == vm,
            Hit::Records => false,
        };
        let mut hits = self.hits.iter();
        hits.any(|struck| about(&struck.hit) && struck.at_ms <= last.last_ms + SILENCE_MS)
    }

    fn is_hit(&self, hit: &Hit) -> bool {
        self.hits.iter().any(|struck| struck.hit == *hit)
    }

    fn grants(&self, vm: &str) -> usize {
        let granted = |event: &&Event| {
            let about = event.vm.as_ref().is_some_and(|name| name.as_str() == vm);
            event.kind == EventKind::VmGranted && about
        };
        self.events.iter().filter(granted).count()
    }
}

/// Every stop that nothing explains, in words; of all VMs.
pub fn needless(proof: &Proof, trial: &Trial) -> Vec<String> {
    let mut found = Vec::new();
    for vm in &proof.vms {
        let boots = boots(vm, trial);
        for (last, boot) in &boots {
            let Some(last) = last.filter(|last| !trial.explains(&vm.vm, last)) else {
                continue;
            };
            found.push(format!(
                "{} was heard last on {} at {} ms, where nothing had been done to it, and booted anew on {} at {} ms",
                vm.vm, last.host, last.last_ms, boot.host, boot.first_ms
            ));
        }
        // The first start of one that came to run later may have been granted before.
        let anew = boots.iter().filter(|(last, _)| last.is_some()).count();
        let grants = trial.grants(&vm.vm);
        if anew > grants && !trial.is_hit(&Hit::Records) {
            found.push(format!(
                "{} booted anew {anew} times and was granted {grants} times",
                vm.vm
            ));
        }
    }
    found.extend(given_up(trial));
    found
}

/// Boots since all VMs ran, each with where the VM was before, if it was anywhere in this trial.
fn boots<'p>(vm: &'p VmProof, trial: &Trial) -> Vec<(Option<&'p Stay>, &'p Stay)> {
    let mut found = Vec::new();
    for (index, boot) in vm.stays.iter().enumerate() {
        if boot.began == Began::Moved || boot.first_ms <= trial.ran_ms {
            continue;
        }
        let before = vm.stays[..index].iter();
        let before = before.filter(|stay| stay.last_ms >= trial.began_ms);
        let last = before.max_by_key(|stay| stay.last_ms);
        // Its word of having booted was overtaken by its first beat: one boot.
        let late = |last: &Stay| {
            last.source == boot.source && boot.first_ms <= last.first_ms + TOLERANCE_MS
        };
        if !last.is_some_and(late) {
            found.push((last, boot));
        }
    }
    found
}

/// Hosts that were given up, and VMs that a guard stopped, without a hit.
fn given_up(trial: &Trial) -> Vec<String> {
    let needless = |event: &&Event| {
        let host = event.host.as_ref().map(ToString::to_string);
        let vm = event.vm.as_ref().map(ToString::to_string);
        let on_host = host.is_some_and(|host| trial.is_hit(&Hit::Host(host)));
        match event.kind {
            EventKind::HostFenced => !on_host,
            EventKind::SelfFenced => {
                let of_vm = vm.is_some_and(|vm| trial.is_hit(&Hit::Vm(vm)));
                !on_host && !of_vm
            }
            _ => false,
        }
    };
    let events = trial.events.iter().filter(needless);
    events
        .map(|event| {
            format!(
                "nothing had been done there, and it is told: {}",
                event.text
            )
        })
        .collect()
}

#[cfg(test)]
#[path = "needless_tests.rs"]
mod tests;
