//! For tests: sends to what it was not granted.

use holdfast_extension::events::{Event, Handle};
use holdfast_extension::http;

struct Strays;

impl Handle for Strays {
    fn handle(_: &[Event]) -> Result<(), String> {
        for (target, path) in [
            ("webhook", "/elsewhere"),
            ("webhook", "/told/../x"),
            ("others", "/"),
        ] {
            if let Err(error) = http::post(target, path, "{}") {
                holdfast_extension::log::warn(&error.words());
            }
        }
        Ok(())
    }
}

holdfast_extension::export_events!(Strays);
