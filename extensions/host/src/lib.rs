//! Runs extensions: WASM components with typed contracts, named rights and bounded cost.
//!
//! ```text
//! component ─ contract ─ compiled (child process) ─ cache ─> Loaded ─> Placement, … ── call ──> guest
//!             fits its    never during a              root      one per     budget: CPU, clock, memory, bytes
//!             kind?       failover                    only      kind        breaker: who fails too often rests
//! ```
//! - [`engine`]: how WASM is compiled and run, the same on every machine
//! - [`contract`]: whether a component fits the WIT of its kind, and its manifest
//! - [`compile`], [`cache`]: machine code, made ahead of time and kept where only its user can write
//! - [`placement`]: asked by the planner, of an instance that is kept warm
//! - [`fencing`], [`storage_check`], [`events`]: a fresh instance for each call, which may wait for others
//! - [`conformance`]: whether a guest keeps its contract, and what becomes of it when its host does not
//! - [`outside`]: what a guest can reach besides computing, by its rights
//! - [`breaker`], `budget`, `thread_cpu`, `instance`, [`journal`]: what is the same for every kind
//!
//! What is absent: WASI. A guest has no files, sockets, clock, randomness or environment; what it has is in
//! `wit/host`, and only what it was granted. No decision is made here: an answer is data, and no answer is never
//! a yes.
#![warn(missing_docs)]

pub mod breaker;
mod budget;
pub mod cache;
pub mod compile;
pub mod conformance;
pub mod contract;
pub mod engine;
pub mod error;
pub mod events;
pub mod fencing;
mod fresh;
mod instance;
pub mod journal;
mod loaded;
pub mod outside;
pub mod placement;
pub mod storage_check;
mod thread_cpu;
mod words;

pub use budget::Cost;
pub use engine::{EngineKind, Runtime};
pub use error::{CallError, ExtensionError, Nonsense};
pub use events::EventHandler;
pub use fencing::Fencing;
pub use fresh::Called;
pub use loaded::Loaded;
pub use outside::Reach;
pub use placement::Placement;
pub use storage_check::StorageCheck;
