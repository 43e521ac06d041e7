//! Every type Holdfast persists or sends, and nothing that does I/O.
//!
//! - [`id`]: one newtype per kind of name or number
//! - [`time`], [`timing`]: instants as data, and the bounds that make a takeover safe
//! - [`policy`]: what operators set for the whole cluster
//! - [`files`]: what a manager and a host read about themselves
//! - [`host`], [`vm`], [`fence`], [`op`], [`leader`], [`event`]: the records kept in etcd
//! - [`power`]: fencing devices, what is asked of them and what they answer; [`errand`]: by a manager or an agent that
//!   reaches them, where the leader does not; [`asking`]: who asks, and what it takes; [`requests`]: what extensions
//!   had sent and run for it
//! - [`probe`]: which hosts answer managers that ask them directly
//! - [`extension`]: what extensions say of themselves, may do and may cost; [`component`]: by which name they are
//!   stored; [`signature`]: who vouches for them; [`standing`]: how they do on a machine; [`advice`]: what placement
//!   extensions are asked and answer; [`versions`]: the one before, to go back to; [`shadow`]: one that is tried beside
//!   the installed one; [`rollout`]: which site has a new one first
//! - [`lease`]: what stands on a lease volume
//! - [`world`], [`plan`]: what the planner reads and what it answers
//! - [`status`]: what the HTTP API sends
//!
//! Records that are stored accept unknown fields (a newer version may have written them); files
//! that people write refuse them.
#![warn(missing_docs)]

pub mod advice;
pub mod asking;
pub mod component;
pub mod errand;
pub mod event;
pub mod extension;
pub mod fence;
pub mod fence_device;
pub mod files;
pub mod host;
pub mod id;
pub mod leader;
pub mod lease;
pub mod op;
pub mod plan;
pub mod policy;
pub mod power;
pub mod probe;
pub mod requests;
pub mod rollout;
pub mod shadow;
mod shared_text;
pub mod signature;
pub mod standing;
pub mod status;
pub mod target;
pub mod time;
pub mod timing;
pub mod told;
pub mod versions;
pub mod vm;
pub mod world;
