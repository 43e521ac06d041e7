//! Built extensions, and what gets them ready.

use holdfast_extension_host::cache::Cache;
use holdfast_extension_host::compile::{Caps, Compiler};
use holdfast_extension_host::{EngineKind, Runtime};
use holdfast_extension_ready::COMPILE;
use holdfast_manager::daemon::Workshop;
use std::path::{Path, PathBuf};

/// A guest's folder as `cargo xtask extensions` built it.
pub fn guest(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    let target = test.ancestors().nth(3).expect("a target directory");
    let dir = target.join("extensions").join(name);
    assert!(
        dir.is_dir(),
        "{}: `cargo xtask extensions` builds it",
        dir.display()
    );
    dir
}

/// With its machine code in this directory.
pub fn workshop(dir: &Path) -> Workshop {
    let compiler = Compiler {
        program: env!("CARGO_BIN_EXE_holdfast-manager").into(),
        arguments: vec![COMPILE.to_owned()],
        caps: Caps::default(),
    };
    let cache = Cache::open(&dir.join("code")).expect("a directory");
    Workshop::new(
        Runtime::new(EngineKind::Native).expect("a runtime"),
        cache,
        compiler,
    )
}
