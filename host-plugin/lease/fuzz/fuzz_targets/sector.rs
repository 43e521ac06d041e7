//! Any bytes as a sector: see `holdfast_lease::fuzzing::sector`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = holdfast_lease::fuzzing::sector(bytes) {
        panic!("{broken}");
    }
});
