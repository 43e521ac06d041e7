//! The transactions of the two kinds of writer, each with the proof of its right.
//!
//! - [`step_txn`]: a step of the leader's plan, guarded by its epoch and by the revision of every
//!   record it was decided on;
//! - [`report_txn`]: what a host says, guarded by the last heartbeat of its own session, so only a
//!   living incarnation can write.

use crate::api::{Compare, Txn, TxnOp};
use crate::keyspace::Key;
use crate::view::View;
use holdfast_model::asking::HostAsks;
use holdfast_model::event::Event;
use holdfast_model::host::{HostReport, VmReport};
use holdfast_model::id::{HostName, Revision, VmName};
use holdfast_model::lease::Sighting;
use holdfast_model::plan::{Step, Write};
use holdfast_model::standing::HostExtensions;
use serde::Serialize;

/// The bytes of a record.
///
/// Serialising a model type cannot fail: they have no maps with keys that are not text and no
/// serialiser of their own that errors. Should one ever be added, `null` is written, which no
/// reader accepts: it shows as an unreadable record, and never as an absent one.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_else(|error| {
        tracing::error!(%error, "a record could not be serialised");
        b"null".to_vec()
    })
}

/// The compare for "as it was when I decided": at that revision, or not there.
pub fn expect(key: &Key, revision: Option<Revision>) -> Compare {
    match revision {
        Some(revision) => Compare::Revision(key.path(), revision),
        None => Compare::Absent(key.path()),
    }
}

/// A step of the leader's plan as one transaction. It happens only while `epoch` is the present
/// one and nothing it was decided on has changed. `event_id` names the events (see
/// [`event_id`]); each event is created, so a step that is sent twice does not write it twice.
pub fn step_txn(step: &Step, epoch: Revision, mut event_id: impl FnMut(&Event) -> String) -> Txn {
    let mut txn = Txn {
        compares: vec![Compare::Revision(Key::LeaderEpoch.path(), epoch)],
        ops: Vec::new(),
    };
    for write in &step.writes {
        add_write(&mut txn, write);
    }
    for event in &step.events {
        add_event(&mut txn, event_id(event), event);
    }
    txn
}

/// [`step_txn`], and with a VM's removal its entry in the index of UUIDs goes too: the step does not
/// name the UUID, the view it was decided on does. Executors use this one.
pub fn step_txn_in(
    view: &View,
    step: &Step,
    epoch: Revision,
    event_id: impl FnMut(&Event) -> String,
) -> Txn {
    let mut txn = step_txn(step, epoch, event_id);
    for write in &step.writes {
        let Write::DeleteVm {
            vm, expect_spec, ..
        } = write
        else {
            continue;
        };
        let spec = view.vms.get(vm).and_then(|view| view.spec.as_ref());
        // Another spec than the one decided on: the step fails on its guard, whatever is added.
        let Some(spec) = spec.filter(|spec| spec.revision == *expect_spec) else {
            continue;
        };
        let entry = view
            .uuids
            .get(&spec.value.uuid)
            .filter(|entry| entry.value == *vm);
        if let Some(entry) = entry {
            delete(&mut txn, Key::Uuid(spec.value.uuid.clone()), entry.revision);
        }
    }
    txn
}

fn add_write(txn: &mut Txn, write: &Write) {
    match write {
        Write::Owner { vm, owner, expect } => {
            put(txn, Key::VmOwner(vm.clone()), owner, *expect);
        }
        Write::CloseSession {
            host,
            session,
            expect,
        } => {
            put(txn, Key::HostSession(host.clone()), session, Some(*expect));
        }
        Write::Fence { record, expect } => {
            let key = Key::Fence(record.host.clone(), record.incarnation.clone());
            put(txn, key, record, *expect);
        }
        Write::HostState {
            host,
            state,
            expect,
        } => {
            put(txn, Key::HostState(host.clone()), state, *expect);
        }
        Write::DeleteOp { id, expect } => delete(txn, Key::Op(id.clone()), *expect),
        Write::DeleteVm {
            vm,
            expect_spec,
            expect_owner,
        } => {
            delete(txn, Key::VmSpec(vm.clone()), *expect_spec);
            match expect_owner {
                Some(revision) => delete(txn, Key::VmOwner(vm.clone()), *revision),
                None => txn.compares.push(expect_absent(Key::VmOwner(vm.clone()))),
            }
        }
        Write::CheckFence {
            host,
            incarnation,
            expect: revision,
        } => {
            let key = Key::Fence(host.clone(), incarnation.clone());
            txn.compares.push(expect(&key, Some(*revision)));
        }
        Write::CheckVmSpec {
            vm,
            expect: revision,
        } => {
            txn.compares
                .push(expect(&Key::VmSpec(vm.clone()), Some(*revision)));
        }
        Write::CheckSession {
            host,
            expect: revision,
        } => {
            txn.compares
                .push(expect(&Key::HostSession(host.clone()), Some(*revision)));
        }
        Write::CheckHostSpec {
            host,
            expect: revision,
        } => {
            txn.compares
                .push(expect(&Key::HostSpec(host.clone()), Some(*revision)));
        }
    }
}

