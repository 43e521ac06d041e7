//! The manager daemon and the operator's command line.
#![warn(missing_docs)]

pub mod api;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod domain_xml;
pub mod extensions;
pub mod metrics;
pub use holdfast_fence::requests;
pub mod required;
mod rollout;
pub mod rto;
pub mod schema;
pub mod status;
pub mod timeline;
pub mod vm_file;
pub mod wall;
pub mod why;
