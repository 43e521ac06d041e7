//! Writes: decide on the view, write guarded, and where the view was behind, look again.
//!
//! ```text
//! view ─> decide ─> transaction ─> committed ─> wait until the own view has it ─> answer
//!   ^                    └─ refused: the view was behind ─┐
//!   └──────────── wait until it has caught up ────────────┘   (a few times)
//! ```
//! Every change of an operator leaves an event with who asked, in the same transaction.

use super::App;
use super::problem::Problem;
use crate::why::{Asked, explain};
use axum::Json;
use holdfast_model::event::{Event, EventKind};
use holdfast_model::id::{HostName, OpId, Revision, VmName};
use holdfast_model::op::{Op, Request};
use holdfast_model::plan::{Plan, Subject, Write};
use holdfast_store::api::{Batch, Change as Seen, Compare, KeyValue, Txn, TxnOp, TxnOutcome};
use holdfast_store::clock::wall;
use holdfast_store::guards::{encode, event_id, expect};
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Look;

/// A write that is refused this often in a row is given up.
const ATTEMPTS: u32 = 5;
/// The own view has a write after this long, or the answer goes out without it.
const CATCH_UP: Duration = Duration::from_secs(2);
/// Steps and reports of a preview that are told.
const TOLD: usize = 50;

/// What a request comes down to.
pub enum Decided {
    /// This is to be written.
    Write(Change),
    /// It is so already.
    Nothing(String),
}

/// A change to be written.
pub struct Change {
    /// The writes, with their guards.
    pub txn: Txn,
    /// What it does, in words.
    pub text: String,
    /// What to know before or after.
    pub warnings: Vec<String>,
    /// About which VM, for the event.
    pub vm: Option<VmName>,
    /// About which host, for the event.
    pub host: Option<HostName>,
    /// The request in it that the planner answers.
    pub op: Option<OpId>,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Something was written (or, as a trial, would be).
    pub changed: bool,
    /// Nothing was written: it was a trial.
    pub dry_run: bool,
    /// The revision of the write.
    pub revision: Option<Revision>,
    /// What was done, in words.
    pub text: String,
    /// What to know.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Of a trial: what the planner would do first.
    #[serde(default)]
    pub would: Vec<String>,
    /// Of a trial: what would wait, and for what.
    #[serde(default)]
    pub waits: Vec<String>,
}

/// Who asks for what.
pub struct Asking {
    /// By name.
    pub by: String,
    /// A trial.
    pub dry_run: bool,
    /// The revision of the record that the caller has seen.
    pub revision: Option<Revision>,
}

impl Asking {
    /// Whether the record stands at the revision that the caller has seen, if they say which. `what` it is, in words;
    /// `current`: none if it is not there.
    ///
    /// # Errors
    /// If somebody changed it meanwhile.
    pub fn still(&self, what: &str, current: Option<Revision>) -> Result<(), Problem> {
        match self.revision {
            Some(seen) if Some(seen) != current => Err(Problem::stale(what, seen, current)),
            Some(_) | None => Ok(()),
        }
    }
}

impl Change {
    /// A change without anything in it yet.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            txn: Txn::default(),
            text: text.into(),
            warnings: Vec::new(),
            vm: None,
            host: None,
            op: None,
        }
    }

    /// Adds a guarded write.
    pub fn put<T: Serialize>(mut self, key: Key, record: &T, seen: Option<Revision>) -> Self {
        self.txn.compares.push(expect(&key, seen));
        self.txn.ops.push(TxnOp::Put(key.path(), encode(record)));
        self
    }

    /// Adds a guarded removal.
    pub fn remove(mut self, key: Key, seen: Revision) -> Self {
        self.txn.compares.push(expect(&key, Some(seen)));
        self.txn.ops.push(TxnOp::Delete(key.path()));
        self
    }

    /// Adds a condition.
    pub fn guard(mut self, compare: Compare) -> Self {
        self.txn.compares.push(compare);
        self
    }

    /// Adds a request that the planner answers.
    pub fn ask(self, id: &OpId, by: &str, request: Request) -> Self {
        let op = Op {
            id: id.clone(),
            by: by.to_owned(),
            request,
        };
        let mut change = self.put(Key::Op(id.clone()), &op, None);
        change.op = Some(id.clone());
        change
    }
}

