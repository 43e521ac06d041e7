//! When this host is left to its watchdog, and what a guard keeps to from then on.
//!
//! ```text
//! deadline ──── kill ──── deadline + kill bound ──── signal + kill bound
//!   petted as ever          │ not petted while          │ still there: left to reset,
//!                           │ something is still there  │ for good
//! ```
//! A host declares that everything has stopped, or that it was reset, by *deadline + kill bound +
//! watchdog bound*. A pet after *deadline + kill bound* would put the reset off beyond that, so none is
//! made while anything that was to go by then is still there; and starting a device pets it, so none is
//! started either. A guard that was late, or was restarted, still gives the signal its kill bound
//! before it gives the host up.
//!
//! **Once left, a host stays left**, also if everything is gone after all before the reset. A process
//! that outlived its bound says that storage or kernel are not what the bounds assume, and the device
//! counts already: a pet would race it. Nothing new is armed here until the reset, so that the race is
//! lost by nobody's VM. A guard that is restarted in that state leaves the device closed: it counts from
//! the death of the guard before, and each start would give it one bound more.
//!
//! Without a device that resets the host nothing is to be waited for: the guard says that somebody
//! should reset it, and goes on once everything is gone.

use super::watchdog::{Watchdog, WatchdogChoice, WatchdogError};
use holdfast_model::id::{Incarnation, VmName};
use holdfast_model::time::Instant;
use serde::{Deserialize, Serialize};

/// That this host was left to its watchdog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftToReset {
    /// The life whose VM could not be killed; none if nobody had armed one.
    pub incarnation: Option<Incarnation>,
    /// The VM.
    pub vm: VmName,
    /// Since when.
    pub since: Instant,
}

/// How the watchdog is started: again by each guard, at the earliest moment at which it may be petted.
pub type Starter = Box<dyn FnMut(Instant) -> Result<Watchdog, WatchdogError> + Send>;

/// A device that is not there yet, or that somebody else has, is tried again this often: drivers are
/// loaded late, and one that the guard before left counting has to be petted.
const TRY_AGAIN_MS: u64 = 5_000;

enum State {
    /// To be started from that time on.
    Closed(Instant),
    /// It cannot be used.
    Failed,
    On(Watchdog),
}

/// The watchdog, as the guard uses it.
pub struct Reset {
    start: Starter,
    state: State,
    left: Option<LeftToReset>,
    problem: Option<String>,
    /// It was said that nobody resets this host.
    told: bool,
}

impl Reset {
    /// By the host's file. Nothing is opened yet.
    pub fn by(choice: WatchdogChoice) -> Self {
        Self::with(Box::new(move |now| Watchdog::start(&choice, now)))
    }

    /// With what starts it.
    pub fn with(start: Starter) -> Self {
        Self {
            start,
            state: State::Closed(Instant(0)),
            left: None,
            problem: None,
            told: false,
        }
    }

    /// Goes on from what the guard before this one has written down.
    pub fn go_on_from(&mut self, left: Option<LeftToReset>) {
        if let Some(left) = &left {
            let (vm, since) = (&left.vm, left.since);
            tracing::error!(%vm, %since, "left to be reset: the watchdog is not touched");
        }
        self.left = left;
    }

    /// This host was left to its watchdog.
    pub fn left(&self) -> Option<&LeftToReset> {
        self.left.as_ref()
    }

    /// From the guard's last sign to the reset, in milliseconds; 0 if nothing resets this host.
    pub fn bound_ms(&self) -> u64 {
        match &self.state {
            State::On(watchdog) if watchdog.resets_host() => watchdog.bound_ms(),
            State::On(_) | State::Closed(_) | State::Failed => 0,
        }
    }

    /// Why nothing resets this host although its file says so, in words.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// When [`Self::pet`] has something to do.
    pub fn next_pet(&self) -> Option<Instant> {
        match &self.state {
            _ if self.left.is_some() => None,
            State::On(watchdog) => watchdog.next_pet(),
            State::Closed(from) => Some(*from),
            State::Failed => None,
        }
    }

    /// Starts it if that was not done yet, and pets it when it is time. Only to be called when nothing
    /// is there that should be gone.
    pub fn pet(&mut self, now: Instant) {
        if self.left.is_some() {
            return;
        }
        self.told = false;
        match &mut self.state {
            State::Closed(from) if now >= *from => self.start(now),
            State::Closed(_) | State::Failed => {}
            State::On(watchdog) => {
                if let Err(error) = watchdog.pet(now) {
                    tracing::error!(%error, "the watchdog was not petted");
                }
            }
        }
    }

    fn start(&mut self, now: Instant) {
        let error = match (self.start)(now) {
            Ok(watchdog) => {
                self.state = State::On(watchdog);
                self.problem = None;
                return;
            }
            Err(error) => error,
        };
        let may_come = matches!(
            error,
            WatchdogError::Missing { .. } | WatchdogError::Busy { .. }
        );
        self.state = match may_come {
            true => State::Closed(now.plus(TRY_AGAIN_MS)),
            false => State::Failed,
        };
        let problem = format!("nothing resets this host if it hangs: {error}");
        if self.problem.as_ref() != Some(&problem) {
            tracing::error!("{problem}");
        }
        self.problem = Some(problem);
    }

    /// A VM could not be killed. True if that is news, to be written down.
    pub fn give_up(&mut self, left: LeftToReset) -> bool {
        if self.left.is_some() {
            return false;
        }
        let reason = format!("VM {} is still there after SIGKILL", left.vm);
        match &mut self.state {
            State::On(watchdog) if watchdog.resets_host() => {
                watchdog.stop_petting(&reason);
                self.left = Some(left);
                true
            }
            State::On(_) | State::Closed(_) | State::Failed => {
                if !self.told {
                    tracing::error!(reason, "this host should be reset: power it off");
                }
                self.told = true;
                false
            }
        }
    }

    /// Stops it, for a guard that ends in order and leaves nothing behind.
    ///
    /// # Errors
    /// It goes on counting, and why.
    pub fn release(&mut self) -> Result<(), String> {
        if let Some(left) = &self.left {
            return Err(format!("VM {} could not be killed", left.vm));
        }
        match &mut self.state {
            State::On(watchdog) => watchdog.release().map_err(|error| error.to_string()),
            State::Closed(_) | State::Failed => Ok(()),
        }
    }
}
