//! For tests: never returns.

use holdfast_extension::events::{Event, Handle};
use std::hint::black_box;

struct Spins;

impl Handle for Spins {
    fn handle(_: &[Event]) -> Result<(), String> {
        loop {
            black_box(());
        }
    }
}

holdfast_extension::export_events!(Spins);
