//! The seam to the hypervisor: what the agent asks of it, what it hears from it.
//!
//! ```text
//! agent ── VmDriver calls, each with a bound ──> libvirt back end ──> libvirtd
//!       <─ DriverEvent: look again, this stopped, connection lost or back ──'
//! ```
//! A driver shows and touches only domains that carry this cluster's stamp, and each call names
//! the grant it is about: a domain that carries another one is "not found".

mod ffi;
pub mod libvirt;

#[cfg(test)]
pub(crate) mod fake;

use crate::domain_xml::stamp::Stamp;
use crate::process::ProcessId;
use async_trait::async_trait;
use holdfast_model::host::{Capacity, LibvirtState};
use holdfast_model::id::{Generation, VmName, VmUuid};
use tokio::sync::mpsc::UnboundedReceiver;

/// What a driver tells by itself. Only a hint to look again, except for [`DriverEvent::Stopped`],
/// which says how a domain ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriverEvent {
    /// The connection is there, or there again: what happened meanwhile is not told, so list.
    Connected,
    /// The connection is lost.
    Lost {
        /// What failed.
        reason: String,
    },
    /// A domain changed.
    Changed {
        /// Which.
        uuid: VmUuid,
    },
    /// A domain ended.
    Stopped {
        /// Which.
        uuid: VmUuid,
        /// How.
        how: StopKind,
    },
    /// A disk of a domain had an I/O error.
    IoError {
        /// Which domain.
        uuid: VmUuid,
        /// The disk and the reason, in words.
        text: String,
    },
}

/// How a domain ended, as the hypervisor tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopKind {
    /// The guest shut itself down, on its own wish or asked to.
    Shutdown,
    /// Somebody destroyed it through libvirt.
    Destroyed,
    /// The guest or QEMU crashed.
    Crashed,
    /// It was migrated away.
    Migrated,
    /// QEMU died or was killed.
    Failed,
    /// It was saved to a file.
    Saved,
}

/// What the hypervisor says a domain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// vCPUs run.
    Running,
    /// It is being created.
    StartingUp,
    /// vCPUs stand still: created so, received so by a migration, or paused by hand.
    PausedOnRequest,
    /// vCPUs stand still after an I/O error.
    PausedIoError,
    /// vCPUs stand still for a migration that is not at its end, on either side.
    PausedMigration,
    /// vCPUs stand still for another reason.
    PausedOther,
    /// The guest is shutting down.
    ShuttingDown,
}

/// A stamped domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDomain {
    /// Its stamp.
    pub stamp: Stamp,
    /// Its UUID.
    pub uuid: VmUuid,
    /// What it does.
    pub activity: Activity,
    /// Its process; `None` where the driver runs none, or while there is none yet.
    pub process: Option<ProcessId>,
}

/// One grant's domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRef {
    /// The UUID it is looked up by.
    pub uuid: VmUuid,
    /// The VM its stamp must name.
    pub vm: VmName,
    /// The generation its stamp must carry.
    pub generation: Generation,
}

/// How sure it is that a migrated domain has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Its process has exited after libvirt had decided for the destination. libvirt may still be
    /// tidying up; the driver does not show the domain any more.
    Exited,
    /// libvirt says so.
    Told,
}

/// Where to migrate to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrateTarget {
    /// Where the peer's libvirtd listens, as libvirt's URI.
    pub connect_uri: String,
    /// Where the peer's QEMU listens (`tcp://ADDRESS`); libvirt chooses the port.
    pub data_uri: String,
    /// Memory goes through TLS.
    pub tls: bool,
    /// The migration is aborted after this, in milliseconds.
    pub bound_ms: u64,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// There is no connection; nothing was done.
    #[error("libvirt is not reachable: {reason}")]
    Unreachable {
        /// What failed.
        reason: String,
    },
    /// The call was made and had no answer: it may or may not have worked, or may still do.
    #[error("{call} had no answer: {reason}; it may have worked")]
    OutcomeUnknown {
        /// Which call.
        call: &'static str,
        /// What happened.
        reason: String,
    },
    /// There is no domain with that stamp.
    #[error("{vm} has no domain of generation {generation} here")]
    NotFound {
        /// Which VM.
        vm: VmName,
        /// Which grant.
        generation: Generation,
    },
    /// libvirt refused; nothing was changed, or it was undone.
    #[error("{call} was refused: {reason}")]
    Refused {
        /// Which call.
        call: &'static str,
        /// libvirt's words.
        reason: String,
    },
    /// Another process holds the lock on a disk image: the VM may still run elsewhere, or storage
    /// has not noticed yet that a lost host is gone.
    #[error("{call} was refused, an image is held by another process or host: {reason}")]
    ImageHeld {
        /// Which call.
        call: &'static str,
        /// libvirt's words.
        reason: String,
    },
}

impl DriverError {
    /// Nothing of the call can still take effect.
    pub fn is_settled(&self) -> bool {
        !matches!(self, Self::OutcomeUnknown { .. })
    }
}

/// The hypervisor of this host. Every call has a bound of its own and none blocks the caller's
/// thread.
#[async_trait]
pub trait VmDriver: Send + Sync + 'static {
    /// The connection, for the host's report.
    fn state(&self) -> LibvirtState;

    /// All stamped domains that are active.
    async fn list(&self) -> Result<Vec<SeenDomain>, DriverError>;

    /// One domain.
    async fn find(&self, domain: &DomainRef) -> Result<SeenDomain, DriverError>;

    /// Every domain is a process of this machine. Without, there is nothing for a guard to watch
    /// (libvirt's test driver).
    fn has_processes(&self) -> bool;

    /// What the machine has.
    async fn capacity(&self) -> Result<Capacity, DriverError>;

    /// Creates a transient domain whose vCPUs stand still.
    async fn create_paused(&self, xml: &str) -> Result<(), DriverError>;

    /// Lets the vCPUs run, then stamps the domain as started.
    async fn resume(&self, domain: &DomainRef) -> Result<(), DriverError>;

    /// Asks the guest to shut down; does not wait for it.
    async fn shutdown(&self, domain: &DomainRef) -> Result<(), DriverError>;

    /// Ends the domain; returns when its process is gone.
    async fn destroy(&self, domain: &DomainRef) -> Result<(), DriverError>;

    /// Replaces the stamp.
    async fn restamp(&self, domain: &DomainRef, stamp: &Stamp) -> Result<(), DriverError>;

    /// Migrates live; the domain stands paused on arrival. Returns when it is over.
    async fn migrate(&self, domain: &DomainRef, to: &MigrateTarget) -> Result<Left, DriverError>;

    /// Whether a migration of this domain is under way, whoever began it.
    async fn is_migrating(&self, domain: &DomainRef) -> Result<bool, DriverError>;

    /// Aborts the migration under way; [`VmDriver::migrate`] returns with its failure. `to`: where it goes,
    /// if that is known; a QEMU that hangs in sending there is helped out of it.
    async fn abort_migration(
        &self,
        domain: &DomainRef,
        to: Option<&MigrateTarget>,
    ) -> Result<(), DriverError>;
}

/// Where a driver's events arrive. They are few and small; the agent reads them all.
pub type Events = UnboundedReceiver<DriverEvent>;
