//! A scenario step by step: each line, what the log says of it, and what it changed in the cluster.
//!
//! A pause is walked from one line of the log to the next, so that a trace of minutes shows each change
//! where it happens.

use super::{WordError, Words, actions, verbs};
use crate::sim::Sim;
use holdfast_core::guardian::DomainState;
use holdfast_model::host::{HostState, Session, SessionState};
use holdfast_model::id::VmName;
use holdfast_model::leader::LeaderEpoch;
use holdfast_model::vm::{Owner, Runner};
use holdfast_store::keyspace::{Key, VMS};
use std::collections::BTreeMap;

/// In which a pause is walked, in milliseconds.
const SLICE_MS: u64 = 10;

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The number and the text of the scenario's line that it belongs to.
    pub line: (usize, String),
    /// The time in the cluster afterwards, in milliseconds.
    pub now_ms: u64,
    /// New lines of the log.
    pub log: Vec<String>,
    /// What is another than before: of what, before, after.
    pub changes: Vec<(String, Option<String>, Option<String>)>,
    /// Why the line was refused, or what it expected and did not find.
    pub error: Option<String>,
}

/// Walks through a scenario, telling of each step. False: something went wrong.
pub fn walk(text: &str, mut told: impl FnMut(&Step)) -> bool {
    let mut sim = Sim::default();
    let mut seen = Seen::default();
    let mut well = true;
    for (number, line) in actions(text) {
        let mut left = pause_ms(line);
        loop {
            let slice = left.map(|ms| ms.min(SLICE_MS));
            let done = match slice {
                Some(ms) => {
                    sim.advance(ms);
                    Ok(())
                }
                None => verbs::carry_out(&mut sim, line),
            };
            left = left.zip(slice).map(|(left, slice)| left - slice);
            let over = left.is_none_or(|ms| ms == 0);
            let step = seen.look(&sim, (number, line), done.err());
            well &= step.error.is_none();
            if over || !step.log.is_empty() {
                told(&step);
            }
            if over {
                break;
            }
        }
    }
    well && sim.ctx.truth.violations.is_empty() && sim.ctx.truth.beyond.is_none()
}

/// The time of an `advance`.
fn pause_ms(line: &str) -> Option<u64> {
    let time = line.strip_prefix("advance ")?;
    Words::of(time).time_ms().ok()
}

/// What was told so far.
#[derive(Default)]
struct Seen {
    lines: usize,
    picture: BTreeMap<String, String>,
}

impl Seen {
    fn look(&mut self, sim: &Sim, (number, line): (usize, &str), error: Option<WordError>) -> Step {
        let log = sim.ctx.log[self.lines..].to_vec();
        self.lines = sim.ctx.log.len();
        // Nothing changes in silence that would be worth a look: the picture is costly.
        let changes = match log.is_empty() && error.is_none() {
            true => Vec::new(),
            false => self.compare(picture(sim)),
        };
        Step {
            line: (number, line.to_owned()),
            now_ms: sim.ctx.now,
            log,
            changes,
            error: error.map(|error| error.to_string()),
        }
    }

    fn compare(
        &mut self,
        now: BTreeMap<String, String>,
    ) -> Vec<(String, Option<String>, Option<String>)> {
        let before = std::mem::replace(&mut self.picture, now);
        let mut names: Vec<&String> = before.keys().chain(self.picture.keys()).collect();
        names.sort();
        names.dedup();
        let pairs = names.into_iter().map(|name| {
            let (was, is) = (before.get(name), self.picture.get(name));
            (name.clone(), was.cloned(), is.cloned())
        });
        pairs.filter(|(_, was, is)| was != is).collect()
    }
}

