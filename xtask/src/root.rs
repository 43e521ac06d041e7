//! Which checkout this is.

use std::path::{Path, PathBuf};

/// The checkout's folder. Cargo says at run time where the program belongs to: where several checkouts
/// share a target directory it may have been built in another one.
pub(crate) fn root() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    // That of another program which runs this one is not ours.
    let own = own.filter(|dir| dir.ends_with("xtask"));
    let own = own.unwrap_or_else(built);
    own.parent().unwrap_or(Path::new(".")).to_owned()
}
