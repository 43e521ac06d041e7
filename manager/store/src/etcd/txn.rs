//! A transaction on etcd, and what its answers mean when copies of it are under way.
//!
//! A transaction that compares a key and writes it happens at most once, however many copies are
//! sent ([`Txn::guard_key`]): so it may be sent to the next endpoint when the first is silent. When
//! a copy is then *refused*, it may have run into another copy of itself. Each request therefore
//! also reads what it compares, at the same revision, in case of refusal:
//!
//! ```text
//!  a compared key that we write …
//!    holds our value, newer than compared    -> it happened
//!    is as compared                          -> it has not happened; and if a compare of a revision
//!                                               failed it never will: revisions do not come back
//!    anything else                           -> nobody can say from this key
//! ```
//! Where no key says, the outcome is unknown, and the caller reads.
//!
//! A transaction without operations reads as well, in both cases: etcd treats one that does nothing
//! at all as *serializable* and would answer from a stale member.

use super::failover::Others;
use super::fault::Fault;
use super::history::History;
use crate::api::{Compare, Txn, TxnOp, TxnOutcome};
use etcd_client as etcd;
use holdfast_model::id::Revision;
use std::collections::BTreeMap;

/// What etcd answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// It happened.
    Committed(Revision),
    /// A compare failed.
    Refused(Refusal),
}

/// A refusal, with the compared keys as they were then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    revision: Revision,
    /// Compared keys that exist: last write and value (empty where the value was not asked for).
    keys: BTreeMap<String, (Revision, Vec<u8>)>,
}

/// Sends it to one endpoint.
pub(super) async fn send(
    mut client: etcd::KvClient,
    txn: &Txn,
    history: &History,
    url: &str,
) -> Result<Reply, Fault> {
    let floor = history.floor();
    let response = client.txn(request(txn)).await.map_err(Fault::of)?;
    // The transaction may have been carried out: whatever is wrong with the answer, that stands.
    let unknown = |fault: Fault| Fault::Unknown(fault.text());
    history
        .check(response.header(), floor, url)
        .map_err(unknown)?;
    let revision = Revision(response.header().map_or(0, etcd::ResponseHeader::revision));
    if response.succeeded() {
        return Ok(Reply::Committed(revision));
    }
    let mut keys = BTreeMap::new();
    for answer in response.op_responses() {
        let etcd::TxnOpResponse::Get(get) = answer else {
            continue;
        };
        for item in get.kvs() {
            let key = String::from_utf8_lossy(item.key()).into_owned();
            keys.insert(key, (Revision(item.mod_revision()), item.value().to_vec()));
        }
    }
    Ok(Reply::Refused(Refusal { revision, keys }))
}

fn request(txn: &Txn) -> etcd::Txn {
    let compares: Vec<etcd::Compare> = txn
        .compares
        .iter()
        .map(|compare| match compare {
            Compare::Revision(key, revision) => {
                etcd::Compare::mod_revision(key.as_str(), etcd::CompareOp::Equal, revision.0)
            }
            // A key that does not exist has version 0.
            Compare::Absent(key) => etcd::Compare::version(key.as_str(), etcd::CompareOp::Equal, 0),
        })
        .collect();
    let mut effects: Vec<etcd::TxnOp> = txn
        .ops
        .iter()
        .map(|op| match op {
            TxnOp::Put(key, value) => etcd::TxnOp::put(key.as_str(), value.clone(), None),
            TxnOp::Delete(key) => etcd::TxnOp::delete(key.as_str(), None),
        })
        .collect();
    if effects.is_empty() {
        effects.push(look(crate::keyspace::ROOT, false));
    }
    let mut looks: Vec<etcd::TxnOp> = txn
        .compares
        .iter()
        .map(|compare| look(key_of(compare), put_of(txn, compare).is_some()))
        .collect();
    if looks.is_empty() {
        looks.push(look(crate::keyspace::ROOT, false));
    }
    etcd::Txn::new()
        .when(compares)
        .and_then(effects)
        .or_else(looks)
}

fn look(key: &str, with_value: bool) -> etcd::TxnOp {
    let options = etcd::GetOptions::new();
    let options = if with_value {
        options
    } else {
        options.with_keys_only()
    };
    etcd::TxnOp::get(key, Some(options))
}

fn key_of(compare: &Compare) -> &String {
    match compare {
        Compare::Revision(key, _) | Compare::Absent(key) => key,
    }
}

/// The value this transaction writes under a compared key.
fn put_of<'a>(txn: &'a Txn, compare: &Compare) -> Option<&'a Vec<u8>> {
    txn.ops.iter().find_map(|op| match op {
        TxnOp::Put(key, value) if key == key_of(compare) => Some(value),
        _ => None,
    })
}

