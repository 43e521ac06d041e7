//! Writes of owner records.

use super::{Found, Rule, probes};
use holdfast_model::fence::FenceStage;
use holdfast_model::host::{ExitKind, GuardState, RunState, Session, SessionState};
use holdfast_model::id::{Generation, HostName, Revision, VmName};
use holdfast_model::lease::StorageClass;
use holdfast_model::plan::{Plan, Step, Write};
use holdfast_model::time::Instant;
use holdfast_model::vm::{Owner, PastGrant, Runner, SiteRule};
use holdfast_model::world::World;
use std::collections::BTreeMap;

pub(super) fn check(
    world: &World,
    step: &Step,
    vm: &VmName,
    new: &Owner,
    expect: Option<Revision>,
    found: &mut Found,
) {
    let old = world.vms.get(vm).and_then(|view| view.owner.as_ref());
    found.unless(
        old.map(|old| old.revision) == expect,
        Rule::OneGuardedWrite,
        || super::stale("owner", vm),
    );
    memory(vm, old.map(|old| &old.value), new, found);
    if is_taken_back(world, vm, old.map(|old| &old.value), new) {
        if let Some(old) = old.map(|old| &old.value) {
            rests_on_half(world, step, vm, old, found);
            let others = |other: &&Runner| new.holder.as_ref() != Some(*other);
            stopped(world, vm, old, others, found);
        }
        return;
    }
    let Some((old, old_seen_at)) = old.map(|old| (&old.value, old.seen_at)) else {
        let first = new.generation == Generation(1);
        found.unless(first, Rule::Generation, || {
            format!("{vm} begins at {}", new.generation)
        });
        if let Some(to) = &new.holder {
            target(world, step, vm, to, found);
        }
        return;
    };
    rests_on_half(world, step, vm, old, found);
    let started =
        new.holder.is_some() && (new.holder != old.holder || new.generation != old.generation);
    if started {
        if is_taken_in(world, vm, old, new) {
            return all_stopped(world, vm, old, found);
        }
        let next = new.generation == old.generation.next();
        found.unless(next, Rule::Generation, || {
            format!("{vm} goes from {} to {}", old.generation, new.generation)
        });
        if !is_commit(world, vm, old, new) {
            all_stopped(world, vm, old, found);
            if let Some(to) = &new.holder {
                late_writes(world, vm, (old, old_seen_at), to, found);
                target(world, step, vm, to, found);
            }
        }
    } else {
        found.unless(new.generation == old.generation, Rule::Generation, || {
            format!("{vm} changes its generation without a new grant")
        });
        found.unless(new.lease == old.lease, Rule::Generation, || {
            format!("{vm} changes its storage lease without a new grant")
        });
        if new.holder.is_none() && old.holder.is_some() {
            all_stopped(world, vm, old, found);
        }
        incoming(world, step, vm, old, new, found);
    }
}

/// The store was set back: the holder says itself, under its open session, that it has the VM under a
/// grant that the record knows nothing of.
fn is_taken_back(world: &World, vm: &VmName, old: Option<&Owner>, new: &Owner) -> bool {
    let Some(holder) = &new.holder else {
        return false;
    };
    let above = old.is_none_or(|old| is_forgotten(old, holder, new.generation));
    let session = world
        .hosts
        .get(&holder.host)
        .and_then(|host| host.session.as_ref());
    let open = session.is_some_and(|session| {
        session.value.state == SessionState::Open && session.value.incarnation == holder.incarnation
    });
    let says = state(world, vm, new.generation, holder);
    let has = matches!(
        says,
        Some(RunState::Running | RunState::Paused { .. } | RunState::Unknown { .. })
    );
    // Nobody knows what it was granted under: the most that it may rely on is waited for.
    let may_be_leased = session.is_some_and(|session| session.value.has_storage_plane());
    let waited_for = new.lease == StorageClass::Quorum || !may_be_leased;
    above && open && new.incoming.is_none() && has && waited_for
}

