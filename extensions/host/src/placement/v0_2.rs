//! The WIT of placement 0.2: hosts are told once, a question is columns of numbers, and the answer has only what is
//! refused.

use super::table::{Host, Places, Table};
use crate::instance::Guest;
use holdfast_model::advice::{Labels, Question};
use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Store, StoreContextMut};

#[allow(missing_docs, reason = "the WIT is the documentation")]
#[allow(unsafe_code, reason = "wasmtime's own, in what it generates")]
#[allow(unused_variables, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/host/0.1.0", "../../wit/placement/0.2.0"],
        world: "holdfast:placement/placing",
        with: { "holdfast:host/log@0.1.0": crate::outside::bindings::holdfast::host::log },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::exports::holdfast::placement::rule;
use bindings::holdfast::placement::types;

/// What is answered.
pub(super) use types::Judgement;
#[cfg(test)]
pub(super) use types::Refusal;

/// Where a guest's functions are.
pub(super) struct Hooks(rule::GuestIndices);

impl Hooks {
    /// An error if it has none, or they are not of the right types.
    pub(super) fn of(instance_pre: &InstancePre<Guest>) -> wasmtime::Result<Self> {
        rule::GuestIndices::new(instance_pre).map(Self)
    }

    /// Its functions, ready to be called: one that was told of no host yet.
    pub(super) fn load(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Functions> {
        Ok(Functions {
            rule: self.0.load(&mut *store, instance)?,
            told: Table::default(),
            was_told: false,
            places: Places::default(),
            columns: Columns::default(),
        })
    }
}

/// A running guest's functions, and what it was told.
pub(super) struct Functions {
    rule: rule::Guest,
    told: Table,
    was_told: bool,
    places: Places,
    columns: Columns,
}

/// What is asked of the candidates, but for which hosts they are. Kept, so that a question allocates nothing for it.
#[derive(Default)]
struct Columns {
    memory_mib: Vec<u64>,
    memory_free_mib: Vec<u64>,
    vcpus: Vec<u32>,
    vcpus_used: Vec<u32>,
    vms: Vec<u32>,
}

impl Columns {
    fn fill(&mut self, question: &Question) {
        let all = &question.candidates;
        fn column<N>(column: &mut Vec<N>, numbers: impl Iterator<Item = N>) {
            column.clear();
            column.extend(numbers);
        }
        column(&mut self.memory_mib, all.iter().map(|each| each.memory_mib));
        let free = all.iter().map(|each| each.memory_free_mib);
        column(&mut self.memory_free_mib, free);
        column(&mut self.vcpus, all.iter().map(|each| each.vcpus));
        column(&mut self.vcpus_used, all.iter().map(|each| each.vcpus_used));
        column(&mut self.vms, all.iter().map(|each| each.vms));
    }
}

impl Functions {
    /// Whether it was told of all hosts of this question, as they are in it. To be asked before each question. One
    /// that was told nothing yet does not even know that there are none.
    pub(super) fn knows(&mut self, question: &Question) -> bool {
        self.was_told && self.told.find(question, &mut self.places)
    }

    /// Tells it of the question's hosts, and again of those that it knew.
    pub(super) fn tell(
        &mut self,
        store: &mut Store<Guest>,
        question: &Question,
    ) -> wasmtime::Result<()> {
        self.tell_all(store, self.told.for_question(question))?;
        match self.knows(question) {
            true => Ok(()),
            false => Err(wasmtime::Error::msg("a host of the question was not told")),
        }
    }

    /// Tells it of these hosts, and of no others.
    pub(super) fn tell_these(
        &mut self,
        store: &mut Store<Guest>,
        hosts: &[Host],
    ) -> wasmtime::Result<()> {
        self.tell_all(store, Table::of(hosts.iter().cloned()))
    }

    fn tell_all(&mut self, store: &mut Store<Guest>, table: Table) -> wasmtime::Result<()> {
        let own: Vec<Vec<types::Label>> = (table.hosts().iter())
            .map(|host| labels(&host.labels))
            .collect();
        let hosts: Vec<types::KnownHost> = (table.hosts().iter().zip(&own))
            .map(|(host, labels)| types::KnownHost {
                name: host.name.as_str(),
                site: host.site.as_ref().map_or("", |site| site.as_str()),
                labels,
            })
            .collect();
        self.rule
            .call_prepare(StoreContextMut::from(&mut *store), &hosts)?;
        self.told = table;
        self.was_told = true;
        Ok(())
    }

    /// Asks it about hosts that it knows.
    pub(super) fn ask(
        &mut self,
        store: &mut Store<Guest>,
        question: &Question,
    ) -> wasmtime::Result<Result<Judgement, String>> {
        let Self {
            rule,
            places,
            columns,
            ..
        } = self;
        columns.fill(question);
        let candidates = types::Candidates {
            hosts: &places.candidates,
            memory_mib: &columns.memory_mib,
            memory_free_mib: &columns.memory_free_mib,
            vcpus: &columns.vcpus,
            vcpus_used: &columns.vcpus_used,
            vms: &columns.vms,
        };
        let asked = &question.vm;
        let own_labels = labels(&asked.labels);
        let peers: Vec<types::Peer> = (asked.peers.iter().zip(&places.peers))
            .map(|(peer, place)| types::Peer {
                name: peer.name.as_str(),
                host: *place,
            })
            .collect();
        let vm = types::Vm {
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
                true => types::Purpose::Migration,
                false => types::Purpose::Start,
            },
        };
        rule.call_judge(StoreContextMut::from(&mut *store), vm, candidates)
    }
}

fn labels(labels: &Labels) -> Vec<types::Label<'_>> {
    let pairs = labels.iter();
    pairs
        .map(|(key, value)| types::Label { key, value })
        .collect()
}
