//! What goes wrong: power, links, processes, guests, libvirt, storage.

use super::Sim;
use super::bounds::{HOST_BOOT_MS, RESTART_MS, SERVER_BOOT_MS};
use super::event::Event;
use super::host::Host;
use super::machine::Machine;
use super::net::End;
use super::truth::Stop;
use holdfast_core::guardian::{DomainState, EndKind};
use holdfast_model::host::{PauseReason, StorageState};
use holdfast_model::id::{HostName, SiteName, VmName};

/// Why something cannot be done to the simulated cluster. A fault that did not happen is an error:
/// a scenario must not pass without its fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// There is no such thing.
    #[error("there is no `{0}` here")]
    Unknown(String),
    /// It would change nothing.
    #[error("{0}: nothing would change")]
    Nothing(String),
    /// The store has no majority.
    #[error("the store has no quorum")]
    NoQuorum,
    /// The cluster's own checks refuse it.
    #[error("refused: {0}")]
    Refused(String),
}

impl Sim {
    pub(super) fn host_mut(&mut self, host: &HostName) -> Result<&mut Host, FaultError> {
        let unknown = || FaultError::Unknown(host.to_string());
        self.hosts.get_mut(host).ok_or_else(unknown)
    }

    /// A host's power.
    pub fn power_host(&mut self, name: &HostName, on: bool) -> Result<(), FaultError> {
        let machine = &self.host_mut(name)?.m;
        let (same, site) = (machine.powered == on, machine.site.clone());
        // It may run on with some of its supplies.
        if same && on && self.restore_supplies(name) {
            return Ok(());
        }
        if same || self.dark.contains(&site) {
            return Err(FaultError::Nothing(format!("power of {name}")));
        }
        self.set_host_power(name, on);
        self.look_at_migrations();
        Ok(())
    }

    pub(super) fn set_host_power(&mut self, name: &HostName, on: bool) {
        let ctx = &mut self.ctx;
        let Some(host) = self.hosts.get_mut(name) else {
            return;
        };
        match on {
            false => {
                host.stop_agent(ctx);
                host.m.power_off(ctx);
                let boot = host.m.boot_id.clone();
                ctx.truth.boots.insert(name.clone(), boot);
            }
            true => {
                host.m.powered = true;
                let event = Event::HostBooted(name.clone(), host.m.boot);
                ctx.after(HOST_BOOT_MS, event);
                self.restore_supplies(name);
            }
        }
    }

    /// A site's power: hosts, voter and manager.
    pub fn power_site(&mut self, site: &SiteName, on: bool) -> Result<(), FaultError> {
        let manager = super::manager::manager_of(site);
        if !self.managers.contains_key(&manager) {
            return Err(FaultError::Unknown(site.to_string()));
        }
        let changes = match on {
            true => self.dark.remove(site),
            false => self.dark.insert(site.clone()),
        };
        if !changes {
            return Err(FaultError::Nothing(format!("power of {site}")));
        }
        let hosts = self.hosts.values().filter(|h| h.m.site == *site);
        let hosts: Vec<HostName> = hosts
            .filter(|host| host.m.powered != on)
            .map(|host| host.m.name.clone())
            .collect();
        for host in hosts {
            self.set_host_power(&host, on);
        }
        if on {
            self.ctx
                .after(SERVER_BOOT_MS, Event::VoterStarts(site.clone()));
            if let Some(manager) = self.managers.get(&manager) {
                let event = Event::ManagerStarts(manager.name.clone(), manager.life);
                self.ctx.after(SERVER_BOOT_MS, event);
            }
        } else {
            self.ctx.voters.set_alive(site, false);
            self.ctx.san.set_alive(site, false);
            // It may be down already.
            let _ = self.stop_manager(site);
        }
        self.ctx.net_changed();
        self.look_at_migrations();
        Ok(())
    }

    /// A manager's daemon is gone.
    pub fn stop_manager(&mut self, site: &SiteName) -> Result<(), FaultError> {
        let name = super::manager::manager_of(site);
        let manager = self.managers.get_mut(&name).filter(|manager| manager.up);
        let manager = manager.ok_or_else(|| FaultError::Nothing(format!("stop of {name}")))?;
        self.ctx.watchers.remove(&manager.client());
        manager.up = false;
        manager.life += 1;
        Ok(())
    }

    /// A manager's daemon dies; the service manager starts it again.
    pub fn kill_manager(&mut self, site: &SiteName) -> Result<(), FaultError> {
        self.stop_manager(site)?;
        self.start_manager(site)
    }

    /// A manager's daemon is started.
    pub fn start_manager(&mut self, site: &SiteName) -> Result<(), FaultError> {
        let name = super::manager::manager_of(site);
        let lit = !self.dark.contains(site);
        let manager = self.managers.get(&name);
        let manager = manager.filter(|manager| !manager.up && lit);
        let manager = manager.ok_or_else(|| FaultError::Nothing(format!("start of {name}")))?;
        let event = Event::ManagerStarts(name, manager.life);
        self.ctx.after(RESTART_MS, event);
        Ok(())
    }

