//! Fencing devices: the one thing besides etcd that a manager acts on.
//!
//! ```text
//! plan ─ask─> step accepted by etcd ─> still leading, still fresh? ─> off ─> status ─> the leader's memory
//!                                                                                        └─wakes─> plan
//! ```
//! Each ask is a task of its own with bounds of its own: a device that hangs holds up neither the plans nor
//! the transactions. How devices are asked is `holdfast_fence`'s, which agents of hosts share.
//!
//! A device that others reach is asked by one of those: the [`Courier`] sends it there through the store, where
//! [`errand`] takes it and answers, or the agent of a host does.

mod courier;
pub mod errand;

pub use courier::Courier;
#[cfg(feature = "extensions")]
pub use holdfast_fence::FenceExtensions;
pub use holdfast_fence::{
    Desk, DevicesByMeans, FenceAgents, FenceDevices, NoDevices, Power, Target,
};

use holdfast_core::errand::{Outcome, Way};
use holdfast_core::power::{PowerAnswer, PowerBook};
use holdfast_model::asking::{Asker, AskerKind};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::Revision;
use holdfast_model::plan::Step;
use holdfast_model::power::{PowerAsk, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::world::World;
use holdfast_store::cache::Clock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// Asks devices, and remembers what they answered while this manager leads.
pub struct Fencer {
    desk: Desk,
    courier: Option<Courier>,
    clock: Clock,
    memory: Mutex<Memory>,
    /// Of all terms.
    counts: Mutex<FencingCounts>,
    answered: Notify,
}

#[derive(Default)]
struct Memory {
    term: Option<Revision>,
    book: PowerBook,
}

/// What was asked from here since the manager started, for monitoring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FencingCounts {
    /// Times that a device was to switch a host off.
    pub asked: u64,
    /// Afterwards it was off.
    pub off: u64,
    /// Afterwards it was on.
    pub on: u64,
    /// Nobody knows how it stood.
    pub unknown: u64,
    /// Of those that were asked, by another manager for this one.
    pub by_managers: u64,
    /// By the agent of a host for this one.
    pub by_agents: u64,
}

/// What an ask needs besides itself: it is dropped when the lead is lost, or when it comes too late.
pub struct Mandate {
    /// The epoch it was decided in.
    pub epoch: Revision,
    /// The present one.
    pub leads: watch::Receiver<Option<Revision>>,
    /// Another manager may lead from then on, by this one's clock.
    pub until: Instant,
}

impl Mandate {
    fn fault(&self, now: Instant) -> Option<&'static str> {
        if *self.leads.borrow() != Some(self.epoch) {
            Some("not asked: this manager does not lead any more")
        } else if now > self.until {
            Some("not asked: the decision had become too old before the device's turn came")
        } else {
            None
        }
    }
}

impl Fencer {
    /// Asks these devices.
    pub fn new(devices: Arc<dyn FenceDevices>, clock: Clock) -> Arc<Self> {
        Self::with(devices, clock, None)
    }

    /// Asks these devices, and has those asked that are not reached from here.
    pub fn with_courier(
        devices: Arc<dyn FenceDevices>,
        clock: Clock,
        courier: Courier,
    ) -> Arc<Self> {
        Self::with(devices, clock, Some(courier))
    }

