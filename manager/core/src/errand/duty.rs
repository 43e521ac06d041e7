//! One errand as whoever sees it that it is for. Nothing is done twice.

use super::held_against;
use holdfast_model::asking::{Asker, AskerKind};
use holdfast_model::errand::{Errand, ErrandStage};
use holdfast_model::host::HostState;
use holdfast_model::id::{ErrandId, HostName, Incarnation, ManagerName};
use holdfast_model::policy::Policy;
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

/// What this life of a manager, or of an agent, has begun.
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
    of(&Asker::Manager(me.clone()), life, errand, memory, || None)
}

/// A host as its own agent knows it, when it is to ask about another one.
#[derive(Debug, Clone, Copy)]
pub struct AgentView<'v> {
    /// It.
    pub host: &'v HostName,
    /// This start of its agent.
    pub life: &'v str,
    /// Its life, if it has an open session of which a heartbeat was acknowledged, and is before its deadline.
    pub session: Option<&'v Incarnation>,
    /// What the leader holds of it.
    pub state: Option<&'v HostState>,
    /// The policy.
    pub policy: Option<&'v Policy>,
}

impl AgentView<'_> {
    /// Why it does not do this one, in words.
    fn refusal(&self, errand: &Errand) -> Option<String> {
        let (host, device) = (self.host, &errand.device);
        if errand.host == *host {
            return Some(format!(
                "the agent of {host} does not ask about its own host"
            ));
        }
        let Some(life) = self.session else {
            return Some(format!("{host} has no session that holds"));
        };
        if let Some(why) = held_against(self.state, life) {
            return Some(format!("{host} may not ask: {why}"));
        }
        let devices = self.policy.map(|policy| &policy.fencing.devices);
        let how = devices.and_then(|devices| devices.get(device));
        let lets = how.is_some_and(|how| how.lets(AskerKind::Agents));
        (!lets).then(|| {
            format!("the policy that {host} knows does not let agents ask {device} (`askers`)")
        })
    }
}

/// What the agent of a host has to do about an errand as it stands.
pub fn agent_duty(me: AgentView, errand: &Errand, memory: &Memory) -> Duty {
    let asker = Asker::Agent(me.host.clone());
    of(&asker, me.life, errand, memory, || me.refusal(errand))
}

fn of(
    me: &Asker,
    life: &str,
    errand: &Errand,
    memory: &Memory,
    refusal: impl FnOnce() -> Option<String>,
) -> Duty {
    if errand.to.asker() != *me || memory.under_way.contains(&errand.id) {
        return Duty::Nothing;
    }
    let same_life = errand.to.life == life;
    match &errand.stage {
        ErrandStage::Sent if memory.begun.contains(&errand.id) => Duty::Nothing,
        ErrandStage::Sent => {
            let refused = match same_life {
                true => fault(errand).or_else(refusal),
                false => Some("it has been started anew since".to_owned()),
            };
            match refused {
                None => Duty::Take,
                Some(why) => Duty::Say(ErrandStage::Declined {
                    reason: format!("not asked: {why}"),
                }),
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
    let stray = !errand.as_set.switches(device, host);
    let stray = stray.then(|| format!("{device} does not switch {host}"));
    errand.as_set.fault().or(stray)
}
