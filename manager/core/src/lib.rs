//! The two pure cores.
//!
//! - [`planner`]: one per cluster, on the leading manager. `World in -> Plan out`.
//! - [`advice`]: who answers for placement extensions.
//! - [`guardian`]: one per host. `HostWorld in -> Decision out`, and the runner's deadline.
//! - [`lease`]: the storage plane: heartbeats on a volume, and what they prove.
//! - [`probe`]: how long hosts have not answered whoever asks them directly.
//! - [`power`]: what the leader remembers of fencing devices' answers; [`errand`]: who asks those that it does not
//!   reach.
//! - [`verify`]: checks a plan without trusting the planner.
//!
//! Nothing here does I/O, reads a clock, draws a random number, spawns or awaits; `clippy.toml`
//! beside this crate says so to the compiler. What decides in production is what is simulated.
#![warn(missing_docs)]

pub mod advice;
pub mod errand;
pub mod guardian;
pub mod lease;
pub mod planner;
pub mod power;
pub mod probe;
pub mod read_back;
pub mod verify;
