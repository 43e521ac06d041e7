//! What runs on every hypervisor: the agent (`holdfast-host`) and the guard (`holdfast-guard`).
//!
//! - [`config`]: the file both read
//! - [`domain_xml`]: reads, changes and stamps domain definitions; needs no libvirt
//! - [`driver`]: the seam to the hypervisor and its libvirt back end
//! - [`guard`]: kills the VMs at the deadline, whatever happens to everything else
#![warn(missing_docs)]

pub mod agent;
pub mod config;
pub mod domain_xml;
pub mod driver;
pub mod guard;
pub mod process;
