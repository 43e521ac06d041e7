//! A hypervisor in memory, for tests of the agent. It has no processes; what a test does to its
//! domains is told by events, as libvirt would.

use super::{
    Activity, DomainRef, DriverError, DriverEvent, Events, Left, MigrateTarget, SeenDomain,
    StopKind, VmDriver,
};
use crate::domain_xml::stamp::{Phase, Stamp, find};
use crate::domain_xml::tree;
use async_trait::async_trait;
use holdfast_model::host::{Capacity, LibvirtState};
use holdfast_model::id::{VmName, VmUuid};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// What the domains of a host are.
#[derive(Default)]
pub struct State {
    /// By UUID.
    pub domains: BTreeMap<VmUuid, SeenDomain>,
    /// Calls that changed something, in order.
    pub calls: Vec<String>,
    /// The next creations fail with these words.
    pub refuse_create: Vec<String>,
    /// Guests do as they are asked.
    pub deaf_guests: bool,
    /// A migration is under way that no call of the agent's is behind.
    pub migrating: bool,
    /// It does not answer.
    pub unreachable: bool,
    /// Called before a domain is created.
    pub before_create: Option<Arc<dyn Fn() + Send + Sync>>,
    events: Option<UnboundedSender<DriverEvent>>,
}

/// The hypervisor; clones share it, so it outlives an agent.
#[derive(Clone, Default)]
pub struct FakeDriver {
    /// What a test looks at and changes.
    pub state: Arc<Mutex<State>>,
}

impl FakeDriver {
    /// Connects an agent to it.
    pub fn connect(&self) -> Events {
        let (events, receiver) = unbounded_channel();
        events.send(DriverEvent::Connected).expect("a receiver");
        self.with(|state| state.events = Some(events));
        receiver
    }

    /// Looks at it or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().expect("no panic in between"))
    }

    /// A domain as it is now.
    pub fn of(&self, vm: &str) -> Option<SeenDomain> {
        let is_it = |seen: &&SeenDomain| seen.stamp.vm.as_str() == vm;
        self.with(|state| state.domains.values().find(is_it).cloned())
    }

    /// Ends a domain without a call.
    pub fn end(&self, vm: &str, how: StopKind) {
        let uuid = self.of(vm).expect("a domain").uuid;
        self.with(|state| state.remove(&uuid, how));
    }

    /// Loses or finds the connection, and tells so.
    pub fn connected(&self, connected: bool) {
        self.with(|state| {
            state.unreachable = !connected;
            state.tell(match connected {
                true => DriverEvent::Connected,
                false => DriverEvent::Lost {
                    reason: "by the test".to_owned(),
                },
            });
        });
    }

    /// The calls so far, and forgets them.
    pub fn calls(&self) -> Vec<String> {
        self.with(|state| std::mem::take(&mut state.calls))
    }
}

impl State {
    fn tell(&self, event: DriverEvent) {
        if let Some(events) = &self.events {
            let _ = events.send(event);
        }
    }

    fn remove(&mut self, uuid: &VmUuid, how: StopKind) {
        self.domains.remove(uuid);
        self.tell(DriverEvent::Stopped {
            uuid: uuid.clone(),
            how,
        });
    }

    /// Puts a domain there, as a migration would.
    pub fn put(&mut self, seen: SeenDomain) {
        let uuid = seen.uuid.clone();
        self.domains.insert(uuid.clone(), seen);
        self.tell(DriverEvent::Changed { uuid });
    }

    fn find(&mut self, domain: &DomainRef) -> Result<&mut SeenDomain, DriverError> {
        let is_it = |seen: &&mut SeenDomain| {
            seen.stamp.vm == domain.vm && seen.stamp.generation == domain.generation
        };
        let found = self.domains.get_mut(&domain.uuid).filter(is_it);
        found.ok_or(DriverError::NotFound {
            vm: domain.vm.clone(),
            generation: domain.generation,
        })
    }

    fn note(&mut self, call: &str, vm: &VmName, generation: u64) {
        self.calls.push(format!("{call} {vm} {generation}"));
    }
}

fn refused(call: &'static str, reason: String) -> DriverError {
    DriverError::Refused { call, reason }
}

#[async_trait]
impl VmDriver for FakeDriver {
    fn state(&self) -> LibvirtState {
        let reason = "made so by the test".to_owned();
        match self.with(|state| state.unreachable) {
            true => LibvirtState::Unreachable { reason },
            false => LibvirtState::Connected,
        }
    }

