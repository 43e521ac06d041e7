//! Is this still the same store? Revisions only grow, and the cluster's id never changes, unless
//! etcd was wiped, restored or replaced underneath. Then nothing decided before holds.

use super::fault::Fault;
use crate::api::StoreError;
use etcd_client::ResponseHeader;
use holdfast_model::id::Revision;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What this process has seen of the store's identity.
#[derive(Default)]
pub(super) struct History {
    /// 0: not known yet.
    cluster: AtomicU64,
    newest: AtomicI64,
}

impl History {
    /// No linearizable answer to a call sent from here on may be older.
    pub(super) fn floor(&self) -> i64 {
        self.newest.load(Ordering::SeqCst)
    }

    /// Refuses an answer of another store, or of this one set back. `floor` was taken before the
    /// call was sent.
    pub(super) fn check(
        &self,
        header: Option<&ResponseHeader>,
        floor: i64,
        url: &str,
    ) -> Result<(), Fault> {
        let Some(header) = header else {
            return Err(Fault::Unknown(format!(
                "{url} sent an answer without a header"
            )));
        };
        self.admit(header.cluster_id(), header.revision(), floor, url)
    }

    fn admit(&self, cluster: u64, revision: i64, floor: i64, url: &str) -> Result<(), Fault> {
        let known = self
            .cluster
            .compare_exchange(0, cluster, Ordering::SeqCst, Ordering::SeqCst)
            .unwrap_or_else(|known| known);
        if known != 0 && known != cluster {
            return Err(Fault::Final(StoreError::Refused(format!(
                "{url} is of another etcd cluster ({cluster:x}) than the one used so far \
                 ({known:x}); correct the endpoints, or restart this daemon if etcd was replaced \
                 on purpose"
            ))));
        }
        if revision < floor {
            return Err(Fault::Final(StoreError::Refused(format!(
                "etcd went back in time: {url} is at revision {revision}, and {floor} was seen \
                 before; if it was restored from a backup on purpose, restart this daemon"
            ))));
        }
        self.newest.fetch_max(revision, Ordering::SeqCst);
        Ok(())
    }

    /// A revision that a watch brought.
    pub(super) fn saw(&self, revision: Revision) {
        self.newest.fetch_max(revision.0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cluster_and_an_older_revision_are_refused() {
        let history = History::default();
        history.admit(7, 10, 0, "a").expect("the first");
        let floor = history.floor();
        history.admit(7, 10, floor, "b").expect("the same again");
        for (refused, says) in [
            (history.admit(8, 11, floor, "b"), "another"),
            (history.admit(7, 9, floor, "b"), "back"),
        ] {
            let Err(Fault::Final(StoreError::Refused(text))) = refused else {
                panic!("{says}: {refused:?}");
            };
            assert!(text.contains(says), "{text}");
        }
        // Sent before revision 10 was seen: an older answer is in order.
        history.admit(7, 9, 0, "a").expect("a slow answer");
    }
}
