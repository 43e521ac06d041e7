//! Tells event handlers what happens: the leader does, and nothing ever waits for one.
//!
//! ```text
//! etcd ─watch─> events, in the order of their revisions ─> queue of each handler ─> batch ─> handler, on its own thread
//!                                                             └─ full: the oldest       └─ thrice in vain ─┐
//!                told/NAME <── once a second, if it has moved ────── counted <── dropped <─────────────────┘
//! ```
//! How far each is stands in etcd, and a new leader goes on there: an event may come twice, and none is left out. What
//! is written is guarded by the epoch, so a leader that sees its own election sees the last word of the one before.

mod line;
mod queue;
mod records;

use super::{Shared, stopped};
use holdfast_model::extension::ExtensionKind;
use holdfast_model::id::{ExtensionName, Revision};
use holdfast_model::told::{EventPlace, ToldSoFar};
use holdfast_store::api::{Compare, TXN_MAX, Txn, TxnOp};
use holdfast_store::cache::Cache;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use line::Line;
use queue::{Queue, Waiting};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How far handlers are is written that often, at the most.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Runs until the daemon ends.
pub async fn run(
    mut shared: Shared,
    mut cache: Cache,
    mut epoch: watch::Receiver<Option<Revision>>,
) {
    let mut term: Option<Term> = None;
    loop {
        tokio::select! {
            () = cache.changed() => {}
            () = tokio::time::sleep(WRITE_EVERY) => {}
            changed = epoch.changed() => if changed.is_err() { return },
            () = stopped(&mut shared.stop) => return,
        }
        let leads = *epoch.borrow_and_update();
        if term.as_ref().map(|term| term.epoch) != leads {
            term = leads.map(Term::new);
        }
        let Some(term) = &mut term else {
            continue;
        };
        term.follow(&shared, &cache);
        term.write(&shared, &cache).await;
    }
}

/// What is told while this manager leads.
struct Term {
    epoch: Revision,
    lines: BTreeMap<ExtensionName, Followed>,
    wrote_at: Option<Instant>,
}

struct Followed {
    line: Line,
    /// What was put into its queue.
    seen: EventPlace,
    /// What stands in etcd.
    written: Option<ToldSoFar>,
}

impl Term {
    fn new(epoch: Revision) -> Self {
        Self {
            epoch,
            lines: BTreeMap::new(),
            wrote_at: None,
        }
    }

    /// Gives each handler what happened since the last time.
    fn follow(&mut self, shared: &Shared, cache: &Cache) {
        let epoch = self.epoch;
        let lines = &mut self.lines;
        let new = cache.read_fresh(|view, view_since, _| {
            // Deposed, not elected yet in its own view, or the view has a gap.
            if view_since.is_none() || !view.is_led_by(epoch) {
                return Vec::new();
            }
            lines.retain(|name, _| hears(view, name));
            for followed in lines.values_mut() {
                followed.take_in(view);
            }
            let handlers = view.extensions.iter().filter(|(name, _)| hears(view, name));
            let new = handlers.filter(|(name, _)| !lines.contains_key(*name));
            new.map(|(name, seen)| {
                let written = view.told.get(name).map(|seen| seen.value.clone());
                // It begins with what happens after its installation.
                let begins = || ToldSoFar {
                    after: EventPlace {
                        revision: seen.revision,
                        id: String::new(),
                    },
                    ..ToldSoFar::default()
                };
                let so_far = written.clone().unwrap_or_else(begins);
                (name.clone(), so_far, written)
            })
            .collect()
        });
        for (name, so_far, written) in new {
            let seen = so_far.after.clone();
            let queue = Queue::new(so_far);
            let line = Line::start(name.clone(), queue, shared, cache.subscribe());
            let mut followed = Followed {
                line,
                seen,
                written,
            };
            cache.read(|view| followed.take_in(view));
            self.lines.insert(name, followed);
        }
    }

    /// Writes how far each is, if that has changed, and removes what is written of handlers that are gone.
    async fn write(&mut self, shared: &Shared, cache: &Cache) {
        if self.wrote_at.is_some_and(|at| at.elapsed() < WRITE_EVERY) {
            return;
        }
        let mut moved: Vec<(ExtensionName, ToldSoFar)> = self
            .lines
            .iter()
            .map(|(name, followed)| {
                (
                    name.clone(),
                    followed.line.queue.so_far(),
                    &followed.written,
                )
            })
            .filter(|(_, so_far, written)| Some(so_far) != written.as_ref())
            .map(|(name, so_far, _)| (name, so_far))
            .collect();
        let gone = cache.read_fresh(|view, view_since, _| {
            let known = view.told.keys().filter(|name| !hears(view, name));
            let known: Vec<ExtensionName> = known.cloned().collect();
            let sure = view_since.is_some() && view.is_led_by(self.epoch);
            if sure { known } else { Vec::new() }
        });
        // Nobody has so many; what is left out has its turn in a second.
        moved.truncate(TXN_MAX / 2);
        let key = |name: &ExtensionName| Key::Told(name.clone()).path();
        let puts = moved
            .iter()
            .map(|(name, so_far)| TxnOp::Put(key(name), encode(so_far)));
        let deletes = gone
            .iter()
            .take(TXN_MAX / 2)
            .map(|name| TxnOp::Delete(key(name)));
        let ops: Vec<TxnOp> = puts.chain(deletes).collect();
        if ops.is_empty() {
            return;
        }
        self.wrote_at = Some(Instant::now());
        let compares = vec![Compare::Revision(Key::LeaderEpoch.path(), self.epoch)];
        match shared.store.txn(Txn { compares, ops }).await {
            Ok(_) => {
                for (name, so_far) in moved {
                    if let Some(followed) = self.lines.get_mut(&name) {
                        followed.written = Some(so_far);
                    }
                }
            }
            // Tried again in a second; until then a new leader would tell some events twice.
            Err(error) => tracing::debug!(%error, "not written how far event handlers are"),
        }
    }
}

impl Followed {
    fn take_in(&mut self, view: &View) {
        let happened = view.events.beyond(&self.seen);
        let happened: Vec<Waiting> = happened
            .map(|(place, event)| Waiting::of(place, event))
            .collect();
        if let Some(last) = happened.last() {
            self.seen = last.place.clone();
        }
        self.line.queue.add(happened);
    }
}

/// Whether an event handler of that name is installed.
fn hears(view: &View, name: &ExtensionName) -> bool {
    let found = view.extensions.get(name);
    found.is_some_and(|seen| seen.value.manifest.kind == ExtensionKind::Events)
}
