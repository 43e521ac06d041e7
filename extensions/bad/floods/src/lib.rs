//! For tests: asks for a thousand requests in every call, and takes every answer for a good one.

use holdfast_extension::events::{Event, Handle};
use holdfast_extension::http;

struct Floods;

impl Handle for Floods {
    fn handle(_: &[Event]) -> Result<(), String> {
        for _ in 0..1_000 {
            // Whatever it answers.
            let _ = http::post("webhook", "/", "{}");
        }
        Ok(())
    }
}

holdfast_extension::export_events!(Floods);
