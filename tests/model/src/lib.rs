//! Whether a VM can run twice, asked of every interleaving instead of many: the ownership and lease
//! protocol of `docs/safety.md` as three small models, checked exhaustively.
//!
//! [`Protocol`] is one handover: host 1 starts or runs the VM, loses one plane or both, host 2 takes it.
//! [`Migration`] is one live migration. [`SetBack`] is etcd restored from a backup. None shares code with
//! the daemons: what is checked here is the design, and that each of its rules is needed ([`Bug`],
//! [`MoveBug`], [`TokenRule`]).
//!
//! ```text
//! host 1   agent: session in etcd, start of the VM     guard: heartbeat on the storage, kill
//! etcd     session, fence record, owner, epoch         storage: heartbeat, mailbox, claim
//! managers two views that lag, one leads               host 2: observer, taker
//! ```
//!
//! # What is bounded
//!
//! * One VM, one incarnation of host 1 (its next life only as evidence), one handover. Host 2's own
//!   lease is not in it: host 1 stands for every holder, host 2 for every taker.
//! * Deadline 2 ticks, kill 1 tick, wait 4 ticks. Host 1's clock loses at most one tick in a run.
//! * One request of the agent and one heartbeat of the guard under way at a time; one heartbeat more
//!   that was given up and lands late; one transaction per manager.
//! * One request to release; one live migration, each of its hosts lost at most once; one restore of etcd,
//!   to the first of four generations.
//!
//! Not bounded: renewals, heartbeats, closings, re-openings, changes of the leader, losses and delays of
//! messages, pauses of agents and managers. Only equality of revisions and counters matters, so they
//! are kept as flags, not as numbers.

mod bug;
mod clock;
mod explore;
mod host;
mod manager;
mod migration;
mod protocol;
mod setback;
mod state;
mod taker;

pub use bug::{Bug, Bugs};
pub use explore::{Seen, always_leads_to, counterexample, exhaust};
pub use migration::{
    Destination, FROM_DISK, MOVED, Message, Migration, MoveBug, MoveState, NO_OLD_MEMORY, Owner,
    STAYED, Said, Source, Step,
};
pub use protocol::{
    AT_MOST_ONE, Action, Begin, Class, EVIDENCE, FAILED_OVER, GRANTED, Protocol, RELEASED, REOPENED,
};
pub use setback::{Copy, GENERATIONS, Grant, SetBack, TokenRule, TokenState, TokenStep};
pub use state::*;
