//! Gets installed extensions ready on this manager: fetched from the store, compared with their digest, compiled
//! by a child process, kept as machine code for the next start.

use super::{Extensions, Here};
use holdfast_extension_host::cache::{Cache, digest};
use holdfast_extension_host::compile::Compiler;
use holdfast_extension_host::{EventHandler, ExtensionError, Loaded, Placement, Runtime};
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_store::api::Store;
use holdfast_store::cache::Cache as Watched;
use holdfast_store::components;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// After a failure that may pass by itself.
const AGAIN: Duration = Duration::from_secs(5);

/// What compiles and keeps.
#[derive(Clone)]
pub struct Workshop {
    runtime: Runtime,
    cache: Cache,
    compiler: Compiler,
}

/// Why an extension is not ready.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store did not answer, or its component is not there (yet).
    #[error("{0}")]
    Later(String),
    /// It will never be.
    #[error(transparent)]
    Never(#[from] ExtensionError),
}

impl Workshop {
    /// Puts one together.
    pub fn new(runtime: Runtime, cache: Cache, compiler: Compiler) -> Self {
        Self {
            runtime,
            cache,
            compiler,
        }
    }

    /// A component, ready to be used. Takes seconds for some languages if it was not compiled here before.
    pub async fn load(&self, wasm: Vec<u8>) -> Result<Loaded, ExtensionError> {
        let workshop = self.clone();
        let work = move || {
            let Workshop {
                runtime,
                cache,
                compiler,
            } = workshop;
            cache.load_or_compile(&runtime, &compiler, &wasm)
        };
        let loaded = tokio::task::spawn_blocking(work).await;
        loaded.unwrap_or_else(|panic| Err(ExtensionError::Compile(panic.to_string())))
    }

    async fn ready(&self, store: &dyn Store, installed: &Installed) -> Result<Here, LoadError> {
        if !Extensions::runs(installed.manifest.kind) {
            let kind = installed.manifest.kind;
            return Ok(Here::Failed(format!(
                "this version does not run extensions for {kind}"
            )));
        }
        let loaded = match self.cache.load(&self.runtime, &installed.digest) {
            Some(loaded) => loaded,
            None => self.load(fetch(store, installed).await?).await?,
        };
        let (limits, digest) = (installed.limits(), installed.digest.clone());
        if installed.manifest.kind == ExtensionKind::Events {
            let handler = Arc::new(EventHandler::new(&loaded, limits)?);
            return Ok(Here::Events { handler, digest });
        }
        let placement = Arc::new(Placement::new(&loaded, limits, installed.rights().log)?);
        Ok(Here::Placement { placement, digest })
    }
}

async fn fetch(store: &dyn Store, installed: &Installed) -> Result<Vec<u8>, LoadError> {
    let wanted = &installed.digest;
    let found = components::get(store, wanted).await;
    let found = found.map_err(|error| LoadError::Later(error.to_string()))?;
    let wasm =
        found.ok_or_else(|| LoadError::Later("its component is not in the store".to_owned()))?;
    let digest = digest(&wasm);
    if digest != *wanted {
        return Err(LoadError::Later(format!(
            "what is stored as its component is another one ({digest}); install it again"
        )));
    }
    Ok(wasm)
}

/// Follows what is installed, for ever.
pub async fn run(
    extensions: Arc<Extensions>,
    workshop: Workshop,
    store: Arc<dyn Store>,
    mut watched: Watched,
    mut stop: watch::Receiver<bool>,
) {
    let mut again: Vec<Installed> = Vec::new();
    loop {
        let installed: Vec<Installed> = watched.read(|view| {
            let all = view.extensions.values();
            all.map(|seen| seen.value.clone()).collect()
        });
        let digests: Vec<String> = installed.iter().map(|each| each.digest.clone()).collect();
        let mut to_load = extensions.take_in(installed.clone());
        let still = again
            .drain(..)
            .filter(|each| installed.contains(each) && !to_load.contains(each));
        let still: Vec<Installed> = still.collect();
        to_load.extend(still);
        for each in to_load {
            let name = &each.manifest.name;
            match workshop.ready(&*store, &each).await {
                Ok(here) => {
                    tracing::info!(extension = %name, version = each.manifest.version, "extension is ready");
                    extensions.set(&each, here);
                }
                Err(LoadError::Later(why)) => {
                    tracing::warn!(extension = %name, why, "extension is not ready; trying on");
                    again.push(each);
                }
                Err(LoadError::Never(error)) => {
                    tracing::warn!(extension = %name, %error, "extension cannot run here");
                    extensions.set(&each, Here::Failed(error.to_string()));
                }
            }
        }
        if watched.read(|view| view.revision.0 > 0) {
            workshop.cache.keep_only(&digests);
        }
        let wait = async {
            match again.is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep(AGAIN).await,
            }
        };
        tokio::select! {
            () = changed(&mut watched, &installed) => {}
            () = wait => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Waits until something else is installed.
async fn changed(watched: &mut Watched, known: &[Installed]) {
    loop {
        watched.changed().await;
        let same = watched.read(|view| {
            let all = view.extensions.values().map(|seen| &seen.value);
            all.eq(known.iter())
        });
        if !same {
            return;
        }
    }
}
