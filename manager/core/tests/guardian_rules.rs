//! One line per rule of the guardian: what is there, and what it answers.

mod guardian_common;

use guardian_common::*;
use holdfast_core::guardian::{
    Action, DomainState, Elsewhere, EndKind, HostWorld, Job, decide, settled_ends,
};
use holdfast_model::host::{ExitKind, PauseReason, RunState};
use holdfast_model::id::{Generation, VmName};
use holdfast_model::time::Instant;
use holdfast_model::vm::Intent;
use std::collections::BTreeMap;

#[test]
fn a_grant_is_started_after_its_report_and_only_once() {
    let granted = || here().granted(7, Intent::Run);
    granted().gives("report 7 Starting / start 7");
    granted()
        .report(6, exited(ExitKind::GuestShutdown))
        .gives("report 7 Starting / start 7");
    granted()
        .report_of(PAST, 6, RunState::Running)
        .gives("report 7 Starting / start 7");
    granted()
        .report(7, RunState::Starting)
        .job(Job::Start {
            generation: Generation(7),
        })
        .gives("-");
    granted().report(7, RunState::Starting).gives(
        "report 7 crashed: the agent was restarted during its start, and nothing is left of it",
    );
    granted()
        .report(7, exited(ExitKind::GuestShutdown))
        .gives("-");
    granted()
        .report_of(PAST, 7, RunState::Running)
        .gives("report 7 crashed: an earlier life of this host has had this grant");
    granted().report(8, RunState::Running).gives("-");
    granted()
        .but(|w| w.grants.values_mut().for_each(|g| g.spec = None))
        .gives("report 7 start failed: its definition is gone");
}

