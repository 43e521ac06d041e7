//! The storage plane of this host: its heartbeat on the lease volume, what it sees of its peers there,
//! and its mailbox. When and what is decided by `holdfast_core::lease`; here are the calls.
//!
//! ```text
//! agent: volume? ──────> open, read everything ──> id, class, own slot, free slots
//! agent: arm(slot) ────> keeper ─> write ─> plane valid (told to the deadline)
//!                                   └─> read slots and mailbox ─> observer; asked to release?
//! ```
//! A slot in which another host's name stands is not written to, and one that somebody else writes to is
//! given up: the plane lapses, and the reason is told.

mod calls;

use super::claims::{ClaimState, Claims, PassedOver, Task, carry_out};
use super::disk::{Disk, Lane, Stuck};
use calls::{Look, Refusal, beat, look, write_mail};
use holdfast_core::guardian::planes::PlaneState;
use holdfast_core::lease::claim::Wanted;
use holdfast_core::lease::keeper::{Identity, Keeper};
use holdfast_core::lease::mailbox::Mailbox;
use holdfast_core::lease::observer::{Finding, Observer, ReadTimes};
use holdfast_lease::error::VolumeError;
use holdfast_lease::volume::Volume;
use holdfast_model::host::RunnerBounds;
use holdfast_model::id::{ClusterName, HostName, Incarnation, Revision};
use holdfast_model::lease::{AgentState, Heartbeat, Mail, StorageClass};
use holdfast_model::time::Instant;
use holdfast_store::clock::boottime;
use rustix::fd::BorrowedFd;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::PathBuf;

/// An agent that has not been heard of for this long is silent, in milliseconds. It says something at
/// least every second.
const AGENT_SILENT_MS: u64 = 3_000;
/// The whole volume is read this often besides: every so many reads.
const READ_ALL_EVERY: u64 = 16;
/// Two looks that no heartbeat of its own calls for are at least this far apart, in milliseconds.
const LOOK_PAUSE_MS: u32 = 200;
/// Free slots that are named to an agent without one. A host that joins takes one of them, so it has a slot
/// at most this far beyond the highest one in use; read up to there, its heartbeats are seen from the first
/// one on, and the wait for its silence does not begin only when somebody asks.
const FREE_NAMED: u32 = 8;

/// The volume, as an agent needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeInfo {
    /// Its id.
    pub id: String,
    /// What the storage under it promises.
    pub class: StorageClass,
    /// The slot in which this host's name stands.
    pub own: Option<u32>,
    /// Slots in which nothing stands; some of them.
    pub free: Vec<u32>,
}

/// What a job found out.
enum Done {
    /// A heartbeat was written, with this counter.
    Beat(u64, Result<(), Refusal>),
    /// Slots were read, and the own mailbox.
    Look(Result<Look, String>),
    /// A message was written, or not.
    Mail(Result<(), String>),
    /// VMs' sectors.
    Claims(Vec<(Task, ClaimState)>),
}

/// What follows from the calls that have ended, for the deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The heartbeat sent then stands on the volume.
    Renewed {
        /// Of which life.
        incarnation: Incarnation,
        /// When it was sent.
        sent_at: Instant,
    },
    /// This life is asked to release everything.
    Asked {
        /// Which life.
        incarnation: Incarnation,
    },
    /// A VM's claim was passed over: it has to go.
    PassedOver(PassedOver),
}

/// The storage plane.
pub struct LeasePlane {
    host: HostName,
    disk: Disk<Done>,
    info: Option<VolumeInfo>,
    problem: Option<String>,
    /// Why the own mailbox cannot be read.
    unread: Option<String>,
    slot: Option<u32>,
    keeper: Option<Keeper>,
    /// A heartbeat of this life stands in the slot.
    written: bool,
    observer: Observer,
    mailbox: Mailbox,
    asked: Option<u64>,
    heard: Instant,
    /// The last own heartbeat that the volume has.
    acknowledged: u64,
    looking: bool,
    looks: u64,
    next_look: Instant,
    highest: u32,
    claims: Claims,
}

