//! A manager says that it is there, where somebody goes by that: where a fencing device is not reached from every site,
//! or agents may ask it.

use super::*;
use crate::sim::bounds::PRESENCE_MS;
use holdfast_model::leader::ManagerPresence;
use holdfast_store::api::{Txn, TxnOp};
use holdfast_store::guards::{encode, expect};
use holdfast_store::keyspace::Key;

/// When it does so next.
#[derive(Default)]
pub(super) struct Presence {
    beat: u64,
    next_at: Instant,
}

impl Manager {
    pub(super) fn tell_presence(&mut self, ctx: &mut Ctx) {
        let now = self.clock.at(ctx.now);
        if now < self.process.presence.next_at {
            return;
        }
        let next_at = now.plus(PRESENCE_MS);
        self.process.presence.next_at = next_at;
        let view = &self.process.view;
        let policy = view.policy.iter();
        let mut devices = policy.flat_map(|seen| seen.value.fencing.devices.values());
        if !devices.any(|device| !(device.from.is_empty() && device.askers.is_empty())) {
            return;
        }
        let key = Key::Manager(self.name.clone());
        let last = view.seen(&key).map(|(revision, _)| revision);
        self.process.presence.beat += 1;
        let record = ManagerPresence {
            name: self.name.clone(),
            site: self.site.clone(),
            api: String::new(),
            life: self.life.to_string(),
            version: String::new(),
            beat: self.process.presence.beat,
            extensions: BTreeMap::new(),
            shadows: BTreeMap::new(),
        };
        let txn = Txn {
            compares: vec![expect(&key, last)],
            ops: vec![TxnOp::Put(key.path(), encode(&record))],
        };
        self.call(ctx, Tag::Presence, Request::Txn(txn));
        self.wake(ctx, next_at);
    }
}
