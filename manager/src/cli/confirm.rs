//! Asking before something is destroyed.

use super::error::CliError;
use super::paint::{Line, Tone};
use std::io::{BufRead, IsTerminal, Write};

/// Refuses where nobody can be asked.
pub(super) fn can_ask() -> Result<(), CliError> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    let text = "this destroys something: add --yes to do it without being asked, or --dry-run to see \
                what would happen";
    Err(CliError::Usage(text.to_owned()))
}

/// Says what is about to be done, and goes on once its name has been typed.
pub(super) fn confirm(what: &str, warnings: &[String], name: &str) -> Result<(), CliError> {
    let mut text = Line::new()
        .add(Tone::Warn, format!("about to {what}"))
        .draw()
        + "\n";
    for warning in warnings {
        text += &format!("  {warning}\n");
    }
    text += &format!("Type {name} to do it: ");
    let mut err = anstream::stderr().lock();
    err.write_all(text.as_bytes())
        .and_then(|()| err.flush())
        .map_err(CliError::Write)?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|source| CliError::Read {
            path: "the answer".to_owned(),
            source,
        })?;
    if answer.trim() == name {
        Ok(())
    } else {
        Err(CliError::NotConfirmed)
    }
}
