//! Answers the planner's questions by asking extensions, within the time that one decision has for them.

use super::decisions::{Noted, Noting};
use super::shadow::Aside;
use super::{Extensions, Here, Slot};
use holdfast_core::advice::Advisor;
use holdfast_model::advice::{Advice, Fallback, Question, Said};
use holdfast_model::extension::ExtensionKind;
use holdfast_model::id::{ExtensionName, VmName};
use std::cell::OnceCell;
#[cfg(feature = "extensions")]
use std::cell::RefCell;
#[cfg(feature = "extensions")]
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// All extensions together may take so long in one decision: half of the time after which
/// the leader looks again if nothing happens.
const DECISION: Duration = Duration::from_millis(250);

/// For one decision.
pub struct Decision<'e> {
    extensions: &'e Extensions,
    until: Instant,
    aside: Aside<'e>,
    /// None: it is a trial, of which nothing is kept.
    noting: Option<Noting>,
    /// What each says once there is no time left, the same of every VM: put together once.
    over: OnceCell<Vec<Advice>>,
}

impl Extensions {
    /// Who answers in one trial, which begins now: it is asked what a decision would be.
    pub fn trial(&self) -> Decision<'_> {
        Decision {
            extensions: self,
            until: Instant::now() + DECISION,
            aside: Aside::of(&self.shadows),
            noting: None,
            over: OnceCell::new(),
        }
    }

    /// Who answers in one decision of the leader, which begins now. What is asked in it is noted down.
    pub fn decision(&self) -> Decision<'_> {
        Decision {
            noting: Some(Noting::default()),
            ..self.trial()
        }
    }
}

impl Decision<'_> {
    /// The decision is made: what was asked in it.
    pub fn noted(self) -> Noted {
        self.noting.map(Noting::end).unwrap_or_default()
    }
}

fn is_for_placement(slot: &Slot) -> bool {
    slot.installed.manifest.kind == ExtensionKind::Placement
}

impl Advisor for Decision<'_> {
    fn is_silent(&self) -> bool {
        !self.extensions.slots().values().any(is_for_placement)
    }

    fn unasked(&self, vm: &VmName) -> Option<Vec<Advice>> {
        let is_over = self.is_over() && !self.extensions.remember(vm);
        is_over.then(|| self.over().to_vec())
    }

    fn ask(&self, question: &Question) -> Vec<Advice> {
        let answers = Answers::to(self.extensions, question);
        let advice = match answers.are_known() || !self.is_over() {
            true => self.each(|name, slot| {
                let said = self.said(slot, question, &answers);
                self.aside.hear(name, question, &said);
                said
            }),
            false => self.over().to_vec(),
        };
        answers.keep(self.extensions, question);
        if let Some(noting) = &self.noting {
            noting.hear(question, &advice);
        }
        advice
    }
}

impl Decision<'_> {
    fn is_over(&self) -> bool {
        Instant::now() > self.until
    }

    fn over(&self) -> &[Advice] {
        self.over.get_or_init(|| self.each(|_, slot| over(slot)))
    }

    /// What each says, by name.
    fn each(&self, says: impl Fn(&ExtensionName, &Slot) -> Said) -> Vec<Advice> {
        let slots = self.extensions.slots();
        let asked = slots.iter().filter(|(_, slot)| is_for_placement(slot));
        asked
            .map(|(name, slot)| Advice {
                extension: name.clone(),
                version: slot.version().to_owned(),
                said: says(name, slot),
            })
            .collect()
    }

    #[cfg(not(feature = "extensions"))]
    fn said(&self, slot: &Slot, _: &Question, _: &Answers) -> Said {
        absent(slot)
    }

    #[cfg(feature = "extensions")]
    fn said(&self, slot: &Slot, question: &Question, answers: &Answers) -> Said {
        use super::runs::Guest;
        use holdfast_extension_host::CallError;
        let Here::Ready(runs) = &slot.here else {
            return absent(slot);
        };
        let Guest::Placement(placement) = &runs.guest else {
            return absent(slot);
        };
        if let Some(said) = answers.before.get(&runs.digest) {
            return said.clone();
        }
        if self.is_over() {
            return over(slot);
        }
        let answered = placement.ask(question);
        if !matches!(answered.said, Err(CallError::Resting { .. })) {
            let failure = answered.said.as_ref().err().map(ToString::to_string);
            let cost = answered.cost;
            slot.costs.count(cost.cpu, cost.memory_bytes, failure);
        }
        match answered.said {
            Ok(said) => {
                let answer = (runs.digest.clone(), said.clone());
                answers.new.borrow_mut().push(answer);
                said
            }
            Err(error) => nothing(error.to_string(), slot.installed.then),
        }
    }
}

/// Answers to one question, by the component's digest.
#[cfg(feature = "extensions")]
struct Answers {
    /// Known from before.
    before: HashMap<String, Said>,
    /// Given just now.
    new: RefCell<Vec<(String, Said)>>,
}

#[cfg(feature = "extensions")]
impl Answers {
    fn to(extensions: &Extensions, question: &Question) -> Self {
        Self {
            before: extensions.kept.said_to(question),
            new: RefCell::default(),
        }
    }

    /// Whether any is known from before.
    fn are_known(&self) -> bool {
        !self.before.is_empty()
    }

    fn keep(self, extensions: &Extensions, question: &Question) {
        extensions.kept.insert(question, self.new.into_inner());
    }
}

/// Nobody answers in such a program.
#[cfg(not(feature = "extensions"))]
struct Answers;

#[cfg(not(feature = "extensions"))]
impl Answers {
    fn to(_: &Extensions, _: &Question) -> Self {
        Self
    }

    fn are_known(&self) -> bool {
        false
    }

    fn keep(self, _: &Extensions, _: &Question) {}
}

impl Extensions {
    /// Whether an answer about this VM is kept.
    #[cfg(feature = "extensions")]
    fn remember(&self, vm: &VmName) -> bool {
        self.kept.is_about(vm)
    }

    #[cfg(not(feature = "extensions"))]
    fn remember(&self, _: &VmName) -> bool {
        false
    }
}

/// It is not asked any more in this decision.
fn over(slot: &Slot) -> Said {
    match &slot.here {
        #[cfg(feature = "extensions")]
        Here::Ready(_) => nothing(
            format!(
                "the {} ms that a decision has for extensions were over",
                DECISION.as_millis()
            ),
            slot.installed.then,
        ),
        _ => absent(slot),
    }
}

/// It cannot be asked here.
fn absent(slot: &Slot) -> Said {
    let reason = match &slot.here {
        Here::Failed(why) => format!("it cannot run on this manager: {why}"),
        _ => "it is being loaded on this manager".to_owned(),
    };
    nothing(reason, slot.installed.then)
}

fn nothing(reason: String, then: Fallback) -> Said {
    Said::Nothing { reason, then }
}

#[cfg(all(test, feature = "extensions"))]
mod tests;
