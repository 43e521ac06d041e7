//! Whether it is there, and can be used.

use crate::Look;
use holdfast_extension::log;
use holdfast_extension::probe::{Error, Space};
use holdfast_extension::storage_check::{Answer, Domain};

/// What a read may take, in milliseconds.
const MAX_READ_MS: u64 = 2_000;
/// What the kernel calls it.
const GLUSTERFS: &str = "fuse.glusterfs";

/// Reachable, and usable.
pub(crate) fn answers(domain: &Domain, look: &impl Look) -> (Answer, Answer) {
    let max_read_ms = match domain.setting("max_read_ms").map(str::parse) {
        None => MAX_READ_MS,
        Some(Ok(ms)) => ms,
        Some(Err(_)) => {
            let odd = "the setting `max_read_ms` is no number";
            complain(&format!("{}: {odd}", domain.name));
            return both(Answer::Unknown(odd.to_owned()));
        }
    };
    let space = match look.usage() {
        Ok(space) => space,
        Err(error) => return both(failed(&error)),
    };
    let wanted = domain.setting("file_system").unwrap_or(GLUSTERFS);
    if wanted != "any" && space.kind != wanted {
        return both(Answer::No(format!(
            "{} is on {}, not on {wanted}: the volume is not mounted",
            domain.path, space.kind
        )));
    }
    (Answer::Yes, usable(&space, look, max_read_ms))
}

fn both(answer: Answer) -> (Answer, Answer) {
    (answer.clone(), answer)
}

fn usable(space: &Space, look: &impl Look, max_read_ms: u64) -> Answer {
    if space.read_only {
        return Answer::No("it is read-only".to_owned());
    }
    if space.free_bytes == 0 {
        return Answer::No("the file system is full".to_owned());
    }
    match look.read_latency() {
        Err(error) => failed(&error),
        Ok(us) if us > max_read_ms.saturating_mul(1_000) => Answer::No(format!(
            "a read took {} ms, more than {max_read_ms}",
            us / 1_000
        )),
        Ok(_) => Answer::Yes,
    }
}

/// Only what was tried and failed is a no.
fn failed(error: &Error) -> Answer {
    match error {
        Error::Failed(_) => Answer::No(error.words()),
        Error::NoName(_) | Error::TimedOut(_) => Answer::Unknown(error.words()),
    }
}

/// Natively there is nobody to hear it.
fn complain(text: &str) {
    if cfg!(target_arch = "wasm32") {
        log::error(text);
    }
}