/// The cluster in a few words per host and VM: what the store says, and what is true.
fn picture(sim: &Sim) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    let leader: Option<LeaderEpoch> = sim.ctx.record(&Key::LeaderEpoch);
    let leads = leader.filter(|leader| {
        let manager = sim.managers.get(&leader.manager);
        manager.is_some_and(|manager| manager.epoch().is_some())
    });
    let leader = leads.map_or("none".to_owned(), |leader| leader.manager.to_string());
    lines.insert("leader".to_owned(), leader);
    for (name, host) in &sim.hosts {
        let state: Option<HostState> = sim.ctx.record(&Key::HostState(name.clone()));
        let session: Option<Session> = sim.ctx.record(&Key::HostSession(name.clone()));
        let m = &host.m;
        let (control, storage) = m.deadline.planes(m.local(&sim.ctx));
        let mut words = vec![match (m.powered, m.on) {
            (false, _) => "no power".to_owned(),
            (true, false) => "boots".to_owned(),
            (true, true) => format!("planes {control:?}/{storage:?}").to_lowercase(),
        }];
        words.extend(state.map(|state| format!("{:?}", state.membership).to_lowercase()));
        words.extend(session.map(|session| {
            let open = match session.state {
                SessionState::Open => "open",
                SessionState::Closed => "closed",
            };
            let guard = format!("{:?}", session.guard).to_lowercase();
            format!("session {} {open}, guard {guard}", session.incarnation)
        }));
        if host.agent.is_none() && m.on {
            words.push("no agent".to_owned());
        }
        let domains = m.domains.iter();
        words.extend(domains.map(|(vm, domain)| {
            let state = match &domain.state {
                DomainState::Paused { reason } => format!("paused: {reason:?}"),
                other => format!("{other:?}"),
            };
            let generation = domain.generation;
            format!("{vm} {} (generation {generation})", state.to_lowercase())
        }));
        lines.insert(format!("host {name}"), words.join(", "));
    }
    for item in &sim.ctx.store.list_now(VMS).items {
        let Some(vm) = item.key.strip_suffix("/owner") else {
            continue;
        };
        let name = vm.rsplit('/').next().unwrap_or_default();
        let Ok(owner) = serde_json::from_slice::<Owner>(&item.value) else {
            continue;
        };
        lines.insert(format!("vm {name}"), granted(sim, name, &owner));
    }
    lines
}

fn granted(sim: &Sim, name: &str, owner: &Owner) -> String {
    let runner = |runner: &Runner| format!("{} ({})", runner.host, runner.incarnation);
    let holder = owner.holder.as_ref().map_or("nobody".to_owned(), runner);
    let mut words = format!("granted to {holder}, generation {}", owner.generation);
    if let Some(incoming) = &owner.incoming {
        words.push_str(&format!(", on its way to {}", runner(incoming)));
    }
    words.push_str(&format!(", to {:?}", owner.intent).to_lowercase());
    let running = VmName::try_from(name.to_owned());
    let running = running.map(|vm| {
        let spans = sim.ctx.truth.running(&vm);
        let hosts: Vec<String> = spans.iter().map(|span| span.host.to_string()).collect();
        hosts.join(" and ")
    });
    match running.as_deref() {
        Ok("") | Err(_) => words.push_str("; runs nowhere"),
        Ok(hosts) => words.push_str(&format!("; runs on {hosts}")),
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: &str = "# A host is lost.\nsite a\nsite b\nwitness w\nhost a1 site=a\nhost b1 site=b\n\
                        advance 2s\nvm v site=a\nadvance 10s\npower host a1 off\nadvance 20s\n\
                        expect vm v running on b1\n";

    #[test]
    fn what_a_step_changes_is_told_with_it() {
        let mut steps = Vec::new();
        assert!(walk(LOST, |step| steps.push(step.clone())), "{steps:#?}");
        let off = steps.iter().find(|step| step.line.1 == "power host a1 off");
        let off = off.expect("the line is a step");
        let host = off.changes.iter().find(|(name, ..)| name == "host a1");
        let (_, was, is) = host.expect("the host changes");
        assert!(was.as_deref().is_some_and(|was| was.contains("v running")));
        assert!(is.as_deref().is_some_and(|is| is.starts_with("no power")));
        let moved = steps.iter().flat_map(|step| &step.changes);
        let mut moved = moved.filter(|(name, ..)| name == "vm v");
        assert!(moved.any(|(_, _, is)| {
            let is = is.as_deref().unwrap_or_default();
            is.contains("granted to b1") && is.ends_with("runs on b1")
        }));
        // The same events at the same times as in one go.
        let whole = crate::scenario::run(LOST);
        let told: Vec<&str> = steps.iter().flat_map(|s| &s.log).map(|l| &**l).collect();
        assert_eq!(whole.log.lines().collect::<Vec<_>>(), told);
    }

    #[test]
    fn what_is_not_met_is_told() {
        let text = LOST.replace("on b1", "on a1");
        let mut last = None;
        assert!(!walk(&text, |step| last = step.error.clone().or(last.take())));
        assert_eq!(last.as_deref(), Some("v runs on b1"));
    }
}
