//! Answers that are kept: a VM that waits is asked about again with every plan, and the same question gets the same
//! answer.
//!
//! ```text
//! kept, asked for again ─> young ── full ─> old ── young is full again ─> forgotten
//!                            ^ └─────────────┘ asked for again
//! ```
//! So there is an end to what is kept, and what is asked with every plan is not forgotten all at once.

use holdfast_model::advice::{Candidate, Peer, Question, Said, Score};
use holdfast_model::id::{SiteName, VmName};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::mem::{size_of, take};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Answers in each of the two: a decision of 20 extensions about 1,000 VMs, and a little.
const MOST: usize = 20_480;
/// Bytes of each of the two. With 20 hosts, labels and words for each, such a decision takes some 20 MiB.
const BYTES_MOST: usize = 32 << 20;
/// What an entry of a map takes beside its key and its value, about.
const ENTRY_BYTES: usize = 48;

#[derive(Default)]
pub(super) struct Kept(Mutex<Known>);

#[derive(Default)]
struct Known {
    young: Part,
    old: Part,
}

#[derive(Default)]
struct Part {
    /// By the VM, and then by the numbers in a question.
    about: HashMap<VmName, HashMap<u64, Vec<Answered>>>,
    /// How many.
    answers: usize,
    /// What they and their questions take, about.
    bytes: usize,
}

/// A question that was answered.
struct Answered {
    question: Question,
    /// By the component's digest.
    said: HashMap<String, Said>,
}

impl Kept {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one insertion, or one part in the place of the other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything that was said about this VM is kept.
    pub(super) fn is_about(&self, vm: &VmName) -> bool {
        let known = self.known();
        let parts = [&known.young, &known.old];
        parts.iter().any(|part| part.about.contains_key(vm))
    }

    /// What was said to this question, by the component's digest. Once for all extensions: finding a question means
    /// reading all of it, a hundred hosts and all.
    pub(super) fn said_to(&self, question: &Question) -> HashMap<String, Said> {
        let mut known = self.known();
        if let Some(said) = known.young.said_to(question) {
            return said.clone();
        }
        let Some(said) = known.old.said_to(question).cloned() else {
            return HashMap::new();
        };
        known.insert(question, said.clone());
        said
    }

    /// Keeps what components said to this question, each by its digest. What is old of the same question counts no
    /// more, so ask for it first.
    pub(super) fn insert(
        &self,
        question: &Question,
        said: impl IntoIterator<Item = (String, Said)>,
    ) {
        self.known().insert(question, said);
    }
}

impl Known {
    fn insert(&mut self, question: &Question, said: impl IntoIterator<Item = (String, Said)>) {
        let mut said = said.into_iter().peekable();
        if said.peek().is_none() {
            return;
        }
        if self.young.answers >= MOST || self.young.bytes >= BYTES_MOST {
            self.old = take(&mut self.young);
        }
        self.young.insert(question, said);
    }
}

impl Part {
    fn said_to(&self, question: &Question) -> Option<&HashMap<String, Said>> {
        let about = self.about.get(&question.vm.name)?;
        let same = about.get(&numbers(question))?.iter();
        let mut same = same.filter(|answered| answered.question == *question);
        same.next().map(|answered| &answered.said)
    }

    fn insert(&mut self, question: &Question, said: impl Iterator<Item = (String, Said)>) {
        let about = self.about.entry(question.vm.name.clone()).or_default();
        let same = about.entry(numbers(question)).or_default();
        let at = same.iter().position(|other| other.question == *question);
        let at = at.unwrap_or_else(|| {
            self.bytes += question_bytes(question);
            same.push(Answered {
                question: question.clone(),
                said: HashMap::new(),
            });
            same.len() - 1
        });
        let answers = &mut same[at].said;
        for (digest, said) in said {
            let bytes = answer_bytes(&digest, &said);
            if answers.insert(digest, said).is_none() {
                self.answers += 1;
                self.bytes += bytes;
            }
        }
    }
}

/// Of the numbers in a question: what differs from one question about a VM to the next. The names of a hundred hosts
/// with their labels take ten times as long, and are compared where the numbers are the same.
fn numbers(question: &Question) -> u64 {
    let Question { vm, candidates } = question;
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(vm.memory_mib);
    hasher.write_u32(vm.vcpus);
    hasher.write_usize(candidates.len());
    for each in candidates {
        hasher.write_u64(each.memory_free_mib);
        hasher.write_u32(each.vms);
    }
    hasher.finish()
}

/// What a question takes, about. Labels of hosts are shared with the view.
fn question_bytes(question: &Question) -> usize {
    let Question { vm, candidates } = question;
    let site = |site: &Option<SiteName>| site.as_ref().map_or(0, |site| site.as_str().len());
    let peer = |peer: &Peer| {
        let words = peer.name.as_str().len() + peer.host.as_str().len() + site(&peer.site);
        size_of::<Peer>() + words
    };
    let candidate = |candidate: &Candidate| {
        size_of::<Candidate>() + candidate.host.as_str().len() + site(&candidate.site)
    };
    let label = |(key, value): (&String, &String)| ENTRY_BYTES + key.len() + value.len();
    let own = size_of::<Question>() + ENTRY_BYTES + vm.name.as_str().len();
    own + vm.group.as_ref().map_or(0, String::len)
        + vm.labels.iter().map(label).sum::<usize>()
        + vm.peers.iter().map(peer).sum::<usize>()
        + candidates.iter().map(candidate).sum::<usize>()
}

