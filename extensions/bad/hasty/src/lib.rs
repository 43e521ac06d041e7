//! For tests: tells of machines that run, of nothing else, and takes every answer for a good one.

use holdfast_extension::events::{Event, Handle};
use holdfast_extension::{http, log};

struct Hasty;

impl Handle for Hasty {
    fn handle(events: &[Event]) -> Result<(), String> {
        if events.iter().any(|event| event.kind == "vm-running") {
            log::info("a machine runs");
            // Whatever it answers.
            let _ = http::post("webhook", "/", "{}");
        }
        Ok(())
    }
}

holdfast_extension::export_events!(Hasty);