/// The holder was refused on the storage: who has claimed the VM there becomes its holder, and may be
/// running it. Nothing is started by that.
fn is_taken_in(world: &World, vm: &VmName, old: &Owner, new: &Owner) -> bool {
    let says = old.holder.as_ref();
    let says = says.and_then(|holder| state(world, vm, old.generation, holder));
    let Some(RunState::Exited {
        how: ExitKind::ClaimedBefore {
            generation, runner, ..
        },
    }) = says
    else {
        return false;
    };
    let known = |grant: &PastGrant| grant.generation == *generation && grant.runner == *runner;
    let token = match is_forgotten(old, runner, *generation) {
        true => new.generation == *generation,
        false => new.generation == old.generation.next() && new.follows.iter().any(known),
    };
    token
        && new.holder.as_ref() == Some(runner)
        && new.incoming.is_none()
        && new.lease == StorageClass::Quorum
}

/// A grant above the record's, or the record's very own in another host's hands.
fn is_forgotten(old: &Owner, runner: &Runner, generation: Generation) -> bool {
    let named = old.possible_runners().any(|named| named == runner);
    let twice = generation == old.generation && old.holder.is_some() && !named;
    generation > old.generation || twice
}

/// A grant under a storage lease may stand on the lease volume: the next one has to know it.
fn memory(vm: &VmName, old: Option<&Owner>, new: &Owner, found: &mut Found) {
    let Some(old) = old else { return };
    let over = new.holder != old.holder || new.generation != old.generation;
    let leased = old.lease == StorageClass::Quorum;
    if let Some(runner) = old.holder.as_ref().filter(|_| over && leased) {
        let known = new.follows.first();
        let knows = known
            .is_some_and(|grant| grant.generation == old.generation && grant.runner == *runner);
        found.unless(knows, Rule::Memory, || {
            format!(
                "{vm} forgets that generation {} was {}'s",
                old.generation, runner.host
            )
        });
    }
    let sure = |owner: &Owner| {
        let ran = owner.follows.iter().find(|grant| grant.ran);
        ran.map(|grant| grant.generation)
    };
    found.unless(sure(new) >= sure(old), Rule::Memory, || {
        format!("{vm} forgets the last grant that ran")
    });
}

/// A migration that both ends agree on: the source's own word, and the whole copy.
fn is_commit(world: &World, vm: &VmName, old: &Owner, new: &Owner) -> bool {
    let (Some(from), Some(to)) = (&old.holder, &old.incoming) else {
        return false;
    };
    let says = |runner: &Runner| state(world, vm, old.generation, runner);
    new.holder.as_ref() == Some(to)
        && new.incoming.is_none()
        && says(from) == Some(&RunState::MigratedAway)
        && says(to) == Some(&RunState::Incoming { complete: true })
        && !is_fenced(world, to)
}

fn all_stopped(world: &World, vm: &VmName, old: &Owner, found: &mut Found) {
    stopped(world, vm, old, |_| true, found);
}

fn stopped(
    world: &World,
    vm: &VmName,
    old: &Owner,
    counts: impl Fn(&&Runner) -> bool,
    found: &mut Found,
) {
    for runner in old.possible_runners().filter(counts) {
        found.unless(
            is_stopped(world, vm, old, runner),
            Rule::NoStartWithoutEvidence,
            || {
                format!(
                    "{vm} may still run on {}/{}",
                    runner.host, runner.incarnation
                )
            },
        );
    }
}

fn incoming(world: &World, step: &Step, vm: &VmName, old: &Owner, new: &Owner, found: &mut Found) {
    match (&old.incoming, &new.incoming) {
        (None, Some(to)) => {
            let same = new.holder.as_ref().is_some_and(|from| from.host != to.host);
            found.unless(same, Rule::FitTarget, || {
                format!("{vm} moves to where it is")
            });
            let clear = world
                .hosts
                .get(&to.host)
                .is_none_or(|host| !host.vms.contains_key(vm));
            found.unless(clear, Rule::NoStartWithoutEvidence, || {
                format!("{} still has an old report of {vm}", to.host)
            });
            target(world, step, vm, to, found);
        }
        (Some(was), Some(to)) => found.unless(was == to, Rule::NoStartWithoutEvidence, || {
            format!("{vm} changes its destination under way")
        }),
        (Some(was), None) => found.unless(
            is_stopped(world, vm, old, was),
            Rule::NoStartWithoutEvidence,
            || format!("{vm} may have arrived on {}/{}", was.host, was.incarnation),
        ),
        (None, None) => {}
    }
}

