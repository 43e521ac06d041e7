//! JavaScript: QuickJS with the sources in it, by componentize-qjs.
//!
//! The component is made of a module of ours, which imports the author's: what is wrong there is said in words.

use std::process::Command;

use super::functions::{self, Names};
use crate::run::quietly;
use crate::tools::needed;
use crate::{Folder, KitError, Language, Options, Result, wit};
use holdfast_model::extension::MANIFEST;

/// Stands between the extension and its host.
const GUARD: &str = include_str!("guard.js");

/// Calls the tool as a library: only so the source is another one than that of the file by which imports are found.
const DRIVER: &str = include_str!("driver.mjs");

/// Names as JavaScript has them.
const NAMES: Names = Names {
    interface: functions::camel,
    other: functions::camel,
};

pub(super) fn build(folder: &Folder, options: &Options<'_>) -> Result<Vec<u8>> {
    let how = "install Node.js 20 or newer (Debian: `apt-get install nodejs npm`)";
    let node = needed("node", Language::JavaScript, how)?;
    let tool = options.tools.qjs(options.say)?;
    let work = super::work()?;
    let contracts = wit::prepare(folder, work.path())?;
    let put = |name: &str, text: &str| {
        let path = work.path().join(name);
        std::fs::write(&path, text).map_err(KitError::io("write", &path))?;
        Ok::<_, KitError>(path)
    };
    let guarded = put("guarded.js", &guarded(folder, &contracts))?;
    let made = work.path().join("made.wasm");
    let mut command = Command::new(node);
    command.arg(put("driver.mjs", DRIVER)?).arg(tool);
    command.arg(&contracts.path).arg(wit::WORLD).arg(guarded);
    // A file has to be there under the name that our module goes by, and it must not be the author's.
    command.arg(folder.path.join(MANIFEST)).arg(&made);
    quietly(&mut command).map_err(|error| super::refused(error, &folder.source))?;
    super::read(&made)
}

/// The module that the component is made of.
fn guarded(folder: &Folder, contracts: &wit::Contracts) -> String {
    let main = folder.source.file_name().unwrap_or_default();
    let exports = functions::exports(&contracts.resolve, contracts.world, &NAMES);
    let imports = functions::imports(&contracts.resolve, contracts.world, &NAMES);
    let offered = folder.manifest.kind.offered().iter();
    let offered = offered.map(|interface| functions::text(&wit::of_host(interface)));
    let known = wit::host_interfaces().into_iter();
    let own = exports.iter().map(|(_, text)| text.clone());
    let values = [
        ("MAIN", functions::text(&main.to_string_lossy())),
        ("EXPORTS", functions::list(own)),
        ("IMPORTS", imports),
        ("OFFERED", functions::list(offered)),
        (
            "KNOWN",
            functions::list(known.map(|name| functions::text(&name))),
        ),
    ];
    let mut module = String::new();
    for (name, value) in values {
        module += &format!("const {name} = {value};\n");
    }
    module += GUARD;
    for (at, (name, _)) in exports.iter().enumerate() {
        module += &format!("const export{at} = MADE[{at}];\nexport {{ export{at} as {name} }};\n");
    }
    module
}
