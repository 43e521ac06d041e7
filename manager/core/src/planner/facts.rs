//! Plain facts read off the world; nothing here decides.

use holdfast_model::fence::{Evidence, FenceStage};
use holdfast_model::host::{ExitKind, GuardState, RunState, Session, SessionState, VmReport};
use holdfast_model::id::{Generation, HostName, SiteName, VmName};
use holdfast_model::lease::StorageClass;
use holdfast_model::time::Instant;
use holdfast_model::timing::Timing;
use holdfast_model::vm::{Owner, Runner};
use holdfast_model::world::{HostView, Seen, World};

/// Why a possible runner runs a VM no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Its whole incarnation is closed.
    Fenced(Evidence),
    /// It said itself how this grant ended.
    Exited(ExitKind),
    /// It said itself that the VM was migrated away whole.
    MigratedAway,
    /// It said itself that it has nothing of this grant and will accept nothing.
    NotHere,
}

/// Whether a possible runner of one grant is proven stopped, and how. The only two proofs are a
/// fence record of its incarnation and a final report by that very incarnation about that very
/// generation. Where a storage lease may keep the VM running, the record has to say that this plane
/// is closed as well.
pub fn resolution(
    world: &World,
    vm: &VmName,
    owner: &Owner,
    runner: &Runner,
) -> Option<Resolution> {
    proof(world, vm, owner, runner).map(|(how, _)| how)
}

/// The same, with the time at which this manager first saw it.
pub(super) fn proof(
    world: &World,
    vm: &VmName,
    owner: &Owner,
    runner: &Runner,
) -> Option<(Resolution, Instant)> {
    let key = (runner.host.clone(), runner.incarnation.clone());
    if let Some(fence) = world.fences.get(&key)
        && (fence.value.stage == FenceStage::Closed || owner.lease == StorageClass::Plain)
    {
        let how = Resolution::Fenced(fence.value.evidence.clone());
        return Some((how, fence.seen_at));
    }
    let said = seen_report_of(world, vm, owner.generation, runner)?;
    let how = match &said.value.state {
        RunState::Exited { how } => Some(Resolution::Exited(how.clone())),
        RunState::MigratedAway => Some(Resolution::MigratedAway),
        RunState::NotHere => Some(Resolution::NotHere),
        RunState::Starting
        | RunState::Running
        | RunState::Paused { .. }
        | RunState::Stopping
        | RunState::MigratingOut
        | RunState::MigrationFailed { .. }
        | RunState::Incoming { .. }
        | RunState::Unknown { .. } => None,
    };
    how.map(|how| (how, said.seen_at))
}

/// What a runner last said of one grant.
pub(super) fn report_of<'w>(
    world: &'w World,
    vm: &VmName,
    generation: Generation,
    runner: &Runner,
) -> Option<&'w VmReport> {
    seen_report_of(world, vm, generation, runner).map(|said| &said.value)
}

fn seen_report_of<'w>(
    world: &'w World,
    vm: &VmName,
    generation: Generation,
    runner: &Runner,
) -> Option<&'w Seen<VmReport>> {
    let said = world.hosts.get(&runner.host)?.vms.get(vm)?;
    let report = &said.value;
    (report.incarnation == runner.incarnation && report.generation == generation).then_some(said)
}

/// The open session of a host.
pub(super) fn open_session(host: &HostView) -> Option<&Seen<Session>> {
    host.session
        .as_ref()
        .filter(|session| session.value.state == SessionState::Open)
}

/// Whether a life of a host is over because the host has begun another: its open session is of another
/// life, and was renewed after that life was named as a runner. A session that stands there from before
/// proves nothing where the store was set back: it may be of an older life.
pub(crate) fn has_a_later_life(world: &World, runner: &Runner) -> bool {
    let host = world.hosts.get(&runner.host);
    let Some(session) = host.and_then(|host| open_session(host)) else {
        return false;
    };
    let names = |owner: &&Seen<Owner>| owner.value.possible_runners().any(|r| r == runner);
    let owners = world.vms.values().filter_map(|vm| vm.owner.as_ref());
    session.value.incarnation != runner.incarnation
        && owners
            .filter(names)
            .all(|owner| owner.revision < session.revision)
}

/// How long a host has been silent, by this manager's clock and not counting the time in which
/// this manager itself saw nothing, in milliseconds.
pub(super) fn silence_ms(world: &World, session: &Seen<Session>) -> u64 {
    world.now.since(session.seen_at.max(world.view_since))
}

/// The silence after which everything a host runs has stopped, in milliseconds; none if nobody
/// enforces its deadline, so that silence proves nothing.
pub(super) fn lapse_after_ms(world: &World, session: &Session) -> Option<u64> {
    let timing = world.policy.timing.resolve();
    match session.guard {
        GuardState::Working => Some(timing.taker_wait_ms.max(session.bounds.required_wait_ms())),
        GuardState::Absent => None,
    }
}

/// Where a host stands.
pub(super) fn site_of<'w>(world: &'w World, host: &HostName) -> Option<&'w SiteName> {
    world
        .hosts
        .get(host)?
        .spec
        .as_ref()
        .map(|spec| &spec.value.site)
}

/// Whether an operator drained a host.
pub(super) fn is_drained(host: &HostView) -> bool {
    host.spec
        .as_ref()
        .is_some_and(|spec| spec.value.maintenance)
}

/// How long a life has renewed its session, by its own count of heartbeats: that needs neither a
/// common clock nor this leader to have been there from the beginning.
pub(super) fn session_age_ms(timing: &Timing, session: &Session) -> u64 {
    session.beat.saturating_mul(timing.heartbeat_ms)
}

/// The age of the oldest open session; none without any.
pub(super) fn cluster_age_ms(world: &World, timing: &Timing) -> Option<u64> {
    let sessions = world.hosts.values().filter_map(|host| open_session(host));
    let ages = sessions.map(|session| session_age_ms(timing, &session.value));
    ages.max()
}
