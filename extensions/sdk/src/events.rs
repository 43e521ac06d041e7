//! Hearing of what happens in the cluster.

use crate::bindings::events::exports::holdfast::events::handler;
use crate::{Shim, panics};

pub use handler::Event;

/// Hears of events. Export the type with [`export_events!`](crate::export_events).
pub trait Handle {
    /// In the order in which they were written, at least once. Pass over kinds that are not known.
    fn handle(events: &[Event]) -> Result<(), String>;
}

impl<T: Handle> handler::Guest for Shim<T> {
    fn handle(events: Vec<Event>) -> Result<(), String> {
        panics::begin();
        T::handle(&events)
    }
}

/// Exports a type that implements [`events::Handle`](crate::events::Handle).
#[macro_export]
macro_rules! export_events {
    ($type:ty) => {
        const _: () = {
            type Exported = $crate::Shim<$type>;
            $crate::bindings::events::export_event_handling!(
                Exported with_types_in $crate::bindings::events
            );
        };
    };
}
