//! Python: CPython with the sources in it, by componentize-py.
//!
//! The component is made of a module of ours, which imports the author's: what is wrong there is said in words.

use std::process::Command;

use super::functions::{self, Names};
use crate::run::quietly;
use crate::{Folder, KitError, Options, Result, wit};

/// Stands between the extension and its host.
const GUARD: &str = include_str!("guard.py");

/// What our module is called; not as anything of the author's.
const GUARD_NAME: &str = "holdfast_guard";

/// Names as Python has them.
const NAMES: Names = Names {
    interface: |name| functions::camel(&format!("-{name}")),
    other: functions::snake,
};

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
    let own = work.path().join("guard");
    // An environment with nothing in it: packages of whoever builds are no part of the extension.
    let site = work.path().join("environment/lib/python3/site-packages");
    for dir in [&own, &site] {
        std::fs::create_dir_all(dir).map_err(KitError::io("create", dir))?;
    }
    let guard = own.join(format!("{GUARD_NAME}.py"));
    std::fs::write(&guard, guarded(module, &contracts)).map_err(KitError::io("write", &guard))?;
    let made = work.path().join("made.wasm");
    let mut command = Command::new(tool);
    command.env("VIRTUAL_ENV", work.path().join("environment"));
    command.arg("--wit-path").arg(&contracts.path);
    command.args(["--world", wit::WORLD, "componentize"]);
    // Without WASI, of which no host has anything. The author's folder is the first one: the guard counts on it.
    command.arg("--stub-wasi");
    command.arg("--python-path").arg(&folder.path);
    command.arg("--python-path").arg(&own);
    command.arg("--output").arg(&made);
    quietly(command.arg(GUARD_NAME)).map_err(|error| super::refused(error, &folder.source))?;
    super::read(&made)
}

/// The module that the component is made of.
fn guarded(module: &str, contracts: &wit::Contracts) -> String {
    let exports = functions::exports(&contracts.resolve, contracts.world, &NAMES);
    let imports = functions::imports(&contracts.resolve, contracts.world, &NAMES);
    let own = functions::list(exports.iter().map(|(_, text)| text.clone()));
    let mut text = "null, true, false = None, True, False\n".to_owned();
    for (name, value) in [
        ("MAIN", functions::text(module)),
        ("EXPORTS", own),
        ("IMPORTS", imports),
    ] {
        text += &format!("{name} = {value}\n");
    }
    text += GUARD;
    for (at, (name, _)) in exports.iter().enumerate() {
        text += &format!("{name} = MADE[{at}]\n");
    }
    text
}

fn is_module(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit())
}
