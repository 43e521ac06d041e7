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
use holdfast_core::{planner, verify};
use holdfast_model::id::Revision;
use holdfast_model::time::Instant;
use holdfast_store::cache::Cache;
use holdfast_store::clock::wall;
use holdfast_store::view::View;
use std::time::Duration;
use tokio::sync::watch;

/// A burst of changes is one plan: wait this long for its rest. Short against every bound.
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
    loop {
        tokio::select! {
            () = cache.changed() => tokio::time::sleep(DEBOUNCE).await,
            () = tokio::time::sleep(wait) => {}
            changed = epoch.changed() => if changed.is_err() { return },
            () = stopped(&mut shared.stop) => return,
        }
        let leads = *epoch.borrow_and_update();
        let Some(leads) = leads else {
            wait = IDLE;
            continue;
        };
        let Some(round) = decide(&shared, &cache, leads, &violations) else {
            wait = IDLE;
            continue;
        };
        wait = round.wait.min(IDLE);
        if round.steps.is_empty() {
            continue;
        }
        let executed = execute(&shared, round.steps, leads, &epoch).await;
        tracing::debug!(?executed, "plan executed");
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
}

/// Looks and plans. None: the view is no ground for a plan now.
fn decide(
    shared: &Shared,
    cache: &Cache,
    epoch: Revision,
    violations: &watch::Sender<Vec<String>>,
) -> Option<Round> {
    cache.read_fresh(|view, view_since, now| {
        let view_since = view_since?;
        let found = view.can_plan().err();
        if let Some(why) = found {
            set_violations(violations, vec![why]);
            return None;
        }
        Some(plan(shared, view, (view_since, now), epoch, violations))
    })
}

fn plan(
    shared: &Shared,
    view: &View,
    (view_since, now): (Instant, Instant),
    epoch: Revision,
    violations: &watch::Sender<Vec<String>>,
) -> Round {
    let world = view.world(now, wall(), view_since, epoch, &shared.me.name);
    let plan = planner::plan(&world);
    let wait = plan
        .wake_at
        .map_or(IDLE, |at| Duration::from_millis(at.since(now).max(1)));
    let found = verify::verify(&world, &plan);
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let refused = !found.is_empty();
    set_violations(violations, found);
    let steps = if refused {
        Vec::new()
    } else {
        prepare(view, &plan, epoch, shared)
    };
    Round { steps, wait }
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
