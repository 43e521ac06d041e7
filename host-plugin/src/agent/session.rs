//! Opens this host's session and keeps it: the record in the store, the guard's deadline and the
//! state file move together.
//!
//! ```text
//! read the record ──> Opener: go on | new | clean first | watch it | refused
//!        go on, new:  arm the guard ──> first heartbeat ──> Open ──> every ack: the guard is told
//!        closed, and the storage plane holds: arm ──> open again, if the fence record leaves it
//!        lost, or the guard lapsed:  revoke ──> Cleaning ──> read the record …
//! ```

use super::bounds::{bounds_of, mismatch};
use super::error::AgentError;
use super::identity::{IdentityError, LifeFile, Machine};
use super::keep::End;
use super::lease;
use super::life::Life;
use crate::guard::client::{GuardClient, GuardError};
use crate::guard::protocol::{Answer, Call};
use holdfast_core::guardian::deadline::Phase;
use holdfast_model::fence::{FenceRecord, FenceStage};
use holdfast_model::host::{GuardState, RunnerBounds, Session, SessionState, StoragePlane};
use holdfast_model::id::{HostName, Incarnation, Revision};
use holdfast_model::timing::Timing;
use holdfast_store::api::{Store, TxnOutcome};
use holdfast_store::cache::Clock;
use holdfast_store::guarded::{Ack, Lost};
use holdfast_store::keyspace::Key;
use holdfast_store::session::{self, Identity, Opener, Opening, SessionHeartbeat};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Between two looks while the host is being cleaned, or the store does not answer.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A guard that starts together with the agent is waited for this long before a session is opened
/// without it.
const GUARD_WAIT: Duration = Duration::from_secs(3);
/// A new life waits this long for its lease volume: what it is granted before it has declared one stops
/// with etcd, and without its storage a host can start nothing anyway. It is taken up later as well.
pub(super) const VOLUME_WAIT: Duration = Duration::from_secs(15);
/// Told this often that the store does not answer.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What the task works with.
pub struct SessionTask {
    /// This host.
    pub host: HostName,
    /// A lease volume is configured.
    pub leased: bool,
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
    /// In which the guard promises that a watchdog resets this host, in milliseconds, when it was last
    /// armed; 0 without one.
    pub watchdog_ms: u64,
}

/// A session that may be opened.
pub(super) struct Opened {
    pub incarnation: Incarnation,
    pub heartbeat: SessionHeartbeat,
    pub bounds: RunnerBounds,
    pub armed_on: Option<u64>,
    pub storage: Option<StoragePlane>,
}

