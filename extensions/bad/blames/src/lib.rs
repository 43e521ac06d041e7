//! For tests: where its looks find nothing it says no, and not why.

use holdfast_extension::probe::usage;
use holdfast_extension::storage_check::{Answer, Check, Domain, Findings};

struct Blames;

impl Check for Blames {
    fn check(_: &Domain) -> Findings {
        let answer = || match usage("storage") {
            Ok(space) if !space.read_only && space.free_bytes > 0 => Answer::Yes,
            _ => Answer::No(String::new()),
        };
        Findings {
            reachable: answer(),
            usable: answer(),
            synced: Answer::Unknown("it is not looked at".to_owned()),
        }
    }
}

holdfast_extension::export_check!(Blames);
