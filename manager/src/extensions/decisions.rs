//! What placement extensions were asked in the decisions of this manager while it led, and what they said: kept in
//! memory, so that it can be asked again of another version (`holdfast ext replay`).
//!
//! ```text
//! leader's decision ─(noted, for NOTING at the most)─> carried out ─> taken in: the newest, bounded in number and bytes
//! trial (`why`, `--dry-run`), decision of another manager ─> not noted
//! ```
//! There is in it what an extension can see, and nothing else: names, labels, sizes, its own words. No record of the
//! store, no definition of a VM, no setting and no secret gets here.

use holdfast_model::advice::{Advice, Question, Said};
use holdfast_model::id::{ExtensionName, ManagerName};
use holdfast_model::time::UnixMs;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What noting down may take of one decision; what comes after that is missed.
const NOTING: Duration = Duration::from_millis(5);
/// Questions that are kept.
const MOST: usize = 1_000;
/// All of them together have so many bytes at the most, as they are told: an answer that any client takes.
const BYTES_MOST: usize = 8 << 20;

/// A question of a decision, and what was said to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// When it was asked first, by that manager's clock.
    pub since: UnixMs,
    /// When it was asked last: a VM that waits is asked about with every decision.
    pub at: UnixMs,
    /// So many times, with the same answers.
    pub times: u64,
    /// What was asked.
    pub question: Question,
    /// What each extension said, by name.
    pub advice: Vec<Advice>,
}

/// What is kept on one manager about one extension.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DecisionsHere {
    /// Which manager.
    pub manager: ManagerName,
    /// Questions that have made room for newer ones since it started.
    pub forgotten: u64,
    /// Questions that there was no time to note down.
    pub missed: u64,
    /// Those that this extension was asked, the newest last; with what the others said.
    pub decisions: Vec<Arc<Decided>>,
}

/// A question that was just asked.
#[derive(Debug)]
pub struct Asked {
    question: Question,
    advice: Vec<Advice>,
}

/// What was asked in one decision.
#[derive(Debug, Default)]
pub struct Noted {
    asked: Vec<Asked>,
    missed: u64,
}

/// What is being asked in one decision.
#[derive(Default)]
pub(super) struct Noting {
    took: Cell<Duration>,
    noted: RefCell<Noted>,
}

impl Noting {
    /// Notes it down, if there is time left for that.
    pub(super) fn hear(&self, question: &Question, advice: &[Advice]) {
        let mut noted = self.noted.borrow_mut();
        if self.took.get() >= NOTING {
            noted.missed += 1;
            return;
        }
        let begin = Instant::now();
        noted.asked.push(Asked {
            question: question.clone(),
            advice: advice.to_vec(),
        });
        self.took.set(self.took.get() + begin.elapsed());
    }

    pub(super) fn end(self) -> Noted {
        self.noted.into_inner()
    }
}

/// Those of this manager.
#[derive(Debug)]
pub struct Decisions {
    kept: Mutex<Kept>,
    most: usize,
    bytes_most: usize,
}

impl Default for Decisions {
    fn default() -> Self {
        Self::bounded(MOST, BYTES_MOST)
    }
}

#[derive(Debug, Default)]
struct Kept {
    /// The newest last.
    entries: VecDeque<Entry>,
    bytes: usize,
    forgotten: u64,
    missed: u64,
}

#[derive(Debug)]
struct Entry {
    /// Of the question.
    hash: u64,
    bytes: usize,
    decided: Arc<Decided>,
}

impl Decisions {
    fn bounded(most: usize, bytes_most: usize) -> Self {
        Self {
            kept: Mutex::default(),
            most,
            bytes_most,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whatever a panic left half done is bounded all the same.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a decision asked, once that has been carried out.
    pub fn take_in(&self, noted: Noted, now: UnixMs) {
        if noted.asked.is_empty() && noted.missed == 0 {
            return;
        }
        let mut kept = self.kept();
        kept.missed += noted.missed;
        for asked in noted.asked {
            kept.take_in(asked, now);
            while kept.entries.len() > self.most || kept.bytes > self.bytes_most {
                let Some(oldest) = kept.entries.pop_front() else {
                    break;
                };
                kept.bytes = kept.bytes.saturating_sub(oldest.bytes);
                kept.forgotten += 1;
            }
        }
    }

    /// What this extension was asked here.
    pub fn about(&self, name: &ExtensionName, manager: &ManagerName) -> DecisionsHere {
        let kept = self.kept();
        let asked = |decided: &&Arc<Decided>| {
            let mut advice = decided.advice.iter();
            advice.any(|each| each.extension == *name)
        };
        let all = kept.entries.iter().map(|entry| &entry.decided);
        DecisionsHere {
            manager: manager.clone(),
            forgotten: kept.forgotten,
            missed: kept.missed,
            decisions: all.filter(asked).cloned().collect(),
        }
    }
}

impl Kept {
    /// The same once more is the newest, and counted; what is new has a place of its own.
    fn take_in(&mut self, asked: Asked, now: UnixMs) {
        let hash = hash(&asked.question);
        let known = self.entries.iter().rposition(|entry| {
            entry.hash == hash
                && entry.decided.question == asked.question
                && are_same(&entry.decided.advice, &asked.advice)
        });
        let known = known.and_then(|at| self.entries.remove(at));
        let (since, times) = match &known {
            Some(entry) => (entry.decided.since, entry.decided.times + 1),
            None => (now, 1),
        };
        self.bytes -= known.map_or(0, |entry| entry.bytes);
        let decided = Decided {
            since,
            at: now,
            times,
            question: asked.question,
            advice: asked.advice,
        };
        let bytes = bytes(&decided);
        self.bytes += bytes;
        self.entries.push_back(Entry {
            hash,
            bytes,
            decided: Arc::new(decided),
        });
    }
}

/// Whether they say the same. Why there was no answer may be told in other words each time.
fn are_same(one: &[Advice], other: &[Advice]) -> bool {
    let same = |(one, other): (&Advice, &Advice)| {
        one.extension == other.extension
            && one.version == other.version
            && match (&one.said, &other.said) {
                (Said::Nothing { then, .. }, Said::Nothing { then: now, .. }) => then == now,
                (one, other) => one == other,
            }
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

fn hash(question: &Question) -> u64 {
    let mut hasher = DefaultHasher::new();
    question.hash(&mut hasher);
    hasher.finish()
}

/// As it is told. What could not be told would not be kept.
fn bytes(decided: &Decided) -> usize {
    let mut count = Count(0);
    match serde_json::to_writer(&mut count, decided) {
        Ok(()) => count.0,
        Err(_) => usize::MAX / 2,
    }
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
