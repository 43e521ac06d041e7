//! Worlds for tests: built in a few words, and changed as a store would by a plan.
#![allow(dead_code, clippy::unwrap_used)]

use holdfast_model::fence::{Evidence, FenceRecord, FenceStage};
use holdfast_model::host::*;
use holdfast_model::id::*;
use holdfast_model::op::{Op, Request};
use holdfast_model::plan::{Plan, Subject, Write};
use holdfast_model::policy::{Policy, SitePolicy};
use holdfast_model::time::{Instant, UnixMs};
use holdfast_model::timing::Profile;
use holdfast_model::vm::*;
use holdfast_model::world::{HostView, Seen, VmView, World};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything before this is long past.
pub const NOW: Instant = Instant(10_000_000);

pub fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

pub fn seen<T>(value: T, revision: i64, seen_at: Instant) -> Seen<T> {
    Seen {
        value,
        revision: Revision(revision),
        seen_at,
    }
}

/// The default profile, sites a and b and a witness, no hosts, no VMs; view fresh for long.
pub fn world() -> World {
    let mut policy = Policy::default();
    policy.timing.profile = Profile::Default;
    policy.sites = ["a", "b", "w"]
        .map(|site| SitePolicy {
            name: name(site),
            witness: site == "w",
        })
        .into();
    World {
        now: NOW,
        wall: UnixMs(1_700_000_000_000),
        view_since: Instant(0),
        revision: Revision(1000),
        epoch: Revision(1),
        leader: name("m1"),
        policy: Arc::new(policy),
        hosts: BTreeMap::new(),
        vms: BTreeMap::new(),
        fences: Arc::default(),
        ops: BTreeMap::new(),
        power: BTreeMap::new(),
        probes: BTreeMap::new(),
    }
}

pub fn session(incarnation: &str, boot: &str) -> Session {
    Session {
        incarnation: name(incarnation),
        boot_id: name(boot),
        machine_id: name("machine"),
        beat: 10_000,
        state: SessionState::Open,
        bounds: RunnerBounds {
            runner_deadline_ms: 4_000,
            kill_bound_ms: 1_000,
            watchdog_bound_ms: 0,
        },
        guard: GuardState::Working,
        storage: None,
        version: "1".to_owned(),
    }
}

/// A host that is online, well for long, with 4 GiB: life `i1` on boot `b1`.
pub fn host(world: &mut World, host: &str, site: &str) {
    let old = Instant(1);
    let view = HostView {
        spec: Some(seen(
            HostSpec {
                name: name(host),
                site: name(site),
                maintenance: false,
            },
            10,
            old,
        )),
        session: Some(seen(session("i1", "b1"), 11, NOW)),
        report: Some(seen(
            HostReport {
                incarnation: name("i1"),
                libvirt: LibvirtState::Connected,
                capacity: Capacity {
                    memory_mib: 4096 + 1024,
                    cpus: 8,
                },
                storage: StorageState::Synced,
                migrate_address: host.to_owned(),
                lease: holdfast_model::host::LeaseState::NotUsed,
                probe: None,
                labels: Default::default(),
            },
            12,
            old,
        )),
        state: Some(seen(
            HostState {
                membership: Membership::Online,
                incarnation: name("i1"),
                boot_id: name("b1"),
                losses: 0,
                reason: String::new(),
            },
            13,
            old,
        )),
        vms: BTreeMap::new(),
        unguarded_since: None,
        saw: BTreeMap::new(),
    };
    world.hosts.insert(name(host), Arc::new(view));
}

/// Two hosts per site.
pub fn two_sites() -> World {
    let mut w = world();
    for (h, site) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")] {
        host(&mut w, h, site);
    }
    w
}

pub fn spec(vm: &str, site: &str, priority: i32, memory_mib: u64) -> VmSpec {
    VmSpec {
        name: name(vm),
        uuid: name(&format!("uuid-{vm}")),
        domain_xml: String::new(),
        run: true,
        run_serial: 1,
        deleting: false,
        memory_mib,
        vcpus: 1,
        priority,
        preferred_site: (!site.is_empty()).then(|| name(site)),
        site_rule: SiteRule::Should,
        spread: None,
        storage_lease: true,
        on_io_error: None,
        labels: Default::default(),
    }
}

