//! What goes wrong with the store, with its watches, and with clocks on the wall.

use super::Sim;
use super::event::Client;
use super::faults::FaultError;
use holdfast_model::id::SiteName;
use holdfast_store::api::{Txn, TxnOp};
use holdfast_store::keyspace::ROOT;
use std::collections::BTreeMap;

/// From the last check of a start to its vCPUs, in milliseconds.
const CHECKED_MS: u64 = 100;
/// Records in one transaction.
const RESTORED_AT_ONCE: usize = 64;

impl Sim {
    /// A voter's process is gone, or is started. Its site's brick is another machine.
    pub fn set_voter(&mut self, site: &SiteName, up: bool) -> Result<(), FaultError> {
        if self.ctx.voters.is_alive(site) == up || self.dark.contains(site) {
            return Err(FaultError::Nothing(format!("voter of {site}")));
        }
        self.ctx.voters.set_alive(site, up);
        self.ctx.net_changed();
        Ok(())
    }

    /// The store forgets its history. Watches that are connected do not notice; one with a gap has to
    /// list anew.
    pub fn compact_store(&mut self) {
        let managers = self.managers.values().filter(|manager| manager.up);
        let managers = managers.map(|manager| (manager.client(), manager.watched()));
        let agents = self.hosts.values().filter_map(|host| {
            let client = Client::Agent(host.m.name.clone(), host.m.agent_life);
            Some((client, host.agent.as_ref()?.watched()))
        });
        let connected = |(client, watched)| {
            let until = self.ctx.gaps.get(&client).copied().unwrap_or(0);
            (until <= self.ctx.now).then_some(watched)
        };
        let seen_by_all = managers.chain(agents).filter_map(connected).min();
        if let Some(at) = seen_by_all {
            self.ctx.compact(at);
        }
    }

    /// A backup of the store is taken.
    pub fn back_up_store(&mut self) {
        self.backup = Some(self.ctx.store.list_now(ROOT));
    }

    /// The store is set back to the backup: everything written since is gone, and every record that was
    /// changed since has another revision. (etcd is stopped for that, and its revisions go back as well;
    /// here its clients see the change and the revisions go on.)
    pub fn restore_store(&mut self) -> Result<(), FaultError> {
        let nothing = || FaultError::Nothing("backup".to_owned());
        let backup = self.backup.take().ok_or_else(nothing)?;
        let then: BTreeMap<_, _> = backup.items.iter().map(|i| (&i.key, &i.value)).collect();
        let now = self.ctx.store.list_now(ROOT);
        let now: BTreeMap<_, _> = now.items.iter().map(|i| (&i.key, &i.value)).collect();
        let gone = now.keys().filter(|key| !then.contains_key(*key));
        let gone = gone.map(|key| TxnOp::Delete((*key).clone()));
        let changed = then
            .iter()
            .filter(|(key, value)| now.get(*key) != Some(value));
        let changed = changed.map(|(key, value)| TxnOp::Put((*key).clone(), (*value).clone()));
        let ops: Vec<TxnOp> = gone.chain(changed).collect();
        self.ctx.truth.starts_forgiven_until = self.ctx.now + CHECKED_MS;
        for ops in ops.chunks(RESTORED_AT_ONCE) {
            let compares = Vec::new();
            let ops = ops.to_vec();
            self.ctx.operator_txn(Txn { compares, ops });
        }
        Ok(())
    }

    /// The process of that name: an agent by its host, a manager by its site.
    fn client_of(&self, name: &str) -> Result<Client, FaultError> {
        let agent = self
            .hosts
            .values()
            .find(|host| host.m.name.as_str() == name);
        if let Some(host) = agent {
            return Ok(Client::Agent(host.m.name.clone(), host.m.agent_life));
        }
        let manager = self.managers.values().find(|m| m.site.as_str() == name);
        let unknown = || FaultError::Unknown(name.to_owned());
        manager
            .map(super::manager::Manager::client)
            .ok_or_else(unknown)
    }

    /// A process's watches bring nothing for a while; then they go on from where they were.
    pub fn watch_gap(&mut self, name: &str, ms: u64) -> Result<(), FaultError> {
        let client = self.client_of(name)?;
        self.ctx.gaps.insert(client, self.ctx.now + ms);
        Ok(())
    }

    /// The next writes of plans, or of reports, are applied and their answers are lost.
    pub fn lose_replies(&mut self, name: &str, times: u32) -> Result<(), FaultError> {
        let client = self.client_of(name)?;
        self.ctx.lost_replies.insert(client, times);
        Ok(())
    }

    /// After so many more steps of plans, whoever sent the last of them is stopped for a while; after
    /// none: nobody is any more.
    pub fn pause_leader(&mut self, steps: u32, ms: u64) {
        self.ctx.pause_leader = (steps > 0).then_some((steps, ms));
    }

    pub(super) fn pause_leaders(&mut self) {
        for (name, ms) in std::mem::take(&mut self.ctx.paused) {
            if let Some(manager) = self.managers.get_mut(&name).filter(|manager| manager.up) {
                manager.frozen_until = self.ctx.now + ms;
            }
        }
    }

    /// The clock on the wall of a manager's machine is set forward or back. A simulated host has none:
    /// nothing that it does reads one.
    pub fn step_clock(&mut self, site: &SiteName, ms: i64) -> Result<(), FaultError> {
        let name = super::manager::manager_of(site);
        let unknown = || FaultError::Unknown(name.to_string());
        self.managers
            .get_mut(&name)
            .ok_or_else(unknown)?
            .wall_offset_ms += ms;
        Ok(())
    }
}
