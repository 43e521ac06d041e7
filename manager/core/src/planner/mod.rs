//! The planner: what the leader wants written next, given all it sees.

use holdfast_model::plan::Plan;
use holdfast_model::world::World;

/// Decides. The same world always gives the same plan.
pub fn plan(world: &World) -> Plan {
    let _ = world;
    Plan::default()
}
