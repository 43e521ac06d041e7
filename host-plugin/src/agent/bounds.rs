//! What this host declares that it keeps: the policy's bounds, and the reset only as its guard can promise
//! it.
//!
//! A taker adds the declared watchdog bound to its wait, and waits at least as long as the policy says
//! (`core`'s fencing step). So:
//!
//! | policy | the guard's watchdog | declared | |
//! |---|---|---|---|
//! | 0 | any | 0 | no taker waits for a reset; a stuck VM's host is reset all the same, only later |
//! | more | as long, or shorter | the policy's | |
//! | more | longer | the real one | takers wait longer for this host: said, because nobody planned for it |
//! | more | none | 0 | waiting for a reset that does not come buys nothing: said, because a VM that cannot be killed is then not covered |
//!
//! Both are warnings, not errors: with neither does a taker act earlier than this host has promised. The
//! guard's own state is another matter; it kills at the deadline with or without a watchdog.

use holdfast_model::host::RunnerBounds;
use holdfast_model::timing::Timing;

/// The bounds to declare. `watchdog_ms`: the guard's own word, 0 without a watchdog that resets the host.
pub(super) fn bounds_of(timing: &Timing, watchdog_ms: u64) -> RunnerBounds {
    RunnerBounds {
        runner_deadline_ms: timing.runner_deadline_ms,
        kill_bound_ms: timing.kill_bound_ms,
        watchdog_bound_ms: match (timing.watchdog_bound_ms, watchdog_ms) {
            (0, _) | (_, 0) => 0,
            (policy, real) => policy.max(real),
        },
    }
}

/// What is to be said about it.
pub(super) fn mismatch(timing: &Timing, watchdog_ms: u64) -> Option<String> {
    let policy = timing.watchdog_bound_ms;
    match watchdog_ms {
        0 if policy > 0 => Some(format!(
            "policy counts on a watchdog that resets a host within {policy} ms (watchdog_bound_ms), and \
             this host's guard has none: a VM here that cannot be killed may outlive the wait of a \
             takeover; set up [guard.watchdog] in host.toml"
        )),
        real if policy > 0 && real > policy => Some(format!(
            "this host's watchdog needs {real} ms, and policy says {policy} ms (watchdog_bound_ms): \
             others wait for {real} ms; set a shorter timeout_s under [guard.watchdog], or a longer \
             bound and taker_wait_ms in the policy"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::timing::Profile;

    fn policy(watchdog_bound_ms: u64) -> Timing {
        Timing {
            watchdog_bound_ms,
            ..Timing::of(Profile::Default)
        }
    }

    #[test]
    fn a_reset_is_declared_only_if_it_comes_and_never_shorter_than_it_is() {
        for (by_policy, real, declared, says) in [
            (0, 0, 0, None),
            (0, 10_000, 0, None),
            (10_000, 8_000, 10_000, None),
            (10_000, 10_000, 10_000, None),
            (10_000, 16_000, 16_000, Some("others wait for 16000 ms")),
            (10_000, 0, 0, Some("this host's guard has none")),
        ] {
            let timing = policy(by_policy);
            let bounds = bounds_of(&timing, real);
            assert_eq!(bounds.watchdog_bound_ms, declared, "{by_policy} {real}");
            assert_eq!(bounds.kill_bound_ms, 1_000);
            match (mismatch(&timing, real), says) {
                (None, None) => {}
                (Some(said), Some(says)) => assert!(said.contains(says), "{said}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_taker_waits_for_a_reset_that_takes_longer_than_the_policy_says() {
        let bounds = bounds_of(&policy(10_000), 16_000);
        assert!(bounds.required_wait_ms() > 4_000 + 1_000 + 16_000);
    }
}
