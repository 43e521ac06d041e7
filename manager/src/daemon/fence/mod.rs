//! Fencing devices: the one thing besides etcd that a manager acts on.
//!
//! ```text
//! plan ─ask─> step accepted by etcd ─> still leading, still fresh? ─> off ─> status ─> the leader's memory
//!                                                                                        └─wakes─> plan
//! ```
//! Each ask is a task of its own with bounds of its own: a device that hangs holds up neither the plans nor
//! the transactions. The seam for other ways to reach a device is [`FenceDevices`].
//!
//! A device that only managers at some sites reach is asked by one of those: the [`Courier`] sends it there through
//! the store, where [`errand`] takes it and answers.

mod agent;
mod by_means;
mod courier;
pub mod errand;
#[cfg(feature = "extensions")]
mod extension;

pub use agent::FenceAgents;
pub use by_means::DevicesByMeans;
pub use courier::Courier;
#[cfg(feature = "extensions")]
pub use extension::FenceExtensions;

use async_trait::async_trait;
use holdfast_core::errand::Outcome;
use holdfast_core::power::{PowerAnswer, PowerBook};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::{DeviceName, HostName, Incarnation, Revision};
use holdfast_model::plan::Step;
use holdfast_model::power::{PowerAsk, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::world::World;
use holdfast_store::cache::Clock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

/// Devices that are asked at a time: a site's loss must not start a process for each of its hosts at once.
const UNDER_WAY: usize = 64;

/// Devices that are asked at a time by operators who try them: apart from the others, which are never held up by it.
const LOOKS: usize = 16;

/// Which device, for which host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host whose power it is about.
    pub host: HostName,
    /// The device.
    pub name: DeviceName,
    /// As the policy has it.
    pub device: FenceDevice,
    /// The life of the host that is to end.
    pub incarnation: Incarnation,
    /// The how-manieth time for that life.
    pub attempt: u32,
}

/// How a host's power stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// On.
    On,
    /// Off.
    Off,
}

/// A way to reach fencing devices. Calls may take for ever and may be given up at any time: nothing of
/// them may be left then. What fails is told in words.
#[async_trait]
pub trait FenceDevices: Send + Sync {
    /// Has a host switched off. That it worked is no proof of anything.
    async fn switch_off(&self, target: &Target) -> Result<(), String>;
    /// How the power stands now.
    async fn status(&self, target: &Target) -> Result<Power, String>;
    /// The same where nothing was ordered before: one look, by which nothing can be switched.
    async fn look(&self, target: &Target) -> Result<Power, String> {
        self.status(target).await
    }
}

/// Nothing can be asked.
pub struct NoDevices;

#[async_trait]
impl FenceDevices for NoDevices {
    async fn switch_off(&self, _: &Target) -> Result<(), String> {
        Err("this manager can ask no device".to_owned())
    }

    async fn status(&self, _: &Target) -> Result<Power, String> {
        Err("this manager can ask no device".to_owned())
    }
}

/// Asks devices, and remembers what they answered while this manager leads.
pub struct Fencer {
    devices: Arc<dyn FenceDevices>,
    courier: Option<Courier>,
    clock: Clock,
    memory: Mutex<Memory>,
    /// Of all terms.
    counts: Mutex<FencingCounts>,
    answered: Notify,
    room: Semaphore,
    looks: Semaphore,
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
            devices,
            courier,
            clock,
            memory: Mutex::default(),
            counts: Mutex::default(),
            answered: Notify::new(),
            room: Semaphore::new(UNDER_WAY),
            looks: Semaphore::new(LOOKS),
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
            fencer.count(&answer.state);
            let now = (fencer.clock)();
            let by = by.as_ref();
            fencer.memory().book.answered_by(&ask, by, answer, now);
            fencer.answered.notify_one();
        });
    }

    fn count(&self, state: &PowerState) {
        let mut counts = self.counting();
        let count = match state {
            PowerState::Off => &mut counts.off,
            PowerState::On | PowerState::StillOn { .. } => &mut counts.on,
            // No answer is that it is being asked.
            PowerState::Unknown { .. } | PowerState::Asked => &mut counts.unknown,
        };
        *count += 1;
    }

    async fn carry_out(&self, target: &Target, ask: &PowerAsk, mandate: &Mandate) -> Outcome {
        let _room = self.room.acquire().await;
        let now = (self.clock)();
        if let Some(why) = mandate.fault(now) {
            return here(PowerAnswer {
                read_at: now,
                state: unknown(why.to_owned()),
            });
        }
        let courier = self.courier.as_ref();
        let elsewhere = courier.filter(|_| !self.reaches(&target.device));
        match elsewhere {
            Some(courier) => courier.run(ask, &target.device, mandate).await,
            None => here(self.ask_here(target).await),
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
        let _turn = self.looks.acquire().await;
        bounded(target, self.devices.look(target)).await
    }

    /// The leader of this epoch removes what other managers were to ask, and nobody waits for any more.
    pub async fn sweep(&self, epoch: Revision) {
        if let Some(courier) = &self.courier {
            courier.sweep(epoch).await;
        }
    }

    /// Leave to ask one more device; none while too many are being asked.
    fn room(&self) -> Option<SemaphorePermit<'_>> {
        self.room.try_acquire().ok()
    }

    /// Tells a device to switch off, and then has it say how the power stands.
    async fn ask_here(&self, target: &Target) -> PowerAnswer {
        let off = bounded(target, self.devices.switch_off(target)).await;
        // Whatever it said: only how the power stands afterwards counts.
        let read_at = (self.clock)();
        let state = match bounded(target, self.devices.status(target)).await {
            Ok(Power::Off) => PowerState::Off,
            Ok(Power::On) => match off {
                Ok(()) => PowerState::On,
                Err(reason) => PowerState::StillOn { reason },
            },
            Err(why) => unknown(match off {
                Ok(()) => why,
                Err(first) if first == why => why,
                Err(first) => format!("{first}; then {why}"),
            }),
        };
        PowerAnswer { read_at, state }
    }
}

/// No other manager was asked to.
fn here(answer: PowerAnswer) -> Outcome {
    Outcome { by: None, answer }
}

fn unknown(reason: String) -> PowerState {
    PowerState::Unknown { reason }
}

/// A call that takes longer than the policy allows has failed, and is given up.
async fn bounded<T>(
    target: &Target,
    call: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let ms = target.device.timeout_ms;
    match tokio::time::timeout(Duration::from_millis(ms), call).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer in {ms} ms")),
    }
}

/// One test that runs scripts at a time: a program that another test is just starting could hold a script open
/// for writing, and then nobody can run it.
#[cfg(test)]
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
