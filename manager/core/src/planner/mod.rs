//! The planner: what the leader wants written next, given all it sees.
//!
//! ```text
//! World ─> fencing ─> membership ─> migration ─> recovery ─> evacuation ─> operations ─> leave ─> failback ─> Plan
//!          who is     who is        settle what  start what  away from     stop, move    drain,   go home
//!          proven     there         is moving    must run    bad storage                 no guard
//!          gone
//! ```
//! Each step reads the world, adds transactions to the [`draft::Draft`] and reports what it found
//! and waits for. A VM or a host is written at most once per plan: what depends on that write is
//! decided in the next round, on what the store then says. All waits count from `seen_at`.

mod advised;
mod candidate;
mod capacity;
mod draft;
mod evacuate;
mod facts;
mod failback;
mod fencing;
mod follows;
mod grant;
mod late_writes;
mod leave;
mod membership;
mod migration;
mod operations;
mod placement;
mod places;
pub(crate) mod power;
mod recovery;
mod second_plane;
mod set_back;
mod settle;
mod storm;
mod suspect;

pub use facts::{Resolution, resolution};

use crate::advice::{Advisor, NoAdvisor};
use draft::Draft;
use holdfast_model::plan::Plan;
use holdfast_model::world::World;

/// Decides without placement extensions. The same world always gives the same plan.
pub fn plan(world: &World) -> Plan {
    plan_with(world, &NoAdvisor)
}

/// Decides. The same world and the same answers always give the same plan, and the answers are in it.
pub fn plan_with(world: &World, advisor: &dyn Advisor) -> Plan {
    let mut draft = Draft::new(world, advisor);
    fencing::step(&mut draft);
    membership::step(&mut draft);
    set_back::step(&mut draft);
    migration::step(&mut draft);
    recovery::step(&mut draft);
    evacuate::step(&mut draft);
    operations::step(&mut draft);
    leave::step(&mut draft);
    failback::step(&mut draft);
    draft.finish()
}
