//! Laws of the planner, on worlds drawn at random: also on ones that should not exist.

mod common;
mod probe_draw;
mod vm_draw;

use common::*;
use holdfast_core::{planner::plan, verify::verify};
use holdfast_model::fence::{Evidence, FenceStage, TOGETHER};
use holdfast_model::host::*;
use holdfast_model::id::*;
use holdfast_model::op::Request;
use holdfast_model::plan::Write;
use holdfast_model::power::{PowerReading, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::vm::*;
use holdfast_model::world::World;
use probe_draw::{ProbeDraw, may_be_suspect, probe_draw, put_probes};
use proptest::prelude::*;
use vm_draw::{put_vm, vm_draw};

const HOSTS: [(&str, &str); 4] = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")];
/// A device that may switch all of them.
const STRIP: &str = "strip";
const VMS: [&str; 5] = ["v0", "v1", "v2", "v3", "v4"];

/// Everything that can be different about a host.
#[derive(Debug, Clone)]
struct HostDraw {
    silence_ms: u64,
    life: u8,
    closed: bool,
    guard: bool,
    drained: bool,
    membership: u8,
    state_life: u8,
    state_age_ms: u64,
    fenced_lives: [bool; 2],
    memory_mib: u64,
    libvirt: bool,
    storage: u8,
    no_session: bool,
    power: Option<PowerDraw>,
    /// The same of a second device.
    strip: Option<PowerDraw>,
    probes: ProbeDraw,
}

/// What the leader remembers of a host's fencing device: state, life, attempts so far, for how long, and
/// whether the session is the one that it was asked on.
type PowerDraw = (u8, u8, u32, u64, bool);

fn host_draw() -> impl Strategy<Value = HostDraw> {
    let silence = prop_oneof![Just(0u64), 0..20_000u64, Just(5_499), Just(5_500)];
    let first = (
        silence,
        1..3u8,
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.9),
    );
    let second = (prop::bool::weighted(0.2), 0..5u8, 0..3u8, 0..700_000u64);
    let third = (
        any::<[bool; 2]>(),
        1_024..6_000u64,
        prop::bool::weighted(0.9),
        0..5u8,
    );
    let power = || (0..4u8, 1..3u8, 1..5u32, 0..70_000u64, any::<bool>());
    let fourth = (
        prop::bool::weighted(0.05),
        prop::option::weighted(0.4, power()),
        probe_draw(),
        prop::option::weighted(0.4, power()),
    );
    (first, second, third, fourth).prop_map(|(first, second, third, fourth)| HostDraw {
        silence_ms: first.0,
        life: first.1,
        closed: first.2,
        guard: first.3,
        drained: second.0,
        membership: second.1,
        state_life: second.2,
        state_age_ms: second.3,
        fenced_lives: third.0,
        memory_mib: third.1,
        libvirt: third.2,
        storage: third.3,
        no_session: fourth.0,
        power: fourth.1,
        probes: fourth.2,
        strip: fourth.3,
    })
}

fn put_host(w: &mut World, (host_name, site): (&str, &str), draw: &HostDraw) {
    host(w, host_name, site);
    let life = format!("i{}", draw.life);
    let at = Instant(w.now.0 - draw.silence_ms);
    for (i, fenced) in draw.fenced_lives.iter().enumerate() {
        if *fenced && (i + 1 != usize::from(draw.life) || draw.closed) {
            fence(w, host_name, &format!("i{}", i + 1));
        }
    }
    let now = w.now;
    let view = host_mut(w, host_name);
    view.spec.as_mut().unwrap().value.maintenance = draw.drained;
    let slot = view.session.as_mut().unwrap();
    slot.seen_at = at;
    slot.value.incarnation = name(&life);
    slot.value.boot_id = name(&format!("boot{}", draw.life));
    slot.value.state = if draw.closed {
        SessionState::Closed
    } else {
        SessionState::Open
    };
    slot.value.guard = if draw.guard {
        GuardState::Working
    } else {
        GuardState::Absent
    };
    let slot = view.report.as_mut().unwrap();
    slot.value.incarnation = name(&life);
    slot.value.capacity.memory_mib = draw.memory_mib;
    if !draw.libvirt {
        slot.value.libvirt = LibvirtState::Unreachable {
            reason: "drawn".into(),
        };
    }
    slot.value.storage = match draw.storage {
        0 => StorageState::Degraded {
            detail: "drawn".into(),
        },
        1 => StorageState::Unusable {
            reason: "drawn".into(),
        },
        _ => StorageState::Synced,
    };
    if draw.no_session {
        view.session = None;
    }
    if draw.state_life == 0 {
        view.state = None;
        return;
    }
    let slot = view.state.as_mut().unwrap();
    slot.seen_at = Instant(now.0 - draw.state_age_ms);
    slot.value.incarnation = name(&format!("i{}", draw.state_life));
    slot.value.boot_id = name(&format!("boot{}", draw.state_life));
    slot.value.membership = [
        Membership::Online,
        Membership::Suspect,
        Membership::Fenced,
        Membership::Rejoining,
        Membership::Maintenance,
    ][usize::from(draw.membership)];
}

