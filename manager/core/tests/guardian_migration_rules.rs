//! The guardian's rules of live migration, at both ends: what is there, and what it answers.

mod guardian_common;

use guardian_common::*;
use holdfast_core::guardian::{DomainState, EndKind, Job};
use holdfast_model::host::{PauseReason, RunState};
use holdfast_model::id::Generation;
use holdfast_model::vm::Intent;

#[test]
fn a_source_migrates_and_says_how_it_went() {
    let out = || here().owner("h", "dest", 7, Intent::Migrate);
    let up = || out().domain(7, DomainState::Running);
    let job = Job::Migrate {
        generation: Generation(7),
        aborting: false,
    };
    up().report(7, RunState::Running)
        .gives("report 7 MigratingOut / migrate 7 to dest");
    up().report(7, RunState::MigratingOut).job(job).gives("-");
    out().report(7, RunState::MigratingOut).job(job).gives("-");
    out()
        .report(7, RunState::MigratingOut)
        .end(7, EndKind::MigratedAway)
        .gives("report 7 MigratedAway");
    up().report(7, RunState::MigratingOut)
        .end(7, failure("link lost"))
        .gives("report 7 migration failed: link lost");
    up().report(7, failed("link lost")).gives("-");
    up().domain(7, paused(PauseReason::Migration))
        .report(7, RunState::MigratingOut)
        .end(7, failure("link lost"))
        .gives("report 7 migration failed: link lost");
    up().domain(7, paused(PauseReason::Migration))
        .report(7, failed("link lost"))
        .gives("-");
    up().report(7, RunState::MigratingOut)
        .gives("report 7 migration failed: the agent was restarted during the migration");
    out()
        .report(7, RunState::MigratingOut)
        .gives("report 7 crashed: gone during its migration, and how that ended was not seen");
    up().domain(7, paused(PauseReason::IoError))
        .report(7, RunState::Running)
        .gives("report 7 migration failed: it is paused: resume or restart it first");
    up().report(7, RunState::Running)
        .but(|w| w.may_act_until = w.now)
        .gives("-");
    up().domain(7, paused(PauseReason::Migration))
        .report(7, RunState::MigratingOut)
        .end(7, EndKind::MigratedAway)
        .gives("destroy: it was migrated away; what is left here is an old copy");
    up().report(7, RunState::MigratingOut)
        .end(7, EndKind::MigratedAway)
        .gives("report 7 migration failed: libvirt reported success, yet the VM still runs here");
}

#[test]
fn a_migration_that_is_called_off_is_aborted_and_the_source_waits_for_the_destination() {
    let off = || here().owner("h", "dest", 7, Intent::AbortMigration);
    let migrated = paused(PauseReason::Migration);
    let job = |aborting| Job::Migrate {
        generation: Generation(7),
        aborting,
    };
    let under_way = || {
        off()
            .domain(7, DomainState::Running)
            .report(7, RunState::MigratingOut)
    };
    under_way().job(job(false)).gives("abort migration");
    under_way().job(job(true)).gives("-");
    under_way()
        .end(7, failure("aborted"))
        .gives("report 7 migration failed: aborted");
    off()
        .domain(7, migrated)
        .report(7, failed("aborted"))
        .gives("-");
    off()
        .domain(7, DomainState::Running)
        .report(7, RunState::Running)
        .gives("-");
    // Settled: the destination is out of the record.
    let settled = || here().granted(7, Intent::Run);
    settled()
        .domain(7, migrated)
        .report(7, failed("aborted"))
        .gives("resume 7");
    settled()
        .domain(7, DomainState::Running)
        .report(7, failed("aborted"))
        .gives("report 7 Running");
    // Not settled, whatever the intent says.
    here()
        .owner("h", "dest", 7, Intent::Run)
        .domain(7, migrated)
        .report(7, failed("aborted"))
        .gives("-");
    // It went through all the same.
    off()
        .report(7, RunState::MigratingOut)
        .end(7, EndKind::MigratedAway)
        .gives("report 7 MigratedAway");
    settled()
        .report(7, RunState::MigratingOut)
        .end(7, EndKind::MigratedAway)
        .gives("report 7 crashed: it was migrated to a host that had given it up");
    // The ownership moved while the call hangs.
    here()
        .owner("dest", "-", 8, Intent::Run)
        .job(job(false))
        .gives("abort migration");
}

#[test]
fn a_destination_receives_and_never_lets_it_run() {
    let coming = || here().owner("src", "h", 7, Intent::Migrate);
    let whole = || RunState::Incoming { complete: true };
    coming().gives("-");
    coming()
        .domain(7, DomainState::Receiving)
        .gives("report 7 Incoming { complete: false }");
    coming()
        .domain(7, DomainState::Received)
        .report(7, RunState::Incoming { complete: false })
        .gives("report 7 Incoming { complete: true }");
    coming()
        .domain(7, DomainState::Received)
        .report(7, whole())
        .gives("-");
    coming().report(7, whole()).gives("report 7 NotHere");
    coming()
        .report(7, RunState::NotHere)
        .domain(7, DomainState::Receiving)
        .gives("destroy: it arrived after this host had declined it");
    coming()
        .domain(7, DomainState::Running)
        .gives("destroy: it runs at the destination before the ownership moved");
    coming()
        .domain(5, DomainState::Received)
        .gives("destroy: it is not of the grant that is migrating here");
    let off = || here().owner("src", "h", 7, Intent::AbortMigration);
    off()
        .domain(7, DomainState::Received)
        .report(7, whole())
        .gives("destroy: its migration was called off");
    off().report(7, whole()).gives("report 7 NotHere");
    off().gives("report 7 NotHere");
    off().report(7, RunState::NotHere).gives("-");
    off().job(Job::Destroy).gives("-");
}

#[test]
fn a_new_grant_takes_over_what_was_announced_as_whole_and_nothing_else() {
    let whole = || RunState::Incoming { complete: true };
    let granted = || here().granted(8, Intent::Run);
    granted()
        .domain(7, DomainState::Received)
        .report(7, whole())
        .gives("report 8 Starting / take over 8");
    granted()
        .domain(7, DomainState::Received)
        .report(8, RunState::Starting)
        .gives("take over 8");
    granted()
        .domain(8, DomainState::Received)
        .report(8, RunState::Starting)
        .gives("take over 8");
    granted()
        .report(7, whole())
        .gives("report 8 crashed: what the migration brought was gone before it was taken over");
    let stale = "destroy: it is of generation 7, the grant is 8";
    for report in [RunState::NotHere, RunState::Incoming { complete: false }] {
        granted()
            .domain(7, DomainState::Received)
            .report(7, report)
            .gives(stale);
    }
    granted()
        .domain(7, DomainState::Received)
        .report_of(PAST, 7, whole())
        .gives(stale);
    for state in [
        DomainState::Running,
        DomainState::Receiving,
        paused(PauseReason::Migration),
    ] {
        granted().domain(7, state).report(7, whole()).gives(stale);
    }
    here()
        .granted(8, Intent::Stop)
        .domain(7, DomainState::Received)
        .report(7, whole())
        .gives(stale);
    here()
        .granted(9, Intent::Run)
        .domain(7, DomainState::Received)
        .report(7, whole())
        .gives("destroy: it is of generation 7, the grant is 9");
}