impl SessionTask {
    /// Runs for ever; ends only with what makes this agent impossible.
    pub async fn run(mut self) -> Result<(), AgentError> {
        loop {
            let opened = self.open().await?;
            let incarnation = opened.incarnation.clone();
            let end = self.keep(opened).await;
            // Also one that the life took up only later.
            let has = |life: &Life| life.session().is_some_and(|open| open.storage.is_some());
            let leased = has(&self.life.borrow());
            if let End::Session(Lost::Closed) = &end
                && leased
            {
                // The storage plane may hold. Nothing is touched until the fence record says whether
                // this life may go on.
                tracing::error!(%incarnation, "its session was closed; its storage lease may hold");
                let incarnation = incarnation.clone();
                let closed = Call::ControlClosed { incarnation };
                if let Err(error) = self.guard.call(closed).await {
                    tracing::warn!(%error, "the guard was not told that the session was closed");
                }
                self.life.send_modify(Life::reopening);
                continue;
            }
            // Two ends of a session may be no end of the life; all others stop the VMs at once.
            if let End::Session(Lost::Taken(_)) = &end
                && let Some(found) = self.found().await
            {
                if self.is_superseded(&incarnation, &found).await {
                    return Err(AgentError::Superseded);
                }
                if self.identity().has_outlived(&found) {
                    tracing::error!(%incarnation, "the store does not know this life: was it set back?");
                    self.life.send_modify(Life::reopening);
                    continue;
                }
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
    async fn is_superseded(&self, incarnation: &Incarnation, found: &Session) -> bool {
        found.incarnation == *incarnation
            && found.state == SessionState::Open
            && !self.has_lapsed(incarnation).await
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
        let observe_ms = self.timing.borrow().suspect_after_ms;
        let mut opener = Opener::new(self.identity(), observe_ms);
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
                    opener = Opener::new(self.identity(), observe_ms);
                }
                Opening::Reopen { base, session } => match self.reopen(base, session).await {
                    Reopened::Open(opened) => return Ok(*opened),
                    Reopened::Again => tokio::time::sleep(LOOK_AGAIN).await,
                    Reopened::Over => {
                        self.life_file.forget();
                        opener = Opener::new(self.identity(), observe_ms);
                    }
                },
                Opening::TakeBack { base } => {
                    if let Some(opened) = self.take_back(base).await {
                        return Ok(opened);
                    }
                    opener = Opener::new(self.identity(), observe_ms);
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

    pub(super) fn identity(&self) -> Identity {
        Identity {
            host: self.host.clone(),
            boot_id: self.machine.boot_id.clone(),
            machine_id: self.machine.machine_id.clone(),
            saved: self.life_file.read(),
            earlier: self.life_file.earlier(),
        }
    }

    /// This host's slot on the lease volume, if there is one to be had now.
    pub(super) async fn slot(&self, wait: Duration) -> Option<StoragePlane> {
        if !self.leased {
            return None;
        }
        let acquired = lease::acquire(&self.guard, &*self.store, &self.host, wait).await;
        acquired
            .map_err(|error| tracing::warn!(%error, "no storage lease"))
            .ok()
    }

    /// A new life.
    async fn begin(&mut self, base: Option<Revision>) -> Result<Opened, AgentError> {
        let incarnation = new_incarnation()?;
        self.life_file.write(&incarnation)?;
        let timing = self.timing.borrow().clone();
        let mut bounds = bounds_of(&timing, self.watchdog_ms);
        let storage = self.slot(VOLUME_WAIT).await;
        let slot = storage.as_ref().map(|plane| plane.slot);
        let mut armed_on = self.arm(&incarnation, &bounds, slot, GUARD_WAIT).await;
        let wanted = bounds_of(&timing, self.watchdog_ms);
        if armed_on.is_some() && wanted != bounds {
            // Now it is known what the guard's watchdog promises; nothing is declared yet.
            bounds = wanted;
            armed_on = self.arm(&incarnation, &bounds, slot, GUARD_WAIT).await;
        }
        let session = self.session(&incarnation, &bounds, &storage, armed_on.is_some());
        let period_ms = timing.heartbeat_ms;
        tracing::info!(%incarnation, "opening a session");
        Ok(Opened {
            heartbeat: session::heartbeat(self.host.clone(), session, base, period_ms),
            incarnation,
            bounds,
            armed_on,
            storage,
        })
    }

    /// The life of the agent before this one. `None`: the guard has ended it.
    async fn go_on(&mut self, base: Revision, found: Session) -> Option<Opened> {
        let incarnation = found.incarnation.clone();
        // With the bounds that are declared; policy may change them once the session is kept.
        let bounds = found.bounds.clone();
        // What was declared stays declared.
        let storage = found.storage.clone();
        let slot = storage.as_ref().map(|plane| plane.slot);
        let armed_on = match self.try_arm(&incarnation, &bounds, slot, GUARD_WAIT).await {
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
        let session = self.session(&incarnation, &bounds, &storage, armed_on.is_some());
        let period_ms = self.timing.borrow().heartbeat_ms;
        tracing::info!(%incarnation, "going on with the session of the agent before");
        let host = self.host.clone();
        Some(Opened {
            heartbeat: session::continued(host, session, base, found.beat, period_ms),
            incarnation,
            bounds,
            armed_on,
            storage,
        })
    }

    /// A life whose session was closed, and which its storage plane may have kept alive.
    async fn reopen(&mut self, base: Revision, found: Session) -> Reopened {
        let incarnation = found.incarnation.clone();
        let key = Key::Fence(self.host.clone(), incarnation.clone()).path();
        let Ok(listing) = self.store.list(&key).await else {
            return Reopened::Again;
        };
        let fence = listing.items.iter().find(|item| item.key == key);
        let half = fence.and_then(|item| {
            let record: FenceRecord = serde_json::from_slice(&item.value).ok()?;
            (record.stage == FenceStage::ControlClosed).then_some(item.revision)
        });
        let (bounds, storage) = (found.bounds.clone(), found.storage.clone());
        let slot = storage.as_ref().map(|plane| plane.slot);
        let armed = match self.try_arm(&incarnation, &bounds, slot, GUARD_WAIT).await {
            Ok(armed_on) => Some(armed_on),
            Err(GuardError::Refused(reason)) => {
                tracing::warn!(%incarnation, reason, "the guard does not let it go on");
                None
            }
            // One that does not answer may still hold the storage plane.
            Err(error) => {
                tracing::error!(%error, "its session cannot be opened again without a guard");
                return Reopened::Again;
            }
        };
        let (Some(fence), Some(armed_on)) = (half, armed) else {
            tracing::error!(%incarnation, "this life is over; its VMs are stopped here");
            self.life.send_replace(Life::Cleaning);
            let revoke = Call::Revoke { incarnation };
            if let Err(error) = self.guard.call(revoke).await {
                tracing::warn!(%error, "the VMs are stopped through libvirt alone");
            }
            return Reopened::Over;
        };
        let session = self.session(&incarnation, &bounds, &storage, true);
        let sent_at = (self.clock)();
        let revisions = (base, fence);
        let (txn, beat) = session::reopen(&self.host, &session, found.beat, revisions, sent_at);
        // Refused, or nobody knows: the record is read again, and tells.
        let Ok(TxnOutcome::Committed(revision)) = self.store.txn(txn).await else {
            return Reopened::Again;
        };
        tracing::info!(%incarnation, "its session is open again");
        let renewed = Call::Renewed {
            incarnation: incarnation.clone(),
            sent_at,
            revision,
        };
        if let Err(error) = self.guard.call(renewed).await {
            tracing::warn!(%error, "the guard was not told that the session is open again");
        }
        let period_ms = self.timing.borrow().heartbeat_ms;
        let ack = Ack { sent_at, revision };
        let mut heartbeat = session::reopened(self.host.clone(), session, ack, beat, period_ms);
        heartbeat.hurry();
        Reopened::Open(Box::new(Opened {
            incarnation,
            heartbeat,
            bounds,
            armed_on: Some(armed_on),
            storage,
        }))
    }

    pub(super) fn session(
        &self,
        incarnation: &Incarnation,
        bounds: &RunnerBounds,
        storage: &Option<StoragePlane>,
        guarded: bool,
    ) -> Session {
        Session {
            incarnation: incarnation.clone(),
            boot_id: self.machine.boot_id.clone(),
            machine_id: self.machine.machine_id.clone(),
            beat: 0,
            state: SessionState::Open,
            bounds: bounds.clone(),
            guard: guard_state(guarded),
            storage: storage.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    pub(super) async fn arm(
        &mut self,
        incarnation: &Incarnation,
        bounds: &RunnerBounds,
        slot: Option<u32>,
        wait: Duration,
    ) -> Option<u64> {
        let armed = self.try_arm(incarnation, bounds, slot, wait).await;
        armed
            .map_err(|error| tracing::error!(%error, "no guard"))
            .ok()
    }

    /// What the guard says of its watchdog.
    fn promised(&mut self, watchdog_ms: u64) {
        if self.watchdog_ms != watchdog_ms {
            tracing::info!(watchdog_ms, "what the guard's watchdog promises");
            self.watchdog_ms = watchdog_ms;
            // What is declared may have to follow.
            self.timing.mark_changed();
        }
    }

    /// What policy expects of this host's watchdog and does not get, said once.
    pub(super) fn tell_mismatch(&self, told: &mut Option<String>) {
        let mismatch = mismatch(&self.timing.borrow(), self.watchdog_ms);
        if *told != mismatch {
            match &mismatch {
                Some(mismatch) => tracing::error!("{mismatch}"),
                None => tracing::info!("the watchdog is what policy counts on again"),
            }
        }
        *told = mismatch;
    }

    /// Arms the guard, waiting for it to be there; the number of the connection it was done on.
    async fn try_arm(
        &mut self,
        incarnation: &Incarnation,
        bounds: &RunnerBounds,
        slot: Option<u32>,
        wait: Duration,
    ) -> Result<u64, GuardError> {
        let begin = std::time::Instant::now();
        loop {
            let connection = self.guard.connection();
            let arm = Call::Arm {
                incarnation: incarnation.clone(),
                bounds: bounds.clone(),
                slot,
            };
            match (self.guard.call(arm).await, connection) {
                (Ok(answer), Some(number)) => {
                    if let Answer::Armed {
                        watchdog_bound_ms, ..
                    } = answer
                    {
                        self.promised(watchdog_bound_ms);
                    }
                    return Ok(number);
                }
                (Err(error @ GuardError::Refused(_)), _) => return Err(error),
                (Err(error), _) if begin.elapsed() >= wait => return Err(error),
                _ => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, self.guard.changed()).await;
                }
            }
        }
    }
}

/// What became of opening a session again.
enum Reopened {
    /// It is open.
    Open(Box<Opened>),
    /// Not yet: look again.
    Again,
    /// That life is over.
    Over,
}

fn new_incarnation() -> Result<Incarnation, IdentityError> {
    let text = uuid::Uuid::new_v4().simple().to_string();
    // Hexadecimal digits are a legal name; were they not, no session is opened.
    Incarnation::try_from(text).map_err(|error| IdentityError::Content {
        path: "a new UUID".into(),
        reason: error.to_string(),
    })
}

pub(super) fn guard_state(works: bool) -> GuardState {
    match works {
        true => GuardState::Working,
        false => GuardState::Absent,
    }
}
