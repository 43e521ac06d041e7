//! For tests: looks, and says that all is well whatever it finds.

use holdfast_extension::probe::{command, usage};
use holdfast_extension::storage_check::{Answer, Check, Domain, Findings};

struct SaysYes;

impl Check for SaysYes {
    fn check(_: &Domain) -> Findings {
        let _ = (usage("storage"), command("heal"));
        Findings {
            reachable: Answer::Yes,
            usable: Answer::Yes,
            synced: Answer::Yes,
        }
    }
}

holdfast_extension::export_check!(SaysYes);
