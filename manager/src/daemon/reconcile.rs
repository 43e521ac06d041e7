//! The leader's loop: look, plan, verify, execute; then again when something changed or the plan
//! says so. Level, not edge: what changed does not matter, only what is.
//!
//! ```text
//!   changed · wake_at · elected ──> World ──> plan ──> verify ──> execute ──┐
//!        ^                                               └─ violations: told, not executed
//!        └──────── wait until the own view has what was written ────────────┘
//! ```

use super::executor::{Executed, Ready, execute, prepare};
use super::{Shared, stopped};
use crate::extensions::Noted;
use holdfast_core::{planner, verify};
use holdfast_model::id::Revision;
use holdfast_model::plan::Plan;
use holdfast_model::world::World;
use holdfast_store::cache::Cache;
use holdfast_store::clock::wall;
use std::time::Duration;
use tokio::sync::watch;

/// A burst of changes is one plan: wait this long for its rest, or as long as the last decision
/// took, so that deciding takes half of the time at most. Short against every bound.
const DEBOUNCE: Duration = Duration::from_millis(3);
/// Look again after this long in any case: a view that goes stale wakes nobody.
const IDLE: Duration = Duration::from_millis(500);
/// After a plan of which nothing was accepted: no use in asking faster.
const PAUSE: Duration = Duration::from_millis(50);
/// The own view has a write after this long, or the store is not well.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Runs until the daemon ends.
pub async fn run(
    mut shared: Shared,
    mut cache: Cache,
    mut epoch: watch::Receiver<Option<Revision>>,
    violations: watch::Sender<Vec<String>>,
) {
    let mut wait = Duration::ZERO;
    let mut thought_ms = 0;
    loop {
        let debounce = DEBOUNCE.max(Duration::from_millis(thought_ms));
        tokio::select! {
            () = cache.changed() => tokio::time::sleep(debounce).await,
            () = tokio::time::sleep(wait) => {}
            () = shared.fencer.answered() => {}
            () = shared.prober.changed() => {}
            changed = epoch.changed() => if changed.is_err() { return },
            () = stopped(&mut shared.stop) => return,
        }
        let leads = *epoch.borrow_and_update();
        let Some(leads) = leads else {
            wait = IDLE;
            continue;
        };
        let began = (shared.clock)();
        let round = decide(&shared, &cache, leads, &violations);
        thought_ms = (shared.clock)().since(began);
        let Some(round) = round else {
            wait = IDLE;
            continue;
        };
        wait = round.wait.min(IDLE);
        if round.steps.is_empty() {
            shared.extensions.decisions.take_in(round.asked, wall());
            continue;
        }
        let executed = execute(&shared, round.steps, leads, &epoch).await;
        tracing::debug!(?executed, "plan executed");
        shared.extensions.decisions.take_in(round.asked, wall());
        settle(&mut cache, &executed).await;
        wait = if executed.done == 0 {
            PAUSE
        } else {
            Duration::ZERO
        };
    }
}

/// One decision, ready to be executed.
struct Round {
    steps: Vec<Ready>,
    wait: Duration,
    /// What extensions were asked: kept once it is executed.
    asked: Noted,
}

/// Looks and plans. None: the view is no ground for a plan now.
fn decide(
    shared: &Shared,
    cache: &Cache,
    epoch: Revision,
    violations: &watch::Sender<Vec<String>>,
) -> Option<Round> {
    // The view stands still only while it is copied, not while the planner thinks.
    let world = cache.read_fresh(|view, view_since, now| {
        let view_since = view_since?;
        if !view.is_led_by(epoch) {
            return None; // deposed, or its own election is not in the view yet
        }
        Some(match view.can_plan() {
            Ok(()) => Ok(view.world(now, wall(), view_since, epoch, &shared.me.name)),
            Err(why) => Err(why),
        })
    })?;
    let mut world = match world {
        Ok(world) => world,
        Err(why) => {
            set_violations(violations, vec![why]);
            return None;
        }
    };
    shared.prober.complete(&mut world);
    shared.fencer.complete(&mut world);
    let decision = shared.extensions.decision();
    let plan = planner::plan_with(&world, &decision);
    let asked = decision.noted();
    let wait = plan
        .wake_at
        .map_or(IDLE, |at| Duration::from_millis(at.since(world.now).max(1)));
    let steps = match checked(&world, plan) {
        Ok(mut plan) => {
            set_violations(violations, Vec::new());
            plan.steps.extend(shared.fencer.journal(&world));
            cache.read(|view| prepare(view, &plan, epoch, shared))
        }
        Err(found) => {
            set_violations(violations, found);
            Vec::new()
        }
    };
    Some(Round { steps, wait, asked })
}

/// The plan, if the independent check finds nothing wrong with it: otherwise none of it is
/// executed.
fn checked(world: &World, plan: Plan) -> Result<Plan, Vec<String>> {
    let found = verify::verify(world, &plan);
    if found.is_empty() {
        return Ok(plan);
    }
    Err(found.iter().map(ToString::to_string).collect())
}

fn set_violations(violations: &watch::Sender<Vec<String>>, found: Vec<String>) {
    violations.send_if_modified(|known| {
        if *known == found {
            return false;
        }
        for violation in &found {
            tracing::error!(violation, "a plan is not executed");
        }
        *known = found;
        true
    });
}

/// Waits until the view has what was written, so that the next plan does not decide it again. With
/// unknown outcomes, until it has anything new.
async fn settle(cache: &mut Cache, executed: &Executed) {
    let wait = async {
        while cache.read(|view| view.revision < executed.needs) {
            cache.changed().await;
        }
        if executed.unknown > 0 {
            cache.changed().await;
        }
    };
    if tokio::time::timeout(CATCH_UP, wait).await.is_err() {
        tracing::debug!("the view has not caught up yet");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::id::{Generation, HostName, Incarnation, ManagerName, VmName};
    use holdfast_model::plan::{Step, Write};
    use holdfast_model::time::{Instant, UnixMs};
    use holdfast_model::vm::{Failures, Intent, Owner, Runner};
    use holdfast_store::view::View;
    use std::str::FromStr;

    #[test]
    fn a_plan_that_fails_the_check_is_not_executed() {
        let leader = ManagerName::from_str("m-a").expect("a name");
        let world = View::default().world(Instant(1), UnixMs(1), Instant(0), Revision(1), &leader);
        checked(&world, Plan::default()).expect("nothing is wrong with nothing");
        // A grant of a VM that is not there, to a host that is not there.
        let owner = Owner {
            holder: Some(Runner {
                host: HostName::from_str("a1").expect("a name"),
                incarnation: Incarnation::from_str("life").expect("a name"),
            }),
            incoming: None,
            generation: Generation(1),
            lease: holdfast_model::lease::StorageClass::Plain,
            intent: Intent::Run,
            rest: None,
            failures: Failures::default(),
            placed_by_hand: false,
            run_serial: 0,
            migrate_failures: 0,
            follows: Vec::new(),
            reason: String::new(),
        };
        let vm = VmName::from_str("web").expect("a name");
        let step = Step {
            writes: vec![Write::Owner {
                vm,
                owner,
                expect: None,
            }],
            events: Vec::new(),
            why: "bad".to_owned(),
        };
        let plan = Plan {
            steps: vec![step],
            ..Plan::default()
        };
        assert!(
            !checked(&world, plan)
                .expect_err("it must be refused")
                .is_empty()
        );
    }
}