/// What an answer takes, about.
fn answer_bytes(digest: &str, said: &Said) -> usize {
    let words = match said {
        Said::Answer { refusals, scores } => {
            let text = |why: &Option<String>| why.as_ref().map_or(0, String::len);
            refusals.len() * size_of::<Option<String>>()
                + refusals.iter().map(text).sum::<usize>()
                + scores.len() * size_of::<Score>()
        }
        Said::Nothing { reason, .. } => reason.len(),
    };
    size_of::<Said>() + ENTRY_BYTES + size_of::<String>() + digest.len() + words
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use holdfast_model::advice::{Fallback, Labels, VmFacts};
    use std::sync::Arc;

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
    fn questions_with_the_same_numbers_are_told_apart() {
        let kept = Kept::default();
        let at = |host: &str| {
            let (mut asked, _) = of_twenty(1);
            asked.candidates[3].host = host.parse().expect("a name");
            asked
        };
        let (one, other) = (at("b1"), at("b2"));
        assert_eq!(numbers(&one), numbers(&other));
        insert(&kept, "c1", &one, said(1));
        assert_eq!(get(&kept, "c1", &other), None);
        insert(&kept, "c1", &other, said(2));
        assert_eq!(get(&kept, "c1", &one), Some(said(1)));
        assert_eq!(get(&kept, "c1", &other), Some(said(2)));
        let (mut more, _) = of_twenty(1);
        more.candidates[7].memory_free_mib += 1;
        assert_ne!(numbers(&more), numbers(&one));
    }

    /// A question about twenty hosts, and what is said of each.
    fn of_twenty(vm: usize) -> (Question, Said) {
        let mut asked = question(&format!("vm-{vm:04}"), 512);
        let host = |n: usize| Candidate {
            host: format!("host-{n:02}").parse().expect("a name"),
            site: Some("site-a".parse().expect("a name")),
            labels: Arc::default(),
            memory_mib: 65_536,
            memory_free_mib: 4_096,
            vcpus: 32,
            vcpus_used: 16,
            vms: 8,
        };
        asked.candidates = (0..20).map(host).collect();
        let why = |n: usize| {
            n.is_multiple_of(4)
                .then(|| "another one of its group is there".to_owned())
        };
        let said = Said::Answer {
            refusals: (0..20).map(why).collect(),
            scores: vec![Score::default(); 20],
        };
        (asked, said)
    }

    #[test]
    fn a_decision_of_twenty_extensions_about_a_thousand_vms_is_kept() {
        let kept = Kept::default();
        let digests: Vec<String> = (0..20).map(|n| format!("{n:064}")).collect();
        let all = || (0..1_000).flat_map(|vm| digests.iter().map(move |digest| (vm, digest)));
        for (vm, digest) in all() {
            let (asked, said) = of_twenty(vm);
            insert(&kept, digest, &asked, said);
        }
        {
            let known = kept.known();
            let Part { answers, bytes, .. } = known.young;
            assert_eq!((answers, known.old.answers), (20_000, 0), "{bytes} bytes");
            assert!((16 << 20..24 << 20).contains(&bytes), "{bytes}");
        }
        // The next decision asks the same, in the same order: none of it is asked again.
        for (vm, digest) in all() {
            let (asked, said) = of_twenty(vm);
            assert_eq!(get(&kept, digest, &asked), Some(said), "{vm} {digest}");
        }
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let kept = Kept::default();
        let asked = |n: usize| question("web1", n as u64);
        // The same again is no more.
        for n in (0..MOST - 1).chain([0, MOST - 1]) {
            insert(&kept, "c1", &asked(n), said(n));
        }
        assert_eq!(kept.known().young.answers, MOST);
        for n in MOST..2 * MOST {
            insert(&kept, "c1", &asked(n), said(n));
        }
        assert_eq!(kept.known().old.answers, MOST);
        assert_eq!(
            get(&kept, "c1", &asked(0)),
            Some(said(0)),
            "asked for again"
        );
        let known = kept.known();
        assert_eq!((known.young.answers, known.old.answers), (1, MOST));
        drop(known);
        assert_eq!(get(&kept, "c1", &asked(1)), None, "nobody asked for it");
        assert_eq!(get(&kept, "c1", &asked(0)), Some(said(0)));
        assert_eq!(get(&kept, "c1", &asked(MOST)), Some(said(MOST)));
    }

    #[test]
    fn long_answers_are_counted_by_their_bytes() {
        let kept = Kept::default();
        let long = Said::Nothing {
            reason: "x".repeat(1 << 20),
            then: Fallback::Open,
        };
        for n in 0..100 {
            insert(&kept, "c1", &question("web1", n), long.clone());
        }
        let known = kept.known();
        let bytes = known.young.bytes + known.old.bytes;
        let most = 2 * (BYTES_MOST + (2 << 20));
        assert!((BYTES_MOST..most).contains(&bytes), "{bytes}");
        assert!(known.young.answers + known.old.answers < 70);
    }
}
