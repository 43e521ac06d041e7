//! An independent check of every plan, before it is executed.

use holdfast_model::plan::Plan;
use holdfast_model::world::World;

/// What is wrong with a plan; empty if nothing is.
pub fn verify(world: &World, plan: &Plan) -> Vec<String> {
    let _ = (world, plan);
    Vec::new()
}