fn state<'w>(
    world: &'w World,
    vm: &VmName,
    generation: Generation,
    runner: &Runner,
) -> Option<&'w RunState> {
    let report = &world.hosts.get(&runner.host)?.vms.get(vm)?.value;
    let about = report.incarnation == runner.incarnation && report.generation == generation;
    about.then_some(&report.state)
}

fn is_fenced(world: &World, runner: &Runner) -> bool {
    let key = (runner.host.clone(), runner.incarnation.clone());
    world
        .fences
        .get(&key)
        .is_some_and(|fence| fence.value.stage == FenceStage::Closed)
}

fn is_stopped(world: &World, vm: &VmName, owner: &Owner, runner: &Runner) -> bool {
    let said = match state(world, vm, owner.generation, runner) {
        Some(RunState::MigratedAway | RunState::NotHere) => true,
        Some(RunState::Exited { how }) => match how {
            ExitKind::GuestShutdown
            | ExitKind::Stopped
            | ExitKind::Crashed { .. }
            | ExitKind::StartFailed { .. }
            | ExitKind::ClaimedBefore { .. }
            | ExitKind::SelfFenced => true,
        },
        _ => false,
    };
    said || is_half_closed(world, owner, runner) || is_fenced(world, runner)
}

/// The settle time of the storage is over since the proof was first seen; or the life that said itself that it is over
/// has it again.
fn late_writes(
    world: &World,
    vm: &VmName,
    (old, old_seen_at): (&Owner, Instant),
    to: &Runner,
    found: &mut Found,
) {
    let over = |since: Instant| world.now.since(since) >= world.policy.storage.settle_wait_ms();
    let is_over = |runner: &Runner| {
        let key = (runner.host.clone(), runner.incarnation.clone());
        let closed = is_half_closed(world, old, runner) || is_fenced(world, runner);
        let said = || world.hosts.get(&runner.host)?.vms.get(vm);
        match world.fences.get(&key).filter(|_| closed) {
            Some(fence) => over(fence.seen_at),
            None => runner == to || said().is_some_and(|said| over(said.seen_at)),
        }
    };
    let held = old.holder.is_some() || old.incoming.is_some();
    let right = match held {
        true => old.possible_runners().all(is_over),
        false => over(old_seen_at),
    };
    found.unless(right, Rule::AfterLateWrites, || {
        format!("{vm} goes to {} before its storage has settled", to.host)
    });
}

/// Without a storage lease it stops with the session.
fn is_half_closed(world: &World, owner: &Owner, runner: &Runner) -> bool {
    let key = (runner.host.clone(), runner.incarnation.clone());
    owner.lease == StorageClass::Plain && world.fences.contains_key(&key)
}

/// A life that is closed in half may open its session again: a write that rests on the record of it
/// compares it.
fn rests_on_half(world: &World, step: &Step, vm: &VmName, old: &Owner, found: &mut Found) {
    for runner in old.possible_runners() {
        if !is_half_closed(world, old, runner) || is_fenced(world, runner) {
            continue;
        }
        let compared = step.writes.iter().any(|write| {
            matches!(write, Write::CheckFence { host, incarnation, .. }
                if *host == runner.host && *incarnation == runner.incarnation)
        });
        found.unless(compared, Rule::NoStartWithoutEvidence, || {
            format!(
                "{vm} is decided on a half-closed life of {} that may open its session again",
                runner.host
            )
        });
    }
}