    /// A manager's daemon is stopped for a while (SIGSTOP).
    pub fn pause_manager(&mut self, site: &SiteName, ms: u64) -> Result<(), FaultError> {
        let name = super::manager::manager_of(site);
        let until = self.ctx.now + ms;
        let manager = self.managers.get_mut(&name).filter(|manager| manager.up);
        let manager = manager.ok_or_else(|| FaultError::Unknown(name.to_string()))?;
        manager.frozen_until = until;
        Ok(())
    }

    /// Cuts a link, in one direction or both. What cuts sites from each other cuts their storage as
    /// well; a host reaches its storage over a network of its own.
    pub fn cut(&mut self, a: End, b: End, one_way: bool) {
        let of_a_host = [&a, &b].iter().any(|end| matches!(end, End::Host(_)));
        if !of_a_host {
            self.ctx.san.net.cut(a.clone(), b.clone());
            if !one_way {
                self.ctx.san.net.cut(b.clone(), a.clone());
            }
        }
        self.ctx.net.cut(a.clone(), b.clone());
        if !one_way {
            self.ctx.net.cut(b, a);
        }
        self.ctx.net_changed();
        self.look_at_migrations();
    }

    /// Slows a link down, in one direction.
    pub fn slow(&mut self, from: End, to: End, ms: u64) {
        self.ctx.net.slow(from, to, ms);
    }

    /// A host loses its storage, or has it again.
    pub fn cut_storage(&mut self, host: &HostName, cut: bool) -> Result<(), FaultError> {
        self.host_mut(host)?;
        let (host, rest) = (End::Host(host.clone()), End::Rest);
        match cut {
            true => {
                self.ctx.san.net.cut(host.clone(), rest.clone());
                self.ctx.san.net.cut(rest, host);
            }
            false => self.ctx.san.net.heal(&host, &rest),
        }
        Ok(())
    }

    /// The storage hangs for everybody, or goes on.
    pub fn stall_storage(&mut self, stalled: bool) -> Result<(), FaultError> {
        if self.ctx.storage_is_stalled() == stalled {
            return Err(FaultError::Nothing("the storage".to_owned()));
        }
        self.ctx.stall_storage(stalled);
        Ok(())
    }

    /// Mends one link, or all of them and the storage.
    pub fn heal(&mut self, link: Option<(End, End)>) {
        match link {
            Some((a, b)) => {
                self.ctx.net.heal(&a, &b);
                self.ctx.san.net.heal(&a, &b);
            }
            None => {
                self.ctx.net.heal_all();
                self.ctx.san.net.heal_all();
                self.ctx.stall_storage(false);
                self.ctx.san.slow_ms = 0;
            }
        }
        self.ctx.net_changed();
    }

    /// An agent dies (kill -9); the service manager starts it again.
    pub fn kill_agent(&mut self, host: &HostName) -> Result<(), FaultError> {
        self.host_mut(host)?;
        let ctx = &mut self.ctx;
        match self.hosts.get_mut(host).filter(|host| host.agent.is_some()) {
            Some(host) => host.kill_agent(ctx),
            None => return Err(FaultError::Nothing(format!("agent of {host}"))),
        }
        Ok(())
    }

    /// An agent dies and stays away, or is started.
    pub fn set_agent(&mut self, host: &HostName, up: bool) -> Result<(), FaultError> {
        self.host_mut(host)?;
        let ctx = &mut self.ctx;
        if let Some(host) = self.hosts.get_mut(host) {
            match up {
                true => ctx.after(0, Event::AgentStarts(host.m.name.clone(), host.m.boot)),
                false => host.stop_agent(ctx),
            }
        }
        Ok(())
    }

    /// An agent is stopped for a while (SIGSTOP).
    pub fn freeze_agent(&mut self, host: &HostName, ms: u64) -> Result<(), FaultError> {
        let until = self.ctx.now + ms;
        self.host_mut(host)?.agent_frozen_until = until;
        Ok(())
    }

    /// A guard does nothing from now on, and nobody notices. Not a fault Holdfast claims to survive:
    /// it shows that the invariants would see what a guard is for.
    pub fn sabotage_guard(&mut self, host: &HostName) -> Result<(), FaultError> {
        self.host_mut(host)?.m.sabotaged = true;
        Ok(())
    }

    /// A guard dies; the service manager starts it again.
    pub fn kill_guard(&mut self, host: &HostName) -> Result<(), FaultError> {
        self.host_mut(host)?;
        let ctx = &mut self.ctx;
        match self.hosts.get_mut(host).filter(|host| host.m.on) {
            Some(host) => host.m.kill_guard(ctx),
            None => return Err(FaultError::Nothing(format!("guard of {host}"))),
        }
        Ok(())
    }

