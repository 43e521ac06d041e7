//! Says whether a storage is there, has room and answers soon.
//!
//! Setting of a storage: `path`, the granted name of its path (if that is not the storage's own name).

use holdfast_extension::probe::{self, Error};
use holdfast_extension::storage_check::{Answer, Check, Domain, Findings};

/// Slower than this it is not usable.
const SLOW_US: u64 = 1_000_000;
/// Fuller than this it is not usable.
const LEAST_FREE_BYTES: u64 = 1 << 30;

struct Checker;

impl Check for Checker {
    fn check(domain: &Domain) -> Findings {
        let path = domain.setting("path").unwrap_or(&domain.name);
        let space = probe::usage(path);
        let usable = match &space {
            Err(error) => failed(error),
            Ok(space) if space.read_only => Answer::No("it is read-only".to_owned()),
            Ok(space) if space.free_bytes < LEAST_FREE_BYTES => Answer::No("it is full".to_owned()),
            Ok(_) => match probe::read_latency(path) {
                Ok(us) if us > SLOW_US => Answer::No(format!("a read took {} ms", us / 1000)),
                Ok(_) => Answer::Yes,
                Err(error) => failed(&error),
            },
        };
        Findings {
            reachable: space.map_or_else(|error| failed(&error), |_| Answer::Yes),
            usable,
            // Say `Yes` only of what was looked at: VMs return to a site on this word.
            synced: Answer::Unknown("not looked at".to_owned()),
        }
    }
}

fn failed(error: &Error) -> Answer {
    match error {
        Error::Failed(text) => Answer::No(text.clone()),
        // Nothing was learned about the storage, and a no has VMs leave.
        Error::NoName(text) | Error::TimedOut(text) => Answer::Unknown(text.clone()),
    }
}

holdfast_extension::export_check!(Checker);
