//! What the tests of fencing devices share.

use crate::common::name;
use holdfast_core::planner::plan;
use holdfast_core::power::PowerBook;
use holdfast_core::verify::{Rule, verify};
use holdfast_model::id::{DeviceName, HostName};
use holdfast_model::plan::Plan;
use holdfast_model::power::{PowerReading, PowerState};
use holdfast_model::world::World;

pub fn a1() -> HostName {
    name("a1")
}

pub fn asks_nothing(world: &World) {
    let plan = plan(world);
    assert_eq!(verify(world, &plan), []);
    assert_eq!(plan.asks, []);
}

pub fn reading<'w>(world: &'w mut World, device: &str) -> &'w mut PowerReading {
    let of_host = world.power.get_mut(&a1()).unwrap();
    of_host.get_mut(&name::<DeviceName>(device)).unwrap()
}

pub fn look(world: &mut World, book: &mut PowerBook) {
    book.look(world);
    world.power = book.readings().clone();
}

pub fn unknown(reason: &str) -> PowerState {
    PowerState::Unknown {
        reason: reason.to_owned(),
    }
}

pub fn refused(world: &World, plan: &Plan, rule: Rule, why: &str) {
    let found = verify(world, plan);
    assert!(found.iter().any(|v| v.rule == rule), "{why}: {found:?}");
}