/// A VM that was never granted.
pub fn vm(world: &mut World, vm: &str, site: &str, priority: i32, memory_mib: u64) {
    let spec = seen(spec(vm, site, priority, memory_mib), 20, Instant(1));
    world.vms.insert(
        name(vm),
        Arc::new(VmView {
            spec: Some(spec),
            owner: None,
        }),
    );
}

pub fn runner(host: &str, incarnation: &str) -> Runner {
    Runner {
        host: name(host),
        incarnation: name(incarnation),
    }
}

pub fn owner(holder: Option<Runner>, generation: u64) -> Owner {
    Owner {
        holder,
        incoming: None,
        generation: Generation(generation),
        lease: holdfast_model::lease::StorageClass::Plain,
        intent: Intent::Run,
        rest: None,
        failures: Failures::default(),
        placed_by_hand: false,
        run_serial: 1,
        migrate_failures: 0,
        follows: Vec::new(),
        reason: "test".to_owned(),
    }
}

pub fn set_owner(world: &mut World, vm: &str, owner: Owner) {
    vm_mut(world, vm).owner = Some(seen(owner, 21, Instant(1)));
}

pub fn report(world: &mut World, host: &str, vm: &str, generation: u64, state: RunState) {
    let report = VmReport {
        incarnation: name("i1"),
        generation: Generation(generation),
        state,
    };
    let host = host_mut(world, host);
    host.vms.insert(name(vm), seen(report, 30, Instant(1)));
}

/// A VM that runs on a host's life `i1` under generation 1.
pub fn running(world: &mut World, vm_: &str, site: &str, priority: i32, on: &str) {
    vm(world, vm_, site, priority, 512);
    set_owner(world, vm_, owner(Some(runner(on, "i1")), 1));
    report(world, on, vm_, 1, RunState::Running);
}

pub fn host_mut<'w>(world: &'w mut World, host: &str) -> &'w mut HostView {
    Arc::make_mut(world.hosts.get_mut(&name::<HostName>(host)).unwrap())
}

pub fn vm_mut<'w>(world: &'w mut World, vm: &str) -> &'w mut VmView {
    Arc::make_mut(world.vms.get_mut(&name::<VmName>(vm)).unwrap())
}

/// Silent for so long.
pub fn silent(world: &mut World, host: &str, ms: u64) {
    let at = Instant(world.now.0 - ms);
    host_mut(world, host).session.as_mut().unwrap().seen_at = at;
}

pub fn fence(world: &mut World, host: &str, incarnation: &str) {
    let record = FenceRecord {
        host: name(host),
        incarnation: name(incarnation),
        stage: FenceStage::Closed,
        evidence: Evidence::Lapsed {
            silence_ms: 6000,
            wait_ms: 5500,
        },
        session_revision: None,
        plane: None,
        storage: None,
        release_asked: false,
    };
    Arc::make_mut(&mut world.fences).insert(
        (name(host), name(incarnation)),
        seen(record, 40, Instant(1)),
    );
}

pub fn op(world: &mut World, id: &str, request: Request) {
    let op = Op {
        id: name(id),
        by: "anna".to_owned(),
        request,
    };
    world.ops.insert(name(id), seen(op, 50, world.now));
}

pub fn owner_of(world: &World, vm: &str) -> Owner {
    world.vms[&name::<VmName>(vm)].owner.clone().unwrap().value
}

/// Where a VM is granted to.
pub fn holder(world: &World, vm: &str) -> String {
    let owner = world.vms[&name::<VmName>(vm)].owner.as_ref();
    let holder = owner.and_then(|owner| owner.value.holder.as_ref());
    holder.map_or("nobody".to_owned(), |runner| runner.host.to_string())
}

/// Carries a plan out as the store would; every compare is checked.
pub fn apply(world: &mut World, plan: &Plan) {
    for step in &plan.steps {
        world.revision = Revision(world.revision.0 + 1);
        for write in &step.writes {
            apply_write(world, write);
        }
    }
}