/// A host that a VM may be given to.
fn target(world: &World, step: &Step, vm: &VmName, to: &Runner, found: &mut Found) {
    let Some(host) = world.hosts.get(&to.host) else {
        found.add(
            Rule::FitTarget,
            format!("{vm} to {}, which does not exist", to.host),
        );
        return;
    };
    let session = host.session.as_ref();
    let present = session.is_some_and(|session| {
        session.value.state == SessionState::Open
            && session.value.incarnation == to.incarnation
            && session.value.guard == GuardState::Working
    });
    found.unless(
        present && session.is_some_and(|s| !probes::is_suspect(world, &to.host, s)),
        Rule::FitTarget,
        || format!("{vm} to {}, which is not there", to.host),
    );
    let heard = session.is_some_and(|session| session.seen_at > world.view_since);
    found.unless(heard, Rule::FitTarget, || {
        format!(
            "{vm} to {}, which was not heard of since the store can be seen",
            to.host
        )
    });
    lease(
        world,
        step,
        vm,
        session.map(|session| &session.value),
        found,
    );
    let drained = host
        .spec
        .as_ref()
        .is_some_and(|spec| spec.value.maintenance);
    found.unless(!drained, Rule::FitTarget, || {
        format!("{vm} to {}, drained", to.host)
    });
    let spec = world
        .vms
        .get(vm)
        .and_then(|view| view.spec.as_ref())
        .map(|spec| &spec.value);
    if let Some(spec) = spec.filter(|spec| spec.site_rule == SiteRule::Must) {
        let site = host.spec.as_ref().map(|spec| &spec.value.site);
        let right = spec.preferred_site.is_none() || spec.preferred_site.as_ref() == site;
        found.unless(right, Rule::FitTarget, || {
            format!("{vm} to {}, wrong site", to.host)
        });
    }
    let live = step
        .writes
        .iter()
        .any(|write| matches!(write, Write::Owner { owner, .. } if owner.incoming.is_some()));
    let guarded = step
        .writes
        .iter()
        .any(|write| matches!(write, Write::CheckVmSpec { vm: checked, .. } if checked == vm));
    found.unless(live || guarded, Rule::GuardedBySpec, || {
        format!("the grant of {vm} does not compare its definition")
    });
}

/// No host gets more memory promised than it has.
pub(super) fn room(world: &World, plan: &Plan, found: &mut Found) {
    if plan.steps.is_empty() {
        return; // it promises nothing
    }
    let mut owners: BTreeMap<&VmName, &Owner> = BTreeMap::new();
    for (name, vm) in &world.vms {
        if let Some(owner) = &vm.owner {
            owners.insert(name, &owner.value);
        }
    }
    let mut taking: BTreeMap<&HostName, u64> = BTreeMap::new();
    for write in plan.steps.iter().flat_map(|step| &step.writes) {
        let Write::Owner { vm, owner, .. } = write else {
            continue;
        };
        let before = owners.insert(vm, owner);
        let newcomer = |runner: &&Runner| {
            before.is_none_or(|before| before.possible_runners().all(|known| known != *runner))
        };
        if is_taken_back(world, vm, before, owner) {
            continue; // it runs there already
        }
        for runner in owner.possible_runners().filter(newcomer) {
            taking.insert(&runner.host, 0);
        }
    }
    for (name, owner) in owners {
        let spec = world.vms.get(name).and_then(|vm| vm.spec.as_ref());
        let memory_mib = spec.map_or(0, |spec| spec.value.memory_mib);
        for runner in owner.possible_runners() {
            if let Some(sum) = taking.get_mut(&runner.host)
                && !is_stopped(world, name, owner, runner)
            {
                *sum = sum.saturating_add(memory_mib);
            }
        }
    }
    for (host, memory_mib) in taking {
        let report = world.hosts.get(host).and_then(|host| host.report.as_ref());
        let has = report.map_or(0, |report| report.value.capacity.memory_mib);
        found.unless(memory_mib <= has, Rule::FitTarget, || {
            format!("{host} would carry {memory_mib} MiB and has {has} MiB")
        });
    }
}

/// A grant relies on a storage lease only where the host's session declares one; its generation alone
/// decides, so it never changes under a grant.
fn lease(world: &World, step: &Step, vm: &VmName, session: Option<&Session>, found: &mut Found) {
    let granted = step.writes.iter().find_map(|write| match write {
        Write::Owner { vm: of, owner, .. } if of == vm => Some(owner),
        _ => None,
    });
    let Some(owner) = granted.filter(|owner| owner.lease == StorageClass::Quorum) else {
        return;
    };
    let before = world.vms.get(vm).and_then(|view| view.owner.as_ref());
    if before.is_some_and(|before| before.value.generation == owner.generation) {
        return;
    }
    let declared = session.and_then(|session| session.storage.as_ref());
    found.unless(
        declared.is_some_and(|plane| plane.class == StorageClass::Quorum),
        Rule::FitTarget,
        || format!("{vm} is granted under a storage lease that its host does not have"),
    );
}
