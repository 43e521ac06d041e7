//! One errand as the leader follows it.

use crate::power::PowerAnswer;
use holdfast_model::asking::{Asker, AskerKind};
use holdfast_model::errand::{Addressee, ErrandStage};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::ErrandId;
use holdfast_model::power::PowerState;
use holdfast_model::time::Instant;
use std::collections::VecDeque;

/// Whoever has not taken it after so long is not there, in milliseconds from when it was known to be
/// written.
pub const TAKEN_WITHIN_MS: u64 = 1_500;
/// On top of the two calls to the device: for the way of the answer.
pub const ANSWER_MS: u64 = 1_000;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Send it to this one, under an id of its own.
    Send(Addressee),
    /// Nothing before then, unless the record changes.
    Wait(Instant),
    /// It is over.
    Over(Outcome),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Who took it to ask the device; none if nobody is known to have.
    pub by: Option<Asker>,
    /// The answer. It counts from when the errand was sent.
    pub answer: PowerAnswer,
}

/// See the module above.
#[derive(Debug, Clone)]
pub struct Course {
    began: Instant,
    /// From when it was seen to be taken, in milliseconds.
    answered_within_ms: u64,
    device: FenceDevice,
    next: VecDeque<Addressee>,
    /// Those that did not do it, and why, in words.
    passed: Vec<(Option<Asker>, String)>,
    phase: Phase,
}

#[derive(Debug, Clone)]
enum Phase {
    /// Nobody has it.
    Open,
    /// It waits to be taken.
    Sent { letter: Letter, until: Instant },
    /// It is being carried out.
    Taken { letter: Letter, until: Instant },
    /// Over.
    Over(Outcome),
}

/// One record that was written.
#[derive(Debug, Clone)]
struct Letter {
    id: ErrandId,
    to: Asker,
    sent_at: Instant,
}

impl Course {
    /// For this device, by one of these, in their order.
    pub fn new(device: &FenceDevice, candidates: Vec<Addressee>, now: Instant) -> Self {
        Self {
            began: now,
            // To switch off, and then to say how it stands.
            answered_within_ms: device.timeout_ms.saturating_mul(2) + ANSWER_MS,
            device: device.clone(),
            next: candidates.into(),
            passed: Vec::new(),
            phase: Phase::Open,
        }
    }

    /// What is to be done now. Asking again without an answer in between gives the same.
    pub fn poll(&mut self, now: Instant) -> Turn {
        match &self.phase {
            Phase::Over(outcome) => Turn::Over(outcome.clone()),
            Phase::Sent { until, .. } | Phase::Taken { until, .. } if now < *until => {
                Turn::Wait(*until)
            }
            Phase::Taken { letter, .. } => {
                let reason = format!(
                    "{} was to ask it and did not say what became of it in {} ms",
                    letter.to, self.answered_within_ms
                );
                let (by, read_at) = (Some(letter.to.clone()), letter.sent_at);
                self.end(by, read_at, PowerState::Unknown { reason })
            }
            Phase::Open | Phase::Sent { .. } => match self.next.front() {
                Some(to) => Turn::Send(to.clone()),
                None => self.nobody(),
            },
        }
    }

    /// It was written for the one that was named last. `sent_at`: when the transaction that wrote it was
    /// sent, at the earliest; whatever is read in answer was read after that.
    pub fn sent(&mut self, id: ErrandId, sent_at: Instant, now: Instant) {
        self.pass_by();
        if matches!(self.phase, Phase::Taken { .. } | Phase::Over(_)) {
            return;
        }
        if let Some(to) = self.next.pop_front() {
            let to = to.asker();
            self.phase = Phase::Sent {
                letter: Letter { id, to, sent_at },
                until: now.plus(TAKEN_WITHIN_MS),
            };
        }
    }

    /// It could not be written, and is not tried again.
    pub fn not_sent(&mut self, why: &str) {
        self.pass_by();
        if matches!(self.phase, Phase::Open) {
            self.passed.push((None, format!("not asked: {why}")));
            self.next.clear();
        }
    }

