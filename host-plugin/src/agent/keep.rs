//! Keeps an open session: every acknowledged heartbeat reaches the guard, the guard is armed again
//! when it was away, and new bounds are brought in without a moment in which the session declares
//! less than the guard enforces.

use super::bounds::bounds_of;
use super::life::{Acknowledged, Life, Open};
use super::session::{Opened, SessionTask, guard_state};
use crate::guard::protocol::{Answer, Call};
use holdfast_core::guardian::deadline::Renewal;
use holdfast_model::host::{RunnerBounds, StoragePlane};
use holdfast_model::id::Incarnation;
use holdfast_store::guarded::{Ack, Lost};
use holdfast_store::run::run_heartbeat;
use holdfast_store::session::SessionHeartbeat;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

impl SessionTask {
    /// Until it is over; why it is.
    pub(super) async fn keep(&mut self, opened: Opened) -> End {
        let Opened {
            incarnation,
            heartbeat,
            bounds,
            armed_on,
            storage,
        } = opened;
        self.life.send_replace(Life::Opening(Open {
            incarnation: incarnation.clone(),
            bounds,
            acknowledged: None,
            armed_on,
            storage,
        }));
        let heartbeat = Arc::new(Mutex::new(heartbeat));
        let wake = Arc::new(Notify::new());
        let (mut beating, mut acknowledged) = self.beat(&heartbeat, &wake);
        let (mut longer, mut mismatch) = (None, None);
        let mut joining = Joining::new(self.leased);
        // Policy may have changed since the bounds were taken.
        self.timing.mark_changed();
        loop {
            tokio::select! {
                lost = &mut beating.0 => return match lost {
                    Ok(lost) => End::Session(lost),
                    Err(error) => End::Task(error.to_string()),
                },
                // A sender that is gone says nothing: the agent is ending, and the VMs run on.
                Some(ended) = self.ended.recv() => if ended == incarnation {
                    return End::Deadline;
                },
                Ok(()) = acknowledged.changed() => {
                    let ack = *acknowledged.borrow_and_update();
                    let Some(ack) = ack else { continue };
                    let guarded = self.acknowledge(&incarnation, ack).await;
                    self.declare_guard(&incarnation, guarded, &heartbeat, &wake).await;
                    self.finish_longer_bounds(&incarnation, &mut longer).await;
                    self.finish_joining(&incarnation, &mut joining).await;
                    self.try_bounds_again(&heartbeat, &longer);
                }
                () = tokio::time::sleep_until(joining.next), if self.wants_plane(&joining) => {
                    joining.next = tokio::time::Instant::now() + JOIN_EVERY;
                    // The guard must hear of heartbeats meanwhile: what takes longer is tried again.
                    let slot = tokio::time::timeout(JOIN_BOUND, self.slot(Duration::ZERO)).await;
                    if let Ok(Some(plane)) = slot {
                        tracing::info!(slot = plane.slot, "declaring a storage plane");
                        lock(&heartbeat).record_mut().session.storage = Some(plane.clone());
                        lock(&heartbeat).hurry();
                        wake.notify_one();
                        // As with longer bounds: the heartbeat under way may not declare it yet.
                        joining.declared = Some((plane, 2));
                    }
                }
                () = self.guard.changed() => {
                    self.edit(|open| open.armed_on = None);
                    let guarded = self.guard.connection().is_some();
                    self.declare_guard(&incarnation, guarded, &heartbeat, &wake).await;
                }
                Ok(()) = self.timing.changed() => {
                    longer = self.follow_timing(&incarnation, &mut mismatch, &heartbeat).await;
                    wake.notify_one();
                }
            }
        }
    }

    /// Sends the heartbeats; the last one that was acknowledged.
    fn beat(
        &self,
        heartbeat: &Arc<Mutex<SessionHeartbeat>>,
        wake: &Arc<Notify>,
    ) -> (AbortOnDrop, watch::Receiver<Option<Ack>>) {
        let (acks, acknowledged) = watch::channel(None::<Ack>);
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let (heartbeat, wake) = (Arc::clone(heartbeat), Arc::clone(wake));
        let beating = tokio::spawn(async move {
            let on_ack = move |ack| {
                let _ = acks.send_replace(Some(ack));
            };
            run_heartbeat(&*store, &clock, &heartbeat, &wake, on_ack).await
        });
        (AbortOnDrop(beating), acknowledged)
    }

