//! Machine code, kept for the next start. Whoever can write here decides what the daemon executes: the directory
//! has to belong to the daemon's user or to root and to be writable for nobody else, and each file carries a
//! checksum that is compared before it is loaded.
//!
//! ```text
//! SHA256-OF-COMPONENT.FINGERPRINT.native = 32 bytes SHA-256 of the rest, then the rest
//! ```
//! A file of another build of Holdfast has another fingerprint and is not looked at.

use crate::compile::Compiler;
use crate::engine::Runtime;
use crate::error::ExtensionError;
use crate::loaded::Loaded;
use holdfast_model::component::digest;
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use wasmtime::component::Component;

/// Others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;
/// Of a file's beginning.
const CHECKSUM_BYTES: usize = 32;

/// A directory of machine code.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens a directory, and makes it if it is not there.
    ///
    /// # Errors
    /// If others can write to it.
    pub fn open(dir: &Path) -> Result<Self, ExtensionError> {
        let fault = |what: String| ExtensionError::Cache {
            path: dir.to_owned(),
            what,
        };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(dir).map_err(|error| {
            fault(format!(
                "cannot be made: {error}; correct `extensions_dir`, or make it"
            ))
        })?;
        let found = fs::symlink_metadata(dir).map_err(|error| fault(error.to_string()))?;
        let own = found.uid() == 0 || found.uid() == geteuid().as_raw();
        if !found.is_dir() || !own || found.mode() & OTHERS_WRITE != 0 {
            return Err(fault(
                "others could change what is executed from here; `chown` it to the daemon's user and `chmod 700` it"
                    .to_owned(),
            ));
        }
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    fn path(&self, runtime: &Runtime, digest: &str) -> PathBuf {
        let name = format!("{digest}.{}.native", runtime.fingerprint());
        self.dir.join(name)
    }

    /// A component by its digest, if its machine code is here and whole.
    pub fn load(&self, runtime: &Runtime, digest: &str) -> Option<Loaded> {
        let path = self.path(runtime, digest);
        let bytes = fs::read(&path).ok()?;
        let found = fs::symlink_metadata(&path).ok()?;
        let own = found.uid() == 0 || found.uid() == geteuid().as_raw();
        if !found.is_file() || !own || found.mode() & OTHERS_WRITE != 0 {
            tracing::warn!(path = %path.display(), "others can change this machine code; it is made anew");
            return None;
        }
        let whole = bytes.split_at_checked(CHECKSUM_BYTES);
        let whole = whole.filter(|(checksum, code)| *checksum == &Sha256::digest(code)[..]);
        let Some((_, code)) = whole else {
            tracing::warn!(path = %path.display(), "damaged machine code; it is made anew");
            return None;
        };
        native(runtime, code)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "made anew"))
            .ok()
    }

    /// A component, from its machine code here or compiled by a child and kept. Blocks for as long as that
    /// takes.
    ///
    /// # Errors
    /// If it cannot be compiled, or fits no contract.
    pub fn load_or_compile(
        &self,
        runtime: &Runtime,
        compiler: &Compiler,
        wasm: &[u8],
    ) -> Result<Loaded, ExtensionError> {
        let digest = digest(wasm);
        if let Some(loaded) = self.load(runtime, &digest) {
            return Ok(loaded);
        }
        let code = compiler.compile(wasm)?;
        let loaded = native(runtime, &code)?;
        if let Err(error) = self.keep(runtime, &digest, &code) {
            // It is compiled again with the next start.
            tracing::warn!(%error, "machine code is not kept");
        }
        Ok(loaded)
    }

    /// The same, but that what is compiled is not kept.
    ///
    /// # Errors
    /// If it cannot be compiled, or fits no contract.
    pub fn load_or_try(
        &self,
        runtime: &Runtime,
        compiler: &Compiler,
        wasm: &[u8],
    ) -> Result<Loaded, ExtensionError> {
        match self.load(runtime, &digest(wasm)) {
            Some(loaded) => Ok(loaded),
            None => native(runtime, &compiler.compile(wasm)?),
        }
    }

    /// Whole or not at all, also when the machine loses its power meanwhile.
    fn keep(&self, runtime: &Runtime, digest: &str, code: &[u8]) -> Result<(), ExtensionError> {
        let path = self.path(runtime, digest);
        let work = || -> std::io::Result<()> {
            let mut file = tempfile::Builder::new()
                .prefix(".new-")
                .tempfile_in(&self.dir)?;
            file.write_all(&Sha256::digest(code))?;
            file.write_all(code)?;
            file.as_file().sync_all()?;
            file.persist(&path).map(drop).map_err(|error| error.error)
        };
        work().map_err(|error| ExtensionError::Cache {
            path: path.clone(),
            what: error.to_string(),
        })
    }

    /// Removes the machine code of all components but these, of every build.
    pub fn keep_only(&self, digests: &[String]) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let digest = name.split('.').next().unwrap_or_default();
            if name.ends_with(".native") && !digests.iter().any(|kept| kept == digest) {
                // What cannot be removed takes up room and nothing else.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[allow(
    unsafe_code,
    reason = "the one place where machine code is taken from outside"
)]
fn native(runtime: &Runtime, code: &[u8]) -> Result<Loaded, ExtensionError> {
    // SAFETY: the bytes were made by `Engine::precompile_component`. Either by our own child, this very program,
    // a moment ago; or earlier, and then they come from a directory to which nobody but root and this process's
    // user can write, and are whole by their checksum. Whoever can be root here needs no such way in. wasmtime
    // itself refuses code of another version, of other settings or for another processor.
    let component = unsafe { Component::deserialize(runtime.engine(), code) };
    let component = component.map_err(|error| ExtensionError::Compile(format!("{error:#}")))?;
    Loaded::new(runtime, component)
}

#[cfg(test)]
mod tests;
