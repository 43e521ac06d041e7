//! For tests: panics when it hears of a kind that it does not know.

use holdfast_extension::events::{Event, Handle};

struct Panics;

impl Handle for Panics {
    fn handle(events: &[Event]) -> Result<(), String> {
        for event in events {
            assert!(event.kind.starts_with("host-"), "what is `{}`?", event.kind);
        }
        Ok(())
    }
}

holdfast_extension::export_events!(Panics);
