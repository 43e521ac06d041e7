//! What an extension wrote to its log: the newest lines, bounded in number and length.

use holdfast_model::time::UnixMs;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use holdfast_model::standing::{Level, Line};

/// Lines that are kept of one extension.
const LINES_MAX: usize = 500;
/// Characters of one line.
const LINE_CHARS_MAX: usize = 1_000;

/// The log of one extension on this machine.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    dropped: u64,
}

impl Journal {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Each change is complete before anything in it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line; the oldest makes room.
    pub fn write(&self, at: UnixMs, level: Level, text: &str) {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let text = text.chars().take(LINE_CHARS_MAX).map(clean).collect();
        let mut kept = self.kept();
        if kept.lines.len() == LINES_MAX {
            kept.lines.pop_front();
            kept.dropped += 1;
        }
        kept.lines.push_back(Line { at, level, text });
    }

    /// The lines that are kept, the newest last, and how many are not any more.
    pub fn lines(&self) -> (Vec<Line>, u64) {
        let kept = self.kept();
        (kept.lines.iter().cloned().collect(), kept.dropped)
    }

    /// The newest line of [`Level::Error`]: what a guest said before it trapped.
    pub fn last_error(&self) -> Option<String> {
        let kept = self.kept();
        let mut lines = kept.lines.iter().rev();
        let found = lines.find(|line| line.level == Level::Error);
        found.map(|line| line.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept_and_cut() {
        let journal = Journal::default();
        journal.write(UnixMs(1), Level::Error, "first\u{1b}[31m\nred");
        assert_eq!(journal.last_error().as_deref(), Some("first [31m red"));
        for n in 0..LINES_MAX {
            journal.write(
                UnixMs(2),
                Level::Info,
                &format!("{n} {}", "x".repeat(5_000)),
            );
        }
        let (lines, dropped) = journal.lines();
        assert_eq!((lines.len(), dropped), (LINES_MAX, 1));
        assert_eq!(lines[0].text.chars().count(), LINE_CHARS_MAX);
        assert_eq!(journal.last_error(), None);
    }
}
