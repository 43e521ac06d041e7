//! What guests say, as operators can read it.

/// Longest reason of a guest, in characters: a line of a table.
const WORDS_MAX: usize = 200;
/// In place of a reason that has no words.
pub(crate) const NO_WORDS: &str = "it says no and not why";

/// A guest's words, as they can stand in a table.
pub(crate) fn one_line(words: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = words.trim().chars().take(WORDS_MAX).map(clean).collect();
    match text.is_empty() {
        true => NO_WORDS.to_owned(),
        false => text,
    }
}
