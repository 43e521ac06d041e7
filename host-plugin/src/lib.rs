//! What runs on every hypervisor: the agent (`holdfast-host`) and the guard (`holdfast-guard`).
//!
//! - [`domain_xml`]: reads, changes and stamps domain definitions; needs no libvirt
//! - [`driver`]: the seam to the hypervisor and its libvirt back end
#![warn(missing_docs)]

pub mod domain_xml;
pub mod driver;
