//! Python: CPython with the sources in it, by componentize-py.

use std::process::Command;

use crate::run::quietly;
use crate::{Folder, KitError, Options, Result, wit};

pub(super) fn build(folder: &Folder, options: &Options<'_>) -> Result<Vec<u8>> {
    let tool = options.tools.py(options.say)?;
    let work = super::work()?;
    let contracts = wit::prepare(folder, work.path())?;
    let module = folder.source.file_stem().and_then(|name| name.to_str());
    let module = module
        .filter(|name| is_module(name))
        .ok_or_else(|| KitError::Sources {
            folder: folder.path.clone(),
            what: "the source's name is no name of a Python module: use letters, digits and `_`"
                .to_owned(),
        })?;
    let made = work.path().join("made.wasm");
    let mut command = Command::new(tool);
    command.arg("--wit-path").arg(&contracts.path);
    command.args(["--world", wit::WORLD, "componentize"]);
    // Without WASI, of which no host has anything.
    command
        .args(["--stub-wasi", "--python-path"])
        .arg(&folder.path);
    command.arg("--output").arg(&made);
    quietly(command.arg(module))?;
    super::read(&made)
}

fn is_module(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit())
}
