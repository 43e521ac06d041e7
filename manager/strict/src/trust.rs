//! Whether a program that a file names may be run: whoever can write it decides what a daemon executes.

use rustix::process::geteuid;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Others than the owner may write it.
const OTHERS_WRITE: u32 = 0o022;

/// Why a program is not run, and what to do: it is not there, or it or its directory can be changed by others than
/// root and this process's user.
pub fn program_fault(path: &Path) -> Option<String> {
    let at = path.display();
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) => return Some(format!("{at}: {error}; install it, or correct the path")),
    };
    let looked = real.metadata().ok().zip(real.parent()?.metadata().ok());
    let Some((file, folder)) = looked else {
        return Some(format!("{at} cannot be looked at"));
    };
    let trusted = |metadata: &std::fs::Metadata| {
        let owned = metadata.uid() == 0 || metadata.uid() == geteuid().as_raw();
        owned && metadata.mode() & OTHERS_WRITE == 0
    };
    if !file.is_file() {
        return Some(format!("{at} is no program"));
    }
    (!trusted(&file) || !trusted(&folder)).then(|| {
        format!(
            "{at} can be changed by others than root: `chown root` and `chmod go-w` it and its directory"
        )
    })
}
