//! Probes: managers ask hosts over the simulated network, with the production's bookkeeping.
//!
//! ```text
//! turn: hear what has arrived ─> Observer ─> ask who is due ─> an answer, a closed port, or nothing
//!                                   └─ who is silent has changed ─> managers/M/probes, plan
//! ```
//! Turns are no events that anybody waits for: only what changes an opinion counts as something that happened.

use super::Sim;
use super::agent::boot_id;
use super::ctx::Ctx;
use super::event::{Event, Request, Tag};
use super::machine::Machine;
use super::manager::Manager;
use super::net::Place;
use holdfast_core::probe::Observer;
use holdfast_model::id::{BootId, HostName, Incarnation, ManagerName, SiteName};
use holdfast_model::probe::Opinion;
use holdfast_model::time::Instant;
use holdfast_model::timing::Timing;
use holdfast_store::TxnOutcome;
use holdfast_store::api::{Txn, TxnOp};
use holdfast_store::guarded::Answer;
use holdfast_store::guards::{encode, expect};
use holdfast_store::keyspace::Key;
use std::collections::BTreeMap;

/// A way on which answers take longer is no way, for the ground truth, in milliseconds.
const SLOW_MS: u64 = 100;

/// What one manager knows of its probes.
#[derive(Default)]
pub struct Probing {
    /// The production's bookkeeping.
    pub observer: Observer,
    awaited: Vec<Awaited>,
    /// Who is silent by what the store was told; none: it has to be told.
    told: Option<BTreeMap<HostName, Incarnation>>,
    telling: bool,
}

/// What is on its way.
struct Awaited {
    host: HostName,
    asked_at: Instant,
    /// When it is there, by the simulation's clock.
    at: u64,
    /// The port is closed, or another boot answers.
    refused: bool,
}

impl Probing {
    /// The store has answered.
    pub fn told(&mut self, answer: &Answer) {
        self.telling = false;
        if !matches!(answer, Answer::Txn(Ok(TxnOutcome::Committed(_)))) {
            self.told = None;
        }
    }
}

/// What becomes of a question.
enum Fate {
    /// When, and on which boot.
    Answered(u64, BootId),
    Refused(u64),
    Lost,
}

/// When a host could not have answered the managers of a site, in truth: since when, or from when to when it
/// last was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unheard {
    from: u64,
    to: Option<u64>,
}

impl Sim {
    /// Hosts that are added from now on answer probes, and managers ask.
    pub fn add_probes(&mut self) {
        self.probing = true;
    }

    /// So many of a hundred probes, and of their answers, are lost.
    pub fn lose_probes(&mut self, percent: u64) {
        self.probe_loss = percent;
    }

    /// Whether any are.
    pub fn loses_probes(&self) -> bool {
        self.probe_loss > 0
    }

    /// A manager that has just started asks from now on.
    pub(super) fn start_probing(&mut self, manager: &ManagerName) {
        if let Some(manager) = self.managers.get(manager).filter(|_| self.probing) {
            let turn = Event::ProbeTurn(manager.name.clone(), manager.life);
            self.ctx.after(1, turn);
        }
    }

    /// A manager's turn. True: it has changed its opinion.
    pub(super) fn probe_turn(&mut self, name: &ManagerName, life: u32) -> bool {
        let timing = self.policy().unwrap_or_default().timing.resolve();
        self.note_unheard();
        let Some(manager) = self.managers.get_mut(name) else {
            return false;
        };
        if !manager.up || manager.life != life {
            return false;
        }
        let next = Event::ProbeTurn(name.clone(), life);
        let every_ms = Observer::turn_every_ms(&timing);
        if manager.frozen_until > self.ctx.now {
            let at = manager.frozen_until.min(self.ctx.now + every_ms);
            self.ctx.queue.push(at, next);
            return false;
        }
        self.ctx.after(every_ms, next);
        let hosts = asked_hosts(manager);
        for host in manager.probes_due(&self.ctx, &timing, &hosts) {
            let fate = self.fate(name, &host);
            if let Some(manager) = self.managers.get_mut(name) {
                manager.probe_sent(&self.ctx, host, &fate);
            }
        }
        let manager = self.managers.get_mut(name);
        manager.is_some_and(|manager| manager.tell_of_probes(&mut self.ctx, &timing))
    }

    fn fate(&mut self, manager: &ManagerName, host: &HostName) -> Fate {
        let lost = self.is_lost() || self.is_lost();
        let (Some(manager), Some(host)) = (self.managers.get(manager), self.hosts.get(host)) else {
            return Fate::Lost;
        };
        let (here, there) = (manager.place(), host.m.place());
        let Some(way_ms) = self.ctx.round_trip_ms(&here, &there).filter(|_| !lost) else {
            return Fate::Lost;
        };
        match host.m.answers_probes(&self.ctx) {
            Some(true) => Fate::Answered(self.ctx.now + way_ms, boot_id(&host.m)),
            Some(false) => Fate::Refused(self.ctx.now + way_ms),
            None => Fate::Lost,
        }
    }

    /// The same run loses the same ones: SplitMix64 of their number.
    fn is_lost(&mut self) -> bool {
        if self.probe_loss == 0 {
            return false;
        }
        self.probe_number = self.probe_number.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = self.probe_number;
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % 100 < self.probe_loss
    }