impl LeasePlane {
    /// On the volume at that path. Nothing is opened yet.
    pub fn start(path: PathBuf, cluster: ClusterName, host: HostName) -> io::Result<Self> {
        Ok(Self {
            host,
            disk: Disk::start(path, cluster)?,
            info: None,
            problem: None,
            unread: None,
            slot: None,
            keeper: None,
            written: false,
            observer: Observer::default(),
            mailbox: Mailbox::default(),
            asked: None,
            heard: Instant(0),
            acknowledged: 0,
            looking: false,
            looks: 0,
            next_look: Instant(0),
            highest: 0,
            claims: Claims::default(),
        })
    }

    /// Becomes readable when a call has ended.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.disk.fd()
    }

    /// What is known of the volume, and what is wrong with it or with this host's slot on it.
    pub fn info(&mut self) -> (Option<VolumeInfo>, Option<String>) {
        if self.info.is_none() {
            self.look();
        }
        let problem = self.problem.as_ref().or(self.unread.as_ref());
        (self.info.clone(), problem.cloned())
    }

    /// Which slot it writes to.
    pub fn slot(&self) -> Option<u32> {
        self.slot
    }

    /// The agent was heard of.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Heartbeats of that life in that slot from now on.
    pub fn arm(&mut self, slot: u32, identity: Identity, bounds: &RunnerBounds, now: Instant) {
        let same = self.slot == Some(slot)
            && self.keeper.as_ref().is_some_and(|keeper| {
                keeper.identity().incarnation == identity.incarnation && !keeper.is_released()
            });
        if same && let Some(keeper) = &mut self.keeper {
            return keeper.set_bounds(bounds);
        }
        self.slot = Some(slot);
        self.highest = self.highest.max(slot);
        self.written = false;
        self.acknowledged = 0;
        self.asked = None;
        self.mailbox = Mailbox::default();
        self.keeper = Some(Keeper::new(identity, now));
    }

    /// The session is about to be opened again: messages wait.
    pub fn hold_mail(&mut self, now: Instant) {
        self.mailbox.hold(now);
    }

    /// Goes on where the guard before this one ended.
    pub fn go_on_with_mail(&mut self, acknowledged: Revision, now: Instant) {
        self.mailbox = Mailbox::go_on(acknowledged, now);
    }

    /// See [`Mailbox::known`].
    pub fn known_of_mail(&self) -> Revision {
        self.mailbox.known()
    }

    /// A heartbeat of the session was acknowledged.
    pub fn acknowledged(&mut self, revision: Revision) {
        self.mailbox.acknowledged(revision);
    }

    /// Everything that this life ran has stopped. The heartbeat says so from now on.
    pub fn release(&mut self, incarnation: &Incarnation, now: Instant) {
        let answered = self.asked.unwrap_or(0);
        if let Some(keeper) = &mut self.keeper
            && keeper.identity().incarnation == *incarnation
        {
            keeper.release(answered, now);
        }
    }

    /// The heartbeat says, or is about to say, that nothing runs.
    pub fn is_released(&self) -> bool {
        self.keeper.as_ref().is_some_and(Keeper::is_released)
    }

    /// What may be said of a peer's life, whose session was closed at that time. It is looked at again
    /// soon.
    pub fn observe(
        &mut self,
        slot: u32,
        life: &Incarnation,
        closed: Instant,
        now: Instant,
    ) -> (Finding, Option<Heartbeat>) {
        if let Some(keeper) = &mut self.keeper {
            keeper.hurry(now);
        }
        self.highest = self.highest.max(slot);
        let last = self.observer.last(slot).cloned();
        (self.observer.finding(slot, life, closed), last)
    }

    /// Writes a message into a peer's mailbox.
    pub fn send(&mut self, slot: u32, mail: Mail) -> Result<(), Stuck> {
        let failed = |error: VolumeError| Done::Mail(Err(error.to_string()));
        self.disk.submit(Lane::Rest, failed, move |volume| {
            let written = write_mail(volume, slot, mail);
            Done::Mail(written.map_err(|error| error.to_string()))
        })
    }

    /// Asks for something to be done with a VM's sector, or how it stands with that.
    pub fn claim(&mut self, task: Task, now: Instant) -> ClaimState {
        self.claims.ask(task, now)
    }

    /// Goes on with the claims. `held`: those of the VMs that run here.
    pub fn step_claims<W: FnOnce() -> Wanted>(
        &mut self,
        held: impl Iterator<Item = (u32, W)>,
        now: Instant,
    ) {
        let Some(batch) = self.claims.next_batch(held, now) else {
            return;
        };
        let unopened = batch.clone();
        let failed = move |error: VolumeError| {
            let reason = error.to_string();
            let state = ClaimState::Refused {
                reason,
                stands: None,
            };
            let failed = unopened.into_iter().map(|task| (task, state.clone()));
            Done::Claims(failed.collect())
        };
        let work = move |volume: &Volume| {
            let done = batch.into_iter().map(|task| {
                let state = carry_out(volume, &task);
                (task, state)
            });
            Done::Claims(done.collect())
        };
        if self.disk.submit(Lane::Claims, failed, work).is_err() {
            self.claims.not_begun();
        }
    }

    /// Nothing of this life runs here any more, or soon will not: its claims are not looked at again.
    pub fn forget_claims(&mut self) {
        self.claims.forget_looks();
    }

    /// Does what is due. `control`: how the other plane stands.
    pub fn step(&mut self, control: PlaneState, now: Instant) {
        let agent = match control {
            _ if now.since(self.heard) >= AGENT_SILENT_MS => AgentState::Silent,
            PlaneState::Valid => AgentState::Connected,
            PlaneState::Lapsed | PlaneState::Unused => AgentState::CutOff,
        };
        if self.keeper.is_some() && now >= self.next_look {
            self.look();
        }
        let (Some(keeper), Some(slot)) = (&mut self.keeper, self.slot) else {
            return;
        };
        keeper.set_agent(agent);
        let Some(heartbeat) = keeper.poll(now) else {
            return;
        };
        let counter = heartbeat.counter;
        let written = self.written;
        let failed =
            move |error: VolumeError| Done::Beat(counter, Err(Refusal::Failed(error.to_string())));
        let work =
            move |volume: &Volume| Done::Beat(counter, beat(volume, slot, heartbeat, written));
        if self.disk.submit(Lane::Heartbeats, failed, work).is_err() {
            keeper.failed(counter, now);
        }
    }

    /// When to step at the latest.
    pub fn next_wake(&self) -> Option<Instant> {
        let keeper = self.keeper.as_ref()?;
        let look = (!self.looking).then_some(self.next_look);
        let wakes = [keeper.next_wake(), look, self.claims.next_wake()];
        wakes.into_iter().flatten().min()
    }

    /// Takes in what has ended.
    pub fn take(&mut self, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        for done in self.disk.results() {
            match done {
                Done::Beat(counter, Ok(())) => news.extend(self.written(counter, now)),
                Done::Beat(counter, Err(refusal)) => self.refused(counter, refusal, now),
                Done::Look(Ok(look)) => news.extend(self.looked(look, now)),
                Done::Look(Err(reason)) => {
                    self.looking = false;
                    self.trouble(reason);
                }
                Done::Claims(done) => {
                    let passed = self.claims.take(done, now).into_iter();
                    news.extend(passed.map(News::PassedOver));
                }
                Done::Mail(Ok(())) => {}
                Done::Mail(Err(reason)) => tracing::warn!(reason, "a message was not written"),
            }
        }
        news
    }

    fn written(&mut self, counter: u64, now: Instant) -> Option<News> {
        let keeper = self.keeper.as_mut()?;
        let sent_at = keeper.written(counter)?;
        self.acknowledged = counter;
        let incarnation = keeper.identity().incarnation.clone();
        self.written = true;
        if self.problem.take().is_some() {
            tracing::info!("the heartbeat is written on the lease volume again");
        }
        self.observer.own_write_succeeded(sent_at, now);
        self.look();
        Some(News::Renewed {
            incarnation,
            sent_at,
        })
    }

    fn refused(&mut self, counter: u64, refusal: Refusal, now: Instant) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        match refusal {
            Refusal::Failed(reason) => {
                keeper.failed(counter, now);
                self.trouble(reason);
            }
            Refusal::Foreign(reason) => {
                self.keeper = None;
                self.slot = None;
                self.trouble(reason);
            }
        }
    }

    fn trouble(&mut self, reason: String) {
        if self.problem.as_ref() != Some(&reason) {
            tracing::error!(reason, "no heartbeat on the lease volume");
        }
        self.problem = Some(reason);
    }

    /// Reads the slots and this host's mailbox, unless that is under way. After each own heartbeat, and
    /// in its rhythm also while none ends: on storage where a lost host's locks hold writers up for
    /// seconds, its last heartbeat must have been seen before that.
    fn look(&mut self) {
        let period_ms = self.keeper.as_ref().map_or(0, |k| k.identity().period_ms);
        self.next_look = boottime().plus(u64::from(period_ms.max(LOOK_PAUSE_MS)));
        if self.looking {
            return;
        }
        self.looks += 1;
        let all = self.info.is_none() || self.looks.is_multiple_of(READ_ALL_EVERY);
        let some = self.highest.saturating_add(1 + FREE_NAMED);
        let slots = if all { u32::MAX } else { some };
        let (own, acknowledged) = (self.slot, self.acknowledged);
        let began = boottime();
        let failed = |error: VolumeError| Done::Look(Err(error.to_string()));
        let work = move |volume: &Volume| {
            let look = look(volume, slots, own, began);
            let look = look.map(|look| Look {
                acknowledged,
                ..look
            });
            Done::Look(look.map_err(|error| error.to_string()))
        };
        self.looking = self.disk.submit(Lane::Rest, failed, work).is_ok();
    }

    fn looked(&mut self, look: Look, now: Instant) -> Option<News> {
        self.looking = false;
        if self.is_stale(&look) {
            // A copy that was left behind: nothing on it is believed.
            tracing::warn!(
                "the storage served an older copy of the lease volume; it is not believed"
            );
            return None;
        }
        let times = ReadTimes {
            began: look.began,
            ended: look.ended,
        };
        let (mut own, mut free) = (None, Vec::new());
        for (slot, found) in &look.slots {
            match found {
                Some(Some(heartbeat)) => {
                    self.observer.saw(*slot, heartbeat, times);
                    self.highest = self.highest.max(*slot);
                    if heartbeat.host == self.host {
                        own = Some(*slot);
                    }
                }
                Some(None) => {
                    self.observer.saw_nothing(*slot);
                    free.push(*slot);
                }
                // Torn, or rotten: it proves nothing, and takes nothing back.
                None => {}
            }
        }
        free.truncate(FREE_NAMED as usize);
        let before = self.info.as_ref();
        self.info = Some(VolumeInfo {
            own: own.or_else(|| before.and_then(|info| info.own)),
            free,
            id: look.id,
            class: look.class,
        });
        let mail = self.opened(look.mail)?;
        self.heed(mail, now)
    }

    /// What is in the mailbox. One that cannot be read asks for nothing, and is said once.
    fn opened(&mut self, mail: Result<Option<Mail>, String>) -> Option<Mail> {
        let (mail, unread) = match mail {
            Ok(mail) => (mail, None),
            Err(reason) => (None, Some(format!("its mailbox cannot be read: {reason}"))),
        };
        if let Some(reason) = &unread
            && self.unread != unread
        {
            tracing::warn!(reason, "nobody can ask this host to release its VMs");
        }
        self.unread = unread;
        mail
    }

    /// An own heartbeat is older there than one that the storage has acknowledged.
    fn is_stale(&self, look: &Look) -> bool {
        let (Some(own), Some(keeper)) = (self.slot, &self.keeper) else {
            return false;
        };
        let found = look.slots.iter().find(|(slot, _)| *slot == own);
        matches!(found, Some((_, Some(Some(heartbeat))))
            if heartbeat.incarnation == keeper.identity().incarnation
                && heartbeat.counter < look.acknowledged)
    }

    fn heed(&mut self, mail: Mail, now: Instant) -> Option<News> {
        let keeper = self.keeper.as_ref()?;
        let life = &keeper.identity().incarnation;
        let message = self.mailbox.heeds(&mail, life, now)?;
        if self.asked != Some(message) {
            tracing::warn!(by = %mail.by, message, "asked through the mailbox to release everything");
        }
        self.asked = Some(message);
        Some(News::Asked {
            incarnation: life.clone(),
        })
    }
}