fn put_power(w: &mut World, host: &str, device: &str, draw: PowerDraw) {
    let (state, life, attempt, age_ms, same) = draw;
    let session = w.hosts[&name::<HostName>(host)].session.as_ref();
    let revision = session.map_or(Revision(1), |session| session.revision);
    let asked_at = Instant(w.now.0 - age_ms);
    let reading = PowerReading {
        incarnation: name(&format!("i{life}")),
        session_revision: if same { revision } else { Revision(2) },
        device: name(device),
        attempt,
        asked_at,
        read_at: asked_at,
        answered_at: asked_at,
        state: match state {
            0 => PowerState::Asked,
            1 => PowerState::On,
            2 => PowerState::Unknown {
                reason: "drawn".to_owned(),
            },
            _ => PowerState::Off,
        },
    };
    let of_host = w.power.entry(name(host)).or_default();
    of_host.insert(name(device), reading);
}

fn any_world() -> impl Strategy<Value = World> {
    let hosts = prop::array::uniform4(host_draw());
    let vms = prop::collection::vec(vm_draw(), 0..=VMS.len());
    let confirm = prop::option::weighted(0.2, 0..4usize);
    // Few worlds have devices for all hosts; some are asked on suspicion.
    // Some have a power strip with an outlet for each host besides; a few, one for each of two supplies.
    let strip = prop::option::of((1..3u32, prop::bool::weighted(0.3)));
    let devices = (any::<[bool; 4]>(), any::<bool>(), strip);
    (hosts, vms, confirm, 0..12_000u64, devices).prop_map(
        |(hosts, vms, confirm, view_ms, devices)| {
            let mut w = world();
            w.policy_mut().fencing.on_suspicion = devices.1;
            let (order, both) = devices.2.unwrap_or((1, false));
            for ((host, _), _) in HOSTS.iter().zip(devices.0).filter(|(_, has)| *has) {
                let device =
                    serde_json::json!({"agent": "fence_x", "all_of": both, "order": order});
                let device = serde_json::from_value(device).unwrap();
                w.policy_mut().fencing.devices.insert(name(host), device);
            }
            if devices.2.is_some() {
                let hosts = HOSTS.map(|(host, _)| host);
                let device = serde_json::json!({"agent": "fence_y", "hosts": hosts, "all_of": both,
                    "order": if both { order } else { 3 - order }});
                let device = serde_json::from_value(device).unwrap();
                w.policy_mut().fencing.devices.insert(name(STRIP), device);
            }
            w.view_since = Instant(w.now.0 - view_ms);
            for (place, draw) in HOSTS.iter().zip(&hosts) {
                put_host(&mut w, *place, draw);
                if let Some(power) = draw.power {
                    put_power(&mut w, place.0, place.0, power);
                }
                if let Some(power) = draw.strip {
                    put_power(&mut w, place.0, STRIP, power);
                }
                put_probes(&mut w, place.0, &draw.probes);
            }
            for (vm, draw) in VMS.iter().zip(&vms) {
                put_vm(&mut w, vm, draw);
            }
            if let Some(host) = confirm {
                op(
                    &mut w,
                    "confirm",
                    Request::ConfirmOff {
                        host: name(HOSTS[host].0),
                    },
                );
            }
            w
        },
    )
}

