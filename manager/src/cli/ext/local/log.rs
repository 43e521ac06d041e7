//! What an extension wrote to its log while it was tried.

use super::super::super::paint::{Line, Tone, table};
use super::super::logs::tone_of;
use holdfast_extension_host::conformance::{Log, Logged};
use holdfast_extension_host::journal::Level;

/// In one cell of a table: what failed, and below it what was written just before.
pub(super) fn below(text: &str, log: &[Logged]) -> String {
    let lines = log
        .iter()
        .map(|line| format!("\n  log: {}  {}", word(line.level), line.text));
    text.to_owned() + &lines.collect::<String>()
}

/// All of it, as a table.
pub(super) fn drawn(logs: &[&Log]) -> String {
    let lines = logs.iter().flat_map(|log| &log.lines);
    let rows: Vec<_> = lines.map(row).collect();
    let more: usize = logs.iter().map(|log| log.more).sum();
    let mut out = match rows.is_empty() {
        true => {
            Line::new()
                .add(Tone::Dim, "it wrote nothing to its log")
                .draw()
                + "\n"
        }
        false => table(&["WRITTEN WHILE", "LEVEL", "LINE"], rows),
    };
    if more > 0 {
        let text = format!("{more} lines more were written");
        out += &(Line::new().add(Tone::Dim, text).draw() + "\n");
    }
    out
}

fn row(line: &Logged) -> Vec<(Tone, String)> {
    let level = word(line.level);
    vec![
        (Tone::Dim, line.asked.clone()),
        (tone_of(level), level.to_owned()),
        (Tone::Plain, line.text.clone()),
    ]
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_with_what_was_asked() {
        let line = Logged {
            asked: "off, no board".to_owned(),
            level: Level::Warn,
            text: "nobody there".to_owned(),
        };
        let log = Log {
            lines: vec![line.clone()],
            more: 3,
        };
        let out = drawn(&[&log, &Log::default()]);
        let plain = anstream::adapter::strip_str(&out).to_string();
        let lines: Vec<&str> = plain.lines().collect();
        assert_eq!(
            lines,
            [
                "WRITTEN WHILE  LEVEL  LINE",
                "off, no board  warn   nobody there",
                "3 lines more were written",
            ]
        );
        assert_eq!(
            below("it trapped", &[line]),
            "it trapped\n  log: warn  nobody there"
        );
    }
}
