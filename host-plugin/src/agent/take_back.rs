//! A store that was set back to an older state (etcd restored from a backup) has forgotten the life this
//! host is in: the session that stands there is of an earlier one. The life goes on, if its guard still has
//! it and nobody has closed it; its VMs are touched by nobody meanwhile.

use super::bounds::bounds_of;
use super::life::Life;
use super::session::{LOOK_AGAIN, Opened, SessionTask, VOLUME_WAIT};
use crate::guard::protocol::Call;
use holdfast_model::host::Session;
use holdfast_model::id::{Incarnation, Revision};
use holdfast_store::keyspace::Key;
use holdfast_store::session;

impl SessionTask {
    /// Whose session stands in the store now that this one is lost; none without an answer.
    pub(super) async fn found(&self) -> Option<Session> {
        let key = Key::HostSession(self.host.clone()).path();
        let read = tokio::time::timeout(LOOK_AGAIN, self.store.list(&key)).await;
        let listing = read.ok()?.ok()?;
        let item = listing.items.into_iter().find(|item| item.key == key)?;
        serde_json::from_slice(&item.value).ok()
    }

    /// Goes on with the life in the state file. `None`: it is over, and forgotten.
    pub(super) async fn take_back(&mut self, base: Revision) -> Option<Opened> {
        let incarnation = self.life_file.read()?;
        let known = match &*self.life.borrow() {
            Life::Opening(open) | Life::Open(open) if open.incarnation == incarnation => {
                Some((open.bounds.clone(), open.storage.clone()))
            }
            _ => None,
        };
        let timing = self.timing.borrow().clone();
        let (bounds, storage) = match known {
            Some(known) => known,
            None => {
                let storage = self.slot(VOLUME_WAIT).await;
                (bounds_of(&timing, self.watchdog_ms), storage)
            }
        };
        let slot = storage.as_ref().map(|plane| plane.slot);
        let armed_on = self.arm(&incarnation, &bounds, slot, VOLUME_WAIT).await;
        if armed_on.is_none() {
            self.end_of(incarnation).await;
            return None;
        }
        let session = self.session(&incarnation, &bounds, &storage, true);
        tracing::warn!(
            %incarnation,
            "the store has forgotten this life: it was set back; the life goes on"
        );
        let host = self.host.clone();
        Some(Opened {
            heartbeat: session::taken_back(host, session, base, timing.heartbeat_ms),
            incarnation,
            bounds,
            armed_on,
            storage,
        })
    }

    async fn end_of(&self, incarnation: Incarnation) {
        tracing::error!(%incarnation, "this life is over; its VMs are stopped here");
        self.life.send_replace(Life::Cleaning);
        if let Err(error) = self.guard.call(Call::Revoke { incarnation }).await {
            tracing::warn!(%error, "the VMs are stopped through libvirt alone");
        }
        self.life_file.forget();
    }
}
