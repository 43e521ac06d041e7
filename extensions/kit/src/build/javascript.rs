//! JavaScript: QuickJS with the sources in it, by componentize-qjs.

use std::process::Command;

use crate::run::quietly;
use crate::tools::needed;
use crate::{Folder, Language, Options, Result, wit};

pub(super) fn build(folder: &Folder, options: &Options<'_>) -> Result<Vec<u8>> {
    let how = "install Node.js 20 or newer (Debian: `apt-get install nodejs npm`)";
    let node = needed("node", Language::JavaScript, how)?;
    let tool = options.tools.qjs(options.say)?;
    let work = super::work()?;
    let contracts = wit::prepare(&folder.path, work.path())?;
    let made = work.path().join("made.wasm");
    let mut command = Command::new(node);
    command.arg(tool).arg("--wit").arg(contracts);
    command.arg("--js").arg(&folder.source);
    command.args(["--world", wit::WORLD]);
    // Synchronous, as the contracts are; and without WASI, of which no host has anything.
    command.args(["--sync", "--stub-wasi", "--output"]);
    quietly(command.arg(&made))?;
    super::read(&made)
}
