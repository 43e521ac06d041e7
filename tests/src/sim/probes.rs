//! Probes: managers ask hosts over the simulated network, with the production's bookkeeping.
//!
//! ```text
//! turn: hear what has arrived ─> Observer ─> ask who is due ─> an answer, a closed port, or nothing
//!                                   └─ who is silent has changed ─> managers/M/probes, plan
//! ```
//! Turns are no events that anybody waits for: only what changes an opinion counts as something that happened.

use super::Sim;
use super::ctx::Ctx;
use super::event::{Event, Request, Tag};
use super::machine::Machine;
use super::manager::Manager;
use super::net::{Net, Place};
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
use holdfast_store::view::View;
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

/// So many of a hundred probes are lost, and of their answers.
#[derive(Default)]
pub(super) struct Loss {
    percent: u64,
    number: u64,
}

impl Loss {
    /// Whether the next one is. The same run loses the same ones: SplitMix64 of their number.
    fn next(&mut self) -> bool {
        if self.percent == 0 {
            return false;
        }
        self.number = self.number.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = self.number;
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % 100 < self.percent
    }
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
        self.probe_loss.percent = percent;
    }

    /// Whether any are.
    pub fn loses_probes(&self) -> bool {
        self.probe_loss.percent > 0
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
        let timing = self.policy.timing.resolve();
        self.note_unheard(name);
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
        let here = manager.place();
        for host in manager.probes_due(&self.ctx, &timing) {
            let lost = self.probe_loss.next() || self.probe_loss.next();
            let there = self.hosts.get(&host).filter(|_| !lost);
            let fate = there.map_or(Fate::Lost, |there| fate(&self.ctx, &here, &there.m));
            manager.probe_sent(&self.ctx, host, &fate);
        }
        manager.tell_of_probes(&mut self.ctx, &timing)
    }

    /// For the ground truth: by which hosts this manager could not be answered, nor those that take no turns.
    fn note_unheard(&mut self, name: &ManagerName) {
        let now = self.ctx.now;
        let Ctx { net, truth, .. } = &mut self.ctx;
        let lossless = self.probe_loss.percent == 0;
        let whole = net.is_whole() && lossless;
        let managers = self.managers.values();
        for manager in managers.filter(|manager| manager.name == *name || !manager.up) {
            if !truth.unheard.contains_key(&manager.site) {
                truth.unheard.insert(manager.site.clone(), BTreeMap::new());
            }
            let Some(known) = truth.unheard.get_mut(&manager.site) else {
                continue;
            };
            let none_open = known.values().all(|unheard| unheard.to.is_some());
            let here = manager.place();
            for (name, host) in &self.hosts {
                let way = || {
                    let ms = round_trip_ms(net, &here, &host.m.place());
                    lossless && ms.is_some_and(|ms| ms < SLOW_MS)
                };
                let heard = host.m.answers_probes(now).is_some() && (whole || way());
                if heard && none_open {
                    continue;
                }
                match (known.get_mut(name), heard) {
                    (Some(unheard), true) if unheard.to.is_none() => unheard.to = Some(now),
                    (Some(unheard), false) if unheard.to.is_none() => {}
                    (_, false) => {
                        let begun = Unheard {
                            from: now,
                            to: None,
                        };
                        known.insert(name.clone(), begun);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What becomes of a question to a host that is not lost on its way.
fn fate(ctx: &Ctx, from: &Place, host: &Machine) -> Fate {
    let Some(way_ms) = round_trip_ms(&ctx.net, from, &host.place()) else {
        return Fate::Lost;
    };
    match host.answers_probes(ctx.now) {
        Some(true) => Fate::Answered(ctx.now + way_ms, host.boot_id.clone()),
        Some(false) => Fate::Refused(ctx.now + way_ms),
        None => Fate::Lost,
    }
}

/// Between two places and back, if messages get through.
fn round_trip_ms(net: &Net, from: &Place, to: &Place) -> Option<u64> {
    if net.is_whole() {
        return Some(2 * Ctx::latency_ms(&from.site, &to.site));
    }
    let way_ms =
        |from: &Place, to: &Place| Ctx::latency_ms(&from.site, &to.site) + net.delay_ms(from, to);
    net.connects(from, to)
        .then(|| way_ms(from, to) + way_ms(to, from))
}

impl Ctx {
    /// At how many sites managers were without an answer of a host for so long, and still were not long
    /// before now: a decision takes its time to get to the store.
    pub(super) fn unheard_at(&self, host: &HostName, for_ms: u64, lately_ms: u64) -> usize {
        let sites = self.truth.unheard.values();
        let long = |unheard: &Unheard| {
            let to = unheard.to.unwrap_or(self.now);
            to - unheard.from >= for_ms && to + lately_ms >= self.now
        };
        sites.filter(|of| of.get(host).is_some_and(long)).count()
    }
}

impl Machine {
    /// Whether its guard answers who asks it; false: its port is closed. None: nothing comes back.
    fn answers_probes(&self, now: u64) -> Option<bool> {
        if !self.on {
            return None;
        }
        if self.guard_is.is_there(now) {
            return Some(self.probe_life == Some(self.guard_is.life));
        }
        (!self.guard_is.is_stopped()).then_some(false)
    }
}

/// Hosts that say where they answer, in their present life.
fn asked_hosts(view: &View) -> impl Iterator<Item = (&HostName, &Incarnation)> {
    view.hosts.iter().filter_map(|(name, host)| {
        let (session, report) = (&host.session.as_ref()?.value, &host.report.as_ref()?.value);
        let same = report.probe.is_some() && report.incarnation == session.incarnation;
        same.then_some((name, &session.incarnation))
    })
}

impl Manager {
    /// Takes in what has arrived by now, and says who is to be asked.
    fn probes_due(&mut self, ctx: &Ctx, timing: &Timing) -> Vec<HostName> {
        let now = self.clock.at(ctx.now);
        let (view, probing) = self.view_and_probing();
        let observer = &mut probing.observer;
        probing.awaited.retain(|awaited| {
            let there = awaited.at <= ctx.now;
            match (there, awaited.refused) {
                (true, true) => observer.refused(&awaited.host),
                (true, false) => observer.answered(&awaited.host, awaited.asked_at, now),
                (false, _) => {}
            }
            !there
        });
        let asked = asked_hosts(view).filter(|_| timing.probe_suspect_ms > 0);
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
        let known = self.view().probes.get(&self.name);
        let told = match &self.probing.told {
            Some(told) => !told.is_empty(),
            None => known.is_some_and(|known| !known.value.silent.is_empty()),
        };
        let now = self.clock.at(ctx.now);
        if !told && self.probing.observer.hears_all(now, timing) {
            return false;
        }
        let site: SiteName = self.site.clone();
        let opinion: Opinion = self.probing.observer.opinion(&site, timing);
        let silent = opinion.silent.iter();
        let silent: BTreeMap<_, _> = silent
            .map(|(host, silent)| (host.clone(), silent.incarnation.clone()))
            .collect();
        let nothing = self.probing.told.is_none() && silent.is_empty() && !told;
        if nothing {
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
