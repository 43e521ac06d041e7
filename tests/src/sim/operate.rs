//! What operators do, and how the cluster is set up.

use super::Sim;
use super::agent::name;
use super::bounds::{NEAR_MS, WATCH_IDLE_MS};
use super::clock::Clock;
use super::event::{Event, Inbox};
use super::faults::FaultError;
use super::guard::Lease;
use super::host::Host;
use super::machine::Machine;
use super::manager::{Manager, manager_of};
use holdfast_model::host::{Capacity, HostSpec};
use holdfast_model::id::{DeviceName, HostName, ManagerName, SiteName, VmName};
use holdfast_model::lease::StorageClass;
use holdfast_model::op::{Op, Request};
use holdfast_model::policy::{Policy, SitePolicy};
use holdfast_model::vm::VmSpec;
use holdfast_store::TxnOutcome;
use holdfast_store::api::{Compare, Txn, TxnOp};
use holdfast_store::guards::encode;
use holdfast_store::keyspace::Key;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

impl Sim {
    /// A site, with a voter and a manager of its own.
    pub fn add_site(&mut self, site: SiteName, witness: bool) {
        if witness {
            self.witnesses.insert(site.clone());
        }
        self.ctx.voters.add(site.clone());
        self.ctx.san.add_brick(site.clone());
        let manager = manager_of(&site);
        let base = 1_000_000 * (self.managers.len() as u64 + 1);
        let clock = Clock::new(self.ctx.now, base);
        self.managers
            .insert(manager.clone(), Manager::new(manager, site, clock, 1));
    }

    /// A hypervisor.
    ///
    /// `fence_agents`: the programs with which its agent asks fencing devices of other hosts.
    pub fn add_host(
        &mut self,
        host: HostName,
        site: SiteName,
        capacity: Capacity,
        fence_agents: BTreeSet<DeviceName>,
    ) {
        let mut machine = Machine::new(host.clone(), site, capacity, self.ctx.now);
        if let Some(class) = self.volume {
            let slot = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
            machine.lease = Some(Lease::new(slot, class));
        }
        machine.probes = self.probing;
        if !fence_agents.is_empty() {
            self.ctx.askers.insert(host.clone());
        }
        machine.fence_agents = fence_agents;
        let boots = &mut self.ctx.truth.boots;
        boots.insert(host.clone(), machine.boot_id.clone());
        self.hosts.insert(host.clone(), Host::new(machine));
        if self.started {
            self.start_host(&host);
        }
    }

    /// A lease volume, on which every host that is added from now on has a slot.
    pub fn add_volume(&mut self, class: StorageClass) {
        self.volume = Some(class);
    }

    /// A line of the policy file; instead of the one that set the same before.
    pub fn add_policy(&mut self, line: String) -> Result<(), FaultError> {
        let key = |line: &str| line.split('=').next().map(|key| key.trim().to_owned());
        self.policy_text.retain(|old| key(old) != key(&line));
        self.policy_text.push(line);
        let policy = self.read_policy()?;
        if self.started {
            self.write(Key::Policy, &policy)?;
        }
        self.policy = policy;
        Ok(())
    }

    /// What the policy's lines and the sites make.
    fn read_policy(&self) -> Result<Policy, FaultError> {
        let text = self.policy_text.join("\n");
        let refused = |error: &dyn std::fmt::Display| FaultError::Refused(error.to_string());
        let mut policy: Policy = toml::from_str(&text).map_err(|error| refused(&error))?;
        policy.sites = self
            .managers
            .values()
            .map(|manager| SitePolicy {
                name: manager.site.clone(),
                witness: self.witnesses.contains(&manager.site),
            })
            .collect();
        policy.check().map_err(|error| refused(&error))?;
        Ok(policy)
    }

