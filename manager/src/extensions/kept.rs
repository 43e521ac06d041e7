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

    /// What was said to this question, by the component's digest. Once for all extensions: finding a question means
    /// reading all of it, labels of a hundred hosts and all.
    pub(super) fn said_to(&self, question: &Question) -> HashMap<String, Said> {
        let known = self.known();
        let about = known.about.get(&question.vm.name);
        let said = about.and_then(|about| about.get(question));
        said.cloned().unwrap_or_default()
    }

    /// Keeps what components said to this question, each by its digest.
    pub(super) fn insert(&self, question: &Question, said: Vec<(String, Said)>) {
        if said.is_empty() {
            return;
        }
        let mut known = self.known();
        if known.answers >= MOST {
            *known = Known::default();
        }
        let about = known.about.entry(question.vm.name.clone()).or_default();
        let (before, after) = match about.get_mut(question) {
            Some(answers) => {
                let before = answers.len();
                answers.extend(said);
                (before, answers.len())
            }
            None => {
                let answers: HashMap<_, _> = said.into_iter().collect();
                let count = answers.len();
                about.insert(question.clone(), answers);
                (0, count)
            }
        };
        known.answers += after - before;
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

    fn insert(kept: &Kept, digest: &str, question: &Question, said: Said) {
        kept.insert(question, vec![(digest.to_owned(), said)]);
    }

    fn get(kept: &Kept, digest: &str, question: &Question) -> Option<Said> {
        kept.said_to(question).remove(digest)
    }

    #[test]
    fn an_answer_is_one_component_s_to_one_question() {
        let kept = Kept::default();
        let (asked, other) = (question("web1", 512), question("web1", 513));
        insert(&kept, "c1", &asked, said(1));
        insert(&kept, "c2", &asked, said(2));
        insert(&kept, "c1", &other, said(3));
        assert_eq!(get(&kept, "c1", &asked), Some(said(1)));
        assert_eq!(get(&kept, "c2", &asked), Some(said(2)));
        assert_eq!(get(&kept, "c1", &other), Some(said(3)));
        assert_eq!(get(&kept, "c2", &other), None);
        assert_eq!(get(&kept, "c1", &question("web2", 512)), None);
        assert!(kept.is_about(&asked.vm.name) && !kept.is_about(&question("web2", 1).vm.name));
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let kept = Kept::default();
        let asked = |n: usize| question("web1", n as u64);
        // The same again is no more.
        for n in (0..MOST - 1).chain([0, MOST - 1]) {
            insert(&kept, "c1", &asked(n), said(n));
        }
        assert_eq!(get(&kept, "c1", &asked(0)), Some(said(0)));
        insert(&kept, "c1", &asked(MOST), said(MOST));
        assert_eq!(get(&kept, "c1", &asked(0)), None);
        assert_eq!(get(&kept, "c1", &asked(MOST)), Some(said(MOST)));
    }
}
