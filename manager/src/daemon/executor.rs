//! Executes a plan: each step one guarded transaction. It makes no choices.
//!
//! Steps of one plan do not depend on each other (a VM or a host is written at most once per plan),
//! so several are under way at a time; they are begun in the plan's order. A refused step is a
//! normal result: something it was decided on has changed, and the next round sees it.

use super::Shared;
use super::fence::Mandate;
use futures::stream::{self, StreamExt};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::Revision;
use holdfast_model::plan::{Plan, Step};
use holdfast_model::power::PowerAsk;
use holdfast_store::api::{Txn, TxnOutcome};
use holdfast_store::guards::{event_id, step_txn_in};
use holdfast_store::view::View;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// Transactions under way at a time. etcd writes concurrent ones to disk together, so a mass
/// restart costs a few disk writes and not one per VM.
const UNDER_WAY: usize = 16;

/// A step ready to be sent.
pub struct Ready {
    why: String,
    txn: Txn,
    /// The device to ask once the step is accepted.
    ask: Option<(PowerAsk, FenceDevice)>,
    /// How long a decision holds: another manager may lead after it, in milliseconds.
    holds_ms: u64,
}

/// What came of a plan.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// Steps that happened.
    pub done: usize,
    /// Steps whose guard did not hold.
    pub refused: usize,
    /// Steps that had no answer or were not sent.
    pub unknown: usize,
    /// The own view is of use for the next plan once it has this revision.
    pub needs: Revision,
}

/// The transactions of a plan, made on the view it was decided on.
pub fn prepare(view: &View, plan: &Plan, epoch: Revision, shared: &Shared) -> Vec<Ready> {
    let number = |event: &_| event_id(event, shared.numbers.fetch_add(1, Ordering::Relaxed));
    let policy = view.policy.as_ref().map(|seen| &seen.value);
    let holds_ms = policy.map_or(0, |policy| policy.timing.resolve().leader_wait_ms);
    let ready = |step: &Step, ask| Ready {
        why: step.why.clone(),
        txn: step_txn_in(view, step, epoch, number),
        ask,
        holds_ms,
    };
    let steps = plan.steps.iter().map(|step| ready(step, None));
    let asks = plan.asks.iter().filter_map(|ask| {
        let device = policy?.fencing.devices.get(&ask.device)?;
        Some(ready(&ask.step, Some((ask.clone(), device.clone()))))
    });
    steps.chain(asks).collect()
}

/// Sends them. Stops early when the lead is lost or the store does not answer.
pub async fn execute(
    shared: &Shared,
    steps: Vec<Ready>,
    epoch: Revision,
    leads: &watch::Receiver<Option<Revision>>,
) -> Executed {
    let mut executed = Executed::default();
    let total = steps.len();
    let mut sent = stream::iter(steps)
        .map(|step| async move {
            if *leads.borrow() != Some(epoch) {
                return (step.why, None);
            }
            let until = (shared.clock)().plus(step.holds_ms);
            let outcome = shared.store.txn(step.txn).await;
            // Refused or unanswered: nothing is asked.
            if let (Some((ask, device)), Ok(TxnOutcome::Committed(_))) = (step.ask, &outcome) {
                let leads = leads.clone();
                let mandate = Mandate {
                    epoch,
                    leads,
                    until,
                };
                shared.fencer.ask(ask, device, mandate);
            }
            (step.why, Some(outcome))
        })
        .buffered(UNDER_WAY);
    while let Some((why, outcome)) = sent.next().await {
        match outcome {
            Some(Ok(TxnOutcome::Committed(revision))) => {
                tracing::info!(%revision, "{why}");
                executed.done += 1;
                executed.needs = executed.needs.max(revision);
            }
            Some(Ok(TxnOutcome::Refused(revision))) => {
                tracing::debug!(%revision, "refused, it will be decided anew: {why}");
                executed.refused += 1;
                executed.needs = executed.needs.max(revision);
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "not written: {why}");
                break;
            }
            None => break,
        }
    }
    executed.unknown = total - executed.done - executed.refused;
    executed
}
