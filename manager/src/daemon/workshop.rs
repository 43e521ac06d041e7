//! What gets extensions ready on this manager, if it was built to run any.

use super::{DaemonError, Shared};
#[cfg(feature = "extensions")]
use holdfast_extension_ready::follow;
use holdfast_extension_ready::follow_unable;
use holdfast_store::cache::Cache;

pub use holdfast_extension_ready::Workshop;

/// Keeps the installed extensions ready until the daemon ends.
pub(super) async fn keep_ready(
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
            let (beside, ends) = (watched.subscribe(), stop.clone());
            // Of their own: no installed one waits until a shadow is compiled.
            let shadows = follow(&extensions.shadows, &workshop, &*store, beside, ends);
            tokio::join!(
                follow(&*extensions, &workshop, &*store, watched, stop),
                shadows
            );
        }
        _ => {
            drop(store);
            let why = "extensions do not run on this manager; its log says why";
            let (beside, mut ends) = (watched.subscribe(), stop.clone());
            tokio::join!(
                follow_unable(&*extensions, watched, &mut stop, why),
                follow_unable(&extensions.shadows, beside, &mut ends, why)
            );
        }
    }
    Ok(())
}
