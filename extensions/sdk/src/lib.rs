//! What an extension of Holdfast written in Rust depends on.
//!
//! A rule for placement is a few lines; it rules hosts out, or ranks them, or both:
//!
//! ```
//! use holdfast_extension::placement::Verdict;
//!
//! holdfast_extension::rule! {
//!     may: |vm, host| match (vm.label("gpu"), host.label("gpu")) {
//!         (Some(_), None) => Verdict::MayNot("it has no GPU".to_owned()),
//!         _ => Verdict::May,
//!     },
//!     score: |_vm, host| (100 - host.vms.min(100)).into(),
//! }
//! ```
//!
//! Whoever needs all candidates at once, or works something out of the hosts once, implements [`placement::Rule`] and
//! exports the type with [`export_rule!`]; the other kinds are [`fencing::Fence`], [`storage_check::Check`] and
//! [`events::Handle`]. What was written for the first version of the contract for placement finds its names in
//! [`placement::v0_1`].
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