    /// Everything comes up, once.
    pub(super) fn start(&mut self) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        // Accepted line by line already; the sites may have come after the last line.
        if let Ok(policy) = self.read_policy() {
            let _ = self.write(Key::Policy, &policy);
            self.policy = policy;
        }
        let cluster: holdfast_model::id::ClusterName = name("sim");
        let _ = self.write(Key::Cluster, &cluster);
        self.ctx.after(WATCH_IDLE_MS, Event::WatchesIdle);
        for (n, manager) in self.managers.values().enumerate() {
            let event = Event::To(manager.client(), Inbox::Wake);
            self.ctx.queue.push(n as u64 * 7, event);
        }
        let managers: Vec<ManagerName> = self.managers.keys().cloned().collect();
        for manager in managers {
            self.start_probing(&manager);
        }
        let hosts: Vec<HostName> = self.hosts.keys().cloned().collect();
        for host in hosts {
            self.start_host(&host);
        }
    }

    fn start_host(&mut self, name: &HostName) {
        // Not all at the very same millisecond.
        let index = self.hosts.keys().position(|host| host == name).unwrap_or(0);
        if let Some(host) = self.hosts.get_mut(name) {
            host.m.clock = Clock::new(self.ctx.now, 0);
            let boot = host.m.boot;
            let event = Event::AgentStarts(name.clone(), boot);
            self.ctx.after(NEAR_MS + 13 * index as u64, event);
        }
    }

    pub(super) fn erase(&mut self, key: &Key) -> Result<(), FaultError> {
        self.operator(Txn {
            compares: Vec::new(),
            ops: vec![TxnOp::Delete(key.path())],
        })
    }

    pub(super) fn write<T: Serialize>(&mut self, key: Key, record: &T) -> Result<(), FaultError> {
        let txn = Txn {
            compares: Vec::new(),
            ops: vec![TxnOp::Put(key.path(), encode(record))],
        };
        self.operator(txn)
    }

    fn operator(&mut self, txn: Txn) -> Result<(), FaultError> {
        match self.ctx.operator_txn(txn) {
            Some(TxnOutcome::Committed(_)) => Ok(()),
            Some(TxnOutcome::Refused(_)) => Err(FaultError::Refused("it exists".to_owned())),
            None => Err(FaultError::NoQuorum),
        }
    }

    fn read<T: DeserializeOwned>(&self, key: &Key, what: &str) -> Result<T, FaultError> {
        self.ctx
            .record(key)
            .ok_or_else(|| FaultError::Unknown(what.to_owned()))
    }

    /// `holdfast vm apply`.
    pub fn add_vm(&mut self, spec: VmSpec) -> Result<(), FaultError> {
        let vm = Key::VmSpec(spec.name.clone());
        let uuid = Key::Uuid(spec.uuid.clone());
        self.operator(Txn {
            compares: vec![Compare::Absent(vm.path()), Compare::Absent(uuid.path())],
            ops: vec![
                TxnOp::Put(vm.path(), encode(&spec)),
                TxnOp::Put(uuid.path(), encode(&spec.name)),
            ],
        })
    }

    /// Changes a VM's definition.
    pub fn change_vm(
        &mut self,
        vm: &VmName,
        change: impl FnOnce(&mut VmSpec),
    ) -> Result<(), FaultError> {
        let key = Key::VmSpec(vm.clone());
        let mut spec: VmSpec = self.read(&key, vm.as_str())?;
        change(&mut spec);
        self.write(key, &spec)
    }

    /// `holdfast host drain` and `resume`.
    pub fn set_maintenance(&mut self, host: &HostName, on: bool) -> Result<(), FaultError> {
        let key = Key::HostSpec(host.clone());
        let mut spec: HostSpec = self.read(&key, host.as_str())?;
        spec.maintenance = on;
        self.write(key, &spec)
    }

    /// `holdfast host confirm-off`.
    pub fn confirm_off(&mut self, host: HostName) -> Result<(), FaultError> {
        let has_power = self.host_mut(&host)?.m.powered;
        let wrongly = &mut self.ctx.truth.vouched_wrongly;
        match has_power {
            true => wrongly.insert(host.clone()),
            false => wrongly.remove(&host),
        };
        self.request(Request::ConfirmOff { host })
    }

    /// A request that is carried out once.
    pub fn request(&mut self, request: Request) -> Result<(), FaultError> {
        self.requests += 1;
        let op = Op {
            id: name(&format!("op-{}", self.requests)),
            by: "operator".to_owned(),
            request,
        };
        self.write(Key::Op(op.id.clone()), &op)
    }
}
