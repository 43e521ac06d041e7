//! From libvirt's words to ours: states and errors.

use crate::domain_xml::stamp::StampError;
use crate::driver::{Activity, DomainRef, DriverError};
use virt::domain::Domain;
use virt::error::{Error, ErrorDomain};
use virt_sys as sys;

/// Why the inside of a call failed.
pub enum Failure {
    /// libvirt said so.
    Libvirt(Error),
    /// There is no domain with that stamp.
    NoSuchDomain(DomainRef),
    /// A domain's stamp cannot be read.
    Stamp(String, StampError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Libvirt(error)
    }
}

/// libvirt's error number, as the `virt` crate does not tell all of them apart.
pub fn is_no_domain(error: &Error) -> bool {
    error.code() == virt::error::ErrorNumber::NoDomain
}

/// There is no metadata of that namespace.
pub fn is_no_metadata(error: &Error) -> bool {
    error.code() == virt::error::ErrorNumber::NoDomainMetadata
}

/// What a failed call means for its caller. `alive`: the connection stands after the failure.
pub fn translate(call: &'static str, failure: Failure, alive: bool) -> DriverError {
    match failure {
        Failure::NoSuchDomain(domain) => DriverError::NotFound {
            vm: domain.vm,
            generation: domain.generation,
        },
        Failure::Stamp(name, error) => DriverError::Refused {
            call,
            reason: format!("domain `{name}`: {error}"),
        },
        Failure::Libvirt(error) => {
            let reason = error.message().to_owned();
            // These two speak of a connection. If ours stands, it is the one between two daemons
            // (a migration's), and this is an answer; otherwise the call may have been carried out.
            if !alive && matches!(error.domain(), ErrorDomain::Rpc | ErrorDomain::Remote) {
                return DriverError::OutcomeUnknown { call, reason };
            }
            if is_image_lock(&reason) {
                return DriverError::ImageHeld { call, reason };
            }
            DriverError::Refused { call, reason }
        }
    }
}

/// QEMU's words when another process holds an image, and libvirt's when a lock manager does.
fn is_image_lock(reason: &str) -> bool {
    (reason.contains("Failed to get") && reason.contains("lock"))
        || reason.contains("Failed to acquire lock")
        || reason.contains("Lease is held by another host")
}

/// What a domain does.
pub fn activity(domain: &Domain) -> Result<Activity, Error> {
    let (state, reason) = domain.get_state()?;
    Ok(activity_of(state, reason))
}

/// What a state and its reason mean. Where libvirt's answer leaves room, the answer is the one
/// that lets less happen: a domain counts as received whole only if the state says so beyond doubt
/// (`qemuMigrationDstComplete` sets "paused, user" when all memory and device state is loaded;
/// before that it is "paused, migration" or "starting up").
fn activity_of(state: sys::virDomainState, reason: i32) -> Activity {
    match state {
        sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED => Activity::Running,
        sys::VIR_DOMAIN_SHUTDOWN => Activity::ShuttingDown,
        sys::VIR_DOMAIN_PAUSED => match reason as u32 {
            sys::VIR_DOMAIN_PAUSED_USER => Activity::PausedOnRequest,
            sys::VIR_DOMAIN_PAUSED_STARTING_UP => Activity::StartingUp,
            sys::VIR_DOMAIN_PAUSED_IOERROR => Activity::PausedIoError,
            sys::VIR_DOMAIN_PAUSED_MIGRATION
            | sys::VIR_DOMAIN_PAUSED_POSTCOPY
            | sys::VIR_DOMAIN_PAUSED_POSTCOPY_FAILED => Activity::PausedMigration,
            sys::VIR_DOMAIN_PAUSED_SHUTTING_DOWN => Activity::ShuttingDown,
            _ => Activity::PausedOther,
        },
        // No state, crashed and preserved, suspended by the guest, or shut off between two looks:
        // it exists, and nobody saw it run.
        _ => Activity::PausedOther,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paused_on_request_may_count_as_received_whole() {
        let whole = (0..20)
            .flat_map(|state| (-1..30).map(move |reason| (state, reason)))
            .filter(|(state, reason)| activity_of(*state, *reason) == Activity::PausedOnRequest)
            .collect::<Vec<_>>();
        assert_eq!(
            whole,
            [(sys::VIR_DOMAIN_PAUSED, sys::VIR_DOMAIN_PAUSED_USER as i32)]
        );
    }

    #[test]
    fn a_held_image_is_told_from_other_refusals() {
        for (text, held) in [
            (
                "process exited while connecting to monitor: -blockdev …: Failed to get \"write\" \
                 lock\nIs another process using the image [/s/a]?",
                true,
            ),
            (
                "Failed to acquire lock: Lease is held by another host",
                true,
            ),
            ("Cannot access storage file '/s/a': No such file", false),
        ] {
            assert_eq!(is_image_lock(text), held, "{text}");
        }
    }
}
