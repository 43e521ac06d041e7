//! A deterministic cluster in virtual time.
//!
//! ```text
//!   managers ── View, leadership, plan, verify, guarded steps ──┐
//!   agents ──── View, session, guardian::decide ────────────────┼──> MemoryStore behind three voters
//!     └ guards ─ guardian::deadline                             │
//!     └ hypervisors: the ground truth                           │
//!   one queue of events ── one network with cuts ── one log ────┘
//! ```
//! What is absent: real time, threads, randomness. What the processes decide with is what decides
//! in production; what is simulated is everything they touch.

mod agent;
mod asking;
pub mod bounds;
mod claim_sectors;
mod claims;
pub mod clock;
pub mod ctx;
pub mod damage;
mod errands;
pub mod event;
pub mod extension;
mod faults;
pub mod fence;
mod footing;
mod guard;
mod guard_away;
pub mod host;
mod jobs;
mod libvirtd;
mod lookout;
pub mod machine;
pub mod manager;
mod migration;
pub mod net;
mod operate;
mod outages;
mod probes;
mod rests;
mod rounds;
pub mod san;
mod session;
mod supplies;
mod switched;
mod telling;
pub mod truth;
pub mod voters;
mod watchdog;
pub mod words;

use ctx::Ctx;
use event::{Client, Event, Inbox};
use holdfast_model::id::{DeviceName, HostName, ManagerName, VmName};
use host::Host;
use manager::Manager;
use migration::Migration;
use std::collections::{BTreeMap, BTreeSet};

pub use faults::FaultError;

/// The lease volume's id.
pub(crate) const VOLUME: &str = "volume";

/// The whole cluster.
#[derive(Default)]
pub struct Sim {
    /// Time, network, store, truth, log.
    pub ctx: Ctx,
    /// The hypervisors.
    pub hosts: BTreeMap<HostName, Host>,
    /// The managers.
    pub managers: BTreeMap<ManagerName, Manager>,
    /// Witness sites run no VMs.
    witnesses: BTreeSet<holdfast_model::id::SiteName>,
    policy_text: Vec<String>,
    /// The policy in force: read once, for it is asked for at every turn.
    policy: holdfast_model::policy::Policy,
    migrations: BTreeMap<u64, Migration>,
    next_migration: u64,
    lose_finish: BTreeSet<VmName>,
    /// Sites without power.
    dark: BTreeSet<holdfast_model::id::SiteName>,
    /// How hosts' fencing devices behave, where not as usual.
    devices: BTreeMap<HostName, fence::Device>,
    /// Per host, its supplies that were cut since its power was switched on.
    cut_supplies: BTreeMap<HostName, BTreeSet<DeviceName>>,
    /// Hosts that are added have a slot on a lease volume of this class.
    volume: Option<holdfast_model::lease::StorageClass>,
    /// What the store is set back to.
    backup: Option<holdfast_store::api::Listing>,
    /// Hosts that are added answer probes, and managers ask.
    probing: bool,
    probe_loss: probes::Loss,
    started: bool,
    happened: u64,
    requests: u64,
}

impl Sim {
    /// Lets time pass.
    pub fn advance(&mut self, ms: u64) {
        self.start();
        let until = self.ctx.now + ms;
        while let Some((at, event)) = self.ctx.queue.pop_until(until) {
            self.ctx.now = self.ctx.now.max(at);
            self.happens(event);
        }
        self.ctx.now = until;
    }

    /// How many events happened so far: if it is the same as before, so is everything but the time.
    pub fn happened(&self) -> u64 {
        self.happened
    }

