//! One errand as the manager sees it that it is for. Nothing is done twice.

use holdfast_model::errand::{Errand, ErrandStage};
use holdfast_model::id::{ErrandId, ManagerName};
use holdfast_model::power::PowerState;
use std::collections::{BTreeSet, VecDeque};

/// Errands that are remembered. A copy of the write that sent one may arrive late, and never by as many.
const BEGUN_MAX: usize = 1_024;

/// What is to be done about an errand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// Nothing, or nothing more.
    Nothing,
    /// Take it, and carry it out if that was accepted.
    Take,
    /// Say this of it, without asking the device.
    Say(ErrandStage),
}

/// What this life of the manager has begun.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    under_way: BTreeSet<ErrandId>,
    begun: VecDeque<ErrandId>,
}

impl Memory {
    /// Something is being done about it.
    pub fn begin(&mut self, id: &ErrandId) {
        self.under_way.insert(id.clone());
        if !self.begun.contains(id) {
            self.begun.push_back(id.clone());
        }
        if self.begun.len() > BEGUN_MAX {
            self.begun.pop_front();
        }
    }

    /// Nothing is, any more.
    pub fn end(&mut self, id: &ErrandId) {
        self.under_way.remove(id);
    }
}

/// What `life` of manager `me` has to do about an errand as it stands.
pub fn duty(me: &ManagerName, life: &str, errand: &Errand, memory: &Memory) -> Duty {
    if errand.to.manager != *me || memory.under_way.contains(&errand.id) {
        return Duty::Nothing;
    }
    let same_life = errand.to.life == life;
    match &errand.stage {
        ErrandStage::Sent if memory.begun.contains(&errand.id) => Duty::Nothing,
        ErrandStage::Sent => {
            let refused = match same_life {
                true => fault(errand),
                false => Some("not asked: it has been started anew since".to_owned()),
            };
            match refused {
                None => Duty::Take,
                Some(reason) => Duty::Say(ErrandStage::Declined { reason }),
            }
        }
        ErrandStage::Taken => {
            let who = match same_life {
                true => me.to_string(),
                false => format!("an earlier life of {me}"),
            };
            let reason = format!("{who} was to ask it, and what became of that is not known");
            let power = PowerState::Unknown { reason };
            Duty::Say(ErrandStage::Answered { power })
        }
        ErrandStage::Answered { .. } | ErrandStage::Declined { .. } => Duty::Nothing,
    }
}

/// Why it cannot be carried out, whoever wrote it.
fn fault(errand: &Errand) -> Option<String> {
    let (device, host) = (&errand.device, &errand.host);
    if let Some(fault) = errand.as_set.fault() {
        return Some(format!("not asked: {fault}"));
    }
    let stray = !errand.as_set.switches(device, host);
    stray.then(|| format!("not asked: {device} does not switch {host}"))
}
