//! Answers that are kept: a VM that waits is asked about again with every plan, and the same question gets the same
//! answer.

use holdfast_model::advice::{Question, Said};
use holdfast_model::id::VmName;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many; then all of them are forgotten, which costs a call each.
const MOST: usize = 4_096;

#[derive(Default)]
pub(super) struct Kept(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By the component's digest.
    about: HashMap<VmName, HashMap<Question, HashMap<String, Said>>>,
    /// How many.
    answers: usize,
}

impl Kept {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one insertion or a clearing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything that was said about this VM is kept.
    pub(super) fn is_about(&self, vm: &VmName) -> bool {
        self.known().about.contains_key(vm)
    }

    /// What the component of this digest said to this question.
    pub(super) fn get(&self, digest: &str, question: &Question) -> Option<Said> {
        let known = self.known();
        let about = known.about.get(&question.vm.name)?;
        about.get(question)?.get(digest).cloned()
    }

    pub(super) fn insert(&self, digest: &str, question: &Question, said: Said) {
        let mut known = self.known();
        if known.answers >= MOST {
            *known = Known::default();
        }
        let about = known.about.entry(question.vm.name.clone()).or_default();
        let before = match about.get_mut(question) {
            Some(answers) => answers.insert(digest.to_owned(), said),
            None => {
                let answers = HashMap::from([(digest.to_owned(), said)]);
                about.insert(question.clone(), answers);
                None
            }
        };
        known.answers += usize::from(before.is_none());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use holdfast_model::advice::{Fallback, Labels, VmFacts};

    /// Which host for this VM, which needs so much memory?
    pub fn question(vm: &str, memory_mib: u64) -> Question {
        Question {
            vm: VmFacts {
                name: vm.parse().expect("a name"),
                memory_mib,
                vcpus: 1,
                priority: 0,
                preferred_site: None,
                group: None,
                labels: Labels::new(),
                peers: Vec::new(),
                last_host: None,
                live: false,
            },
            candidates: Vec::new(),
        }
    }

    fn said(reason: usize) -> Said {
        Said::Nothing {
            reason: reason.to_string(),
            then: Fallback::Open,
        }
    }

    #[test]
    fn an_answer_is_one_component_s_to_one_question() {
        let kept = Kept::default();
        let (asked, other) = (question("web1", 512), question("web1", 513));
        kept.insert("c1", &asked, said(1));
        kept.insert("c2", &asked, said(2));
        kept.insert("c1", &other, said(3));
        assert_eq!(kept.get("c1", &asked), Some(said(1)));
        assert_eq!(kept.get("c2", &asked), Some(said(2)));
        assert_eq!(kept.get("c1", &other), Some(said(3)));
        assert_eq!(kept.get("c2", &other), None);
        assert_eq!(kept.get("c1", &question("web2", 512)), None);
        assert!(kept.is_about(&asked.vm.name) && !kept.is_about(&question("web2", 1).vm.name));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let kept = Kept::default();
        let asked = |n: usize| question("web1", n as u64);
        // The same again is no more.
        for n in (0..MOST - 1).chain([0, MOST - 1]) {
            kept.insert("c1", &asked(n), said(n));
        }
        assert_eq!(kept.get("c1", &asked(0)), Some(said(0)));
        kept.insert("c1", &asked(MOST), said(MOST));
        assert_eq!(kept.get("c1", &asked(0)), None);
        assert_eq!(kept.get("c1", &asked(MOST)), Some(said(MOST)));
    }
}
