//! Opens this host's session and keeps it: the record in the store, the guard's deadline and the
//! state file move together.
//!
//! ```text
//! read the record ──> Opener: go on | new | clean first | watch it | refused
//!        go on, new:  arm the guard ──> first heartbeat ──> Open ──> every ack: the guard is told
//!        lost, or the guard lapsed:  revoke ──> Cleaning ──> read the record …
//! ```

use super::error::AgentError;
use super::identity::{IdentityError, LifeFile, Machine};
use super::life::{Acknowledged, Life, Open};
use crate::guard::client::{GuardClient, GuardError};
use crate::guard::protocol::{Answer, Call};
use holdfast_core::guardian::deadline::Phase;
use holdfast_model::host::{GuardState, RunnerBounds, Session, SessionState};
use holdfast_model::id::{HostName, Incarnation, Revision};
use holdfast_model::timing::Timing;
use holdfast_store::api::Store;
use holdfast_store::cache::Clock;
use holdfast_store::guarded::{Ack, Lost};
use holdfast_store::keyspace::Key;
use holdfast_store::run::run_heartbeat;
use holdfast_store::session::{self, Identity, Opener, Opening, SessionHeartbeat};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

/// Between two looks while the host is being cleaned, or the store does not answer.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A guard that starts together with the agent is waited for this long before a session is opened
/// without it.
const GUARD_WAIT: Duration = Duration::from_secs(3);
/// Told this often that the store does not answer.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What the task works with.
pub struct SessionTask {
    /// This host.
    pub host: HostName,
    /// This machine.
    pub machine: Machine,
    /// What outlives the agent.
    pub life_file: LifeFile,
    /// The store.
    pub store: Arc<dyn Store>,
    /// This machine's clock.
    pub clock: Clock,
    /// The guard.
    pub guard: GuardClient,
    /// The bounds by policy.
    pub timing: watch::Receiver<Timing>,
    /// Nothing with this cluster's stamp is here, and no call that could bring any: told by the
    /// loop that runs the VMs. `None`: not known.
    pub clean: watch::Receiver<Option<bool>>,
    /// Lives that the guard ended.
    pub ended: mpsc::UnboundedReceiver<Incarnation>,
    /// Where the result goes.
    pub life: watch::Sender<Life>,
}

/// A session that may be opened.
struct Opened {
    incarnation: Incarnation,
    heartbeat: SessionHeartbeat,
    bounds: RunnerBounds,
    armed_on: Option<u64>,
}

impl SessionTask {
    /// Runs for ever; ends only with what makes this agent impossible.
    pub async fn run(mut self) -> Result<(), AgentError> {
        loop {
            let opened = self.open().await?;
            let incarnation = opened.incarnation.clone();
            let end = self.keep(opened).await;
            // Only one end of a session may be no end of the life; all others stop the VMs at once.
            if let End::Session(Lost::Taken(_)) = &end
                && self.is_superseded(&incarnation).await
            {
                return Err(AgentError::Superseded);
            }
            let why = end.to_string();
            tracing::error!(%incarnation, why, "this life is over; its VMs are stopped here");
            self.life.send_replace(Life::Cleaning);
            // Whatever ended it, the guard kills faster than libvirt can be asked to.
            let revoke = Call::Revoke {
                incarnation: incarnation.clone(),
            };
            if let Err(error) = self.guard.call(revoke).await {
                tracing::warn!(%error, "the VMs are stopped through libvirt alone");
            }
            self.life_file.forget();
        }
    }

    /// The session is not lost but in the hands of another process of this host: the VMs are its.
    /// Only after a look at the record; without an answer it counts as lost.
    async fn is_superseded(&self, incarnation: &Incarnation) -> bool {
        let key = Key::HostSession(self.host.clone()).path();
        let read = tokio::time::timeout(LOOK_AGAIN, self.store.list(&key)).await;
        let Ok(Ok(listing)) = read else { return false };
        let found = listing.items.iter().find(|item| item.key == key);
        let session = found.and_then(|item| serde_json::from_slice::<Session>(&item.value).ok());
        let lapsed = self.has_lapsed(incarnation).await;
        session.is_some_and(|session| {
            session.incarnation == *incarnation && session.state == SessionState::Open && !lapsed
        })
    }

    /// The guard has ended that life.
    async fn has_lapsed(&self, incarnation: &Incarnation) -> bool {
        match self.guard.call(Call::Status).await {
            Ok(Answer::Status(status)) => !matches!(
                status.phase,
                Phase::Armed(armed) if armed.incarnation == *incarnation
            ),
            _ => true,
        }
    }

