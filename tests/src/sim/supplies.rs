//! A host that is fed by several supplies, each with an outlet of its own that a device switches: it is off when all of
//! them are cut, and runs on with one. Which devices those are the policy says, by `all_of`.

use super::Sim;
use holdfast_model::id::{DeviceName, HostName};
use std::collections::BTreeSet;

impl Sim {
    /// The devices that switch one supply of a host each.
    fn supplies(&self, host: &HostName) -> BTreeSet<DeviceName> {
        let devices = self.policy.fencing.devices_of(host).into_iter();
        let supplies = devices.filter(|(_, how)| how.all_of);
        supplies.map(|(name, _)| name.clone()).collect()
    }

    /// A device does what it is told.
    pub(super) fn switch_off(&mut self, host: &HostName, device: &DeviceName) {
        let supplies = self.supplies(host);
        if supplies.contains(device) {
            let cut = self.cut_supplies.entry(host.clone()).or_default();
            let news = cut.insert(device.clone());
            let all = supplies.is_subset(cut);
            if news {
                self.ctx.log(host, format!("its supply {device} is cut"));
            }
            if !all {
                return;
            }
        }
        if self.hosts.get(host).is_some_and(|host| host.m.powered) {
            self.ctx.log(host, "is switched off by its fencing device");
            self.set_host_power(host, false);
            self.look_at_migrations();
        }
    }

    /// What a device switches has no power: the outlet of a supply, or the host.
    pub(super) fn is_off(&self, host: &HostName, device: &DeviceName) -> bool {
        if self.supplies(host).contains(device) {
            let cut = self.cut_supplies.get(host);
            return cut.is_some_and(|cut| cut.contains(device));
        }
        self.hosts.get(host).is_some_and(|host| !host.m.powered)
    }

    /// An outlet always has; a board while one of its host's supplies has.
    pub(super) fn has_power(&self, host: &HostName, device: &DeviceName) -> bool {
        let Some(cut) = self.cut_supplies.get(host) else {
            return true;
        };
        let supplies = self.supplies(host);
        supplies.contains(device) || supplies.is_empty() || !supplies.is_subset(cut)
    }

    /// Somebody puts all of them back. False: none was cut.
    pub(super) fn restore_supplies(&mut self, host: &HostName) -> bool {
        let any = self.cut_supplies.remove(host).is_some();
        if any {
            let now = self.ctx.now;
            self.ctx.truth.put_back.insert(host.clone(), now);
        }
        any
    }
}
