//! What gets extensions ready on this manager, if it was built to run any.

use super::{DaemonError, Shared};
use holdfast_store::cache::Cache;
use std::path::Path;

#[cfg(feature = "extensions")]
pub use crate::extensions::loader::Workshop;

/// This manager was built without.
#[cfg(not(feature = "extensions"))]
#[derive(Clone)]
pub enum Workshop {}

/// The argument by which this program becomes the child that compiles.
pub const COMPILE: &str = "--compile-extension";

/// Opens it. None, and said why, if that does not work: the manager is more important than its extensions.
#[cfg(feature = "extensions")]
pub fn open(dir: &Path) -> Option<Workshop> {
    use holdfast_extension_host::cache::Cache;
    use holdfast_extension_host::compile::Compiler;
    use holdfast_extension_host::{EngineKind, ExtensionError, Runtime};
    let work = || -> Result<Workshop, ExtensionError> {
        let compiler = Compiler {
            // This very program, also after an upgrade has replaced its file.
            program: "/proc/self/exe".into(),
            arguments: vec![COMPILE.to_owned()],
        };
        let cache = Cache::open(dir)?;
        Ok(Workshop::new(
            Runtime::new(EngineKind::Native)?,
            cache,
            compiler,
        ))
    };
    work()
        .inspect_err(|error| tracing::error!(%error, "extensions do not run on this manager"))
        .ok()
}

/// Opens none.
#[cfg(not(feature = "extensions"))]
pub fn open(_: &Path) -> Option<Workshop> {
    None
}

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
            crate::extensions::loader::run(extensions, workshop, store, watched, stop).await;
        }
        #[cfg(not(feature = "extensions"))]
        Some(never) => match never {},
        None => {
            drop(store);
            extensions.follow_unable(watched, &mut stop).await;
        }
    }
    Ok(())
}
