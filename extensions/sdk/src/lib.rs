//! What an extension of Holdfast written in Rust depends on.
//!
//! A scorer is one line, a filter another; a crate may have both:
//!
//! ```
//! use holdfast_extension::placement::Verdict;
//!
//! holdfast_extension::scorer!(|_vm, host| (100 - host.vms.min(100)).into());
//! holdfast_extension::filter!(|vm, host| match (vm.label("gpu"), host.label("gpu")) {
//!     (Some(_), None) => Verdict::MayNot("it has no GPU".to_owned()),
//!     _ => Verdict::May,
//! });
//! ```
//!
//! Whoever needs all candidates at once implements [`placement::Score`] or [`placement::Filter`] and exports the
//! type with [`export_score!`] or [`export_filter!`]; the other kinds are [`fencing::Fence`],
//! [`storage_check::Check`] and [`events::Handle`].
//!
//! What the extension does not use it does not import: the component then asks for no right to it.

#[doc(hidden)]
pub mod bindings;
pub mod events;
pub mod fencing;
pub mod host;
mod panics;
pub mod placement;
pub mod storage_check;

pub use host::{agent, http, log, probe, state};

/// A type of the author's, as the generated code wants it.
#[doc(hidden)]
pub struct Shim<T>(core::marker::PhantomData<T>);
