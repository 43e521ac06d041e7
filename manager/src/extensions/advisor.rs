//! Answers the planner's questions by asking extensions, within the time that one decision has for them.

use super::{Extensions, Here, KEPT_MAX};
use holdfast_core::advice::Advisor;
use holdfast_model::advice::{Advice, Fallback, Question, Said};
use holdfast_model::extension::{ExtensionKind, Installed};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// All extensions together may take so long in one decision: half of the shortest time between two looks at a
/// host's silence, so that asking never delays a failover by more than what noticing it takes.
const DECISION: Duration = Duration::from_millis(250);

/// For one decision.
pub struct Decision<'e> {
    extensions: &'e Extensions,
    until: Instant,
}

impl Extensions {
    /// Who answers in one decision, which begins now.
    pub fn decision(&self) -> Decision<'_> {
        Decision {
            extensions: self,
            until: Instant::now() + DECISION,
        }
    }
}

impl Advisor for Decision<'_> {
    fn is_silent(&self) -> bool {
        let slots = self.extensions.slots();
        let placement = |installed: &Installed| installed.manifest.kind == ExtensionKind::Placement;
        !slots.values().any(|slot| placement(&slot.installed))
    }

    fn ask(&self, question: &Question) -> Vec<Advice> {
        let slots = self.extensions.slots();
        let slots = slots.iter();
        let placement =
            slots.filter(|(_, slot)| slot.installed.manifest.kind == ExtensionKind::Placement);
        placement
            .map(|(name, slot)| {
                let then = slot.installed.then;
                let said = match &slot.here {
                    Here::Loading => nothing("it is being loaded on this manager".to_owned(), then),
                    Here::Failed(why) => {
                        nothing(format!("it cannot run on this manager: {why}"), then)
                    }
                    #[cfg(feature = "extensions")]
                    Here::Placement { placement, digest } => {
                        self.answer(placement, digest, &slot.costs, question, then)
                    }
                };
                Advice {
                    extension: name.clone(),
                    version: slot.installed.manifest.version.clone(),
                    said,
                }
            })
            .collect()
    }
}

impl Decision<'_> {
    #[cfg(feature = "extensions")]
    fn answer(
        &self,
        placement: &holdfast_extension_host::Placement,
        digest: &str,
        costs: &super::Costs,
        question: &Question,
        then: Fallback,
    ) -> Said {
        let key = (digest.to_owned(), question.clone());
        let kept = |extensions: &Extensions| {
            let kept = extensions
                .kept
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            kept.get(&key).cloned()
        };
        if let Some(said) = kept(self.extensions) {
            return said;
        }
        if Instant::now() > self.until {
            let ms = DECISION.as_millis();
            return nothing(
                format!("the {ms} ms that a decision has for extensions were over"),
                then,
            );
        }
        let answered = placement.ask(question);
        let resting = matches!(
            answered.said,
            Err(holdfast_extension_host::CallError::Resting { .. })
        );
        if !resting {
            let failure = answered.said.as_ref().err().map(ToString::to_string);
            costs.count(answered.cost.cpu, answered.cost.memory_bytes, failure);
        }
        match answered.said {
            Ok(said) => {
                let mut kept = self
                    .extensions
                    .kept
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if kept.len() >= KEPT_MAX {
                    kept.clear();
                }
                kept.insert(key, said.clone());
                said
            }
            Err(error) => nothing(error.to_string(), then),
        }
    }
}

fn nothing(reason: String, then: Fallback) -> Said {
    Said::Nothing { reason, then }
}