    /// What policy, or the guard's watchdog, has changed about the bounds.
    async fn follow_timing(
        &mut self,
        incarnation: &Incarnation,
        mismatch: &mut Option<String>,
        heartbeat: &Mutex<SessionHeartbeat>,
    ) -> Option<Longer> {
        let timing = self.timing.borrow_and_update().clone();
        lock(heartbeat).set_period_ms(timing.heartbeat_ms);
        let armed = |life: &Life| life.session().is_some_and(|o| o.armed_on.is_some());
        if armed(&self.life.borrow()) {
            // Without a guard its absence is what is said.
            self.tell_mismatch(mismatch);
        }
        let wanted = bounds_of(&timing, self.watchdog_ms);
        self.change_bounds(incarnation, wanted, heartbeat).await
    }

    /// The guard learns of every acknowledged heartbeat; false if it does not answer, or does not
    /// know this life any more.
    async fn acknowledge(&self, incarnation: &Incarnation, ack: Ack) -> bool {
        self.life.send_modify(|life| {
            let Some(open) = life.session_mut() else {
                return;
            };
            let (sent_at, revision) = (ack.sent_at, ack.revision);
            open.acknowledged = Some(Acknowledged { sent_at, revision });
            *life = Life::Open(open.clone());
        });
        let renewed = Call::Renewed {
            incarnation: incarnation.clone(),
            sent_at: ack.sent_at,
            revision: ack.revision,
        };
        match self.guard.call(renewed).await {
            Ok(Answer::Renewed { renewal }) => renewal != Renewal::Ignored,
            Ok(_) => false,
            Err(error) => {
                tracing::debug!(%error, "the guard was not told of a heartbeat");
                false
            }
        }
    }

    /// Whether a guard works is declared in the session, as soon as it changes. One that was away,
    /// or has forgotten this life, is armed anew first.
    async fn declare_guard(
        &mut self,
        incarnation: &Incarnation,
        answers: bool,
        heartbeat: &Mutex<SessionHeartbeat>,
        wake: &Notify,
    ) {
        let Some(open) = self.life.borrow().session().cloned() else {
            return;
        };
        let armed_on = match (open.armed_on, self.guard.connection()) {
            (Some(number), Some(now)) if answers && number == now => Some(number),
            (_, None) => None,
            (_, Some(_)) => {
                self.arm(incarnation, &open.bounds, open.slot(), Duration::ZERO)
                    .await
            }
        };
        if armed_on != open.armed_on {
            self.edit(|open| open.armed_on = armed_on);
        }
        let guard = guard_state(armed_on.is_some());
        if lock(heartbeat).record().session.guard != guard {
            tracing::warn!(?guard, "the guard's state changes");
            lock(heartbeat).record_mut().session.guard = guard;
            lock(heartbeat).hurry();
            wake.notify_one();
            // Bounds that waited for a guard.
            self.timing.mark_changed();
        }
    }

    /// New bounds by policy. What the session declares must never be shorter than what the guard
    /// enforces: shorter ones go to the guard first, longer ones to the session first.
    async fn change_bounds(
        &mut self,
        incarnation: &Incarnation,
        wanted: RunnerBounds,
        heartbeat: &Mutex<SessionHeartbeat>,
    ) -> Option<Longer> {
        let open = self.life.borrow().session().cloned()?;
        let declared = lock(heartbeat).record().session.bounds.clone();
        if wanted == open.bounds && wanted == declared {
            return None;
        }
        tracing::info!(
            runner_deadline_ms = wanted.runner_deadline_ms,
            "bounds change by policy"
        );
        let longer = wanted.runner_deadline_ms > open.bounds.runner_deadline_ms;
        if !longer {
            let armed_on = self
                .arm(incarnation, &wanted, open.slot(), Duration::ZERO)
                .await;
            if open.armed_on.is_some() && armed_on.is_none() {
                // Tried again when the guard is back.
                return None;
            }
            self.edit(|open| open.bounds = wanted.clone());
        }
        lock(heartbeat).record_mut().session.bounds = wanted.clone();
        lock(heartbeat).hurry();
        // The heartbeat under way may still carry the old ones; the one after it does not.
        longer.then_some(Longer {
            bounds: wanted,
            acks_left: 2,
        })
    }

