//! What the leader remembers of fencing devices: what it asked, what they answered, and what has become
//! of that since. Kept by whoever carries the plans out; the planner reads it as [`World::power`].
//!
//! ```text
//!   asked ──> off ── the host gives a sign of life afterwards ──> unknown ── later, the planner ──> asked
//!        └──> on, unknown (refused, no answer in time) ─────────────────────────────────────────────^
//! ```
//! Each device of a host has an entry of its own. One that says on after another has said off makes that worth
//! nothing as well: they cannot both be about this host as it is.
//!
//! The memory is the leader's own and of its term: a new one begins without and asks again, and "is off
//! already" is success.

use crate::planner::power::{beats, doubt, gainsaid, told};
use holdfast_model::asking::Asker;
use holdfast_model::event::EventKind;
use holdfast_model::fence::{Evidence, FenceStage, TOGETHER};
use holdfast_model::id::{DeviceName, HostName, Incarnation};
use holdfast_model::plan::Step;
use holdfast_model::power::{PowerAsk, PowerReading, PowerReadings, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::world::World;

/// Something for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// About which host.
    pub host: HostName,
    /// What kind.
    pub kind: EventKind,
    /// In words.
    pub text: String,
}

/// What a device answered to one ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerAnswer {
    /// When it was asked how the power stands: after it had been told to switch off.
    pub read_at: Instant,
    /// What it said.
    pub state: PowerState,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct PowerBook {
    readings: PowerReadings,
    notes: Vec<Note>,
}

impl PowerBook {
    /// For [`World::power`].
    pub fn readings(&self) -> &PowerReadings {
        &self.readings
    }

    /// A device is about to be asked: the step that goes before it was accepted.
    pub fn asked(&mut self, ask: &PowerAsk, now: Instant) {
        let reading = PowerReading {
            incarnation: ask.incarnation.clone(),
            session_revision: ask.session_revision,
            device: ask.device.clone(),
            attempt: ask.attempt,
            asked_at: now,
            read_at: now,
            answered_at: now,
            state: PowerState::Asked,
        };
        let of_host = self.readings.entry(ask.host.clone()).or_default();
        of_host.insert(ask.device.clone(), reading);
    }

    /// It was answered. What nobody asked, or not any more, is dropped.
    pub fn answered(&mut self, ask: &PowerAsk, answer: PowerAnswer, now: Instant) {
        self.answered_by(ask, None, answer, now);
    }

    /// The same, where another manager, or an agent (`by`) asked it for the leader.
    pub fn answered_by(
        &mut self,
        ask: &PowerAsk,
        by: Option<&Asker>,
        answer: PowerAnswer,
        now: Instant,
    ) {
        let of_host = self.readings.get_mut(&ask.host);
        let Some(reading) = of_host.and_then(|of_host| of_host.get_mut(&ask.device)) else {
            return;
        };
        let same = reading.incarnation == ask.incarnation
            && reading.session_revision == ask.session_revision
            && reading.attempt == ask.attempt
            && answer.read_at >= reading.asked_at;
        if !same || reading.state != PowerState::Asked {
            return;
        }
        reading.answered_at = now;
        reading.read_at = answer.read_at.min(now);
        reading.state = answer.state;
        let (host, device) = (&ask.host, &ask.device);
        let by = by.map_or_else(String::new, |by| format!(" by {by}"));
        self.notes.push(Note {
            host: host.clone(),
            kind: EventKind::PowerAnswered,
            text: format!(
                "{host}: fencing device {device}, told{by} to switch it off: {}",
                reading.state
            ),
        });
    }

    /// An "off" that the host itself or another device has contradicted since is worth nothing, also later: to
    /// be called before each plan.
    pub fn look(&mut self, world: &World) {
        for (name, device, why) in self.void(world) {
            let of_host = self.readings.get_mut(&name);
            let Some(reading) = of_host.and_then(|of_host| of_host.get_mut(&device)) else {
                continue;
            };
            let is_late = was_believed(world, &name, &reading.incarnation, &device);
            let end = match is_late {
                true => "its VMs were given away by then: make sure that it is off",
                false => "not believed",
            };
            reading.state = PowerState::Unknown {
                reason: format!("said off, and {why}: {end}"),
            };
            self.notes.push(Note {
                host: name.clone(),
                kind: EventKind::PowerAnswered,
                text: format!("{name}: fencing device {device} {}", reading.state),
            });
        }
    }

    /// What said off and is contradicted, by what.
    fn void(&self, world: &World) -> Vec<(HostName, DeviceName, String)> {
        let mut void = Vec::new();
        for (name, of_host) in &self.readings {
            let Some(host) = world.hosts.get(name) else {
                continue;
            };
            for (device, reading) in of_host {
                if reading.state != PowerState::Off {
                    continue;
                }
                let why = match (
                    doubt(world, name, host, reading),
                    gainsaid(of_host, reading),
                ) {
                    (Some(sign), _) => sign.to_owned(),
                    (None, Some(other)) => format!("fencing device {} says on", other.device),
                    (None, None) if beats(world, name) => {
                        "its heartbeat on the lease volume goes on".to_owned()
                    }
                    (None, None) => continue,
                };
                void.push((name.clone(), device.clone(), why));
            }
        }
        void
    }

    /// What the journal has not had yet.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// The same as steps to be carried out with the next plan; they write events only.
    pub fn journal(&mut self, world: &World) -> Vec<Step> {
        let notes = self.take_notes().into_iter();
        let step = |note: Note| told(world, note.kind, &note.host, note.text);
        notes.map(step).collect()
    }
}

/// That life of the host was closed by what this device said.
fn was_believed(world: &World, host: &HostName, life: &Incarnation, device: &DeviceName) -> bool {
    let fence = world.fences.get(&(host.clone(), life.clone()));
    fence.is_some_and(|fence| {
        let mut by = match &fence.value.evidence {
            Evidence::PoweredOff { by } => by.split(TOGETHER),
            _ => return false,
        };
        fence.value.stage == FenceStage::Closed && by.any(|by| by == device.as_str())
    })
}
