//! The watchdog: what resets this host when the guard, or the kernel under it, does not get the VMs
//! stopped.
//!
//! ```text
//!              pet(), each third of the time-out
//!               ┌──┐
//!  start() ──> petting ── stop_petting() ──> latched: it resets the host within bound_ms()
//!    │          │   └─── the guard dies ──> nobody pets: it resets the host within bound_ms()
//!    │          └─────── release() ──> stopped: nothing resets the host
//!    └── an error: stopped as well, as far as the device lets itself be stopped
//! ```
//! Dropping a [`Watchdog`] does **not** stop the device: what drops it without
//! [`Watchdog::release`] is a guard that dies, and that is what it is there for.
//!
//! The kernel takes the closing of a device for one more pet, and [`Watchdog::start`] pets too. So:
//! (1) the bound counts from the last pet or from the death of the guard, whichever is later; (2) a
//! guard that has latched must stay alive and keep this value; (3) one that was restarted and finds
//! that the VMs of its last life are still not gone must not start this: the device counts already,
//! and each start would give them one bound more.
//!
//! - [`device`]: the kernel's devices
//! - [`systemd`]: `WatchdogSec=` of the unit instead of a device

pub mod device;
pub mod systemd;

#[cfg(test)]
#[path = "watchdog_tests.rs"]
mod tests;

use device::{Device, Hardware};
use holdfast_model::files::{WatchdogKind, WatchdogSection};
use holdfast_model::time::Instant;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use systemd::{Notifier, SystemdError};

/// A time-out holds this many pets: two may fail, or come late, before it is over.
const PETS_PER_TIMEOUT: u64 = 3;
/// A pet that failed is tried again after this long, or when the next one is due if that is sooner.
const RETRY_MS: u64 = 200;

/// Who resets this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchdogChoice {
    /// Nobody.
    None,
    /// A device that this process has for itself.
    Own {
        /// Which.
        device: PathBuf,
        /// From the last pet to the reset, in seconds.
        timeout_s: u32,
    },
    /// systemd, by `WatchdogSec=` of the unit that this process is.
    Systemd,
}

impl From<&WatchdogSection> for WatchdogChoice {
    fn from(section: &WatchdogSection) -> Self {
        match section.kind {
            WatchdogKind::None => Self::None,
            WatchdogKind::Own => Self::Own {
                device: section.device.clone(),
                timeout_s: section.timeout_s,
            },
            WatchdogKind::Systemd => Self::Systemd,
        }
    }
}