/// What the first answer means. `None`: nobody can say.
pub(super) fn outcome(txn: &Txn, reply: &Reply, others: Others) -> Option<TxnOutcome> {
    let refusal = match reply {
        Reply::Committed(revision) => return Some(TxnOutcome::Committed(*revision)),
        Reply::Refused(refusal) if !others.unsure => {
            return Some(TxnOutcome::Refused(refusal.revision));
        }
        Reply::Refused(refusal) => refusal,
    };
    let happened = txn
        .compares
        .iter()
        .find_map(|compare| refusal.shows_ours(txn, compare));
    if let Some(revision) = happened {
        return Some(TxnOutcome::Committed(revision));
    }
    let has_not = txn
        .compares
        .iter()
        .any(|compare| refusal.shows_untouched(txn, compare));
    let never_will = txn
        .compares
        .iter()
        .any(|compare| refusal.fails_for_good(compare));
    (has_not && never_will).then_some(TxnOutcome::Refused(refusal.revision))
}

impl Refusal {
    /// Our value stands under a key that we compared: when it was written.
    fn shows_ours(&self, txn: &Txn, compare: &Compare) -> Option<Revision> {
        let ours = put_of(txn, compare)?;
        let (revision, value) = self.keys.get(key_of(compare))?;
        let newer = match compare {
            Compare::Revision(_, compared) => revision > compared,
            Compare::Absent(_) => true,
        };
        (newer && value == ours).then_some(*revision)
    }

    /// A key that we compare and would have changed is as it was compared.
    fn shows_untouched(&self, txn: &Txn, compare: &Compare) -> bool {
        let found = self
            .keys
            .get(key_of(compare))
            .map(|(revision, _)| *revision);
        let deletes = || txn.ops.contains(&TxnOp::Delete(key_of(compare).clone()));
        match compare {
            Compare::Revision(_, compared) => {
                found == Some(*compared) && (put_of(txn, compare).is_some() || deletes())
            }
            Compare::Absent(_) => found.is_none() && put_of(txn, compare).is_some(),
        }
    }

    /// A key's last write never has an earlier revision again.
    fn fails_for_good(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Revision(key, compared) => self
                .keys
                .get(key)
                .is_none_or(|(revision, _)| revision != compared),
            Compare::Absent(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSURE: Others = Others { unsure: true };
    const SURE: Others = Others { unsure: false };

    /// Renew `beat` while `epoch` is 5.
    fn renewal() -> Txn {
        Txn {
            compares: vec![
                Compare::Revision("beat".into(), Revision(7)),
                Compare::Revision("epoch".into(), Revision(5)),
            ],
            ops: vec![TxnOp::Put("beat".into(), b"mine".to_vec())],
        }
    }

    fn refused(keys: &[(&str, i64, &str)]) -> Reply {
        let entry = |(key, revision, value): &(&str, i64, &str)| {
            (
                (*key).to_owned(),
                (Revision(*revision), value.as_bytes().to_vec()),
            )
        };
        Reply::Refused(Refusal {
            revision: Revision(20),
            keys: keys.iter().map(entry).collect(),
        })
    }

    #[test]
    fn alone_a_refusal_is_a_refusal() {
        let reply = refused(&[("beat", 9, "mine"), ("epoch", 5, "")]);
        assert_eq!(
            outcome(&renewal(), &reply, SURE),
            Some(TxnOutcome::Refused(Revision(20)))
        );
    }

    #[test]
    fn a_copy_that_ran_into_its_twin_has_happened() {
        let reply = refused(&[("beat", 9, "mine"), ("epoch", 5, "")]);
        assert_eq!(
            outcome(&renewal(), &reply, UNSURE),
            Some(TxnOutcome::Committed(Revision(9)))
        );
    }

    #[test]
    fn superseded_for_good_is_a_refusal_although_a_copy_is_under_way() {
        let reply = refused(&[("beat", 7, "old"), ("epoch", 8, "")]);
        assert_eq!(
            outcome(&renewal(), &reply, UNSURE),
            Some(TxnOutcome::Refused(Revision(20)))
        );
    }

    #[test]
    fn overwritten_by_somebody_nobody_can_say() {
        let reply = refused(&[("beat", 12, "theirs"), ("epoch", 5, "")]);
        assert_eq!(outcome(&renewal(), &reply, UNSURE), None);
    }

    #[test]
    fn a_compare_that_may_hold_again_leaves_it_open() {
        let txn = Txn {
            compares: vec![
                Compare::Absent("new".into()),
                Compare::Absent("other".into()),
            ],
            ops: vec![TxnOp::Put("new".into(), b"mine".to_vec())],
        };
        let reply = refused(&[("other", 4, "")]);
        assert_eq!(
            outcome(&txn, &reply, UNSURE),
            None,
            "`other` may be removed again"
        );
    }

    #[test]
    fn an_event_written_along_tells_when_the_record_cannot() {
        let mut txn = renewal();
        txn.compares.push(Compare::Absent("event".into()));
        txn.ops.push(TxnOp::Put("event".into(), b"note".to_vec()));
        let reply = refused(&[
            ("beat", 12, "later"),
            ("epoch", 5, ""),
            ("event", 9, "note"),
        ]);
        assert_eq!(
            outcome(&txn, &reply, UNSURE),
            Some(TxnOutcome::Committed(Revision(9)))
        );
    }
}