fn expect_absent(key: Key) -> Compare {
    expect(&key, None)
}

fn put<T: Serialize>(txn: &mut Txn, key: Key, record: &T, revision: Option<Revision>) {
    txn.compares.push(expect(&key, revision));
    txn.ops.push(TxnOp::Put(key.path(), encode(record)));
}

fn delete(txn: &mut Txn, key: Key, revision: Revision) {
    txn.compares.push(expect(&key, Some(revision)));
    txn.ops.push(TxnOp::Delete(key.path()));
}

fn add_event(txn: &mut Txn, id: String, event: &Event) {
    let key = Key::Event(id);
    txn.compares.push(expect(&key, None));
    txn.ops.push(TxnOp::Put(key.path(), encode(event)));
}

/// The id of an event: `TIME-ACTOR-N`, which sorts by time. `number` tells events of one
/// millisecond and one actor apart.
pub fn event_id(event: &Event, number: u64) -> String {
    format!(
        "{:013}-{}-{number:06}",
        event.at.0,
        event.actor.replace('/', "_")
    )
}

/// The proof of a host's right to write: its own last heartbeat is still the last write of its
/// session. A heartbeat in between makes the guard fail: write again on the new revision.
pub fn session_guard(host: &HostName, session_revision: Revision) -> Compare {
    Compare::Revision(Key::HostSession(host.clone()).path(), session_revision)
}

/// What a host writes besides its heartbeat. `expect` is the revision of the host's own last write
/// of that record (`None`: it must not exist): it keeps a copy of an older report that is still
/// under way from overwriting a newer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostWrite {
    /// What it found about itself.
    Report {
        /// The record.
        report: HostReport,
        /// The last one's revision.
        expect: Option<Revision>,
    },
    /// How the extensions that it asks do there.
    Extensions {
        /// The record; none: it asks none any more.
        record: Option<HostExtensions>,
        /// The last one's revision.
        expect: Option<Revision>,
    },
    /// What its agent has for asking fencing devices of others.
    Asks {
        /// The record; none: nothing any more.
        record: Option<HostAsks>,
        /// The last one's revision.
        expect: Option<Revision>,
    },
    /// What became of a grant.
    Vm {
        /// Of which VM.
        vm: VmName,
        /// The record.
        report: VmReport,
        /// The last one's revision.
        expect: Option<Revision>,
    },
    /// A report is not needed any more.
    ForgetVm {
        /// Of which VM.
        vm: VmName,
        /// The last one's revision.
        expect: Revision,
    },
    /// What was found in another host's heartbeat slot.
    Saw {
        /// The other host.
        of: HostName,
        /// The record.
        sighting: Sighting,
        /// The last one's revision.
        expect: Option<Revision>,
    },
    /// A sighting is not needed any more.
    ForgetSaw {
        /// Of which host.
        of: HostName,
        /// The last one's revision.
        expect: Revision,
    },
    /// Something to tell.
    Event {
        /// Its id (see [`event_id`]).
        id: String,
        /// The event.
        event: Event,
    },
}

/// What a host says, as one transaction guarded by its session.
pub fn report_txn(host: &HostName, session_revision: Revision, writes: &[HostWrite]) -> Txn {
    let mut txn = Txn {
        compares: vec![session_guard(host, session_revision)],
        ops: Vec::new(),
    };
    for write in writes {
        match write {
            HostWrite::Report { report, expect } => {
                put(&mut txn, Key::HostReport(host.clone()), report, *expect);
            }
            HostWrite::Extensions { record, expect } => {
                let key = Key::HostExtensions(host.clone());
                match (record, expect) {
                    (Some(record), expect) => put(&mut txn, key, record, *expect),
                    (None, Some(expect)) => delete(&mut txn, key, *expect),
                    (None, None) => {}
                }
            }
            HostWrite::Asks { record, expect } => {
                let key = Key::HostAsks(host.clone());
                match (record, expect) {
                    (Some(record), expect) => put(&mut txn, key, record, *expect),
                    (None, Some(expect)) => delete(&mut txn, key, *expect),
                    (None, None) => {}
                }
            }
            HostWrite::Vm { vm, report, expect } => {
                put(
                    &mut txn,
                    Key::HostVm(host.clone(), vm.clone()),
                    report,
                    *expect,
                );
            }
            HostWrite::ForgetVm { vm, expect } => {
                delete(&mut txn, Key::HostVm(host.clone(), vm.clone()), *expect);
            }
            HostWrite::Saw {
                of,
                sighting,
                expect,
            } => put(
                &mut txn,
                Key::HostSaw(host.clone(), of.clone()),
                sighting,
                *expect,
            ),
            HostWrite::ForgetSaw { of, expect } => {
                delete(&mut txn, Key::HostSaw(host.clone(), of.clone()), *expect);
            }
            HostWrite::Event { id, event } => add_event(&mut txn, id.clone(), event),
        }
    }
    txn
}

/// Nothing but compares: an atomic, linearizable check that all of these are as they were. What an
/// agent asks before it resumes a VM: owner unchanged, session still its own.
pub fn check_txn(compares: Vec<Compare>) -> Txn {
    Txn {
        compares,
        ops: Vec::new(),
    }
}
