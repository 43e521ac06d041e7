//! The verbs for authors: everything happens on this machine, with files.

mod build;
mod chaos;
mod check;
mod examine;
mod log;
mod new;
mod replay;
mod setup;
mod test;

pub(super) use build::build;
pub(super) use chaos::chaos;
pub(super) use check::check;
pub(super) use new::new;
pub(super) use replay::replay;
pub(super) use test::test;

use super::super::error::CliError;
use super::super::hint;
use super::super::paint::{Line, Tone};
use holdfast_extension_host::ExtensionError;
use holdfast_extension_host::conformance::Outcome;
use holdfast_extension_kit::KitError;

fn kit(error: KitError) -> CliError {
    CliError::Extension(error.to_string())
}

fn host(error: ExtensionError) -> CliError {
    CliError::Extension(error.to_string())
}

/// What takes a while, or comes next: for people, not for programs.
fn say(text: &str) {
    hint(&Line::new().add(Tone::Dim, text).draw());
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Without packages and versions; what a kind's own package has is types.
fn host_imports(imports: &[String]) -> Vec<String> {
    let own = imports
        .iter()
        .filter_map(|name| name.strip_prefix("holdfast:host/"));
    own.map(|name| name.split('@').next().unwrap_or(name).to_owned())
        .collect()
}

fn listed(words: &[String]) -> String {
    match words.is_empty() {
        true => "nothing".to_owned(),
        false => words.join(", "),
    }
}

/// How an outcome is drawn.
fn mark(outcome: Outcome) -> (Tone, String) {
    let (tone, mark) = match outcome {
        Outcome::Passed => (Tone::Good, "✔"),
        Outcome::Warned => (Tone::Warn, "!"),
        Outcome::Failed => (Tone::Bad, "✘"),
        Outcome::Skipped => (Tone::Dim, "-"),
    };
    (tone, mark.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::arguments::LANGUAGES;
    use super::*;
    use holdfast_extension_kit::Language;

    #[test]
    fn the_languages_are_the_kit_s() {
        assert_eq!(LANGUAGES, Language::ALL.map(Language::word));
    }

    #[test]
    fn imports_are_told_short() {
        let imports = ["holdfast:host/log@0.1.0", "holdfast:placement/types@0.1.0"];
        assert_eq!(host_imports(&imports.map(str::to_owned)), ["log"]);
        assert_eq!(listed(&[]), "nothing");
        assert_eq!(size(1_620_035), "1.6 MB");
    }
}
