//! The guard: a small synchronous process that kills this host's VMs at the runner's deadline,
//! whatever happens to the agent, to libvirtd or to the network.
//!
//! ```text
//! agent ── arm, renewed, watch ──> server ──> state (Deadline, watched processes) ──> SIGKILL
//!   ^                                │  ^                    │
//!   └── stopped: which VMs ──────────┘  └── scan thread <────┘  libvirt's run directory: what
//!                                                               nobody handed over
//! ```
//! - [`protocol`]: what agent and guard say to each other
//! - [`state`]: what is watched, and what follows from the deadline
//! - [`watched`]: one process, held by a pidfd
//! - [`table`]: what a restarted guard goes on from
//! - [`lease`]: the heartbeat on the lease volume, the peers' and the mailbox; [`claims`]: the VMs';
//!   [`disk`]: the calls
//! - [`scan`]: the second net
//! - [`server`]: the loop over sockets, timer and processes
//! - [`watchdog`]: what resets the host if all of this does not get the VMs stopped; [`reset`]: when
//!   it is left to that
//! - [`probes`]: answers managers that ask whether this host is there
//! - [`harden`], [`log`]: memory locked, scheduled first, never blocked by its own log
//! - [`client`]: the agent's side
//!
//! The deadline itself is `holdfast_core::guardian::deadline`. Nothing on the way from it to the
//! signal asks anybody, waits for anybody, or reads a file that could be stuck.

pub mod claims;
pub mod client;
pub mod disk;
pub mod harden;
pub mod lease;
pub mod log;
pub mod probes;
pub mod protocol;
pub mod reset;
#[cfg(test)]
pub(crate) mod reset_tests;
pub mod scan;
pub mod server;
pub mod state;
pub mod table;
pub mod watchdog;
pub mod watched;
