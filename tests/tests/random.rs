//! Fixed seeds of the random-fault simulation. Fresh ones: `cargo xtask sim --seeds N`.

use holdfast_tests::random::run;

/// Enough to meet every fault several times; seconds.
const SEEDS: u64 = 12;

#[test]
fn fixed_seeds_break_no_invariant_and_end_well() {
    for seed in 1..=SEEDS {
        let done = run(seed);
        assert!(
            done.run.errors.is_empty(),
            "seed {seed}: {:#?}\nrepeat it: holdfast-sim --seed {seed} --trace FILE",
            done.run.errors
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_its_record_repeats_it() {
    let (first, second) = (run(7), run(7));
    assert_eq!(first.run.log, second.run.log);
    assert_ne!(first.run.log, run(8).run.log);
    let again = holdfast_tests::scenario::run(&first.text);
    assert_eq!(again.errors, first.run.errors);
}
