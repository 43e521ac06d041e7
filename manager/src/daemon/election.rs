//! The election: a thin loop around the pure [`Leadership`]. What it decides goes out as the epoch:
//! some while this manager leads, none otherwise.

use super::{Shared, stopped};
use crate::required::another_is_fitter;
use holdfast_model::id::Revision;
use holdfast_model::policy::Policy;
use holdfast_store::cache::Cache;
use holdfast_store::guarded::Ask;
use holdfast_store::leadership::{Leadership, Pace, Seat, Turn};
use holdfast_store::run::perform;
use holdfast_store::view::View;
use std::time::Duration;
use tokio::sync::watch;

/// The lead is given up within this at the end, or silence gives it up.
const RELEASE_BOUND: Duration = Duration::from_secs(2);

/// A manager that lacks what the policy requires lets one that has it lead, for so many renewals: a takeover is one
/// transaction, and if it has not happened by then, there is nobody to wait for.
const STAND_BACK: u64 = 4;

/// Runs until the daemon ends; gives the lead up then.
pub async fn run(mut shared: Shared, mut cache: Cache, epoch: watch::Sender<Option<Revision>>) {
    let mut leadership = Leadership::new(shared.me.clone(), cache.read(pace));
    loop {
        let own = shared.extensions.readiness();
        let (now, seat, pace) = cache.read_fresh(|view, since, now| {
            let pace = pace(view);
            let is_behind = another_is_fitter(view, now, &shared.me.name, &own);
            let stand_back_ms = match is_behind {
                true => STAND_BACK * pace.renew_ms,
                false => 0,
            };
            (now, Seat::of(view, since).behind(stand_back_ms), pace)
        });
        leadership.set_pace(pace);
        let ask = leadership.poll(now, &seat);
        if let Ask::Wait(until) = &ask {
            let wait = tokio::time::sleep(Duration::from_millis(until.since(now)));
            let standby = leadership.epoch().is_none();
            tokio::select! {
                () = wait => {}
                () = cache.changed(), if standby => {}
                () = stopped(&mut shared.stop) => break,
            }
            continue;
        }
        // A call has a deadline of its own; what it did is found out by reading.
        if let Some(answer) = perform(&*shared.store, &ask).await {
            let turn = leadership.answer((shared.clock)(), answer);
            tell(&shared, turn);
        }
        epoch.send_if_modified(|known| {
            let changed = *known != leadership.epoch();
            *known = leadership.epoch();
            changed
        });
        if *shared.stop.borrow() {
            break;
        }
    }
    epoch.send_replace(None);
    release(&shared, &mut leadership).await;
}

async fn release(shared: &Shared, leadership: &mut Leadership) {
    let Some(txn) = leadership.release((shared.clock)()) else {
        return;
    };
    match tokio::time::timeout(RELEASE_BOUND, shared.store.txn(txn)).await {
        Ok(Ok(_)) => tracing::info!("gave the lead up"),
        Ok(Err(error)) => tracing::warn!(%error, "could not give the lead up; silence does it"),
        Err(_) => tracing::warn!("could not give the lead up in time; silence does it"),
    }
}

fn pace(view: &View) -> Pace {
    let timing = match &view.policy {
        Some(policy) => policy.value.timing.resolve(),
        None => Policy::default().timing.resolve(),
    };
    Pace {
        renew_ms: timing.leader_renew_ms,
        wait_ms: timing.leader_wait_ms,
    }
}

fn tell(shared: &Shared, turn: Option<Turn>) {
    match turn {
        Some(Turn::Elected { epoch }) => {
            tracing::info!(manager = %shared.me.name, %epoch, "leads");
        }
        Some(Turn::Deposed(lost)) => tracing::warn!(?lost, "does not lead any more"),
        Some(Turn::Renewed(_)) | None => {}
    }
}