    /// Bounds that the guard did not take in time, though it was there, are tried again with each
    /// heartbeat.
    fn try_bounds_again(&mut self, heartbeat: &Mutex<SessionHeartbeat>, longer: &Option<Longer>) {
        let wanted = bounds_of(&self.timing.borrow(), self.watchdog_ms);
        let missing = lock(heartbeat).record().session.bounds != wanted;
        if missing && longer.is_none() {
            self.timing.mark_changed();
        }
    }

    /// The session declares longer bounds for sure: now the guard may have them.
    async fn finish_longer_bounds(
        &mut self,
        incarnation: &Incarnation,
        longer: &mut Option<Longer>,
    ) {
        let Some(waiting) = longer else { return };
        waiting.acks_left -= 1;
        if waiting.acks_left > 0 {
            return;
        }
        let bounds = waiting.bounds.clone();
        *longer = None;
        self.edit(|open| open.bounds = bounds.clone());
        let slot = self.life.borrow().session().and_then(Open::slot);
        self.arm(incarnation, &bounds, slot, Duration::ZERO).await;
    }

    /// A lease volume is configured, and this life has not come to its slot yet.
    fn wants_plane(&self, joining: &Joining) -> bool {
        let has = |life: &Life| life.session().is_some_and(|open| open.storage.is_some());
        self.leased && joining.declared.is_none() && !has(&self.life.borrow())
    }

    /// The session declares the storage plane for sure: now the guard may count on it.
    async fn finish_joining(&mut self, incarnation: &Incarnation, joining: &mut Joining) {
        let Some((_, acks_left)) = &mut joining.declared else {
            return;
        };
        *acks_left -= 1;
        if *acks_left > 0 {
            return;
        }
        let Some((plane, _)) = joining.declared.take() else {
            return;
        };
        let slot = Some(plane.slot);
        self.edit(|open| open.storage = Some(plane.clone()));
        let bounds = self.life.borrow().session().map(|open| open.bounds.clone());
        if let Some(bounds) = bounds {
            self.arm(incarnation, &bounds, slot, Duration::ZERO).await;
        }
    }

    fn edit(&self, change: impl FnOnce(&mut Open)) {
        self.life.send_modify(|life| {
            if let Some(open) = life.session_mut() {
                change(open);
            }
        });
    }
}

/// Longer bounds that the session does not declare for sure yet.
struct Longer {
    bounds: RunnerBounds,
    acks_left: u32,
}

/// Between two looks for a lease volume that was not there when the life began.
const JOIN_EVERY: Duration = Duration::from_secs(3);

/// How long one look may take.
const JOIN_BOUND: Duration = Duration::from_millis(300);

/// A storage plane that is taken up by a life that began without one.
struct Joining {
    next: tokio::time::Instant,
    /// Declared, and for how many acknowledgements more that is not sure.
    declared: Option<(StoragePlane, u32)>,
}

impl Joining {
    fn new(leased: bool) -> Self {
        let wait = if leased { JOIN_EVERY } else { Duration::MAX };
        let now = tokio::time::Instant::now();
        Self {
            next: now.checked_add(wait).unwrap_or(now),
            declared: None,
        }
    }
}

/// How a life ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the session is {0}")]
    Session(Lost),
    #[error("the guard stopped everything at the deadline")]
    Deadline,
    #[error("the heartbeat's task ended: {0}")]
    Task(String),
}

/// The heartbeat must not go on when its keeper is gone.
struct AbortOnDrop(tokio::task::JoinHandle<Lost>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lock(heartbeat: &Mutex<SessionHeartbeat>) -> MutexGuard<'_, SessionHeartbeat> {
    heartbeat.lock().unwrap_or_else(PoisonError::into_inner)
}
