//! Any bytes as the beginning of a volume: see `holdfast_lease::fuzzing::head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = holdfast_lease::fuzzing::head(bytes) {
        panic!("{broken}");
    }
});