fn apply_write(world: &mut World, write: &Write) {
    let (revision, now) = (world.revision, world.now);
    match write.clone() {
        Write::Owner { vm, owner, expect } => {
            let view = Arc::make_mut(world.vms.entry(vm).or_default());
            assert_eq!(view.owner.as_ref().map(|o| o.revision), expect);
            view.owner = Some(Seen {
                value: owner,
                revision,
                seen_at: now,
            });
        }
        Write::CloseSession {
            host,
            session,
            expect,
        } => {
            let slot = &mut host_mut(world, host.as_str()).session;
            assert_eq!(slot.as_ref().map(|s| s.revision), Some(expect));
            *slot = Some(Seen {
                value: session,
                revision,
                seen_at: now,
            });
        }
        Write::Fence { record, expect } => {
            let key = (record.host.clone(), record.incarnation.clone());
            assert_eq!(world.fences.get(&key).map(|f| f.revision), expect);
            Arc::make_mut(&mut world.fences).insert(
                key,
                Seen {
                    value: record,
                    revision,
                    seen_at: now,
                },
            );
        }
        Write::HostState {
            host,
            state,
            expect,
        } => {
            let slot = &mut host_mut(world, host.as_str()).state;
            assert_eq!(slot.as_ref().map(|s| s.revision), expect);
            *slot = Some(Seen {
                value: state,
                revision,
                seen_at: now,
            });
        }
        Write::DeleteOp { id, expect } => {
            assert_eq!(world.ops.remove(&id).map(|op| op.revision), Some(expect));
        }
        Write::DeleteVm { vm, .. } => {
            world.vms.remove(&vm).unwrap();
        }
        Write::CheckVmSpec { vm, expect } => {
            assert_eq!(
                world.vms[&vm].spec.as_ref().map(|s| s.revision),
                Some(expect)
            );
        }
        Write::CheckFence {
            host,
            incarnation,
            expect,
        } => {
            let found = world.fences.get(&(host, incarnation));
            assert_eq!(found.map(|fence| fence.revision), Some(expect));
        }
        Write::CheckSession { host, expect } => {
            let session = &world.hosts[&host].session;
            assert_eq!(session.as_ref().map(|s| s.revision), Some(expect));
        }
        Write::CheckHostSpec { host, expect } => {
            assert_eq!(
                world.hosts[&host].spec.as_ref().map(|s| s.revision),
                Some(expect)
            );
        }
    }
}

/// Plans and applies until nothing is left to do at this instant.
pub fn settle(world: &mut World) -> Vec<Plan> {
    let mut plans = Vec::new();
    loop {
        let plan = holdfast_core::planner::plan(world);
        let wrong = holdfast_core::verify::verify(world, &plan);
        assert!(wrong.is_empty(), "{wrong:?}\n{:#?}", plan.steps);
        if plan.steps.is_empty() {
            return plans;
        }
        apply(world, &plan);
        plans.push(plan);
        assert!(plans.len() < 50, "does not settle: {:#?}", plans.last());
    }
}

/// Whether a report about a subject has these words.
pub fn says(plan: &Plan, subject: &Subject, text: &str) -> bool {
    plan.reports.iter().any(|r| {
        r.subject == *subject
            && (r.text.contains(text) || r.refused.iter().any(|(_, why)| why.contains(text)))
    })
}

/// A VM as a subject of reports.
pub fn vm_subject(vm: &str) -> Subject {
    Subject::Vm(name(vm))
}

/// Time passes; hosts that renewed so far go on renewing.
pub fn later(world: &mut World, ms: u64) {
    world.now = world.now.plus(ms);
    // The other hosts go on renewing.
    for host in world.hosts.values_mut().map(Arc::make_mut) {
        if let Some(session) = &mut host.session
            && session.seen_at.0 + 2_000 > world.now.0 - ms
        {
            session.seen_at = world.now;
        }
    }
}

/// What closed a life of a host.
pub fn evidence(world: &World, host: &str, life: &str) -> Option<Evidence> {
    let key = (name::<HostName>(host), name::<Incarnation>(life));
    world
        .fences
        .get(&key)
        .map(|fence| fence.value.evidence.clone())
}
