//! A hypervisor's machine: power, clock, libvirt with its domains, and the guard.
//!
//! What the agent hears of libvirt comes as [`News`]; they wait here, as in a socket, until the
//! agent looks. An agent that starts hears only what happens from then on.

use super::bounds::{CREATE_MS, DESTROY_MS, RESUME_MS, SHUTDOWN_MS};
use super::clock::Clock;
use super::ctx::Ctx;
use super::event::{Client, Event, Inbox, LibvirtEvent};
use super::guard::Watched;
use super::net::Place;
use super::truth::{Span, Stop};
use holdfast_core::guardian::deadline::{Deadline, Phase};
use holdfast_core::guardian::{DomainState, EndKind};
use holdfast_model::host::{Capacity, Session, SessionState, StorageState};
use holdfast_model::id::{BootId, DeviceName, Generation, HostName, Incarnation, SiteName, VmName};
use holdfast_model::time::Instant;
use holdfast_model::vm::{Intent, Owner};
use holdfast_store::keyspace::Key;
use std::collections::{BTreeMap, BTreeSet};

/// A domain as the hypervisor has it.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Which of all there ever were.
    pub id: u64,
    /// Stamped on it.
    pub generation: Generation,
    /// The life that set it going, or will.
    pub incarnation: Option<Incarnation>,
    /// What it does.
    pub state: DomainState,
    /// The time its memory is of, if a migration brought it and it never ran here.
    pub image_at: Option<u64>,
    /// Its guest has not booted yet.
    pub cold: bool,
}

/// What libvirt tells the agent.
#[derive(Debug, Clone)]
pub enum News {
    /// A claim on the lease volume was written, or why not.
    Claimed {
        /// The VM.
        vm: VmName,
        /// For which grant.
        generation: Generation,
        /// Whether it stands there.
        result: Result<(), super::claims::Refusal>,
    },
    /// A create call ended.
    Created {
        /// Which.
        call: u64,
        /// The VM.
        vm: VmName,
        /// Libvirt's words if it failed.
        error: Option<String>,
    },
    /// A call to resume or to destroy ended.
    Returned {
        /// Which.
        call: u64,
        /// The VM.
        vm: VmName,
    },
    /// A domain is gone, or a migration out of here has ended.
    Ended {
        /// The VM.
        vm: VmName,
        /// Of which grant.
        generation: Generation,
        /// How.
        how: EndKind,
    },
    /// libvirtd is gone, and nobody answers the calls under way.
    ConnectionBroke,
}

impl News {
    /// It is heard whether libvirtd is there or not.
    pub fn is_not_libvirts(&self) -> bool {
        matches!(self, Self::ConnectionBroke | Self::Claimed { .. })
    }
}

/// A machine. Its state on disk and in firmware survives its power; the rest is of one boot.
pub struct Machine {
    /// Its name.
    pub name: HostName,
    /// Where it stands.
    pub site: SiteName,
    /// What it has.
    pub capacity: Capacity,
    /// What its storage check says.
    pub storage: StorageState,
    /// It has power: it runs, or is booting.
    pub powered: bool,
    /// It has booted.
    pub on: bool,
    /// Boots so far.
    pub boot: u32,
    /// The kernel's id of this one.
    pub boot_id: BootId,
    /// Incarnations so far.
    pub lives: u32,
    /// Of them, those of earlier boots.
    pub lives_before: u32,
    /// Of this boot.
    pub clock: Clock,
    /// The agent's state file in /run: its incarnation.
    pub saved: Option<Incarnation>,
    /// libvirt's domains.
    pub domains: BTreeMap<VmName, Domain>,
    /// Whether libvirt answers.
    pub libvirtd: super::libvirtd::Libvirtd,
    /// Migrations out of here that libvirt carries on.
    pub migrating: BTreeMap<VmName, Generation>,
    /// Starts that fail: with which words, how often.
    pub fail_starts: BTreeMap<VmName, (String, u32)>,
    /// Guests that do not heed a shutdown.
    pub stubborn: BTreeSet<VmName>,
    /// What the agent has yet to hear.
    pub news: Vec<News>,
    /// The agent's present life.
    pub agent_life: u32,
    /// The guard's state machine.
    pub deadline: Deadline,
    /// The processes the guard watches.
    pub watched: BTreeMap<VmName, Watched>,
    /// What was sent a signal and is still there.
    pub(super) dying: BTreeSet<u64>,
    pub(super) guard_wakes_at: u64,
    /// Whether its process is there.
    pub(super) guard_is: super::guard_away::Presence,
    /// Its heartbeat on the lease volume, where it has a slot.
    pub(super) lease: Option<super::guard::Lease>,
    /// Its guard's claims of VMs.
    pub(super) claims: super::claims::Claims,
    /// What its agent asks fencing devices of other hosts with: programs, by their names. None: it asks none.
    pub fence_agents: BTreeSet<DeviceName>,
    /// It says where it answers probes.
    pub probes: bool,
    /// The process of the guard that was told to answer them.
    pub(super) probe_life: Option<u32>,
    /// The guard does nothing, and nobody notices: for testing the invariants.
    pub sabotaged: bool,
}