    /// A guard is stopped for a while (SIGSTOP).
    pub fn freeze_guard(&mut self, host: &HostName, ms: u64) -> Result<(), FaultError> {
        self.host_mut(host)?;
        let ctx = &mut self.ctx;
        if let Some(host) = self.hosts.get_mut(host) {
            host.m.freeze_guard(ctx, ms);
        }
        Ok(())
    }

    /// Where a VM's domain exists and runs.
    fn runs_on(&mut self, vm: &VmName) -> Result<(&mut Machine, &mut super::Ctx, u64), FaultError> {
        let ctx = &mut self.ctx;
        let found = self.hosts.values_mut().find_map(|host| {
            let domain = host.m.domains.get(vm)?;
            let id = (domain.state == DomainState::Running).then_some(domain.id)?;
            Some((&mut host.m, id))
        });
        match found {
            Some((machine, id)) => Ok((machine, ctx, id)),
            None => Err(FaultError::Unknown(format!("running {vm}"))),
        }
    }

    /// A VM's QEMU dies.
    pub fn crash(&mut self, vm: &VmName) -> Result<(), FaultError> {
        let (machine, ctx, id) = self.runs_on(vm)?;
        let reason = "QEMU was killed by signal 9".to_owned();
        let how = EndKind::Crashed { reason };
        machine.end(ctx, vm, id, Stop::Scenario, "crashes", how);
        self.look_at_migrations();
        Ok(())
    }

    /// A VM's domain on one host dies, whatever it does there.
    pub fn crash_on(&mut self, vm: &VmName, host: &HostName) -> Result<(), FaultError> {
        self.host_mut(host)?;
        let ctx = &mut self.ctx;
        let found = self.hosts.get_mut(host).and_then(|host| {
            let id = host.m.domains.get(vm)?.id;
            Some((&mut host.m, id))
        });
        let Some((machine, id)) = found else {
            return Err(FaultError::Unknown(format!("{vm} on {host}")));
        };
        let reason = "QEMU was killed by signal 9".to_owned();
        let how = EndKind::Crashed { reason };
        machine.end(ctx, vm, id, Stop::Scenario, "crashes", how);
        self.look_at_migrations();
        Ok(())
    }

    /// A guest shuts itself down.
    pub fn guest_shutdown(&mut self, vm: &VmName) -> Result<(), FaultError> {
        let (machine, ctx, id) = self.runs_on(vm)?;
        let words = "shuts itself down";
        machine.end(ctx, vm, id, Stop::Scenario, words, EndKind::GuestShutdown);
        Ok(())
    }

    /// A VM's disk gives an error: QEMU pauses it.
    pub fn io_error(&mut self, vm: &VmName) -> Result<(), FaultError> {
        let (machine, ctx, id) = self.runs_on(vm)?;
        if let Some(domain) = machine.domains.get_mut(vm) {
            domain.state = DomainState::Paused {
                reason: PauseReason::IoError,
            };
        }
        ctx.end(vm, id, &Stop::Scenario, "pauses on an I/O error");
        machine.wake_agent(ctx);
        Ok(())
    }

    /// The next starts of a VM on a host fail.
    pub fn fail_starts(
        &mut self,
        host: &HostName,
        vm: &VmName,
        words: &str,
        times: u32,
    ) -> Result<(), FaultError> {
        let starts = &mut self.host_mut(host)?.m.fail_starts;
        starts.insert(vm.clone(), (words.to_owned(), times));
        Ok(())
    }

    /// A guest does not heed a shutdown.
    pub fn make_stubborn(&mut self, vm: &VmName) {
        for host in self.hosts.values_mut() {
            host.m.stubborn.insert(vm.clone());
        }
    }

    /// From now on the last message of this VM's migrations is lost; or not any more.
    pub fn lose_finish(&mut self, vm: &VmName, lose: bool) {
        match lose {
            true => self.lose_finish.insert(vm.clone()),
            false => self.lose_finish.remove(vm),
        };
    }

    /// What the storage checks of a site's hosts, or of one host, say.
    pub fn storage(&mut self, end: &End, state: &StorageState) -> Result<(), FaultError> {
        let mut found = false;
        for host in self.hosts.values_mut() {
            let meant = match end {
                End::Site(site) => host.m.site == *site,
                End::Host(name) => host.m.name == *name,
                End::Rest => true,
            };
            if meant {
                found = true;
                host.m.storage = state.clone();
                let unfit = &mut self.ctx.truth.unfit;
                match state {
                    StorageState::Unusable { .. } | StorageState::Unknown { .. } => {
                        unfit.entry(host.m.name.clone()).or_insert(None);
                    }
                    _ => drop(unfit.remove(&host.m.name)),
                }
                host.m.wake_agent(&mut self.ctx);
            }
        }
        match found {
            true => Ok(()),
            false => Err(FaultError::Unknown(end.to_string())),
        }
    }

    /// A host's clock runs fast or slow.
    pub fn drift(&mut self, host: &HostName, ppm: i64) -> Result<(), FaultError> {
        let now = self.ctx.now;
        self.host_mut(host)?.m.clock.drift(now, ppm);
        Ok(())
    }
}
