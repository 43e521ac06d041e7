//! Running compilers and their like.

use std::process::{Command, Stdio};

use crate::{KitError, Result};

/// Runs it; what it says is shown only if it fails.
pub(crate) fn quietly(command: &mut Command) -> Result<String> {
    // Where a tool is at fault, its words are enough.
    let output = command
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(command, format!("cannot be started: {error}"), ""))?;
    let out = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(out.into_owned());
    }
    let said = format!("{}{out}", String::from_utf8_lossy(&output.stderr));
    Err(failed(
        command,
        format!("ended with {}", output.status),
        &said,
    ))
}

/// Runs it; what it says on standard error is shown as it comes. Returns its standard output.
pub(crate) fn openly(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(command, format!("cannot be started: {error}"), ""))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(failed(command, format!("ended with {}", output.status), "")),
    }
}

fn failed(command: &Command, ended: String, said: &str) -> KitError {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    KitError::Command {
        command: words.join(" "),
        ended,
        said: said.to_owned(),
    }
}
