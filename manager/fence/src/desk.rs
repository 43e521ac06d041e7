//! One ask of a device: told to switch off, then asked how the power stands, each within its bound. Or only asked, for
//! an operator.

use super::{FenceDevices, Power, Target};
use holdfast_core::power::PowerAnswer;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::power::PowerState;
use holdfast_store::cache::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Devices that are asked at a time: a site's loss must not start a process for each of its hosts at once.
const UNDER_WAY: usize = 64;

/// Devices that are asked at a time by operators who try them: apart from the others, which are never held up by it.
const LOOKS: usize = 16;

/// Asks devices from this machine.
pub struct Desk {
    devices: Arc<dyn FenceDevices>,
    clock: Clock,
    room: Semaphore,
    looks: Semaphore,
}

impl Desk {
    /// Asks these, by this machine's steady clock.
    pub fn new(devices: Arc<dyn FenceDevices>, clock: Clock) -> Self {
        Self {
            devices,
            clock,
            room: Semaphore::new(UNDER_WAY),
            looks: Semaphore::new(LOOKS),
        }
    }

    /// Waits for leave to ask one more device.
    pub async fn wait_for_room(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.room.acquire().await.ok()
    }

    /// Leave to ask one more device; none while too many are being asked.
    pub fn room(&self) -> Option<SemaphorePermit<'_>> {
        self.room.try_acquire().ok()
    }

    /// Why it cannot be asked from here, as far as that is known beforehand: nothing is configured for it.
    pub fn lacks(&self, device: &FenceDevice) -> Option<String> {
        self.devices.means()?.lacks(device)
    }

    /// What a device says of a host's power, in the time that it has: for operators. Nothing is ordered.
    ///
    /// # Errors
    /// Why it gives no answer of use, in words.
    pub async fn look(&self, target: &Target) -> Result<Power, String> {
        let _turn = self.looks.acquire().await;
        bounded(target, self.devices.look(target)).await
    }

    /// Tells a device to switch off, and then has it say how the power stands.
    pub async fn ask(&self, target: &Target) -> PowerAnswer {
        let off = bounded(target, self.devices.switch_off(target)).await;
        // Whatever it said: only how the power stands afterwards counts.
        let read_at = (self.clock)();
        let state = match bounded(target, self.devices.status(target)).await {
            Ok(Power::Off) => PowerState::Off,
            Ok(Power::On) => match off {
                Ok(()) => PowerState::On,
                Err(reason) => PowerState::StillOn { reason },
            },
            Err(why) => PowerState::Unknown {
                reason: match off {
                    Ok(()) => why,
                    Err(first) if first == why => why,
                    Err(first) => format!("{first}; then {why}"),
                },
            },
        };
        PowerAnswer { read_at, state }
    }
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
