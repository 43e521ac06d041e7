//! The manager daemon and the operator's command line.
#![warn(missing_docs)]

pub mod config;
pub mod domain_xml;
pub mod strict;
pub mod vm_file;
