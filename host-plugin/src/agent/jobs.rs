//! Calls for one VM: what an action of the guardian means, step by step. Each runs as a task of its
//! own and ends by its own bounds.
//!
//! ```text
//! Start:    report durable ─> claim ─> create paused ─> guard watches ─> re-check ─> resume
//! TakeOver: report durable ─> claim ─> restamp ───────> guard watches ─> re-check ─> resume
//! Destroy:  re-check of the owner record, while there is a session ──────> destroy
//! ```
//! The re-check is linearizable: the owner record is the one that was decided on, the session is
//! ours, and the deadline is far enough away.

use super::claim::{self, Cover};
use super::life::Life;
use super::peer::migrate_target;
use super::records::WriteError;
use super::target::{Outcome, Target, Tools};
use crate::domain_xml::prepare;
use crate::driver::{DomainRef, DriverError, Left, SeenDomain};
use crate::guard::protocol::{Call, Process};
use holdfast_core::guardian::EndKind;
use holdfast_model::host::{Session, SessionState};
use holdfast_model::id::{HostName, Incarnation, Revision};
use holdfast_model::time::UnixMs;
use holdfast_store::clock::wall;
use holdfast_store::keyspace::Key;
use std::time::Duration;

/// An image that another process holds is tried again for this long: after a host is lost its
/// storage gives the locks up only once it has noticed (3 s with the settings the documentation
/// asks for, see the start of `docs/safety.md`).
const IMAGE_HELD_MS: u64 = 20_000;
/// Between two of those attempts.
const IMAGE_HELD_PAUSE: Duration = Duration::from_millis(250);

/// Creates the domain and sets it going. `Starting` is in the store already.
pub async fn start(tools: &Tools, target: &Target) -> Outcome {
    let failed = |reason: String| Outcome::ended(EndKind::StartFailed { reason });
    let Some(spec) = &target.spec else {
        return failed("its definition is gone".to_owned());
    };
    let prepared = target.stamp(tools).and_then(|stamp| {
        prepare(&spec.domain_xml, &spec.uuid, &stamp).map_err(|error| error.to_string())
    });
    let xml = match prepared {
        Ok(xml) => xml,
        Err(reason) => return failed(reason),
    };
    let Some(domain) = target.reference() else {
        return failed("its definition is gone".to_owned());
    };
    let cover = match claim::take(tools, target).await {
        Ok(cover) => cover,
        Err(refusal) => return Outcome::ended(refusal.end()),
    };
    if let Err(error) = create(tools, target, &xml).await {
        // A refusal leaves nothing behind; without an answer the next list tells.
        return match error.is_settled() {
            true => failed(error.to_string()),
            false => Outcome::failed(error.to_string()),
        };
    }
    match set_going(tools, target, &domain, cover).await {
        Ok(resumed_at) => Outcome {
            resumed_at: Some(resumed_at),
            ..Outcome::default()
        },
        Err(Stop::Unknown(reason)) => Outcome::failed(reason),
        Err(Stop::Not(reason)) => match tools.driver.destroy(&domain).await {
            Ok(()) | Err(DriverError::NotFound { .. }) => failed(reason),
            Err(error) => Outcome::failed(format!("{reason}; and then: {error}")),
        },
    }
}

/// Tries again while an image is held by somebody else, as long as the grant stands.
async fn create(tools: &Tools, target: &Target, xml: &str) -> Result<(), DriverError> {
    let until = (tools.clock)().plus(IMAGE_HELD_MS);
    let mut told = false;
    loop {
        let error = match tools.driver.create_paused(xml).await {
            Err(error @ DriverError::ImageHeld { .. }) => error,
            other => return other,
        };
        if !told {
            tracing::info!(vm = %target.vm, %error, "trying again");
            told = true;
        }
        if (tools.clock)() >= until || recheck(tools, target).await.is_err() {
            return Err(error);
        }
        tokio::time::sleep(IMAGE_HELD_PAUSE).await;
    }
}

