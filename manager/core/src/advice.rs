//! The seam to placement extensions: the planner asks, somebody answers.
//!
//! Whoever answers has to be what the rest of this crate is: the same question gets the same answer. What
//! they said is part of the plan ([`Advised`]), so [`Recorded`] can stand in for them.

use holdfast_model::advice::{Advice, Advised, Fallback, Question, Said};
use holdfast_model::id::{ExtensionName, VmName};
use std::cell::Cell;
use std::fmt;

/// Answers the planner's questions.
pub trait Advisor {
    /// Nobody is there to be asked: no question need be put together.
    fn is_silent(&self) -> bool;
    /// What each extension says to any question about this VM, by name, if no question would be read: there is no time
    /// left for one, and nothing is known from before. None: ask.
    fn unasked(&self, _vm: &VmName) -> Option<Vec<Advice>> {
        None
    }
    /// What each extension says, by name.
    fn ask(&self, question: &Question) -> Vec<Advice>;
}

/// No extension.
pub struct NoAdvisor;

impl Advisor for NoAdvisor {
    fn is_silent(&self) -> bool {
        true
    }

    fn ask(&self, _: &Question) -> Vec<Advice> {
        Vec::new()
    }
}

/// What was said to an earlier plan, in its order. A question that was not asked then, because this planner
/// is another one, gets no answer.
pub struct Recorded<'p> {
    advised: &'p [Advised],
    next: Cell<usize>,
}

impl<'p> Recorded<'p> {
    /// As a plan has it.
    pub fn new(advised: &'p [Advised]) -> Self {
        Self {
            advised,
            next: Cell::new(0),
        }
    }

    fn about(&self, vm: &VmName) -> Option<&'p Advised> {
        let (at, found) = self
            .advised
            .iter()
            .enumerate()
            .skip(self.next.get())
            .find(|(_, advised)| advised.vm == *vm)?;
        self.next.set(at + 1);
        Some(found)
    }
}

impl Advisor for Recorded<'_> {
    fn is_silent(&self) -> bool {
        self.advised.is_empty()
    }

    fn ask(&self, question: &Question) -> Vec<Advice> {
        let advised = self.about(&question.vm.name);
        let same = advised.filter(|advised| {
            let asked = question.candidates.iter().map(|each| &each.host);
            asked.eq(&advised.hosts)
        });
        same.map_or_else(Vec::new, |advised| advised.advice.clone())
    }
}

/// One that gave no answer; in words, for the report of a decision that was made without it.
#[derive(PartialEq, Eq)]
pub(crate) struct Silent<'a> {
    extension: &'a ExtensionName,
    reason: &'a str,
    then: Fallback,
}

impl fmt::Display for Silent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let without = match self.then {
            Fallback::Open => "decided without it",
            Fallback::Closed => "nothing goes without it",
        };
        write!(
            f,
            "extension {}: {}; {without}",
            self.extension, self.reason
        )
    }
}

/// What extensions gave no answer.
pub(crate) fn silent(advice: &[Advice]) -> impl Iterator<Item = Silent<'_>> {
    advice.iter().filter_map(|each| match &each.said {
        Said::Nothing { reason, then } => Some(Silent {
            extension: &each.extension,
            reason,
            then: *then,
        }),
        Said::Answer { .. } => None,
    })
}