#[test]
fn nothing_is_set_going_without_time_guard_grant_or_libvirt() {
    type Change = (&'static str, fn(&mut HostWorld));
    let changes: [Change; 4] = [
        ("no time", |w| w.may_act_until = w.now),
        ("no guard", |w| w.guard_works = false),
        ("grants not read", |w| w.grants_known = false),
        ("libvirt silent", |w| w.domains = None),
    ];
    let migrated = paused(PauseReason::Migration);
    for (why, change) in changes {
        let worlds = [
            here().granted(7, Intent::Run),
            here()
                .granted(7, Intent::Run)
                .report(7, RunState::Starting)
                .domain(7, DomainState::Created),
            here()
                .granted(7, Intent::Run)
                .report(7, failed("x"))
                .domain(7, migrated),
            here()
                .granted(7, Intent::Run)
                .report(6, RunState::Incoming { complete: true })
                .domain(6, DomainState::Received),
        ];
        for world in worlds {
            assert_ne!(words(&decide(&world.0)), "-", "{why}: would be set going");
            world.but(change).gives("-");
        }
    }
    here().owner("h/i1", "-", 7, Intent::Run).gives("-");
    here().owner("other", "-", 7, Intent::Run).gives("-");
}

#[test]
fn a_running_vm_is_reported_and_left_alone() {
    let running = || {
        here()
            .granted(7, Intent::Run)
            .domain(7, DomainState::Running)
    };
    running()
        .report(7, RunState::Starting)
        .gives("report 7 Running");
    running().report(7, RunState::Running).gives("-");
    running().report(7, failed("x")).gives("report 7 Running");
    for past in [
        |w: &mut HostWorld| w.may_act_until = Instant(0),
        |w: &mut HostWorld| w.deadline = Instant(0),
        |w: &mut HostWorld| w.guard_works = false,
        |w: &mut HostWorld| w.grants_known = false,
    ] {
        running().report(7, RunState::Running).but(past).gives("-");
    }
    running()
        .domain(7, DomainState::ShuttingDown)
        .report(7, RunState::Running)
        .gives("-");
}

#[test]
fn a_start_that_an_earlier_agent_left_half_done_is_finished() {
    here()
        .granted(7, Intent::Run)
        .report(7, RunState::Starting)
        .domain(7, DomainState::Created)
        .gives("resume 7");
}

#[test]
fn paused_is_not_stopped() {
    for reason in [
        PauseReason::IoError,
        PauseReason::ByHand,
        PauseReason::Other,
    ] {
        let world = || {
            here()
                .granted(7, Intent::Run)
                .report(7, RunState::Running)
                .domain(7, paused(reason))
        };
        let decision = decide(&world().0);
        assert_eq!(
            words(&decision),
            format!("report 7 Paused {{ reason: {reason:?} }}")
        );
        assert_eq!(decision.wake_at, Some(Instant(NOW + 4_000)), "its deadline");
        world().report(7, RunState::Paused { reason }).gives("-");
        world()
            .but(|w| w.deadline = w.now)
            .gives("destroy: it stands paused past this host's deadline");
    }
    here()
        .granted(7, Intent::Run)
        .report(
            7,
            RunState::Paused {
                reason: PauseReason::IoError,
            },
        )
        .end(7, EndKind::Destroyed)
        .gives("report 7 SelfFenced");
}

#[test]
fn an_end_is_reported_by_its_cause() {
    let gone = |end: Option<EndKind>| {
        let world = here().granted(7, Intent::Run).report(7, RunState::Running);
        match end {
            Some(end) => world.end(7, end),
            None => world,
        }
    };
    let reason = || "signal 9".to_owned();
    gone(Some(EndKind::GuestShutdown)).gives("report 7 GuestShutdown");
    gone(Some(EndKind::Crashed { reason: reason() })).gives("report 7 crashed: signal 9");
    gone(Some(EndKind::SelfFenced)).gives("report 7 SelfFenced");
    gone(None).gives("report 7 crashed: its domain is gone; libvirt did not say why");
    gone(Some(EndKind::StartFailed { reason: reason() }))
        .report(7, RunState::Starting)
        .gives("report 7 start failed: signal 9");
    here()
        .granted(7, Intent::Run)
        .report(7, RunState::Running)
        .end(6, EndKind::GuestShutdown)
        .gives("report 7 crashed: its domain is gone; libvirt did not say why");
    // Asked by us, and wanted again in the meantime: not the guest's own wish.
    gone(Some(EndKind::GuestShutdown))
        .report(7, RunState::Stopping)
        .gives("report 7 Stopped");
}

#[test]
fn a_stop_asks_first_and_destroys_after_the_grace() {
    let stop = || here().granted(7, Intent::Stop);
    let up = || stop().domain(7, DomainState::Running);
    let asked_ms_ago = |ms: u64| Job::Shutdown {
        since: Instant(NOW - ms),
    };
    up().report(7, RunState::Running)
        .gives("report 7 Stopping / shut down");
    up().report(7, RunState::Stopping).gives("shut down");
    let waiting = up().report(7, RunState::Stopping).job(asked_ms_ago(59_999));
    waiting.gives("-");
    assert_eq!(decide(&waiting.0).wake_at, Some(Instant(NOW + 1)));
    up().report(7, RunState::Stopping)
        .job(asked_ms_ago(60_000))
        .gives("destroy: it did not shut down within 60000 ms");
    stop()
        .domain(7, paused(PauseReason::IoError))
        .report(7, RunState::Running)
        .gives("report 7 Stopping / destroy: it is to be stopped and stands paused");
    stop()
        .report(7, RunState::Stopping)
        .job(asked_ms_ago(5))
        .gives("report 7 Stopped");
    stop()
        .report(7, RunState::Running)
        .gives("report 7 Stopped");
    stop().gives("report 7 Stopped");
    stop().report(7, exited(ExitKind::Stopped)).gives("-");
}

#[test]
fn a_kill_asks_nobody_and_a_resume_is_for_io_errors_only() {
    let kill = || here().granted(7, Intent::Kill);
    let why = "destroy: it is to be stopped by force: ";
    for state in [DomainState::Running, paused(PauseReason::IoError)] {
        kill()
            .domain(7, state)
            .report(7, RunState::Running)
            .gives(&format!("report 7 Stopping / {why}"));
    }
    let since = Instant(NOW - 5);
    kill()
        .domain(7, DomainState::ShuttingDown)
        .report(7, RunState::Stopping)
        .job(Job::Shutdown { since })
        .gives("destroy: its guest was shutting down and is past waiting for");
    kill()
        .report(7, RunState::Stopping)
        .gives("report 7 Stopped");

    let resume = || here().granted(7, Intent::Resume);
    let reason = PauseReason::IoError;
    resume()
        .domain(7, paused(reason))
        .report(7, RunState::Paused { reason })
        .gives("resume 7");
    resume()
        .domain(7, DomainState::Running)
        .report(7, RunState::Paused { reason })
        .gives("report 7 Running");
    let reason = PauseReason::ByHand;
    resume()
        .domain(7, paused(reason))
        .report(7, RunState::Paused { reason })
        .gives("-");
}

#[test]
fn a_stop_that_was_taken_back_ends_with_its_grace() {
    let world = |ms: u64| {
        here()
            .granted(7, Intent::Run)
            .domain(7, DomainState::Running)
            .report(7, RunState::Stopping)
            .job(Job::Shutdown {
                since: Instant(NOW - ms),
            })
    };
    world(1).gives("-");
    world(60_000).gives("report 7 Running");
}

fn elsewhere(generation: u64, held: bool) -> BTreeMap<VmName, Elsewhere> {
    let generation = Generation(generation);
    BTreeMap::from([(vm(), Elsewhere { generation, held })])
}

#[test]
fn a_domain_without_a_grant_is_destroyed_and_its_report_goes_last() {
    let up = || here().domain(7, DomainState::Running);
    up().report(7, RunState::Running)
        .but(|w| w.elsewhere = elsewhere(7, false))
        .gives("destroy: it is not granted to this host");
    up().owner("other", "-", 8, Intent::Run)
        .gives("destroy: it is not granted to this host");
    up().owner("h/i1", "-", 7, Intent::Run)
        .gives("destroy: its grant is to an earlier life of this host");
    up().granted(8, Intent::Run)
        .gives("destroy: it is of generation 7, the grant is 8");
    up().granted(7, Intent::Run)
        .report(7, exited(ExitKind::GuestShutdown))
        .gives("destroy: its grant has ended and was reported so");
    up().job(Job::Destroy).gives("-");
    up().job(Job::Shutdown {
        since: Instant(NOW - 1),
    })
    .but(|w| w.elsewhere = elsewhere(7, false))
    .gives("destroy: it was shutting down and its grant is gone");
    up().but(|w| w.grants_known = false).gives("-");
    here()
        .report(7, exited(ExitKind::GuestShutdown))
        .gives("remove report");
    here().report(7, RunState::Running).gives("remove report");
    // The leader has not moved on yet.
    here()
        .granted(7, Intent::Run)
        .report(7, exited(ExitKind::GuestShutdown))
        .gives("-");
    here()
        .owner("h/i1", "-", 7, Intent::Run)
        .report_of(PAST, 7, RunState::Running)
        .gives("-");
    here()
        .report(7, RunState::Running)
        .but(|w| w.domains = None)
        .gives("-");
}

#[test]
fn a_domain_that_the_store_has_forgotten_runs_on_and_is_told_of() {
    let told = |world: &Here| {
        let decision = decide(&world.0);
        assert!(decision.actions.is_empty(), "{:?}", decision.actions);
        let report = decision.reports.values().next().cloned().flatten();
        report.map(|report| (report.generation.0, report.state))
    };
    let running = Some((9, RunState::Running));
    let here_at_9 = || here().domain(9, DomainState::Running);
    assert_eq!(told(&here_at_9().owner("h", "-", 7, Intent::Run)), running);
    assert_eq!(told(&here_at_9()), running, "no record of it at all");
    let other = |generation, held| here_at_9().but(|w| w.elsewhere = elsewhere(generation, held));
    assert_eq!(
        told(&other(7, true)),
        running,
        "the record names another host"
    );
    assert_eq!(
        told(&here_at_9().report(9, RunState::Running)),
        None,
        "told already"
    );
    assert_eq!(told(&other(9, true)), running, "given twice");
    // Of the very grant, or of one before it, it is a stray as ever; so is a copy of another life's.
    for world in [
        other(9, false),
        other(10, true),
        here_at_9().but(|w| {
            let domain = w
                .domains
                .as_mut()
                .and_then(|domains| domains.get_mut(&vm()));
            domain.expect("a domain").own = false;
        }),
    ] {
        let decision = decide(&world.0);
        let action = decision.actions.values().next();
        assert!(matches!(action, Some(Action::Destroy { .. })), "{action:?}");
    }
}

#[test]
fn without_a_session_everything_goes_and_then_the_host_is_clean() {
    let closed = |world: Here| world.but(|w| w.incarnation = None);
    let up = || {
        here()
            .owner("h/i2", "-", 7, Intent::Run)
            .domain(7, DomainState::Running)
            .report(7, RunState::Running)
    };
    let destroy = "destroy: this host has no session: nothing may run here";
    closed(up()).gives(destroy);
    closed(up().but(|w| w.grants_known = false)).gives(destroy);
    assert!(!decide(&closed(up()).0).clean);
    let migrating = |aborting| Job::Migrate {
        generation: Generation(7),
        aborting,
    };
    closed(up().job(migrating(false))).gives("abort migration");
    closed(up().job(migrating(true))).gives("-");
    let empty = || up().but(|w| w.domains = Some(BTreeMap::new()));
    closed(empty()).gives("-");
    assert!(decide(&closed(empty()).0).clean);
    assert!(
        !decide(&closed(empty().job(Job::Destroy)).0).clean,
        "a call may still bring something"
    );
    assert!(
        !decide(&closed(up().but(|w| w.domains = None)).0).clean,
        "nobody knows what runs"
    );
}

#[test]
fn ends_are_forgotten_once_told() {
    let settled = |world: Here| !settled_ends(&world.0).is_empty();
    let granted = || here().granted(7, Intent::Run);
    let ended = || granted().end(7, EndKind::GuestShutdown);
    assert!(!settled(ended().report(7, RunState::Running)));
    assert!(settled(ended().report(7, exited(ExitKind::GuestShutdown))));
    assert!(!settled(ended().report(6, exited(ExitKind::GuestShutdown))));
    assert!(settled(granted().end(6, EndKind::Destroyed)));
    let failed_end = || granted().end(7, failure("x"));
    assert!(!settled(failed_end().report(7, RunState::MigratingOut)));
    assert!(settled(failed_end().report(7, failed("x"))));
    assert!(settled(failed_end().report(7, RunState::Running)));
    assert!(settled(here().end(7, EndKind::Destroyed)));
    assert!(!settled(
        here()
            .end(7, EndKind::Destroyed)
            .report(7, RunState::Running)
    ));
    assert!(!settled(ended().but(|w| w.grants_known = false)));
    assert!(settled(ended().but(|w| w.incarnation = None)));
}
