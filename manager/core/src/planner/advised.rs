//! What placement extensions have to say, asked about the hosts that Holdfast's own filters have left.
//!
//! ```text
//! built-in filters ─> candidates ─> every extension ─> may not: refused, with its words
//!                                        └─ scores ──> one more rank
//! ```
//! Extensions only take away. One that gives no answer takes everything away if its rule is a hard one
//! ([`Fallback::Closed`]), and nothing otherwise; ranks are then Holdfast's own.

use super::candidate::{Candidate, Request};
use super::draft::Draft;
use super::facts::site_of;
use holdfast_model::advice::{self, Advice, Advised, Fallback, Peer, Question, Said, VmFacts};
use holdfast_model::id::{HostName, VmName};
use std::sync::Arc;

/// What came of asking.
pub(super) struct Heard {
    /// For each candidate: why not.
    pub refusals: Vec<Option<String>>,
    /// For each candidate: the sum of the scores, in thousandths.
    pub scores: Vec<u64>,
}

/// Asks about the hosts that are left; none if nobody is there to be asked.
pub(super) fn ask(draft: &Draft, request: &Request, candidates: &[Candidate]) -> Option<Heard> {
    if draft.advisor.is_silent() || candidates.is_empty() {
        return None;
    }
    let advisor = draft.advisor;
    // With many VMs, a question takes longer to put together than to be told that nobody reads it.
    let unasked = advisor.unasked(request.vm);
    let mut advice = unasked.unwrap_or_else(|| advisor.ask(&question(draft, request, candidates)));
    for each in &mut advice {
        if !fits(&each.said, candidates.len()) {
            each.said = unfit();
        }
    }
    let heard = weigh(&advice, candidates.len());
    draft.advised(Advised {
        vm: request.vm.clone(),
        hosts: candidates
            .iter()
            .map(|each| each.rank.name.clone())
            .collect(),
        advice,
    });
    Some(heard)
}

fn unfit() -> Said {
    Said::Nothing {
        reason: "its answer does not fit the question".to_owned(),
        then: Fallback::Closed,
    }
}

/// An answer that has not one entry for each candidate is none.
fn fits(said: &Said, candidates: usize) -> bool {
    match said {
        Said::Answer { refusals, scores } => {
            let fits = |length: usize| length == 0 || length == candidates;
            fits(refusals.len()) && fits(scores.len())
        }
        Said::Nothing { .. } => true,
    }
}

/// All answers together. The first refusal of a host is the one that is told.
fn weigh(advice: &[Advice], candidates: usize) -> Heard {
    let mut heard = Heard {
        refusals: vec![None; candidates],
        scores: vec![0; candidates],
    };
    for Advice {
        extension, said, ..
    } in advice
    {
        match said {
            Said::Answer { refusals, scores } => {
                for (told, refusal) in heard.refusals.iter_mut().zip(refusals) {
                    if let (None, Some(words)) = (&told, refusal) {
                        *told = Some(format!("extension {extension}: {words}"));
                    }
                }
                for (sum, score) in heard.scores.iter_mut().zip(scores) {
                    *sum = sum.saturating_add(score.thousandths().into());
                }
            }
            Said::Nothing {
                reason,
                then: Fallback::Closed,
            } => {
                let words = format!("extension {extension} did not say that it may: {reason}");
                for told in heard.refusals.iter_mut().filter(|told| told.is_none()) {
                    *told = Some(words.clone());
                }
            }
            Said::Nothing {
                then: Fallback::Open,
                ..
            } => {}
        }
    }
    heard
}

fn question(draft: &Draft, request: &Request, candidates: &[Candidate]) -> Question {
    let spec = request.spec;
    let peers = spec.spread.as_ref().map_or_else(Vec::new, |group| {
        let members = draft.load().members(group);
        let others = members.filter(|(vm, _)| *vm != request.vm);
        others.map(|(vm, host)| peer(draft, vm, host)).collect()
    });
    Question {
        vm: VmFacts {
            name: request.vm.clone(),
            memory_mib: spec.memory_mib,
            vcpus: spec.vcpus,
            priority: spec.priority,
            preferred_site: spec.preferred_site.clone(),
            group: spec.spread.clone(),
            labels: spec.labels.clone(),
            peers,
            last_host: request.last.or(request.leaving).cloned(),
            live: request.live,
        },
        candidates: candidates
            .iter()
            .map(|each| candidate(draft, each))
            .collect(),
    }
}

fn candidate(draft: &Draft, candidate: &Candidate) -> advice::Candidate {
    let (place, report) = (candidate.place, candidate.report);
    let load = draft.load().host(place.name);
    advice::Candidate {
        host: place.name.clone(),
        site: place.site.cloned(),
        labels: Arc::clone(&report.labels),
        memory_mib: report.capacity.memory_mib,
        memory_free_mib: candidate.rank.free_memory_mib.0,
        vcpus: report.capacity.cpus,
        vcpus_used: load.vcpus,
        vms: load.vms,
    }
}

fn peer(draft: &Draft, vm: &VmName, host: &HostName) -> Peer {
    let view = draft.world.hosts.get(host);
    let report = view.and_then(|view| view.report.as_ref());
    Peer {
        name: vm.clone(),
        host: host.clone(),
        site: site_of(draft.world, host).cloned(),
        labels: report
            .map(|report| Arc::clone(&report.value.labels))
            .unwrap_or_default(),
    }
}