    async fn list(&self) -> Result<Vec<SeenDomain>, DriverError> {
        self.with(|state| match state.unreachable {
            true => Err(DriverError::Unreachable {
                reason: "made so by the test".to_owned(),
            }),
            false => Ok(state.domains.values().cloned().collect()),
        })
    }

    async fn find(&self, domain: &DomainRef) -> Result<SeenDomain, DriverError> {
        self.with(|state| state.find(domain).cloned())
    }

    fn has_processes(&self) -> bool {
        false
    }

    async fn capacity(&self) -> Result<Capacity, DriverError> {
        Ok(Capacity {
            memory_mib: 4_096,
            cpus: 8,
        })
    }

    async fn create_paused(&self, xml: &str) -> Result<(), DriverError> {
        let tree = tree::parse(xml).expect("prepared XML");
        let stamp = find(&tree).map(Stamp::of_element);
        let stamp = stamp.expect("a stamp").expect("a good one");
        let uuid = tree.child("uuid").expect("a UUID").text();
        let uuid: VmUuid = uuid.parse().expect("a UUID");
        if let Some(before) = self.with(|state| state.before_create.clone()) {
            before();
        }
        self.with(|state| {
            state.note("create", &stamp.vm, stamp.generation.0);
            if !state.refuse_create.is_empty() {
                let reason = state.refuse_create.remove(0);
                return Err(match reason.contains("lock") {
                    true => DriverError::ImageHeld {
                        call: "create",
                        reason,
                    },
                    false => refused("create", reason),
                });
            }
            if state.domains.contains_key(&uuid) {
                return Err(refused("create", "there is one already".to_owned()));
            }
            state.put(SeenDomain {
                stamp,
                uuid,
                activity: Activity::PausedOnRequest,
                process: None,
            });
            Ok(())
        })
    }

    async fn resume(&self, domain: &DomainRef) -> Result<(), DriverError> {
        self.with(|state| {
            let seen = state.find(domain)?;
            seen.activity = Activity::Running;
            seen.stamp.phase = Phase::Started;
            let uuid = seen.uuid.clone();
            state.note("resume", &domain.vm, domain.generation.0);
            state.tell(DriverEvent::Changed { uuid });
            Ok(())
        })
    }

    async fn shutdown(&self, domain: &DomainRef) -> Result<(), DriverError> {
        self.with(|state| {
            let uuid = state.find(domain)?.uuid.clone();
            state.note("shutdown", &domain.vm, domain.generation.0);
            if !state.deaf_guests {
                state.remove(&uuid, StopKind::Shutdown);
            }
            Ok(())
        })
    }

    async fn destroy(&self, domain: &DomainRef) -> Result<(), DriverError> {
        self.with(|state| {
            let uuid = state.find(domain)?.uuid.clone();
            state.note("destroy", &domain.vm, domain.generation.0);
            state.remove(&uuid, StopKind::Destroyed);
            Ok(())
        })
    }

    async fn restamp(&self, domain: &DomainRef, stamp: &Stamp) -> Result<(), DriverError> {
        self.with(|state| {
            state.find(domain)?.stamp = stamp.clone();
            state.note("restamp", &domain.vm, stamp.generation.0);
            Ok(())
        })
    }

    async fn migrate(&self, domain: &DomainRef, to: &MigrateTarget) -> Result<Left, DriverError> {
        self.with(|state| {
            let uuid = state.find(domain)?.uuid.clone();
            state.note("migrate", &domain.vm, domain.generation.0);
            if to.connect_uri.contains("192.0.2.66") {
                return Err(refused("migrate", "no route to host".to_owned()));
            }
            state.remove(&uuid, StopKind::Migrated);
            Ok(Left::Told)
        })
    }

    async fn is_migrating(&self, _: &DomainRef) -> Result<bool, DriverError> {
        Ok(self.with(|state| state.migrating))
    }

    async fn abort_migration(
        &self,
        domain: &DomainRef,
        _: Option<&MigrateTarget>,
    ) -> Result<(), DriverError> {
        self.with(|state| {
            state.note("abort", &domain.vm, domain.generation.0);
            state.migrating = false;
            let uuid = domain.uuid.clone();
            state.tell(DriverEvent::Changed { uuid });
        });
        Ok(())
    }
}