/// Carries a request out. `decide` may be called again when the view has changed.
pub async fn carry_out(
    app: &App,
    asking: &Asking,
    decide: impl Fn(&Look<'_>) -> Result<Decided, Problem>,
) -> Result<Json<Outcome>, Problem> {
    if let Some(seen) = asking.revision {
        // The caller may have read from a manager that is ahead of this one.
        catch_up(app, seen).await;
    }
    for _ in 0..ATTEMPTS {
        let decided = app.look(|look| {
            let decided = decide(look)?;
            if let Decided::Write(change) = &decided
                && (asking.dry_run || change.op.is_some())
            {
                let trial = try_out(look.view, &look.asked, &change.txn);
                refused_by_planner(&trial, change)?;
                if asking.dry_run {
                    return Ok((Some(trial), decided));
                }
            }
            Ok((None, decided))
        })??;
        let (trial, mut change) = match decided {
            (_, Decided::Nothing(text)) => return Ok(Json(done_already(asking, text))),
            (trial, Decided::Write(change)) => (trial, change),
        };
        if let Some(trial) = trial {
            return Ok(Json(told(&trial, change)));
        }
        record(app, asking, &mut change);
        match app.store.txn(change.txn.clone()).await {
            Ok(TxnOutcome::Committed(revision)) => {
                catch_up(app, revision).await;
                return Ok(Json(Outcome {
                    changed: true,
                    dry_run: false,
                    revision: Some(revision),
                    text: change.text,
                    warnings: change.warnings,
                    would: Vec::new(),
                    waits: Vec::new(),
                }));
            }
            Ok(TxnOutcome::Refused(revision)) => catch_up(app, revision).await,
            Err(error) => return Err(Problem::store(&error)),
        }
    }
    Err(Problem::new(
        "contended",
        "others kept changing the same records while this was tried; nothing was changed. Try again",
    ))
}

fn done_already(asking: &Asking, text: String) -> Outcome {
    Outcome {
        changed: false,
        dry_run: asking.dry_run,
        revision: None,
        text,
        warnings: Vec::new(),
        would: Vec::new(),
        waits: Vec::new(),
    }
}

/// The event that goes with a change.
fn record(app: &App, asking: &Asking, change: &mut Change) {
    let event = Event {
        at: wall(),
        actor: app.manager.to_string(),
        kind: EventKind::Note,
        host: change.host.clone(),
        site: None,
        vm: change.vm.clone(),
        generation: None,
        text: format!("{} asked: {}", asking.by, change.text),
    };
    let id = event_id(&event, app.own.numbers.fetch_add(1, Ordering::Relaxed));
    let key = Key::Event(id);
    change.txn.compares.push(expect(&key, None));
    change.txn.ops.push(TxnOp::Put(key.path(), encode(&event)));
}

/// Waits until the own view has this revision, for a while.
async fn catch_up(app: &App, revision: Revision) {
    let mut cache = app.cache.subscribe();
    let wait = async {
        while cache.read(|view| view.revision < revision) {
            cache.changed().await;
        }
    };
    // The write happened; a view that stays behind is told by the status.
    tokio::time::timeout(CATCH_UP, wait).await.ok();
}

/// What the planner would do if this were written.
fn try_out(view: &View, asked: &Asked, txn: &Txn) -> Plan {
    let mut trial = view.clone();
    let revision = Revision(view.revision.0.saturating_add(1));
    let changes = txn.ops.iter().map(|op| match op {
        TxnOp::Put(key, value) => Seen::Put(KeyValue {
            key: key.clone(),
            value: value.clone(),
            revision,
        }),
        TxnOp::Delete(key) => Seen::Delete(key.clone(), revision),
    });
    let batch = Batch {
        revision,
        changes: changes.collect(),
    };
    trial.apply(&batch, asked.now);
    explain(&trial, asked)
}

/// A request that the planner would refuse at once is refused here, with its words.
fn refused_by_planner(trial: &Plan, change: &Change) -> Result<(), Problem> {
    let Some(op) = &change.op else { return Ok(()) };
    for step in &trial.steps {
        let answers = |write: &Write| matches!(write, Write::DeleteOp { id, .. } if id == op);
        let refusal = step
            .events
            .iter()
            .find(|event| event.kind == EventKind::OpRefused);
        if let (true, Some(event)) = (step.writes.iter().any(answers), refusal) {
            return Err(Problem::new("not-possible", event.text.clone()));
        }
    }
    Ok(())
}

fn told(trial: &Plan, change: Change) -> Outcome {
    let about = |subject: &Subject| match subject {
        Subject::Vm(vm) => change.vm.as_ref().is_none_or(|only| only == vm),
        Subject::Host(host) => change.host.as_ref().is_none_or(|only| only == host),
        _ => true,
    };
    let waits = trial.reports.iter().filter(|report| about(&report.subject));
    let waits = waits.map(|report| {
        let subject = match &report.subject {
            Subject::Cluster => "the cluster".to_owned(),
            Subject::Host(name) => name.to_string(),
            Subject::Vm(name) => name.to_string(),
            Subject::Site(name) => format!("site {name}"),
        };
        let refused: Vec<String> = report
            .refused
            .iter()
            .map(|(host, why)| format!("{host}: {why}"))
            .collect();
        let refused = if refused.is_empty() {
            String::new()
        } else {
            format!(" [{}]", refused.join("; "))
        };
        format!("{subject}: {}{refused}", report.text)
    });
    Outcome {
        changed: true,
        dry_run: true,
        revision: None,
        text: change.text.clone(),
        warnings: change.warnings.clone(),
        would: trial
            .steps
            .iter()
            .map(|step| step.why.clone())
            .take(TOLD)
            .collect(),
        waits: waits.take(TOLD).collect(),
    }
}