/// Why there is no watchdog, or why it did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    /// There is no such device.
    #[error(
        "there is no watchdog {device} ({source}): load the board's driver (`modprobe iTCO_wdt`, \
         `hpwdt`, `ipmi_watchdog`; `i6300esb` in a VM), give another device under \
         [guard.watchdog], or set kind = \"none\""
    )]
    Missing {
        /// The device.
        device: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else has it.
    #[error(
        "another program holds {device}, and a watchdog has one owner: switch off systemd's \
         (RuntimeWatchdogSec=0 in system.conf) or stop wdmd, watchdog or what else holds it \
         (`fuser {device}`), or give the guard another device"
    )]
    Busy {
        /// The device.
        device: PathBuf,
    },
    /// It is something else.
    #[error("{device} is no watchdog ({source}): give the right device under [guard.watchdog]")]
    NoWatchdog {
        /// The device.
        device: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It raises an alarm and resets nothing.
    #[error(
        "{device} ({identity}) raises an alarm and resets nothing: give another device under \
         [guard.watchdog]"
    )]
    NoReset {
        /// The device.
        device: PathBuf,
        /// What it is.
        identity: String,
    },
    /// It would stop when the guard dies.
    #[error(
        "{device} ({identity}) stops when the guard dies: load its driver with nowayout=1, or give \
         another device under [guard.watchdog]"
    )]
    StopsWhenClosed {
        /// The device.
        device: PathBuf,
        /// What it is.
        identity: String,
    },
    /// It does not take the time-out, and its own is longer.
    #[error(
        "{device} ({identity}) refuses a time-out of {wanted_s} s ({source}) and keeps its own of \
         {own_s} s, which is longer: load its driver with a shorter one, or set timeout_s = {own_s} \
         under [guard.watchdog] and the policy's watchdog_bound_ms to match"
    )]
    TooLong {
        /// The device.
        device: PathBuf,
        /// What it is.
        identity: String,
        /// What was asked for, in seconds.
        wanted_s: u32,
        /// What it has, in seconds.
        own_s: u32,
        /// How it refused.
        source: io::Error,
    },
    /// It does not say what its time-out is.
    #[error(
        "{device} ({identity}) says that its time-out is 0 s: how long it takes to reset is not \
         known; give another device under [guard.watchdog]"
    )]
    NoTimeout {
        /// The device.
        device: PathBuf,
        /// What it is.
        identity: String,
    },
    /// The system refused.
    #[error("{what} the watchdog {device}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The device.
        device: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// systemd is not the watchdog of this process.
    #[error(
        "systemd does not watch over this process ({0}): give the unit WatchdogSec=, or set another \
         kind under [guard.watchdog]"
    )]
    Systemd(#[source] SystemdError),
    /// A pet did not reach systemd.
    #[error("systemd does not take the guard's sign of life: {0}")]
    Notify(#[source] io::Error),
    /// It is to reset the host.
    #[error("the watchdog is to reset this host ({reason}), so it is not switched off")]
    Latched {
        /// Why nobody pets it any more.
        reason: String,
    },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WatchdogError {
    move |source| WatchdogError::Io {
        what,
        device: path.to_owned(),
        source,
    }
}

fn not_opened(source: io::Error, path: &Path) -> WatchdogError {
    let device = path.to_owned();
    match Errno::from_io_error(&source) {
        Some(Errno::BUSY) => WatchdogError::Busy { device },
        Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => {
            WatchdogError::Missing { device, source }
        }
        _ => failed("cannot open", path)(source),
    }
}

/// What is petted.
enum Petted {
    Nobody,
    Device(PathBuf, Box<dyn Device>),
    Systemd(Notifier),
}

/// The watchdog of this process. See the module for what happens when it is dropped: nothing.
pub struct Watchdog {
    petted: Petted,
    identity: String,
    timeout_ms: u64,
    next_pet: Instant,
    /// Why it is not petted any more; never taken back.
    latched: Option<String>,
}

impl Watchdog {
    /// Takes hold of the watchdog. From here on somebody has to call [`Self::pet`]. `now` is a
    /// reading of CLOCK_BOOTTIME from before the call.
    ///
    /// # Errors
    /// What is wrong with it, and what to do. It is then stopped again, so that the guard may go on
    /// without one; a driver with `nowayout` does not let itself be stopped, and resets the host.
    pub fn start(choice: &WatchdogChoice, now: Instant) -> Result<Self, WatchdogError> {
        match choice {
            WatchdogChoice::None => Ok(Self::of(Petted::Nobody, "none".to_owned(), 0, now)),
            WatchdogChoice::Own { device, timeout_s } => {
                Self::own(device, *timeout_s, now, Hardware::open)
            }
            WatchdogChoice::Systemd => {
                let notifier = Notifier::new(|name| std::env::var_os(name), std::process::id());
                Self::systemd(notifier.map_err(WatchdogError::Systemd)?, now)
            }
        }
    }

    /// [`WatchdogChoice::Own`], with what opens the device: for tests.
    pub fn own(
        path: &Path,
        timeout_s: u32,
        now: Instant,
        open: impl FnOnce(&Path) -> io::Result<Box<dyn Device>>,
    ) -> Result<Self, WatchdogError> {
        let mut device = open(path).map_err(|error| not_opened(error, path))?;
        match settle(device.as_mut(), path, timeout_s) {
            Ok((identity, real_s)) => {
                tracing::info!(device = %path.display(), identity, real_s, "the watchdog is on");
                let petted = Petted::Device(path.to_owned(), device);
                Ok(Self::of(petted, identity, u64::from(real_s) * 1_000, now))
            }
            // Perhaps a disk: not a byte is written to it.
            Err(error @ WatchdogError::NoWatchdog { .. }) => Err(error),
            Err(error) => {
                if let Err(error) = device.magic_close() {
                    let device = path.display();
                    tracing::error!(%device, %error, "cannot be stopped again: it resets this host");
                }
                Err(error)
            }
        }
    }

    /// [`WatchdogChoice::Systemd`], with the way to it: for tests.
    pub fn systemd(notifier: Notifier, now: Instant) -> Result<Self, WatchdogError> {
        notifier.pet().map_err(WatchdogError::Notify)?;
        let timeout_ms = u64::try_from(notifier.timeout().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(timeout_ms, "systemd is the watchdog");
        let petted = Petted::Systemd(notifier);
        Ok(Self::of(petted, "systemd".to_owned(), timeout_ms, now))
    }

    fn of(petted: Petted, identity: String, timeout_ms: u64, now: Instant) -> Self {
        Self {
            petted,
            identity,
            timeout_ms,
            next_pet: now.plus(timeout_ms / PETS_PER_TIMEOUT),
            latched: None,
        }
    }

    /// What it is, in its driver's words; `systemd`; or `none`.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// From the last pet, or from the death of this process if that is later, to the reset, in
    /// milliseconds: the device's real time-out. With systemd: to when systemd acts. 0 without one.
    pub fn bound_ms(&self) -> u64 {
        match self.petted {
            Petted::Nobody => 0,
            Petted::Device(..) | Petted::Systemd(_) => self.timeout_ms,
        }
    }

    /// Whether hardware (or, with `softdog`, the kernel) resets the host, whatever the rest of it
    /// does. systemd only does what its configuration says, and only while it runs itself.
    pub fn resets_host(&self) -> bool {
        matches!(self.petted, Petted::Device(..))
    }

    /// When [`Self::pet`] is due; none if there is nothing to pet, ever again.
    pub fn next_pet(&self) -> Option<Instant> {
        let pets = !matches!(self.petted, Petted::Nobody) && self.latched.is_none();
        pets.then_some(self.next_pet)
    }

    /// Pets it, if it is time. To be called at every step, after whatever the step was for: a guard
    /// that does not get through its step must not pet.
    ///
    /// # Errors
    /// It was not reached. It is tried again soon; no other step is needed.
    pub fn pet(&mut self, now: Instant) -> Result<(), WatchdogError> {
        if self.next_pet().is_none_or(|due| now < due) {
            return Ok(());
        }
        let petted = match &mut self.petted {
            Petted::Nobody => Ok(()),
            Petted::Device(path, device) => device.pet().map_err(failed("cannot pet", path)),
            Petted::Systemd(notifier) => notifier.pet().map_err(WatchdogError::Notify),
        };
        let third = self.timeout_ms / PETS_PER_TIMEOUT;
        let wait_ms = match petted {
            Ok(()) => third,
            Err(_) => third.min(RETRY_MS),
        };
        self.next_pet = now.plus(wait_ms);
        petted
    }

    /// Never pets again, whatever is called after: the host is to be reset. Said once in the log.
    pub fn stop_petting(&mut self, reason: &str) {
        if self.latched.is_some() {
            return;
        }
        let (watchdog, bound_ms) = (&self.identity, self.bound_ms());
        match self.petted {
            Petted::Nobody => tracing::error!(reason, "this host should be reset: no watchdog"),
            _ => tracing::error!(reason, watchdog, bound_ms, "left to reset this host"),
        }
        self.latched = Some(reason.to_owned());
    }

    /// Why it is not petted any more.
    pub fn latched(&self) -> Option<&str> {
        self.latched.as_deref()
    }

    /// Stops it, for a guard that ends when nothing is left to guard. systemd needs no word: it
    /// watches over what runs.
    ///
    /// # Errors
    /// [`WatchdogError::Latched`] after [`Self::stop_petting`]: it goes on, and is kept open. Or the
    /// device cannot be told, and then resets the host.
    pub fn release(&mut self) -> Result<(), WatchdogError> {
        if let Some(reason) = self.latched.clone() {
            return Err(WatchdogError::Latched { reason });
        }
        match std::mem::replace(&mut self.petted, Petted::Nobody) {
            Petted::Device(path, device) => {
                (device.magic_close()).map_err(failed("cannot stop", &path))
            }
            Petted::Nobody | Petted::Systemd(_) => Ok(()),
        }
    }
}

/// Agrees on a time-out with a device that was just opened. What it is, and the real time-out in
/// seconds.
fn settle(
    device: &mut dyn Device,
    path: &Path,
    wanted_s: u32,
) -> Result<(String, u32), WatchdogError> {
    let shown = || path.to_owned();
    let support = device.support().map_err(|source| {
        let device = shown();
        WatchdogError::NoWatchdog { device, source }
    })?;
    let identity = support.identity;
    if support.alarm_only {
        let device = shown();
        return Err(WatchdogError::NoReset { device, identity });
    }
    if !support.survives_close {
        let device = shown();
        return Err(WatchdogError::StopsWhenClosed { device, identity });
    }
    let set = device.set_timeout(wanted_s);
    let own = device.timeout_s();
    let own_s = own.map_err(failed("cannot read the time-out of", path))?;
    match set {
        _ if own_s == 0 => {
            let device = shown();
            return Err(WatchdogError::NoTimeout { device, identity });
        }
        Err(source) if own_s > wanted_s => {
            return Err(WatchdogError::TooLong {
                device: shown(),
                identity,
                wanted_s,
                own_s,
                source,
            });
        }
        Err(error) => tracing::warn!(%error, wanted_s, own_s, "keeps its own, shorter time-out"),
        Ok(()) if own_s != wanted_s => tracing::info!(wanted_s, own_s, "the time-out was rounded"),
        Ok(()) => {}
    }
    // It has begun to count anew for most drivers; and a pet that fails is better known now.
    device.pet().map_err(failed("cannot pet", path))?;
    Ok((identity, own_s))
}
