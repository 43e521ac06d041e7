//! The leader stands still right after a step of its plan was applied, once at each step: another one
//! takes over in the middle, and the first finds itself deposed, or goes on. Whatever it was, it is
//! finished once.

use holdfast_tests::scenario::run;

const SETUP: &str = "\
# The leader changes at a step of a plan.
site a
site b
witness w
volume quorum
host a1 site=a
host a2 site=a
host b1 site=b
host b2 site=b
policy timing.profile = \"default\"
policy failback.hold_down_ms = 30000
advance 1s
vm db1 memory=1024 site=a priority=20
vm web1 memory=512 site=a priority=10
vm db2 memory=1024 site=b priority=20
vm web2 memory=512 site=b priority=10
advance 20s
expect all running
mark
";

/// With the longest time that it may take, what must have come of it.
const PLANS: [(&str, &str); 6] = [
    ("power host a1 off", "vm db1 boots 1"),
    ("cut a1 all\nsan cut a1", "vm db1 boots 1"),
    ("power site b off", "vm db2 running at a"),
    ("drain a1", "vm db1 running on a2"),
    ("move db1 b1", "vm db1 running on b1"),
    ("stop web1\nadvance 10s\nstart web1", "vm web1 boots 1"),
];

/// Longer than a standby waits, and shorter: the leader is deposed, or is not.
const PAUSES_MS: [u64; 2] = [3_000, 600];

#[test]
fn a_plan_is_finished_by_whoever_leads_then() {
    for (plan, outcome) in PLANS {
        for pause_ms in PAUSES_MS {
            let steps = paused_at_each_step(plan, outcome, pause_ms);
            assert!(steps >= 2, "`{plan}` takes {steps} steps: is it a plan?");
        }
    }
}

/// How many steps there are to be paused at.
fn paused_at_each_step(plan: &str, outcome: &str, pause_ms: u64) -> u32 {
    for step in 1.. {
        let text = format!(
            "{SETUP}pause-leader {step} {pause_ms}ms\n{plan}\nwait 90s until {outcome}\nwait 60s \
             until all running\nadvance 5s\nexpect {outcome}\nexpect no-strays\nexpect runs-once\n"
        );
        let run = run(&text);
        assert_eq!(run.errors, Vec::<String>::new(), "{text}\n{}", run.log);
        if !run.log.contains("is applied and its leader paused") {
            return step - 1;
        }
    }
    0
}