fn boot_id(host: &HostName, boot: u32) -> BootId {
    super::agent::name(&format!("{host}-boot-{boot}"))
}

impl Machine {
    /// A machine that has just booted for the first time.
    pub fn new(name: HostName, site: SiteName, capacity: Capacity, now: u64) -> Self {
        Self {
            boot_id: boot_id(&name, 1),
            name,
            site,
            capacity,
            storage: StorageState::Synced,
            powered: true,
            on: true,
            boot: 1,
            lives: 0,
            lives_before: 0,
            clock: Clock::new(now, 0),
            saved: None,
            domains: BTreeMap::new(),
            libvirtd: super::libvirtd::Libvirtd::default(),
            migrating: BTreeMap::new(),
            fail_starts: BTreeMap::new(),
            stubborn: BTreeSet::new(),
            news: Vec::new(),
            agent_life: 0,
            deadline: Deadline::new(),
            watched: BTreeMap::new(),
            dying: BTreeSet::new(),
            guard_wakes_at: 0,
            guard_is: super::guard_away::Presence::default(),
            lease: None,
            claims: super::claims::Claims::default(),
            fence_agents: BTreeSet::new(),
            probes: false,
            probe_life: None,
            sabotaged: false,
        }
    }

    /// Where it is in the network.
    pub fn place(&self) -> Place {
        Place {
            site: self.site.clone(),
            host: Some(self.name.clone()),
        }
    }

    /// Its steady clock.
    pub fn local(&self, ctx: &Ctx) -> Instant {
        self.clock.at(ctx.now)
    }

    /// Power is gone: everything but the disk with it.
    pub fn power_off(&mut self, ctx: &mut Ctx) {
        self.powered = false;
        self.on = false;
        self.boot += 1;
        self.boot_id = boot_id(&self.name, self.boot);
        for (vm, domain) in std::mem::take(&mut self.domains) {
            ctx.end(&vm, domain.id, &Stop::Scenario, "is gone with its power");
        }
        self.saved = None;
        self.lives_before = self.lives;
        self.libvirtd.power_off();
        self.migrating.clear();
        self.news.clear();
        self.deadline = Deadline::new();
        self.watched.clear();
        self.dying.clear();
        self.guard_wakes_at = 0;
        self.guard_power_off();
        self.probe_life = None;
        self.claims = super::claims::Claims::default();
        if let Some(lease) = &mut self.lease {
            lease.power_off();
        }
    }

    /// Something is to happen here, on this boot.
    pub(super) fn after(&self, ctx: &mut Ctx, ms: u64, what: LibvirtEvent) {
        let of = (self.boot, self.libvirtd.life);
        ctx.after(ms, Event::Libvirt(self.name.clone(), of, what));
    }

    /// The agent hears of it when it looks next; from a libvirtd that is not there it hears nothing.
    pub fn tell(&mut self, ctx: &mut Ctx, news: News) {
        if news.is_not_libvirts() || !self.libvirtd.is_down(ctx.now) {
            self.news.push(news);
        }
        self.wake_agent(ctx);
    }

