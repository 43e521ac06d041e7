//! The storage plane: what is written to a lease volume when, and what may be concluded from it.
//! Pure; the guard and the simulation bring time and the sectors.
//!
//! ```text
//! keeper    when this host's heartbeat is due, and whether its plane is valid (runner's rule)
//! observer  which peers' heartbeats have not changed for how long (taker's rule)
//! lookout   what is told of peers whose session was closed (evidence, mailbox)
//! mailbox   which messages to this host its guard heeds
//! claim     whether a VM's sector may be taken, and whether it still is ours
//! slots     which sector is a VM's
//! ```
//! A quorum of the storage orders reads and writes: what was acknowledged is seen by every read that
//! begins later and is answered by a quorum.

pub mod claim;
pub mod keeper;
pub mod lookout;
pub mod mailbox;
pub mod observer;
pub mod slots;