    /// Until a session may be opened.
    async fn open(&mut self) -> Result<Opened, AgentError> {
        let identity = Identity {
            host: self.host.clone(),
            boot_id: self.machine.boot_id.clone(),
            machine_id: self.machine.machine_id.clone(),
            saved: self.life_file.read(),
        };
        let observe_ms = self.timing.borrow().suspect_after_ms;
        let mut opener = Opener::new(identity, observe_ms);
        let key = Key::HostSession(self.host.clone()).path();
        let mut told: Option<std::time::Instant> = None;
        let mut last_why = String::new();
        loop {
            let listing = match self.store.list(&key).await {
                Ok(listing) => listing,
                Err(error) => {
                    if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                        tracing::warn!(%error, "waiting for the store to open the session");
                        told = Some(std::time::Instant::now());
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
            };
            let found = listing.items.iter().find(|item| item.key == key);
            let clean = *self.clean.borrow() == Some(true);
            match opener.decide((self.clock)(), found, clean) {
                Opening::New { base } => return self.begin(base).await,
                Opening::Continue { base, session } => {
                    if let Some(opened) = self.go_on(base, session).await {
                        return Ok(opened);
                    }
                    // The guard has ended that life: as if it had never been ours.
                    self.life_file.forget();
                    let identity = Identity {
                        host: self.host.clone(),
                        boot_id: self.machine.boot_id.clone(),
                        machine_id: self.machine.machine_id.clone(),
                        saved: None,
                    };
                    opener = Opener::new(identity, observe_ms);
                }
                Opening::CleanFirst { why } => {
                    if why != last_why {
                        tracing::info!(why, "nothing may be left here before a session is opened");
                        last_why = why;
                    }
                    self.life.send_if_modified(|life| {
                        let changes = *life != Life::Cleaning;
                        *life = Life::Cleaning;
                        changes
                    });
                    let _ = tokio::time::timeout(LOOK_AGAIN, self.clean.changed()).await;
                }
                Opening::Observe { until } => {
                    let wait = until.since((self.clock)()).clamp(10, 1_000);
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
                Opening::Refused(error) => return Err(error.into()),
            }
        }
    }

    /// A new life.
    async fn begin(&mut self, base: Option<Revision>) -> Result<Opened, AgentError> {
        let incarnation = new_incarnation()?;
        self.life_file.write(&incarnation)?;
        let timing = self.timing.borrow().clone();
        let bounds = bounds_of(&timing);
        let armed_on = self.arm(&incarnation, &bounds, GUARD_WAIT).await;
        let session = self.session(&incarnation, &bounds, armed_on.is_some());
        let period_ms = timing.heartbeat_ms;
        tracing::info!(%incarnation, "opening a session");
        Ok(Opened {
            heartbeat: session::heartbeat(self.host.clone(), session, base, period_ms),
            incarnation,
            bounds,
            armed_on,
        })
    }

    /// The life of the agent before this one. `None`: the guard has ended it.
    async fn go_on(&mut self, base: Revision, found: Session) -> Option<Opened> {
        let incarnation = found.incarnation.clone();
        // With the bounds that are declared; policy may change them once the session is kept.
        let bounds = found.bounds.clone();
        let armed_on = match self.try_arm(&incarnation, &bounds, GUARD_WAIT).await {
            Ok(connection) => Some(connection),
            Err(GuardError::Refused(reason)) => {
                tracing::warn!(%incarnation, reason, "the guard does not let it go on");
                return None;
            }
            Err(error) => {
                tracing::error!(%error, "going on without a guard");
                None
            }
        };
        let session = self.session(&incarnation, &bounds, armed_on.is_some());
        let period_ms = self.timing.borrow().heartbeat_ms;
        tracing::info!(%incarnation, "going on with the session of the agent before");
        let host = self.host.clone();
        Some(Opened {
            heartbeat: session::continued(host, session, base, found.beat, period_ms),
            incarnation,
            bounds,
            armed_on,
        })
    }

    fn session(&self, incarnation: &Incarnation, bounds: &RunnerBounds, guarded: bool) -> Session {
        Session {
            incarnation: incarnation.clone(),
            boot_id: self.machine.boot_id.clone(),
            machine_id: self.machine.machine_id.clone(),
            beat: 0,
            state: SessionState::Open,
            bounds: bounds.clone(),
            guard: guard_state(guarded),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    async fn arm(
        &mut self,
        incarnation: &Incarnation,
        bounds: &RunnerBounds,
        wait: Duration,
    ) -> Option<u64> {
        let armed = self.try_arm(incarnation, bounds, wait).await;
        armed
            .map_err(|error| tracing::error!(%error, "no guard"))
            .ok()
    }

    /// Arms the guard, waiting for it to be there; the number of the connection it was done on.
    async fn try_arm(
        &mut self,
        incarnation: &Incarnation,
        bounds: &RunnerBounds,
        wait: Duration,
    ) -> Result<u64, GuardError> {
        let begin = std::time::Instant::now();
        loop {
            let connection = self.guard.connection();
            let arm = Call::Arm {
                incarnation: incarnation.clone(),
                bounds: bounds.clone(),
            };
            match (self.guard.call(arm).await, connection) {
                (Ok(_), Some(number)) => return Ok(number),
                (Err(error @ GuardError::Refused(_)), _) => return Err(error),
                (Err(error), _) if begin.elapsed() >= wait => return Err(error),
                _ => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, self.guard.changed()).await;
                }
            }
        }
    }

    /// Until it is over; why it is.
    async fn keep(&mut self, opened: Opened) -> End {
        let Opened {
            incarnation,
            heartbeat,
            bounds,
            armed_on,
        } = opened;
        self.life.send_replace(Life::Opening(Open {
            incarnation: incarnation.clone(),
            bounds,
            acknowledged: None,
            armed_on,
        }));
        let heartbeat = Arc::new(Mutex::new(heartbeat));
        let wake = Arc::new(Notify::new());
        let (acks, mut acknowledged) = watch::channel(None::<Ack>);
        let beating = {
            let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
            let (heartbeat, wake) = (Arc::clone(&heartbeat), Arc::clone(&wake));
            tokio::spawn(async move {
                let on_ack = move |ack| {
                    let _ = acks.send_replace(Some(ack));
                };
                run_heartbeat(&*store, &clock, &heartbeat, &wake, on_ack).await
            })
        };
        let mut beating = AbortOnDrop(beating);
        let mut longer = None;
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
                    self.acknowledge(&incarnation, ack).await;
                    self.finish_longer_bounds(&incarnation, &mut longer).await;
                }
                () = self.guard.changed() => {
                    let guarded = self.rearm(&incarnation).await;
                    lock(&heartbeat).record_mut().session.guard = guard_state(guarded);
                    lock(&heartbeat).hurry();
                    wake.notify_one();
                }
                Ok(()) = self.timing.changed() => {
                    let timing = self.timing.borrow_and_update().clone();
                    lock(&heartbeat).set_period_ms(timing.heartbeat_ms);
                    let wanted = bounds_of(&timing);
                    longer = self.change_bounds(&incarnation, wanted, &heartbeat).await;
                    wake.notify_one();
                }
            }
        }
    }

    /// The guard learns of every acknowledged heartbeat first: the deadline is its own.
    async fn acknowledge(&self, incarnation: &Incarnation, ack: Ack) {
        let renewed = Call::Renewed {
            incarnation: incarnation.clone(),
            sent_at: ack.sent_at,
        };
        if let Err(error) = self.guard.call(renewed).await {
            tracing::debug!(%error, "the guard was not told of a heartbeat");
        }
        self.life.send_modify(|life| {
            let Some(open) = life.session_mut() else {
                return;
            };
            let (sent_at, revision) = (ack.sent_at, ack.revision);
            open.acknowledged = Some(Acknowledged { sent_at, revision });
            *life = Life::Open(open.clone());
        });
    }

    /// The guard came, went, or was restarted.
    async fn rearm(&mut self, incarnation: &Incarnation) -> bool {
        let Some(open) = self.life.borrow().session().cloned() else {
            return false;
        };
        let armed_on = match self.guard.connection() {
            None => None,
            Some(_) => self.arm(incarnation, &open.bounds, Duration::ZERO).await,
        };
        self.edit(|open| open.armed_on = armed_on);
        armed_on.is_some()
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
        if wanted == open.bounds {
            return None;
        }
        tracing::info!(
            runner_deadline_ms = wanted.runner_deadline_ms,
            "bounds change by policy"
        );
        let longer = wanted.runner_deadline_ms > open.bounds.runner_deadline_ms;
        if !longer {
            let armed_on = self.arm(incarnation, &wanted, Duration::ZERO).await;
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
        self.rearm(incarnation).await;
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

/// How a life ends.
#[derive(Debug, thiserror::Error)]
enum End {
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

fn new_incarnation() -> Result<Incarnation, IdentityError> {
    let text = uuid::Uuid::new_v4().simple().to_string();
    // Hexadecimal digits are a legal name; were they not, no session is opened.
    Incarnation::try_from(text).map_err(|error| IdentityError::Content {
        path: "a new UUID".into(),
        reason: error.to_string(),
    })
}

fn guard_state(works: bool) -> GuardState {
    match works {
        true => GuardState::Working,
        false => GuardState::Absent,
    }
}

fn bounds_of(timing: &Timing) -> RunnerBounds {
    RunnerBounds {
        runner_deadline_ms: timing.runner_deadline_ms,
        kill_bound_ms: timing.kill_bound_ms,
        watchdog_bound_ms: timing.watchdog_bound_ms,
    }
}
