//! The leader has another manager, or an agent, ask a device: a thin loop around the pure [`Tried`] and [`Course`].

use super::Mandate;
use crate::daemon::probes::Prober;
use holdfast_core::errand::{Course, Outcome, Scene, Tried, Turn, Way, is_over};
use holdfast_model::asking::{Asker, AskerKind};
use holdfast_model::errand::{Addressee, Errand, ErrandStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::{ErrandId, Revision};
use holdfast_model::policy::Policy;
use holdfast_model::power::{PowerAsk, PowerState};
use holdfast_model::time::Instant;
use holdfast_store::api::{KeyValue, Store, StoreError, TxnOutcome};
use holdfast_store::cache::{Cache, Clock};
use holdfast_store::errands;
use holdfast_store::keyspace::Key;
use holdfast_store::leadership::Me;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Attempts to write one: what stands there may have changed since it was seen.
const WRITES: usize = 3;

/// Sends errands, and waits for what becomes of them.
pub struct Courier {
    store: Arc<dyn Store>,
    cache: Cache,
    clock: Clock,
    me: Me,
    prober: Arc<Prober>,
    /// Those whose answers are waited for.
    awaited: Mutex<BTreeSet<ErrandId>>,
    /// Who has asked in vain.
    tried: Mutex<Tried>,
}

/// The errands of one ask. Nobody waits for them any more when this is gone.
struct Awaited<'c> {
    courier: &'c Courier,
    ids: Vec<ErrandId>,
}

impl Awaited<'_> {
    fn add(&mut self, id: ErrandId) {
        self.courier.awaited().insert(id.clone());
        self.ids.push(id);
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut awaited = self.courier.awaited();
        for id in &self.ids {
            awaited.remove(id);
        }
    }
}

impl Courier {
    /// For this manager, which sees the store by this cache and hosts by this prober.
    pub fn new(
        store: Arc<dyn Store>,
        cache: Cache,
        clock: Clock,
        me: Me,
        prober: Arc<Prober>,
    ) -> Self {
        Self {
            store,
            cache,
            clock,
            me,
            prober,
            awaited: Mutex::default(),
            tried: Mutex::default(),
        }
    }

    fn awaited(&self) -> MutexGuard<'_, BTreeSet<ErrandId>> {
        // Each change is one call of the set.
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tried(&self) -> MutexGuard<'_, Tried> {
        // Whatever a panic left half done only changes whose turn it is.
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This manager is one that may ask this device itself.
    pub(super) fn reaches(&self, device: &FenceDevice) -> bool {
        device.lets(AskerKind::Managers) && device.is_reached_from(&self.me.site)
    }

    /// Who asks this time. `able`: this manager has what it takes, as far as it knows.
    pub(super) fn way(&self, ask: &PowerAsk, device: &FenceDevice, able: bool) -> Way {
        let now = (self.clock)();
        let mut tried = self.tried();
        self.cache.read(|view| {
            // The one that was decided by: without any that can be read nothing is.
            let policy = view.policy_in_force().ok().flatten();
            let timing = policy.map_or_else(|| Policy::default().timing, |p| p.timing.clone());
            let scene = Scene {
                managers: &view.managers,
                hosts: &view.hosts,
                asks: &view.host_asks,
                own: &self.me.name,
                site: &self.me.site,
                now,
                suspect_after_ms: timing.resolve().suspect_after_ms,
            };
            tried.way(ask, device, able, scene)
        })
    }

    /// This manager has asked it itself.
    pub(super) fn asked_here(&self, ask: &PowerAsk, state: &PowerState) {
        let own = Asker::Manager(self.me.name.clone());
        self.tried().note(ask, Some(&own), state, []);
    }

    /// Has a device asked by one of these. Ends within the bounds of [`Course`], or when the lead is lost.
    pub(super) async fn run(
        &self,
        ask: &PowerAsk,
        device: &FenceDevice,
        others: Vec<Addressee>,
        mandate: &Mandate,
    ) -> Outcome {
        let mut course = Course::new(device, others, (self.clock)());
        let outcome = self.follow(ask, device, &mut course, mandate).await;
        let passed = course.passed_by().cloned();
        let state = &outcome.answer.state;
        self.tried().note(ask, outcome.by.as_ref(), state, passed);
        outcome
    }

