//! The WIT of placement 0.1: a question as its guests get it, and their answers as the planner gets them.

use crate::instance::Guest;
use crate::words::one_line;
use holdfast_model::advice::{Labels, Question};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, StoreContextMut};

#[allow(missing_docs, reason = "the WIT is the documentation")]
#[allow(unsafe_code, reason = "wasmtime's own, in what it generates")]
#[allow(unused_variables, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/host/0.1.0", "../../wit/placement/0.1.0"],
        world: "holdfast:placement/placing",
        with: { "holdfast:host/log@0.1.0": crate::outside::bindings::holdfast::host::log },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::exports::holdfast::placement::{filter, score};
use bindings::holdfast::placement::types::{Candidate, Label, Peer, Purpose, Verdict, Vm};

/// Where a guest's functions are.
pub(super) struct Hooks {
    filter: Option<filter::GuestIndices>,
    score: Option<score::GuestIndices>,
}

impl Hooks {
    /// Those that it has.
    pub(super) fn of(instance_pre: &InstancePre<Guest>) -> Self {
        Self {
            filter: filter::GuestIndices::new(instance_pre).ok(),
            score: score::GuestIndices::new(instance_pre).ok(),
        }
    }

    /// Its functions, ready to be called. An error if they are not of the right types.
    pub(super) fn load(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Functions> {
        let filter = self.filter.as_ref();
        let score = self.score.as_ref();
        Ok(Functions {
            filter: filter
                .map(|hook| hook.load(&mut *store, instance))
                .transpose()?,
            score: score
                .map(|hook| hook.load(&mut *store, instance))
                .transpose()?,
        })
    }
}

/// A running guest's functions.
pub(super) struct Functions {
    filter: Option<filter::Guest>,
    score: Option<score::Guest>,
}

/// What a guest gave back, as it is: an inner error is its own "I cannot say".
pub(super) struct Given {
    pub refusals: Option<Result<Vec<Option<String>>, String>>,
    pub scores: Option<Result<Vec<f64>, String>>,
}

impl Functions {
    /// Asks them all.
    pub(super) fn ask(
        &self,
        store: &mut Store<Guest>,
        question: &Question,
    ) -> wasmtime::Result<Given> {
        with(question, |vm, candidates| {
            let mut context = StoreContextMut::from(&mut *store);
            let refusals = match &self.filter {
                Some(filter) => Some(filter.call_filter(&mut context, vm.clone(), candidates)?),
                None => None,
            };
            let scores = match &self.score {
                Some(score) => Some(score.call_score(&mut context, vm, candidates)?),
                None => None,
            };
            Ok(Given {
                refusals: refusals.map(|found| found.map(verdicts)),
                scores,
            })
        })
    }
}

fn verdicts(found: Vec<Verdict>) -> Vec<Option<String>> {
    let words = |verdict| match verdict {
        Verdict::May => None,
        Verdict::MayNot(words) => Some(one_line(&words)),
    };
    found.into_iter().map(words).collect()
}

/// Nothing of a question is copied on this side.
fn with<T>(question: &Question, call: impl FnOnce(Vm<'_>, &[Candidate<'_>]) -> T) -> T {
    let asked = &question.vm;
    let own_labels = labels(&asked.labels);
    let peer_labels: Vec<Vec<Label>> = asked
        .peers
        .iter()
        .map(|peer| labels(&peer.labels))
        .collect();
    let peers: Vec<Peer> = (asked.peers.iter().zip(&peer_labels))
        .map(|(peer, labels)| Peer {
            name: peer.name.as_str(),
            host: peer.host.as_str(),
            site: peer.site.as_ref().map_or("", |site| site.as_str()),
            labels,
        })
        .collect();
    let host_labels: Vec<Vec<Label>> = question
        .candidates
        .iter()
        .map(|each| labels(&each.labels))
        .collect();
    let candidates: Vec<Candidate> = (question.candidates.iter().zip(&host_labels))
        .map(|(each, labels)| Candidate {
            host: each.host.as_str(),
            site: each.site.as_ref().map_or("", |site| site.as_str()),
            labels,
            memory_mib: each.memory_mib,
            memory_free_mib: each.memory_free_mib,
            vcpus: each.vcpus,
            vcpus_used: each.vcpus_used,
            vms: each.vms,
        })
        .collect();
    let vm = Vm {
        name: asked.name.as_str(),
        memory_mib: asked.memory_mib,
        vcpus: asked.vcpus,
        priority: asked.priority,
        preferred_site: asked.preferred_site.as_ref().map(|site| site.as_str()),
        group: asked.group.as_deref(),
        labels: &own_labels,
        peers: &peers,
        last_host: asked.last_host.as_ref().map(|host| host.as_str()),
        purpose: match asked.live {
            true => Purpose::Migration,
            false => Purpose::Start,
        },
    };
    call(vm, &candidates)
}

fn labels(labels: &Labels) -> Vec<Label<'_>> {
    let pairs = labels.iter();
    pairs.map(|(key, value)| Label { key, value }).collect()
}