/// Ground truth of the protocol: who may run a VM, by what is on record.
fn open_runners(w: &World, vm: &VmName, owner: &Owner) -> usize {
    owner
        .possible_runners()
        .filter(|r| {
            let key = (r.host.clone(), r.incarnation.clone());
            let fenced = w
                .fences
                .get(&key)
                .is_some_and(|f| f.value.stage == FenceStage::Closed);
            let said = w
                .hosts
                .get(&r.host)
                .and_then(|h| h.vms.get(vm))
                .map(|s| &s.value);
            let ended = said.is_some_and(|s| {
                s.incarnation == r.incarnation
                    && s.generation == owner.generation
                    && s.state.is_final()
            });
            !fenced && !ended
        })
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// The independent check accepts every plan, and so does the ground truth above: a start
    /// anew happens only where nobody may run the VM any more.
    #[test]
    fn every_plan_is_safe(w in any_world()) {
        let p = plan(&w);
        let wrong = verify(&w, &p);
        prop_assert!(wrong.is_empty(), "{:?}\n{:#?}", wrong, p.steps);
        for write in p.steps.iter().flat_map(|s| &s.writes) {
            let Write::Owner { vm, owner: new, .. } = write else { continue };
            let Some(old) = &w.vms[vm].owner else { continue };
            let old = &old.value;
            prop_assert!(new.generation >= old.generation);
            let moved = old.incoming.is_some() && new.holder == old.incoming;
            if new.generation > old.generation && !moved {
                // A fence of this very plan may be written before the grant.
                let mut then = w.clone();
                let until = p.steps.iter().position(|s| s.writes.contains(write)).unwrap();
                let mut before = p.clone();
                before.steps.truncate(until);
                apply(&mut then, &before);
                prop_assert_eq!(open_runners(&then, vm, old), 0, "{} {:?}", vm, new);
            }
        }
    }

    /// The same world gives the same plan.
    #[test]
    fn planning_is_deterministic(w in any_world()) {
        prop_assert_eq!(plan(&w), plan(&w.clone()));
    }

    /// Carrying plans out at one instant ends: no two rules undo each other.
    #[test]
    fn plans_run_dry(mut w in any_world()) {
        settle(&mut w);
    }

    /// The planner never looks again in the past, and what waits for time says until when.
    #[test]
    fn waits_end_in_the_future(w in any_world()) {
        let p = plan(&w);
        if let Some(at) = p.wake_at {
            prop_assert!(at > w.now);
        }
        for report in &p.reports {
            if let Some(until) = report.until {
                prop_assert!(until > w.now, "{:?}", report);
                prop_assert!(p.wake_at.is_some_and(|at| at <= until));
            }
        }
    }

    /// Nothing is written about a host that renews and declares nothing new.
    #[test]
    fn a_host_in_time_is_never_closed(w in any_world()) {
        for write in plan(&w).steps.iter().flat_map(|s| &s.writes) {
            if let Write::CloseSession { host, .. } = write {
                prop_assert!(may_be_suspect(&w, host));
            }
        }
    }

    /// A device is asked only about a silent host that may run something, once at a time, by a step that
    /// fails if the host renews its session.
    #[test]
    fn only_the_silent_are_switched_off(w in any_world()) {
        for ask in plan(&w).asks {
            let session = w.hosts[&ask.host].session.as_ref().unwrap();
            prop_assert!(may_be_suspect(&w, &ask.host));
            let guard = Write::CheckSession { host: ask.host.clone(), expect: session.revision };
            prop_assert_eq!(&ask.step.writes, &[guard]);
            let reading = |device: &DeviceName| {
                let reading = w.power.get(&ask.host).and_then(|of_host| of_host.get(device));
                reading.filter(|r| r.incarnation == ask.incarnation)
            };
            let own = reading(&ask.device);
            prop_assert!(own.is_none_or(|r| r.state != PowerState::Asked && r.attempt < ask.attempt));
            let devices = w.policy.fencing.devices_of(&ask.host);
            let order = w.policy.fencing.devices[&ask.device].order;
            for (before, _) in devices.iter().filter(|(_, device)| device.order < order) {
                let answered = |r: &PowerReading| r.attempt == ask.attempt && r.state != PowerState::Asked;
                prop_assert!(reading(before).is_some_and(answered), "{} before {}", ask.device, before);
            }
            let mut owners = w.vms.values().filter_map(|vm| vm.owner.as_ref());
            let runs = |r: &Runner| r.host == ask.host && r.incarnation == ask.incarnation;
            prop_assert!(owners.any(|owner| owner.value.possible_runners().any(runs)));
        }
    }

    /// What proves that a host is off: each device that is named says so, all of its supplies are named, and no
    /// other device says on that was asked as late.
    #[test]
    fn one_device_that_says_on_outweighs_any_that_say_off(w in any_world()) {
        for write in plan(&w).steps.iter().flat_map(|s| &s.writes) {
            let Write::Fence { record, .. } = write else { continue };
            let Evidence::PoweredOff { by } = &record.evidence else { continue };
            let of_host = &w.power[&record.host];
            let named: Vec<DeviceName> = by.split(TOGETHER).map(name).collect();
            for device in &named {
                let off = &of_host[device];
                prop_assert_eq!(&off.state, &PowerState::Off);
                let mut lives = of_host.values().filter(|r| r.incarnation == record.incarnation);
                prop_assert!(!lives.any(|r| r.state.says_on() && r.answered_at >= off.read_at));
            }
            let supplies = w.policy.fencing.devices_of(&record.host);
            let all: Vec<_> = supplies.iter().filter(|(_, device)| device.all_of).collect();
            let some = all.iter().any(|(device, _)| named.contains(device));
            prop_assert!(!some || all.iter().all(|(device, _)| named.contains(device)));
        }
    }

    /// A world survives being written down and read again: recorded decisions replay.
    #[test]
    fn worlds_can_be_recorded(w in any_world()) {
        let text = serde_json::to_string(&w).unwrap();
        prop_assert_eq!(serde_json::from_str::<World>(&text).unwrap(), w);
    }
}
