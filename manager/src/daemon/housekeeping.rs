//! What the leader does besides deciding: it tells that granted VMs run, and trims old events.

use super::{Shared, stopped};
use holdfast_model::event::{Event, EventKind};
use holdfast_model::host::RunState;
use holdfast_model::id::{Generation, Revision, VmName};
use holdfast_model::policy::Budgets;
use holdfast_model::time::UnixMs;
use holdfast_store::api::{Compare, Txn, TxnOp};
use holdfast_store::cache::Cache;
use holdfast_store::clock::wall;
use holdfast_store::guards::{encode, event_id};
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// Events removed, or written, in one transaction.
const BATCH: usize = 100;
/// Look again after this long in any case.
const IDLE: Duration = Duration::from_secs(1);

/// Runs until the daemon ends.
pub async fn run(mut shared: Shared, mut cache: Cache, epoch: watch::Receiver<Option<Revision>>) {
    let mut told = None;
    let mut elected = None;
    loop {
        tokio::select! {
            () = cache.changed() => {}
            () = tokio::time::sleep(IDLE) => {}
            () = stopped(&mut shared.stop) => return,
        }
        let Some(leads) = *epoch.borrow() else {
            told = None;
            continue;
        };
        if cache.view_since().is_none() {
            continue;
        }
        let actor = shared.me.name.as_str();
        let mut events = cache.read(|view| {
            let told = told.get_or_insert_with(|| already_told(view));
            untold(view, told, actor, wall())
        });
        if elected != Some(leads) {
            elected = Some(leads);
            events.insert(0, leads_now(actor, leads));
        }
        for events in events.chunks(BATCH) {
            let puts = events.iter().map(|event| {
                let id = event_id(event, shared.numbers.fetch_add(1, Ordering::Relaxed));
                TxnOp::Put(Key::Event(id).path(), encode(event))
            });
            write(&shared, leads, puts.collect()).await;
        }
        let old = cache.read(too_old);
        for keys in old.chunks(BATCH) {
            let deletes = keys
                .iter()
                .map(|id| TxnOp::Delete(Key::Event(id.clone()).path()));
            write(&shared, leads, deletes.collect()).await;
        }
    }
}

/// Events are for people: one that cannot be written is lost, and told in the log.
async fn write(shared: &Shared, epoch: Revision, ops: Vec<TxnOp>) {
    let compares = vec![Compare::Revision(Key::LeaderEpoch.path(), epoch)];
    if let Err(error) = shared.store.txn(Txn { compares, ops }).await {
        tracing::warn!(%error, "events not written");
    }
}

fn leads_now(actor: &str, epoch: Revision) -> Event {
    Event {
        at: wall(),
        actor: actor.to_owned(),
        kind: EventKind::LeaderElected,
        host: None,
        site: None,
        vm: None,
        generation: None,
        text: format!("{actor} leads, epoch {epoch}"),
    }
}

/// The VMs that run, each under the generation it was granted.
fn running(view: &View) -> impl Iterator<Item = (&VmName, Event)> {
    view.vms.iter().filter_map(|(name, vm)| {
        let owner = &vm.owner.as_ref()?.value;
        let holder = owner.holder.as_ref()?;
        let report = &view.hosts.get(&holder.host)?.vms.get(name)?.value;
        let same =
            report.generation == owner.generation && report.incarnation == holder.incarnation;
        let runs = same && report.state == RunState::Running;
        let event = Event {
            at: UnixMs(0),
            actor: String::new(),
            kind: EventKind::VmRunning,
            host: Some(holder.host.clone()),
            site: None,
            vm: Some(name.clone()),
            generation: Some(owner.generation),
            text: format!(
                "{name} runs on {}, generation {}",
                holder.host, owner.generation
            ),
        };
        runs.then_some((name, event))
    })
}

/// What a new leader takes as told: what an event says, and what runs without a grant that an event
/// tells of (that one was long ago).
fn already_told(view: &View) -> BTreeMap<VmName, Generation> {
    let of = |kind: EventKind| {
        let events = view.events.values().filter(move |event| event.kind == kind);
        let pairs = events.filter_map(|event| Some((event.vm.clone()?, event.generation?)));
        pairs.collect::<BTreeMap<VmName, Generation>>()
    };
    let granted = of(EventKind::VmGranted);
    let mut told = of(EventKind::VmRunning);
    for (name, event) in running(view) {
        let generation = event.generation.unwrap_or_default();
        if granted.get(name) != Some(&generation) {
            told.insert(name.clone(), generation);
        }
    }
    told
}

/// Events to write now; they count as told.
fn untold(
    view: &View,
    told: &mut BTreeMap<VmName, Generation>,
    actor: &str,
    now: UnixMs,
) -> Vec<Event> {
    let mut events = Vec::new();
    for (name, event) in running(view) {
        let generation = event.generation.unwrap_or_default();
        if told.get(name).is_none_or(|told| *told < generation) {
            told.insert(name.clone(), generation);
            events.push(Event {
                at: now,
                actor: actor.to_owned(),
                ..event
            });
        }
    }
    events
}

/// The oldest events beyond those that are kept.
fn too_old(view: &View) -> Vec<String> {
    let kept = match &view.policy {
        Some(policy) => policy.value.budgets.events_kept,
        None => Budgets::default().events_kept,
    };
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
    // A tenth more may pile up, so that not every new event costs a removal.
    if view.events.len() <= kept.saturating_add(kept / 10) {
        return Vec::new();
    }
    let excess = view.events.len() - kept;
    view.events.keys().take(excess).cloned().collect()
}