    /// For the ground truth: which sites' managers could not be answered by which hosts.
    fn note_unheard(&mut self) {
        let now = self.ctx.now;
        for manager in self.managers.values() {
            for (name, host) in &self.hosts {
                let (here, there) = (manager.place(), host.m.place());
                let way_ms = self.ctx.round_trip_ms(&here, &there);
                let heard = way_ms.is_some_and(|ms| ms < SLOW_MS)
                    && self.probe_loss == 0
                    && host.m.answers_probes(&self.ctx).is_some();
                let key = (manager.site.clone(), name.clone());
                let unheard = self.ctx.truth.unheard.get_mut(&key);
                match (unheard, heard) {
                    (Some(unheard), true) if unheard.to.is_none() => unheard.to = Some(now),
                    (Some(unheard), false) if unheard.to.is_none() => {}
                    (_, false) => {
                        let begun = Unheard {
                            from: now,
                            to: None,
                        };
                        self.ctx.truth.unheard.insert(key, begun);
                    }
                    _ => {}
                }
            }
        }
    }
}

impl Ctx {
    /// Between two places and back, if messages get through.
    fn round_trip_ms(&self, from: &Place, to: &Place) -> Option<u64> {
        let passes = self.net.connects(from, to);
        passes.then(|| self.way_ms(from, to) + self.way_ms(to, from))
    }

    /// At how many sites managers were without an answer of a host for so long, and still were not long
    /// before now: a decision takes its time to get to the store.
    pub(super) fn unheard_at(&self, host: &HostName, for_ms: u64, lately_ms: u64) -> usize {
        let all = self.truth.unheard.iter();
        let long = |unheard: &Unheard| {
            let to = unheard.to.unwrap_or(self.now);
            to - unheard.from >= for_ms && to + lately_ms >= self.now
        };
        all.filter(|((_, of), unheard)| of == host && long(unheard))
            .count()
    }
}

impl Machine {
    /// Whether its guard answers who asks it; false: its port is closed. None: nothing comes back.
    fn answers_probes(&self, ctx: &Ctx) -> Option<bool> {
        if !self.on {
            return None;
        }
        if self.guard_answers(ctx) {
            return Some(self.probe_life == Some(self.guard_is.life));
        }
        (!self.guard_is.is_stopped()).then_some(false)
    }
}

/// Hosts that say where they answer, in their present life, with their boots.
fn asked_hosts(manager: &Manager) -> BTreeMap<HostName, Incarnation> {
    let hosts = manager.view().hosts.iter();
    let hosts = hosts.filter_map(|(name, host)| {
        let (session, report) = (&host.session.as_ref()?.value, &host.report.as_ref()?.value);
        let same = report.incarnation == session.incarnation && report.probe.is_some();
        same.then(|| (name.clone(), session.incarnation.clone()))
    });
    hosts.collect()
}

impl Manager {
    /// Takes in what has arrived by now, and says who is to be asked.
    fn probes_due(
        &mut self,
        ctx: &Ctx,
        timing: &Timing,
        hosts: &BTreeMap<HostName, Incarnation>,
    ) -> Vec<HostName> {
        let now = self.clock.at(ctx.now);
        let observer = &mut self.probing.observer;
        self.probing.awaited.retain(|awaited| {
            let there = awaited.at <= ctx.now;
            match (there, awaited.refused) {
                (true, true) => observer.refused(&awaited.host),
                (true, false) => observer.answered(&awaited.host, awaited.asked_at, now),
                (false, _) => {}
            }
            !there
        });
        let asked = hosts.iter().filter(|_| timing.probe_suspect_ms > 0);
        observer.turn(now, timing, asked)
    }

    fn probe_sent(&mut self, ctx: &Ctx, host: HostName, fate: &Fate) {
        let view = self.view().hosts.get(&host);
        let session = view.and_then(|view| view.session.as_ref());
        let (at, refused) = match fate {
            // It may have booted since this manager heard of its session.
            Fate::Answered(at, boot) => (*at, session.is_none_or(|s| s.value.boot_id != *boot)),
            Fate::Refused(at) => (*at, true),
            Fate::Lost => return,
        };
        self.probing.awaited.push(Awaited {
            host,
            asked_at: self.clock.at(ctx.now),
            at,
            refused,
        });
    }

    /// Writes its opinion if that has changed. True: it has.
    fn tell_of_probes(&mut self, ctx: &mut Ctx, timing: &Timing) -> bool {
        let site: SiteName = self.site.clone();
        let opinion: Opinion = self.probing.observer.opinion(&site, timing);
        let silent = opinion.silent.iter();
        let silent: BTreeMap<_, _> = silent
            .map(|(host, silent)| (host.clone(), silent.incarnation.clone()))
            .collect();
        let nothing = self.probing.told.is_none() && silent.is_empty();
        let known = self.view().probes.get(&self.name);
        if nothing && known.is_none_or(|known| known.value.silent.is_empty()) {
            return false;
        }
        if self.probing.telling || self.probing.told.as_ref() == Some(&silent) {
            return false;
        }
        let before = known.map(|known| &known.value.silent);
        let news = |host: &&HostName| before.is_none_or(|before| !before.contains_key(*host));
        for host in silent.keys().filter(news) {
            ctx.log(&self.name, format!("{host} does not answer"));
        }
        let key = Key::Probes(self.name.clone());
        let last = known.map(|known| known.revision);
        let txn = Txn {
            compares: vec![expect(&key, last)],
            ops: vec![TxnOp::Put(key.path(), encode(&opinion))],
        };
        self.probing.telling = true;
        self.probing.told = Some(silent);
        self.call(ctx, Tag::Probes, Request::Txn(txn));
        self.opinion_changed(ctx);
        true
    }
}
