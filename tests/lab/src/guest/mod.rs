//! The guests of the lab: what runs inside, and the files that describe them.

pub mod accel;
pub mod boot_sector;
mod cpio;
pub mod linux;
mod spec;

pub use spec::{GuestKind, GuestSpec, domain_xml};

use std::path::PathBuf;

/// A guest whose image and files have been made.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Guest {
    /// What was asked for.
    pub spec: GuestSpec,
    /// Its UUID.
    pub uuid: String,
    /// Its port at the observer.
    pub port: u16,
    /// For `holdfast vm apply -f`.
    pub spec_file: PathBuf,
    /// For `virsh create`.
    pub xml_file: PathBuf,
}
