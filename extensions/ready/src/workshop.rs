//! What compiles components, and keeps machine code.

use holdfast_extension_host::cache::Cache;
use holdfast_extension_host::compile::{self, Caps, Compiler};
use holdfast_extension_host::{EngineKind, ExtensionError, Loaded, Runtime};
use holdfast_model::component::digest;
use holdfast_model::extension::Installed;
use holdfast_model::files::ExtensionsEngine;
use holdfast_store::api::Store;
use holdfast_store::components;
use std::path::Path;
use std::process::ExitCode;

/// The argument by which a daemon becomes the child that compiles.
pub const COMPILE: &str = "--compile-extension";

/// Behind it: for the interpreter.
const FOR_PULLEY: &str = "pulley";

/// To be asked first in a daemon's `main`: the exit code, if it was started to compile.
pub fn child() -> Option<ExitCode> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some(COMPILE) {
        return None;
    }
    Some(compile::child(match words.next().as_deref() {
        Some(FOR_PULLEY) => EngineKind::Pulley,
        _ => EngineKind::Native,
    }))
}

fn kind(engine: ExtensionsEngine) -> EngineKind {
    match engine {
        ExtensionsEngine::Native => EngineKind::Native,
        ExtensionsEngine::Pulley => EngineKind::Pulley,
    }
}

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

    /// One that keeps machine code in this directory and compiles by this very program ([`child`]).
    ///
    /// # Errors
    /// If this machine can run none, or others can write to the directory.
    pub fn open(dir: &Path, engine: ExtensionsEngine) -> Result<Self, ExtensionError> {
        let mut arguments = vec![COMPILE.to_owned()];
        if engine == ExtensionsEngine::Pulley {
            arguments.push(FOR_PULLEY.to_owned());
        }
        let compiler = Compiler {
            // Also after an upgrade has replaced its file.
            program: "/proc/self/exe".into(),
            arguments,
            caps: Caps::default(),
        };
        let cache = Cache::open(dir)?;
        Ok(Self::new(Runtime::new(kind(engine))?, cache, compiler))
    }

    /// The same. None, and said why, if that does not work: a daemon is more important than its extensions.
    pub fn open_or_tell(dir: &Path, engine: ExtensionsEngine) -> Option<Self> {
        Self::open(dir, engine)
            .inspect_err(|error| tracing::error!(%error, "extensions do not run on this machine"))
            .ok()
    }

    /// A component, ready to be used. Takes seconds for some languages if it was not compiled here before.
    ///
    /// # Errors
    /// If it cannot be compiled, or fits no contract.
    pub async fn load(&self, wasm: Vec<u8>) -> Result<Loaded, ExtensionError> {
        self.work(wasm, Cache::load_or_compile).await
    }

    /// The same of one that is only looked at: its machine code is not kept.
    ///
    /// # Errors
    /// If it cannot be compiled, or fits no contract.
    pub async fn try_out(&self, wasm: Vec<u8>) -> Result<Loaded, ExtensionError> {
        self.work(wasm, Cache::load_or_try).await
    }

    async fn work(
        &self,
        wasm: Vec<u8>,
        how: impl FnOnce(&Cache, &Runtime, &Compiler, &[u8]) -> Result<Loaded, ExtensionError>
        + Send
        + 'static,
    ) -> Result<Loaded, ExtensionError> {
        let workshop = self.clone();
        let work = move || {
            let Workshop {
                runtime,
                cache,
                compiler,
            } = workshop;
            how(&cache, &runtime, &compiler, &wasm)
        };
        let loaded = tokio::task::spawn_blocking(work).await;
        loaded.unwrap_or_else(|panic| Err(ExtensionError::Compile(panic.to_string())))
    }

    /// The component of one that is installed: from its machine code here, or from the store.
    pub(crate) async fn installed(
        &self,
        store: &dyn Store,
        installed: &Installed,
    ) -> Result<Loaded, LoadError> {
        match self.cache.load(&self.runtime, &installed.digest) {
            Some(loaded) => Ok(loaded),
            None => Ok(self.load(fetch(store, installed).await?).await?),
        }
    }

    /// Removes the machine code of all others.
    pub(crate) fn keep_only(&self, digests: &[String]) {
        self.cache.keep_only(digests);
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
