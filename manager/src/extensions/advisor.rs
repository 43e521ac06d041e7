//! Answers the planner's questions by asking extensions, within the time that one decision has for them.

use super::shadow::Aside;
use super::{Extensions, Here, Slot};
use holdfast_core::advice::Advisor;
use holdfast_model::advice::{Advice, Fallback, Question, Said};
use holdfast_model::extension::ExtensionKind;
use std::time::{Duration, Instant};

/// All extensions together may take so long in one decision: half of the time after which
/// the leader looks again if nothing happens.
const DECISION: Duration = Duration::from_millis(250);

/// For one decision.
pub struct Decision<'e> {
    extensions: &'e Extensions,
    until: Instant,
    aside: Aside<'e>,
}

impl Extensions {
    /// Who answers in one decision, which begins now.
    pub fn decision(&self) -> Decision<'_> {
        Decision {
            extensions: self,
            until: Instant::now() + DECISION,
            aside: Aside::of(&self.shadows),
        }
    }
}

fn is_for_placement(slot: &Slot) -> bool {
    slot.installed.manifest.kind == ExtensionKind::Placement
}

impl Advisor for Decision<'_> {
    fn is_silent(&self) -> bool {
        !self.extensions.slots().values().any(is_for_placement)
    }

    fn ask(&self, question: &Question) -> Vec<Advice> {
        let slots = self.extensions.slots();
        let asked = slots.iter().filter(|(_, slot)| is_for_placement(slot));
        asked
            .map(|(name, slot)| {
                let said = self.said(slot, question, Instant::now() > self.until);
                self.aside.hear(name, question, &said);
                Advice {
                    extension: name.clone(),
                    version: slot.version().to_owned(),
                    said,
                }
            })
            .collect()
    }
}

impl Decision<'_> {
    #[cfg(not(feature = "extensions"))]
    fn said(&self, slot: &Slot, _: &Question, _: bool) -> Said {
        absent(slot)
    }

    #[cfg(feature = "extensions")]
    fn said(&self, slot: &Slot, question: &Question, is_over: bool) -> Said {
        use super::runs::Guest;
        use holdfast_extension_host::CallError;
        let Here::Ready(runs) = &slot.here else {
            return absent(slot);
        };
        let Guest::Placement(placement) = &runs.guest else {
            return absent(slot);
        };
        let key = (runs.digest.clone(), question.clone());
        if let Some(said) = self.extensions.kept.get(&key) {
            return said;
        }
        let then = slot.installed.then;
        if is_over {
            return nothing(
                format!(
                    "the {} ms that a decision has for extensions were over",
                    DECISION.as_millis()
                ),
                then,
            );
        }
        let answered = placement.ask(question);
        if !matches!(answered.said, Err(CallError::Resting { .. })) {
            let failure = answered.said.as_ref().err().map(ToString::to_string);
            let cost = answered.cost;
            slot.costs.count(cost.cpu, cost.memory_bytes, failure);
        }
        match answered.said {
            Ok(said) => {
                self.extensions.kept.insert(key, said.clone());
                said
            }
            Err(error) => nothing(error.to_string(), then),
        }
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
