//! What an extension wrote to its log while it was tried: each line with what it was asked then, and not more than
//! anybody reads.

use crate::journal::{Journal, Level, Line};
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lines of one call, or one drill, that are kept: the newest.
const EACH_MAX: usize = 20;
/// Lines of all together.
const ALL_MAX: usize = 400;
/// Lines that stand below a failure: the newest.
const BELOW_MAX: usize = 5;

/// A line that an extension wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Logged {
    /// What it was asked then, in a few words; in a drill, its name.
    pub asked: String,
    /// How serious.
    pub level: Level,
    /// What it says, without control characters.
    pub text: String,
}

/// What it wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Log {
    /// In the order in which it was asked.
    pub lines: Vec<Logged>,
    /// So many more were written.
    pub more: usize,
}

impl Log {
    /// What is told below a failure: the newest lines.
    pub fn last(&self) -> &[Logged] {
        let over = self.lines.len().saturating_sub(BELOW_MAX);
        &self.lines[over..]
    }
}

/// Lines of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Written {
    lines: Vec<Line>,
    more: usize,
}

impl Written {
    fn of(mut lines: Vec<Line>, lost: u64) -> Self {
        let over = lines.len().saturating_sub(EACH_MAX);
        lines.drain(..over);
        let lost = usize::try_from(lost).unwrap_or(usize::MAX);
        Self {
            lines,
            more: over.saturating_add(lost),
        }
    }

    /// All that a journal has: of one who was asked once.
    pub(super) fn all(journal: &Journal) -> Self {
        let (lines, lost) = journal.lines();
        Self::of(lines, lost)
    }

    fn told(&self, asked: &str) -> impl Iterator<Item = Logged> {
        self.lines.iter().map(move |line| Logged {
            asked: asked.to_owned(),
            level: line.level,
            text: line.text.clone(),
        })
    }

    /// What is told below a failure.
    pub(super) fn last(&self, asked: &str) -> Vec<Logged> {
        let over = self.lines.len().saturating_sub(BELOW_MAX);
        self.told(asked).skip(over).collect()
    }
}

/// Reads a journal on, call by call.
pub(super) struct Reader<'j> {
    journal: &'j Journal,
    read: u64,
}

impl<'j> Reader<'j> {
    /// From its end.
    pub(super) fn new(journal: &'j Journal) -> Self {
        let mut reader = Self { journal, read: 0 };
        reader.next();
        reader
    }

    /// What was written since this was asked last.
    pub(super) fn next(&mut self) -> Written {
        let (mut lines, gone) = self.journal.lines();
        let written = gone + lines.len() as u64;
        let new = written - self.read;
        self.read = written;
        let lost = new.saturating_sub(lines.len() as u64);
        let old = lines.len() as u64 - (new - lost);
        lines.drain(..usize::try_from(old).unwrap_or(usize::MAX).min(lines.len()));
        Written::of(lines, lost)
    }
}

/// Of all calls. Most is asked several times, and the same is written then: it is told once.
pub(super) fn all<'w>(calls: impl Iterator<Item = (&'w str, &'w Written)>) -> Log {
    let mut log = Log::default();
    let mut known: BTreeSet<(&str, Level, &str)> = BTreeSet::new();
    let mut asked_before: BTreeSet<&str> = BTreeSet::new();
    for (asked, written) in calls {
        let is_first = asked_before.insert(asked);
        let mut texts = Vec::new();
        for line in &written.lines {
            let key = (asked, line.level, line.text.as_str());
            if is_first || !known.contains(&key) {
                log.lines.push(Logged {
                    asked: asked.to_owned(),
                    level: line.level,
                    text: line.text.clone(),
                });
            }
            texts.push(key);
        }
        known.extend(texts);
        log.more += if is_first { written.more } else { 0 };
    }
    let over = log.lines.len().saturating_sub(ALL_MAX);
    log.lines.truncate(ALL_MAX);
    log.more += over;
    log
}

/// The journals of all that a drill starts.
#[derive(Default)]
pub(super) struct Journals(Mutex<Vec<Journal>>);

impl Journals {
    fn all(&self) -> MutexGuard<'_, Vec<Journal>> {
        // Each change is complete before anything in it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub(super) fn add(&self, journal: &Journal) {
        self.all().push(journal.clone());
    }

    /// What is in them since this was asked last.
    pub(super) fn take(&self, drill: &str) -> Log {
        let journals = std::mem::take(&mut *self.all());
        let mut lines = Vec::new();
        let mut lost = 0;
        for journal in journals {
            let (more, gone) = journal.lines();
            lines.extend(more);
            lost += gone;
        }
        let written = Written::of(lines, lost);
        Log {
            lines: written.told(drill).collect(),
            more: written.more,
        }
    }
}

/// Who is tried by drills.
pub(super) trait Writes {
    /// The journals of all that the drill started.
    fn journals(&self) -> &Journals;
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::time::UnixMs;

    fn write(journal: &Journal, lines: std::ops::Range<usize>) {
        for n in lines {
            journal.write(UnixMs(1), Level::Info, &n.to_string());
        }
    }

    fn texts(written: &Written) -> Vec<String> {
        written.lines.iter().map(|line| line.text.clone()).collect()
    }

    #[test]
    fn each_call_has_its_own_lines_and_the_newest_of_them() {
        let journal = Journal::default();
        write(&journal, 0..3);
        let mut reader = Reader::new(&journal);
        assert_eq!(reader.next(), Written::default());
        write(&journal, 3..5);
        assert_eq!(texts(&reader.next()), ["3", "4"]);
        // More than a journal keeps.
        write(&journal, 0..1_000);
        let written = reader.next();
        assert_eq!(
            (written.lines.len(), written.more),
            (EACH_MAX, 1_000 - EACH_MAX)
        );
        assert_eq!(texts(&written)[EACH_MAX - 1], "999");
        let below = written.last("x");
        assert_eq!((below.len(), below[0].text.as_str()), (BELOW_MAX, "995"));
    }

    #[test]
    fn what_is_written_again_when_it_is_asked_again_is_told_once() {
        let line = |text: &str| Line {
            at: UnixMs(1),
            level: Level::Info,
            text: text.to_owned(),
        };
        let of = |all: &[&str]| Written::of(all.iter().map(|text| line(text)).collect(), 0);
        let (first, second) = (of(&["a", "a"]), of(&["a", "b"]));
        let log = all([("q", &first), ("q", &second), ("r", &first)].into_iter());
        let told: Vec<_> = log
            .lines
            .iter()
            .map(|line| (line.asked.as_str(), line.text.as_str()))
            .collect();
        assert_eq!(
            told,
            [("q", "a"), ("q", "a"), ("q", "b"), ("r", "a"), ("r", "a")]
        );
        let many = of(&["x"; EACH_MAX]);
        let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let log = all(names.iter().map(|name| (name.as_str(), &many)));
        assert_eq!(
            (log.lines.len(), log.more),
            (ALL_MAX, 100 * EACH_MAX - ALL_MAX)
        );
    }
}
