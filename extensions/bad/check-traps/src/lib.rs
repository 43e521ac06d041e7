//! For tests: takes for granted that its look finds something, and panics if not.

use holdfast_extension::probe::usage;
use holdfast_extension::storage_check::{Answer, Check, Domain, Findings};

struct Traps;

impl Check for Traps {
    fn check(domain: &Domain) -> Findings {
        let space =
            usage("storage").unwrap_or_else(|error| panic!("{}: {}", domain.name, error.words()));
        let usable = match space.read_only || space.free_bytes == 0 {
            true => Answer::No("it takes no writes".to_owned()),
            false => Answer::Yes,
        };
        Findings {
            reachable: Answer::Yes,
            usable,
            synced: Answer::Unknown("it is not looked at".to_owned()),
        }
    }
}

holdfast_extension::export_check!(Traps);
