//! VMs drawn at random: what operators want of them, who may run them, and what was said of them.

use crate::HOSTS;
use crate::common::*;
use holdfast_model::host::{ExitKind, PauseReason, RunState};
use holdfast_model::id::VmName;
use holdfast_model::op::Request;
use holdfast_model::vm::*;
use holdfast_model::world::World;
use proptest::prelude::*;

/// Everything that can be different about a VM.
#[derive(Debug, Clone)]
pub struct VmDraw {
    run: bool,
    deleting: bool,
    priority: i32,
    site: u8,
    must: bool,
    memory_mib: u64,
    holder: Option<(usize, u8)>,
    incoming: Option<(usize, u8)>,
    granted: bool,
    intent: u8,
    failures: u32,
    by_hand: bool,
    said: [Option<(u8, u8, u64)>; 4],
    moving_to: Option<usize>,
}

pub fn vm_draw() -> impl Strategy<Value = VmDraw> {
    let runner = || prop::option::weighted(0.7, (0..4usize, 1..3u8));
    let wish = (
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.1),
        -2..3i32,
        0..3u8,
    );
    let size = (prop::bool::weighted(0.2), 64..3_000u64);
    let incoming = prop::option::weighted(0.3, (0..4usize, 1..3u8));
    let owner = (
        runner(),
        incoming,
        prop::bool::weighted(0.9),
        0..6u8,
        0..6u32,
        any::<bool>(),
    );
    let said = prop::array::uniform4(prop::option::weighted(0.5, (0..16u8, 1..3u8, 6..8u64)));
    (
        wish,
        size,
        owner,
        said,
        prop::option::weighted(0.2, 0..4usize),
    )
        .prop_map(|(wish, size, owner, said, moving_to)| VmDraw {
            run: wish.0,
            deleting: wish.1,
            priority: wish.2,
            site: wish.3,
            must: size.0,
            memory_mib: size.1,
            holder: owner.0,
            incoming: owner.1,
            granted: owner.2,
            intent: owner.3,
            failures: owner.4,
            by_hand: owner.5,
            said,
            moving_to,
        })
}

fn run_state(draw: u8) -> RunState {
    let reason = || "drawn".to_owned();
    match draw {
        0 => RunState::Starting,
        1 => RunState::Paused {
            reason: PauseReason::IoError,
        },
        2 => RunState::Stopping,
        3 => RunState::MigratingOut,
        4 => RunState::MigrationFailed { reason: reason() },
        5 => RunState::MigratedAway,
        6 => RunState::Incoming { complete: false },
        7 => RunState::Incoming { complete: true },
        8 => RunState::NotHere,
        9 => RunState::Exited {
            how: ExitKind::GuestShutdown,
        },
        10 => RunState::Exited {
            how: ExitKind::Stopped,
        },
        11 => RunState::Exited {
            how: ExitKind::Crashed { reason: reason() },
        },
        12 => RunState::Exited {
            how: ExitKind::StartFailed { reason: reason() },
        },
        13 => RunState::Unknown { reason: reason() },
        _ => RunState::Running,
    }
}

pub fn put_vm(w: &mut World, vm_name: &str, draw: &VmDraw) {
    vm(
        w,
        vm_name,
        ["", "a", "b"][usize::from(draw.site)],
        draw.priority,
        draw.memory_mib,
    );
    let slot = vm_mut(w, vm_name).spec.as_mut().unwrap();
    slot.value.run = draw.run;
    slot.value.deleting = draw.deleting;
    slot.value.site_rule = if draw.must {
        SiteRule::Must
    } else {
        SiteRule::Should
    };
    if draw.granted {
        let place = |(host, life): (usize, u8)| runner(HOSTS[host].0, &format!("i{life}"));
        let mut owner = owner(draw.holder.map(place), 7);
        owner.incoming = draw.incoming.map(place);
        if owner.incoming.as_ref().map(|r| &r.host) == owner.holder.as_ref().map(|r| &r.host) {
            owner.incoming = None;
        }
        owner.intent = [
            Intent::Run,
            Intent::Stop,
            Intent::Kill,
            Intent::Resume,
            Intent::Migrate,
            Intent::AbortMigration,
        ][usize::from(draw.intent)];
        owner.failures.in_a_row = draw.failures;
        owner.placed_by_hand = draw.by_hand;
        set_owner(w, vm_name, owner);
    }
    for (i, said) in draw.said.iter().enumerate() {
        let Some((state, life, generation)) = said else {
            continue;
        };
        report(w, HOSTS[i].0, vm_name, *generation, run_state(*state));
        let slot = host_mut(w, HOSTS[i].0)
            .vms
            .get_mut(&name::<VmName>(vm_name))
            .unwrap();
        slot.value.incarnation = name(&format!("i{life}"));
    }
    if let Some(to) = draw.moving_to {
        let to = (to > 0).then(|| name(HOSTS[to].0));
        op(
            w,
            &format!("op-{vm_name}"),
            Request::Move {
                vm: name(vm_name),
                to,
            },
        );
    }
}