    fn happens(&mut self, event: Event) {
        if let Event::ProbeTurn(name, life) = event {
            self.happened += u64::from(self.probe_turn(&name, life));
            return;
        }
        self.happened += 1;
        let ctx = &mut self.ctx;
        match event {
            Event::To(client, inbox) => self.deliver(client, inbox),
            Event::Arrive(call) => {
                ctx.arrive(*call);
                self.pause_leaders();
            }
            Event::Elect => ctx.elect(),
            Event::WatchesIdle => ctx.watches_idle(),
            Event::Guard(host, boot) => {
                if let Some(host) = self.hosts.get_mut(&host).filter(|h| h.m.boot == boot) {
                    host.m.guard(ctx);
                }
            }
            Event::GuardStarts(host, boot, life) => {
                if let Some(host) = self.hosts.get_mut(&host).filter(|h| h.m.boot == boot) {
                    host.m.guard_starts(ctx, life);
                }
            }
            Event::Killed(host, boot, vms) => {
                if let Some(host) = self.hosts.get_mut(&host).filter(|h| h.m.boot == boot) {
                    host.m.killed(ctx, &vms);
                }
                self.look_at_migrations();
            }
            Event::IoArrives(call) => ctx.io_arrives(call),
            Event::IoEnds(host, of, end) => {
                if let Some(host) = self.hosts.get_mut(&host) {
                    host.m.io_ended(ctx, of, end);
                }
            }
            Event::Libvirt(name, of, what) => {
                if let Some(host) = self.hosts.get_mut(&name).filter(|h| h.m.boot == of.0) {
                    let libvirtd = &host.m.libvirtd;
                    if !libvirtd.answers(ctx.now) {
                        let until = libvirtd.back_at();
                        return ctx.queue.push(until, Event::Libvirt(name, of, what));
                    }
                    if of.1 == libvirtd.life || what.outlives_libvirtd() {
                        host.m.done(ctx, what);
                    }
                }
                self.look_at_migrations();
            }
            Event::MigrationAsked {
                vm,
                from,
                to,
                generation,
            } => self.migration_asked(vm, from, &to, generation),
            Event::AbortAsked(host, vm) => self.abort_asked(&host, &vm),
            Event::Migration(id, step) => self.migration_step(id, step),
            Event::Fence(call) => self.fence(call),
            Event::HostBooted(host, boot) => {
                if let Some(host) = self.hosts.get_mut(&host).filter(|h| h.m.boot == boot) {
                    host.booted(ctx);
                }
            }
            Event::AgentStarts(host, boot) => {
                let host = self.hosts.get_mut(&host);
                if let Some(host) = host.filter(|h| h.m.boot == boot && h.m.on)
                    && host.agent.is_none()
                {
                    ctx.log(&host.m.name, "agent: started");
                    host.start_agent(ctx);
                }
            }
            Event::ManagerStarts(name, life) => {
                if let Some(manager) = self.managers.get_mut(&name).filter(|m| m.life == life) {
                    manager.start(life + 1);
                    ctx.log(&name, "started");
                    let client = manager.client();
                    ctx.after(0, Event::To(client, Inbox::Wake));
                    self.start_probing(&name);
                }
            }
            Event::ProbeTurn(..) => {}
            Event::VoterStarts(site) => {
                ctx.voters.set_alive(&site, true);
                ctx.san.set_alive(&site, true);
                ctx.net_changed();
            }
        }
    }

    /// A process that is stopped gets it when it goes on.
    fn deliver(&mut self, client: Client, inbox: Inbox) {
        let ctx = &mut self.ctx;
        match &client {
            Client::Manager(name, life) => {
                let Some(manager) = self.managers.get_mut(name) else {
                    return;
                };
                if !manager.up || manager.life != *life {
                    return;
                }
                if manager.frozen_until > ctx.now {
                    let until = manager.frozen_until;
                    return ctx.queue.push(until, Event::To(client, inbox));
                }
                manager.on(ctx, inbox);
            }
            Client::Agent(name, life) => {
                let Some(host) = self.hosts.get_mut(name) else {
                    return;
                };
                if host.m.agent_life != *life {
                    return;
                }
                if host.agent_frozen_until > ctx.now {
                    let until = host.agent_frozen_until;
                    return ctx.queue.push(until, Event::To(client, inbox));
                }
                host.on(ctx, inbox);
            }
        }
    }
}
