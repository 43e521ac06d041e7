//! Writing this host's records: each guarded by its session, each on the revision of its own last
//! write, and with a known outcome.

use super::life::Life;
use holdfast_model::host::VmReport;
use holdfast_model::id::{HostName, Incarnation, Revision, VmName};
use holdfast_store::api::{KeyValue, Store, StoreError, TxnOutcome};
use holdfast_store::guards::{HostWrite, encode, report_txn};
use holdfast_store::keyspace::Key;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How often a write is tried again when a heartbeat came in between, or had no answer.
const ATTEMPTS: u32 = 20;
/// For the next heartbeat to be acknowledged before another attempt.
const ATTEMPT_WAIT: Duration = Duration::from_millis(100);

/// Why a write did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The session is not open, or is another life's.
    #[error("the session is not open any more")]
    NoSession,
    /// Something else was there than expected.
    #[error("the record has changed in between")]
    Changed,
    /// The store did not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// This host's own reports as it wrote them, ahead of what the watch has brought.
type Own = BTreeMap<VmName, (Revision, Option<VmReport>)>;

/// Writes this host's records.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn Store>,
    host: HostName,
    life: watch::Receiver<Life>,
    own: Arc<Mutex<Own>>,
}

impl Records {
    /// For this host.
    pub fn new(store: Arc<dyn Store>, host: HostName, life: watch::Receiver<Life>) -> Self {
        Self {
            store,
            host,
            life,
            own: Arc::default(),
        }
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// This host.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The session as it stands.
    pub fn life(&self) -> Life {
        self.life.borrow().clone()
    }

    /// Lays what this host wrote over what the watch has brought so far. `seen` tells the revision
    /// the view has of a report.
    pub fn overlay(
        &self,
        reports: &mut BTreeMap<VmName, VmReport>,
        seen: impl Fn(&VmName) -> Option<Revision>,
    ) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|vm, (revision, report)| {
            match (seen(vm), report) {
                (Some(seen), _) if seen >= *revision => return false,
                (None, None) => return false,
                (_, Some(report)) => drop(reports.insert(vm.clone(), report.clone())),
                (_, None) => drop(reports.remove(vm)),
            }
            true
        });
    }

    /// Writes or removes a report on a VM, with events. `seen` is the revision that the view has.
    pub async fn write_vm(
        &self,
        incarnation: &Incarnation,
        vm: &VmName,
        report: Option<VmReport>,
        seen: Option<Revision>,
        events: Vec<HostWrite>,
    ) -> Result<(), WriteError> {
        let write = match (report.clone(), self.expected(vm, seen)) {
            (Some(report), expect) => HostWrite::Vm {
                vm: vm.clone(),
                report,
                expect,
            },
            (None, Some(expect)) => HostWrite::ForgetVm {
                vm: vm.clone(),
                expect,
            },
            (None, None) => return Ok(()),
        };
        let writes: Vec<HostWrite> = [write].into_iter().chain(events).collect();
        let key = Key::HostVm(self.host.clone(), vm.clone());
        let wanted = report.as_ref().map(encode);
        let written = self.write(incarnation, &writes, &key, wanted.as_deref());
        let result = written.await;
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(revision) => {
                own.insert(vm.clone(), (revision, report));
                Ok(())
            }
            // What is there is read anew, by way of the watch.
            Err(error) => {
                own.remove(vm);
                Err(error)
            }
        }
    }

    fn expected(&self, vm: &VmName, seen: Option<Revision>) -> Option<Revision> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        match own.get(vm) {
            Some((revision, _)) if seen.is_some_and(|seen| seen >= *revision) => seen,
            Some((revision, Some(_))) => Some(*revision),
            Some((_, None)) => None,
            None => seen,
        }
    }

    /// Writes records of this host until the outcome is known. `key` with the value `wanted`
    /// afterwards (`None`: absent) tells that it has happened.
    pub async fn write(
        &self,
        incarnation: &Incarnation,
        writes: &[HostWrite],
        key: &Key,
        wanted: Option<&[u8]>,
    ) -> Result<Revision, WriteError> {
        let mut life = self.life.clone();
        let mut last = WriteError::NoSession;
        let mut unknown = false;
        for _ in 0..ATTEMPTS {
            let guard = session_revision(&life.borrow_and_update(), incarnation)?;
            let txn = report_txn(&self.host, guard, writes);
            match self.store.txn(txn).await {
                Ok(TxnOutcome::Committed(revision)) => return Ok(revision),
                Ok(TxnOutcome::Refused(_)) => {
                    // By a heartbeat in between, by the record itself, or by an earlier attempt of
                    // this very write that did happen.
                    let item = self.read(key).await?;
                    let there = item.as_ref().map(|item| item.value.as_slice());
                    if unknown && there == wanted {
                        let revision = item.map(|item| item.revision);
                        return Ok(revision.unwrap_or(guard));
                    }
                    if item.map(|item| item.revision) != expected_of(writes) {
                        return Err(WriteError::Changed);
                    }
                    last = WriteError::Changed;
                }
                Err(error) => {
                    unknown |= matches!(error, StoreError::OutcomeUnknown { .. });
                    last = WriteError::Store(error);
                }
            }
            // For the next acknowledged heartbeat, or a little while.
            let _ = tokio::time::timeout(ATTEMPT_WAIT, life.changed()).await;
        }
        Err(last)
    }

    /// One record as it stands.
    pub async fn read(&self, key: &Key) -> Result<Option<KeyValue>, StoreError> {
        let path = key.path();
        let listing = self.store.list(&path).await?;
        Ok(listing.items.into_iter().find(|item| item.key == path))
    }
}

/// The revision that guards this life's writes.
fn session_revision(life: &Life, incarnation: &Incarnation) -> Result<Revision, WriteError> {
    match life {
        Life::Open(open) if open.incarnation == *incarnation => {
            let ack = open.acknowledged.ok_or(WriteError::NoSession)?;
            Ok(ack.revision)
        }
        _ => Err(WriteError::NoSession),
    }
}

/// The revision that the first of these writes compares.
fn expected_of(writes: &[HostWrite]) -> Option<Revision> {
    match writes.first() {
        Some(
            HostWrite::Vm { expect, .. }
            | HostWrite::Report { expect, .. }
            | HostWrite::Extensions { expect, .. }
            | HostWrite::Asks { expect, .. }
            | HostWrite::Saw { expect, .. },
        ) => *expect,
        Some(HostWrite::ForgetVm { expect, .. } | HostWrite::ForgetSaw { expect, .. }) => {
            Some(*expect)
        }
        Some(HostWrite::Event { .. }) | None => None,
    }
}