    async fn follow(
        &self,
        ask: &PowerAsk,
        device: &FenceDevice,
        course: &mut Course,
        mandate: &Mandate,
    ) -> Outcome {
        let mut cache = self.cache.subscribe();
        let began = (self.clock)();
        let mut awaited = Awaited {
            courier: self,
            ids: Vec::new(),
        };
        let mut leads = mandate.leads.clone();
        let standing = (ask.host.clone(), ask.device.clone());
        loop {
            let now = (self.clock)();
            cache.read(|view| {
                if let Some(seen) = view.errands.get(&standing) {
                    course.see(&seen.value.id, &seen.value.stage, now);
                }
            });
            match course.poll(now) {
                Turn::Over(outcome) => return outcome,
                Turn::Send(to) => {
                    if *leads.borrow() != Some(mandate.epoch) {
                        return course.abandon();
                    }
                    if self.has_answered(ask, began) {
                        course.not_sent("the host answers probes again");
                        continue;
                    }
                    let errand = self.errand(ask, device, mandate.epoch, to);
                    awaited.add(errand.id.clone());
                    self.send(course, &errand).await;
                }
                Turn::Wait(until) => tokio::select! {
                    () = cache.changed() => {}
                    () = tokio::time::sleep(Duration::from_millis(until.since(now))) => {}
                    () = lost(&mut leads, mandate.epoch) => return course.abandon(),
                },
            }
        }
    }

    /// The host has answered a probe that was sent since then, in the life that is to end.
    fn has_answered(&self, ask: &PowerAsk, since: Instant) -> bool {
        let own = self.prober.vantage();
        let heard = own.as_ref().and_then(|own| own.heard.get(&ask.host));
        heard.is_some_and(|heard| heard.incarnation == ask.incarnation && heard.asked_at > since)
    }

    fn errand(
        &self,
        ask: &PowerAsk,
        device: &FenceDevice,
        epoch: Revision,
        to: Addressee,
    ) -> Errand {
        Errand {
            id: fresh_id(),
            by: self.me.name.clone(),
            epoch,
            to,
            host: ask.host.clone(),
            incarnation: ask.incarnation.clone(),
            session_revision: ask.session_revision,
            device: ask.device.clone(),
            // That it may be asked so is decided, and an earlier version reads no device with this.
            as_set: FenceDevice {
                askers: Vec::new(),
                ..device.clone()
            },
            attempt: ask.attempt,
            stage: ErrandStage::Sent,
        }
    }

    /// Writes it, and tells the course what came of that. What stands there already is overwritten, unless it is
    /// the one before and that is being carried out after all.
    async fn send(&self, course: &mut Course, errand: &Errand) {
        let key = Key::Errand(errand.host.clone(), errand.device.clone());
        let there = self.cache.read(|view| view.seen(&key));
        let mut base = there.map(|(revision, _)| revision);
        // The earliest of all attempts: an answer may be to any of them.
        let sent_at = (self.clock)();
        for _ in 0..WRITES {
            let outcome = self.store.txn(errands::send(errand, base)).await;
            match outcome {
                Ok(TxnOutcome::Committed(_)) => {
                    return course.sent(errand.id.clone(), sent_at, (self.clock)());
                }
                Ok(TxnOutcome::Refused(_)) | Err(StoreError::OutcomeUnknown { .. }) => {}
                Err(error) => return course.not_sent(&error.to_string()),
            }
            let found = match self.store.get(&key.path()).await {
                Ok((found, _)) => found,
                Err(error) => return course.not_sent(&error.to_string()),
            };
            base = found.as_ref().map(|item| item.revision);
            let Some(there) = found.as_ref().and_then(read) else {
                continue;
            };
            let now = (self.clock)();
            if there.id == errand.id {
                course.sent(errand.id.clone(), sent_at, now);
            }
            course.see(&there.id, &there.stage, now);
            if course.poll(now) != Turn::Send(errand.to.clone()) {
                return;
            }
        }
        course.not_sent(
            "this manager does not lead any more, or the host's session has changed since",
        );
    }

    /// The leader of this epoch removes what nobody waits for any more.
    pub async fn sweep(&self, epoch: Revision) {
        let over: Vec<(Errand, Revision)> = {
            let awaited = self.awaited();
            self.cache.read(|view| {
                let all = view.errands.values();
                let over = all.filter(|seen| is_over(&seen.value, epoch, &awaited));
                over.map(|seen| (seen.value.clone(), seen.revision))
                    .collect()
            })
        };
        for (errand, revision) in over {
            let txn = errands::remove(&errand, revision, epoch);
            if let Err(error) = self.store.txn(txn).await {
                tracing::debug!(host = %errand.host, %error, "an errand that is over is not removed yet");
            }
        }
    }
}

/// Unique, and as long as a name may be.
fn fresh_id() -> ErrandId {
    loop {
        let text = uuid::Uuid::new_v4().simple().to_string();
        if let Ok(id) = text.parse() {
            return id;
        }
    }
}

fn read(item: &KeyValue) -> Option<Errand> {
    serde_json::from_slice(&item.value).ok()
}

/// Waits until this manager does not lead in that epoch.
async fn lost(leads: &mut watch::Receiver<Option<Revision>>, epoch: Revision) {
    // An error means that nobody leads here any more.
    leads.wait_for(|now| *now != Some(epoch)).await.ok();
}