    /// A call ended before it got to libvirtd.
    pub fn end_at_once(&mut self, ctx: &mut Ctx, news: News) {
        self.news.push(news);
        self.wake_agent(ctx);
    }

    /// The agent looks.
    pub fn wake_agent(&self, ctx: &mut Ctx) {
        let client = Client::Agent(self.name.clone(), self.agent_life);
        ctx.after(0, Event::To(client, Inbox::Wake));
    }

    /// A call to a libvirtd that is not there ends at once, with nothing done.
    fn refuses(&mut self, ctx: &mut Ctx, call: u64, vm: &VmName) -> bool {
        let is_down = self.libvirtd.is_down(ctx.now);
        if is_down {
            let vm = vm.clone();
            self.news.push(News::Returned { call, vm });
            self.wake_agent(ctx);
        }
        is_down
    }

    /// libvirt is asked to create a domain, paused. The number of the call.
    pub fn create(&mut self, ctx: &mut Ctx, vm: &VmName, generation: Generation) -> u64 {
        let (call, vm) = (self.libvirtd.next_call(), vm.clone());
        if self.libvirtd.is_down(ctx.now) {
            let error = Some("libvirt is not reachable".to_owned());
            self.news.push(News::Created { call, vm, error });
            self.wake_agent(ctx);
            return call;
        }
        let what = LibvirtEvent::Created {
            call,
            vm,
            generation,
            incarnation: self.saved.clone(),
        };
        self.after(ctx, CREATE_MS + self.libvirtd.slow_ms, what);
        call
    }

    /// libvirt is asked to resume a domain, restamped. The number of the call.
    pub fn resume(&mut self, ctx: &mut Ctx, vm: &VmName, generation: Generation) -> u64 {
        let call = self.libvirtd.next_call();
        if self.refuses(ctx, call, vm) {
            return call;
        }
        let domain = self.domains.get(vm).map_or(0, |domain| domain.id);
        let what = LibvirtEvent::Resumed {
            call,
            vm: vm.clone(),
            domain,
            generation,
        };
        self.after(ctx, RESUME_MS + self.libvirtd.slow_ms, what);
        call
    }

    /// libvirt is asked to shut a guest down.
    pub fn shut_down(&self, ctx: &mut Ctx, vm: &VmName) {
        let heeds = !self.stubborn.contains(vm) && !self.libvirtd.is_down(ctx.now);
        if let Some(domain) = self.domains.get(vm).filter(|_| heeds) {
            let (vm, domain) = (vm.clone(), domain.id);
            let ms = SHUTDOWN_MS + self.libvirtd.slow_ms;
            self.after(ctx, ms, LibvirtEvent::ShutDown { vm, domain });
        }
    }

    /// libvirt is asked to destroy a domain. The number of the call.
    pub fn destroy(&mut self, ctx: &mut Ctx, vm: &VmName) -> u64 {
        let call = self.libvirtd.next_call();
        if self.refuses(ctx, call, vm) {
            return call;
        }
        let domain = self.domains.get(vm).map_or(0, |domain| domain.id);
        let vm = vm.clone();
        let what = LibvirtEvent::Destroyed { call, vm, domain };
        self.after(ctx, DESTROY_MS + self.libvirtd.slow_ms, what);
        call
    }

    /// An agent must not destroy what a migration brought whole to the life that it was meant for:
    /// nobody else has the VM's memory any more.
    fn is_wanted(&self, ctx: &mut Ctx, vm: &VmName, id: u64) {
        let whole = self.domains.get(vm).is_some_and(|domain| {
            domain.id == id && domain.state == DomainState::Received && domain.image_at.is_some()
        });
        let owner: Option<Owner> = ctx.record(&Key::VmOwner(vm.clone()));
        let session: Option<Session> = ctx.record(&Key::HostSession(self.name.clone()));
        let (Some(owner), Some(session), true) = (owner, session, whole) else {
            return;
        };
        // Past its deadline a host destroys everything, and it should.
        let soon = self.local(ctx).plus(1_000);
        let in_time =
            matches!(self.deadline.phase(), Phase::Armed(armed) if soon < armed.deadline());
        let meant = owner.incoming.as_ref().is_some_and(|runner| {
            runner.host == self.name && runner.incarnation == session.incarnation
        });
        if in_time
            && meant
            && owner.intent == Intent::Migrate
            && session.state == SessionState::Open
        {
            ctx.violation(format!(
                "last-copy: {} destroys {vm}, which is meant for it",
                self.name
            ));
        }
    }