    /// The manager does not lead any more: nobody waits for an answer.
    pub fn abandon(&mut self) -> Outcome {
        self.pass_by();
        if let Phase::Over(outcome) = &self.phase {
            return outcome.clone();
        }
        let (by, read_at) = match &self.phase {
            Phase::Taken { letter, .. } => (Some(letter.to.clone()), letter.sent_at),
            _ => (None, self.began),
        };
        let reason = "given up: this manager does not lead any more".to_owned();
        Outcome {
            by,
            answer: PowerAnswer {
                read_at,
                state: PowerState::Unknown { reason },
            },
        }
    }

    /// How a record stands. What is not about the one that was sent last changes nothing.
    pub fn see(&mut self, id: &ErrandId, stage: &ErrandStage, now: Instant) {
        let (Phase::Sent { letter, .. } | Phase::Taken { letter, .. }) = &self.phase else {
            return;
        };
        if letter.id != *id {
            return;
        }
        let letter = letter.clone();
        match stage {
            ErrandStage::Sent => {}
            ErrandStage::Taken => {
                if matches!(self.phase, Phase::Sent { .. }) {
                    let until = now.plus(self.answered_within_ms);
                    self.phase = Phase::Taken { letter, until };
                }
            }
            ErrandStage::Answered { power } => {
                let state = match power {
                    // No answer at all.
                    PowerState::Asked => PowerState::Unknown {
                        reason: format!("{} did not say how it stands", letter.to),
                    },
                    power => power.clone(),
                };
                self.end(Some(letter.to), letter.sent_at, state);
            }
            ErrandStage::Declined { reason } => {
                let words = format!("{}: {reason}", letter.to);
                self.passed.push((Some(letter.to), words));
                self.phase = Phase::Open;
            }
        }
    }

    /// Those that did not do it: they declined, or did not take it in time.
    pub fn passed_by(&self) -> impl Iterator<Item = &Asker> {
        self.passed.iter().filter_map(|(who, _)| who.as_ref())
    }

    /// Who has not taken it in time is passed by, once somebody else is asked or nobody is left.
    fn pass_by(&mut self) {
        if let Phase::Sent { letter, .. } = &self.phase {
            let to = &letter.to;
            let words = format!("{to} did not take it in {TAKEN_WITHIN_MS} ms");
            self.passed.push((Some(to.clone()), words));
            self.phase = Phase::Open;
        }
    }

    /// Nobody is left who could do it.
    fn nobody(&mut self) -> Turn {
        self.pass_by();
        let reason = match self.passed.is_empty() {
            true => none_known(&self.device),
            false => {
                let words: Vec<&str> = self.passed.iter().map(|(_, why)| why.as_str()).collect();
                words.join("; ")
            }
        };
        self.end(None, self.began, PowerState::Unknown { reason })
    }

    fn end(&mut self, by: Option<Asker>, read_at: Instant, state: PowerState) -> Turn {
        let answer = PowerAnswer { read_at, state };
        let outcome = Outcome { by, answer };
        self.phase = Phase::Over(outcome.clone());
        Turn::Over(outcome)
    }
}

/// Nobody that may ask it is there, in words.
fn none_known(device: &FenceDevice) -> String {
    let from: Vec<&str> = device.from.iter().map(|site| site.as_str()).collect();
    let from = from.join(", ");
    if !device.lets(AskerKind::Agents) {
        return format!(
            "not asked: only managers at {from} reach it, and none is known there; start one, or correct `from` in \
             the policy"
        );
    }
    let who = match device.lets(AskerKind::Managers) {
        true => "managers and agents of other hosts",
        false => "agents of other hosts",
    };
    let at = match from.is_empty() {
        true => String::new(),
        false => format!(" at {from}"),
    };
    format!(
        "not asked: only {who}{at} are to ask it, and none that has what it takes is there; give one of them a \
         fence.toml, or correct `askers` and `from` in the policy"
    )
}