/// Takes over what a migration brought.
pub async fn take_over(tools: &Tools, target: &Target) -> Outcome {
    let Some(arrived) = &target.domain else {
        return Outcome::failed("there is no domain to take over");
    };
    let before = DomainRef {
        uuid: arrived.uuid.clone(),
        vm: target.vm.clone(),
        generation: arrived.stamp.generation,
    };
    let stamp = match target.stamp(tools) {
        Ok(stamp) => stamp,
        Err(reason) => return Outcome::failed(reason),
    };
    // The claim first: what carries this life's stamp is claimed by it.
    let cover = match claim::take(tools, target).await {
        Ok(cover) => cover,
        Err(refusal) => return Outcome::failed(refusal.reason),
    };
    if let Err(error) = tools.driver.restamp(&before, &stamp).await {
        return Outcome::failed(error.to_string());
    }
    go_on(tools, target, cover).await
}

/// Sets a domain going that is here. That its claim still stands is looked at again: a resume brings an
/// old memory image back.
pub async fn resume(tools: &Tools, target: &Target) -> Outcome {
    match claim::take(tools, target).await {
        Ok(cover) => go_on(tools, target, cover).await,
        Err(refusal) => Outcome::failed(refusal.reason),
    }
}

async fn go_on(tools: &Tools, target: &Target, cover: Cover) -> Outcome {
    let Some(domain) = target.reference() else {
        return Outcome::failed("its definition is gone");
    };
    match set_going(tools, target, &domain, cover).await {
        Ok(resumed_at) => Outcome {
            resumed_at: Some(resumed_at),
            ..Outcome::default()
        },
        Err(Stop::Not(reason) | Stop::Unknown(reason)) => Outcome::failed(reason),
    }
}

/// Why vCPUs were not set going.
enum Stop {
    /// They were not.
    Not(String),
    /// Nobody knows.
    Unknown(String),
}

async fn set_going(
    tools: &Tools,
    target: &Target,
    domain: &DomainRef,
    cover: Cover,
) -> Result<UnixMs, Stop> {
    let not = |error: &dyn std::fmt::Display| Stop::Not(error.to_string());
    let seen = tools.driver.find(domain).await.map_err(|e| not(&e))?;
    let incarnation = target.life().map_err(Stop::Not)?;
    let watched = hand_over(tools, incarnation, &seen, cover).await;
    watched.map_err(Stop::Not)?;
    recheck(tools, target).await.map_err(|e| not(&e))?;
    match tools.driver.resume(domain).await {
        Ok(()) => Ok(wall()),
        Err(error) if error.is_settled() => Err(not(&error)),
        Err(error) => Err(Stop::Unknown(error.to_string())),
    }
}

/// Has the guard watch a domain's process.
pub async fn hand_over(
    tools: &Tools,
    incarnation: &Incarnation,
    seen: &SeenDomain,
    cover: Cover,
) -> Result<(), String> {
    if !tools.driver.has_processes() {
        return Ok(());
    }
    let Some(process) = seen.process else {
        let dir = tools.config.libvirt.run_dir.display();
        return Err(format!(
            "QEMU's process is not found by libvirt's files in {dir}; correct `run_dir` of \
             [libvirt] in host.toml"
        ));
    };
    let watch = Call::Watch {
        incarnation: incarnation.clone(),
        process: Process {
            vm: seen.stamp.vm.clone(),
            generation: seen.stamp.generation,
            uuid: seen.uuid.clone(),
            process,
            lease: cover.lease(),
            slot: cover.slot,
        },
    };
    let answer = tools.guard.call(watch).await;
    answer.map(drop).map_err(|error| error.to_string())
}