    fn with(devices: Arc<dyn FenceDevices>, clock: Clock, courier: Option<Courier>) -> Arc<Self> {
        Arc::new(Self {
            desk: Desk::new(devices, clock.clone()),
            courier,
            clock,
            memory: Mutex::default(),
            counts: Mutex::default(),
            answered: Notify::new(),
        })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Each change is complete before anything in it could panic.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked so far.
    pub fn counts(&self) -> FencingCounts {
        *self.counting()
    }

    fn counting(&self) -> MutexGuard<'_, FencingCounts> {
        // Each change is one addition.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer.
    pub async fn answered(&self) {
        self.answered.notified().await;
    }

    /// Gives a world what is known of the devices. Each term begins without a memory.
    pub fn complete(&self, world: &mut World) {
        let mut memory = self.memory();
        if memory.term != Some(world.epoch) {
            *memory = Memory {
                term: Some(world.epoch),
                book: PowerBook::default(),
            };
        }
        memory.book.look(world);
        world.power = memory.book.readings().clone();
    }

    /// What is to be told of the answers.
    pub fn journal(&self, world: &World) -> Vec<Step> {
        self.memory().book.journal(world)
    }

    /// Asks a device; the step that goes before it was accepted.
    pub fn ask(self: &Arc<Self>, ask: PowerAsk, device: FenceDevice, mandate: Mandate) {
        let now = (self.clock)();
        self.memory().book.asked(&ask, now);
        self.counting().asked += 1;
        let target = Target {
            host: ask.host.clone(),
            name: ask.device.clone(),
            device,
            incarnation: ask.incarnation.clone(),
            attempt: ask.attempt,
        };
        let fencer = self.clone();
        tokio::spawn(async move {
            let asking = {
                let (fencer, target, ask) = (fencer.clone(), target.clone(), ask.clone());
                tokio::spawn(async move { fencer.carry_out(&target, &ask, &mandate).await })
            };
            let Outcome { by, answer } = asking.await.unwrap_or_else(|panic| {
                let state = unknown(format!("asking failed: {panic}"));
                here(PowerAnswer {
                    read_at: now,
                    state,
                })
            });
            tracing::warn!(host = %target.host, device = %target.name, state = %answer.state, ?by,
                           "a fencing device was told to switch a host off");
            fencer.count(&answer.state, by.as_ref());
            let now = (fencer.clock)();
            let by = by.as_ref();
            fencer.memory().book.answered_by(&ask, by, answer, now);
            fencer.answered.notify_one();
        });
    }

    fn count(&self, state: &PowerState, by: Option<&Asker>) {
        let mut counts = self.counting();
        match by.map(Asker::kind) {
            Some(AskerKind::Managers) => counts.by_managers += 1,
            Some(AskerKind::Agents) => counts.by_agents += 1,
            None => {}
        }
        let count = match state {
            PowerState::Off => &mut counts.off,
            PowerState::On | PowerState::StillOn { .. } => &mut counts.on,
            // No answer is that it is being asked.
            PowerState::Unknown { .. } | PowerState::Asked => &mut counts.unknown,
        };
        *count += 1;
    }

    async fn carry_out(&self, target: &Target, ask: &PowerAsk, mandate: &Mandate) -> Outcome {
        let _room = self.desk.wait_for_room().await;
        let now = (self.clock)();
        if let Some(why) = mandate.fault(now) {
            return here(PowerAnswer {
                read_at: now,
                state: unknown(why.to_owned()),
            });
        }
        let Some(courier) = &self.courier else {
            return here(self.desk.ask(target).await);
        };
        let able = self.desk.lacks(&target.device).is_none();
        match courier.way(ask, &target.device, able) {
            Way::Here => {
                let answer = self.desk.ask(target).await;
                courier.asked_here(ask, &answer.state);
                here(answer)
            }
            Way::There(others) => courier.run(ask, &target.device, others, mandate).await,
        }
    }

    /// Whether this manager is one that asks this device itself.
    pub fn reaches(&self, device: &FenceDevice) -> bool {
        let courier = self.courier.as_ref();
        courier.is_none_or(|courier| courier.reaches(device))
    }

    /// What a device says of a host's power, in the time that it has: for operators. Nothing is ordered, and nothing
    /// remembered.
    ///
    /// # Errors
    /// Why it gives no answer of use, in words.
    pub async fn look(&self, target: &Target) -> Result<Power, String> {
        self.desk.look(target).await
    }

    /// The leader of this epoch removes what others were to ask, and nobody waits for any more.
    pub async fn sweep(&self, epoch: Revision) {
        if let Some(courier) = &self.courier {
            courier.sweep(epoch).await;
        }
    }

    /// What asks from here.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }
}

/// Nobody else was asked to.
fn here(answer: PowerAnswer) -> Outcome {
    Outcome { by: None, answer }
}

fn unknown(reason: String) -> PowerState {
    PowerState::Unknown { reason }
}