    /// libvirt, or a guest, has done it.
    pub fn done(&mut self, ctx: &mut Ctx, what: LibvirtEvent) {
        match what {
            LibvirtEvent::Created {
                call,
                vm,
                generation,
                incarnation,
            } => {
                let error = self.created(ctx, &vm, generation, incarnation);
                self.tell(ctx, News::Created { call, vm, error });
            }
            LibvirtEvent::Resumed {
                call,
                vm,
                domain,
                generation,
            } => {
                self.resumed(ctx, &vm, domain, generation);
                self.tell(ctx, News::Returned { call, vm });
            }
            LibvirtEvent::ShutDown { vm, domain } => {
                let words = "shut down, as asked";
                self.end(ctx, &vm, domain, Stop::Asked, words, EndKind::GuestShutdown);
            }
            LibvirtEvent::Destroyed { call, vm, domain } => {
                self.is_wanted(ctx, &vm, domain);
                let words = "is destroyed by the agent";
                self.end(ctx, &vm, domain, Stop::Destroyed, words, EndKind::Destroyed);
                // It may have been gone already: the call has ended all the same.
                self.tell(ctx, News::Returned { call, vm });
            }
            LibvirtEvent::HalfDropped { vm, domain } => self.drop_half(ctx, &vm, domain),
            LibvirtEvent::Started => self.libvirtd_started(ctx),
        }
    }

    /// Libvirt's words if it failed.
    fn created(
        &mut self,
        ctx: &mut Ctx,
        vm: &VmName,
        generation: Generation,
        incarnation: Option<Incarnation>,
    ) -> Option<String> {
        if self.domains.contains_key(vm) {
            return Some(format!("domain '{vm}' already exists"));
        }
        if let Some((words, left)) = self.fail_starts.get_mut(vm)
            && *left > 0
        {
            *left -= 1;
            return Some(words.clone());
        }
        let domain = Domain {
            id: ctx.new_domain(),
            generation,
            incarnation,
            state: DomainState::Created,
            image_at: None,
            cold: true,
        };
        self.domains.insert(vm.clone(), domain);
        None
    }

    fn resumed(&mut self, ctx: &mut Ctx, vm: &VmName, id: u64, generation: Generation) {
        let life = self.saved.clone();
        if let Some(domain) = self.domains.get_mut(vm)
            && domain.id == id
            && domain.state != DomainState::Running
        {
            domain.generation = generation;
            domain.incarnation = life;
        }
        self.set_going(ctx, vm, id);
    }

    /// A domain's vCPUs go.
    pub fn set_going(&mut self, ctx: &mut Ctx, vm: &VmName, id: u64) {
        let Some(domain) = self.domains.get_mut(vm).filter(|domain| domain.id == id) else {
            return;
        };
        if domain.state == DomainState::Running {
            return;
        }
        domain.state = DomainState::Running;
        let span = Span {
            host: self.name.clone(),
            incarnation: domain.incarnation.clone(),
            domain: id,
            generation: domain.generation,
            from: ctx.now,
            to: None,
            cold: std::mem::take(&mut domain.cold),
        };
        ctx.begin(vm, span, domain.image_at.take());
    }

    /// A domain is gone.
    pub fn end(
        &mut self,
        ctx: &mut Ctx,
        vm: &VmName,
        id: u64,
        stop: Stop,
        words: &str,
        how: EndKind,
    ) {
        if self.domains.get(vm).is_none_or(|domain| domain.id != id) {
            return;
        }
        let Some(domain) = self.domains.remove(vm) else {
            return;
        };
        ctx.end(vm, id, &stop, words);
        self.watched.remove(vm);
        let generation = domain.generation;
        let vm = vm.clone();
        self.tell(
            ctx,
            News::Ended {
                vm,
                generation,
                how,
            },
        );
    }
}