/// The last look before vCPUs run. Both records are read linearizably.
async fn recheck(tools: &Tools, target: &Target) -> Result<(), String> {
    let session = Key::HostSession(tools.records.host().clone());
    let reads = (recheck_owner(tools, target), tools.records.read(&session));
    let (owner, session) = futures::future::join(reads.0, reads.1).await;
    owner?;
    let session = session.map_err(|error| error.to_string())?;
    let session = session.and_then(|item| serde_json::from_slice::<Session>(&item.value).ok());
    let ours = session.is_some_and(|session| {
        Some(&session.incarnation) == target.incarnation.as_ref()
            && session.state == SessionState::Open
    });
    if !ours {
        return Err("this host's session is not open any more".to_owned());
    }
    match tools.records.life() {
        Life::Open(open) if Some(&open.incarnation) != target.incarnation.as_ref() => {
            Err("this host has begun another life".to_owned())
        }
        Life::Open(open) if open.armed_on.is_none() => {
            Err("no guard watches over this host".to_owned())
        }
        Life::Open(open) if (tools.clock)() < open.may_resume_until() => Ok(()),
        Life::Open(_) => Err("the deadline is too near: heartbeats are not acknowledged".into()),
        Life::Unknown | Life::Cleaning | Life::Opening(_) => {
            Err("this host has no session any more".to_owned())
        }
    }
}

/// Whether the owner record is still the one that was decided on, read linearizably.
async fn recheck_owner(tools: &Tools, target: &Target) -> Result<(), String> {
    let key = Key::VmOwner(target.vm.clone());
    let found = tools.records.read(&key).await;
    let found = found.map_err(|error| error.to_string())?;
    if found.map(|item| item.revision) != target.owner {
        return Err("its grant has changed meanwhile".to_owned());
    }
    Ok(())
}

/// Asks the guest to shut down.
pub async fn shutdown(tools: &Tools, target: &Target) -> Outcome {
    let Some(domain) = target.reference() else {
        return Outcome::failed("its definition is gone");
    };
    match tools.driver.shutdown(&domain).await {
        Ok(()) => Outcome::default(),
        // The grace goes on all the same, and ends in a destroy.
        Err(error) => Outcome::failed(error.to_string()),
    }
}

/// Ends the domain. While this host has a session, what was decided on is re-checked first, as
/// before a resume: a view that lags must not cost a VM whose grant is on its way. Without a
/// session there is nothing to check, and everything goes.
pub async fn destroy(tools: &Tools, target: &Target) -> Outcome {
    let Some(domain) = target.reference() else {
        return Outcome::failed("there is no domain");
    };
    if target.incarnation.is_some()
        && let Err(reason) = recheck_owner(tools, target).await
    {
        return Outcome::failed(reason);
    }
    match tools.driver.destroy(&domain).await {
        Ok(()) => Outcome::ended(EndKind::Destroyed),
        Err(error) => Outcome::failed(error.to_string()),
    }
}

/// Migrates it away.
pub async fn migrate(tools: &Tools, target: &Target, to: &HostName) -> Outcome {
    let failed = |reason: String| Outcome::ended(EndKind::MigrationFailed { reason });
    let Some(domain) = target.reference() else {
        return failed("its definition is gone".to_owned());
    };
    let memory_mib = target.spec.as_ref().map_or(0, |spec| spec.memory_mib);
    let peer = match migrate_target(tools, to, memory_mib).await {
        Ok(peer) => peer,
        Err(reason) => return failed(reason),
    };
    match tools.driver.migrate(&domain, &peer).await {
        Ok(left) => Outcome {
            has_exited: left == Left::Exited,
            ..Outcome::ended(EndKind::MigratedAway)
        },
        Err(error) if error.is_settled() => failed(error.to_string()),
        Err(error) => Outcome::failed(error.to_string()),
    }
}

/// A report that must be durable before the job goes on.
pub async fn write_first(
    tools: &Tools,
    target: &Target,
    report: Option<holdfast_model::host::VmReport>,
    seen: Option<Revision>,
    events: Vec<holdfast_store::guards::HostWrite>,
) -> Result<(), WriteError> {
    let incarnation = target.incarnation.as_ref().ok_or(WriteError::NoSession)?;
    let records = &tools.records;
    let write = records.write_vm(incarnation, &target.vm, report, seen, events);
    write.await
}
