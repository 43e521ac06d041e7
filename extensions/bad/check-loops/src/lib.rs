//! For tests: computes without end.

use holdfast_extension::storage_check::{Check, Domain, Findings};
use std::hint::black_box;

struct Loops;

impl Check for Loops {
    fn check(_: &Domain) -> Findings {
        let mut n = 0_u64;
        loop {
            n = black_box(n).wrapping_add(1);
        }
    }
}

holdfast_extension::export_check!(Loops);
