//! What gets extensions ready on this manager, if it was built to run any.

use super::{DaemonError, Shared};
use holdfast_store::cache::Cache;

pub use holdfast_extension_ready::Workshop;

/// Keeps the installed extensions ready until the daemon ends.
pub(super) async fn follow(
    shared: Shared,
    watched: Cache,
    workshop: Option<Workshop>,
) -> Result<(), DaemonError> {
    let Shared {
        extensions,
        store,
        mut stop,
        ..
    } = shared;
    match workshop {
        #[cfg(feature = "extensions")]
        Some(workshop) => {
            holdfast_extension_ready::follow(&*extensions, &workshop, &*store, watched, stop).await;
        }
        _ => {
            drop(store);
            let why = "extensions do not run on this manager; its log says why";
            let users = &*extensions;
            holdfast_extension_ready::follow_unable(users, watched, &mut stop, why).await;
        }
    }
    Ok(())
}
