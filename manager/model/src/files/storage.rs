//! `[storage]` of `host.toml`: how the storage under the VMs' disks is checked.

use super::Fault;
use crate::id::{ExtensionName, TargetName};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name under which an extension finds [`StorageSection::path`], and the storage's own.
pub const OWN_PATH: &str = "storage";

/// `[storage]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageSection {
    /// Where the storage is mounted.
    pub path: Option<PathBuf>,
    /// How it is checked.
    #[serde(default)]
    pub check: StorageCheck,
    /// The extension that checks it, with `check = "extension"`.
    pub extension: Option<ExtensionName>,
    /// What that extension is told.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// What else it may look at, by name: absolute paths of directories, files or devices.
    #[serde(default)]
    pub paths: BTreeMap<TargetName, PathBuf>,
    /// What it may run, by name: the absolute path of a program that only root can change, and its words.
    #[serde(default)]
    pub commands: BTreeMap<TargetName, Vec<String>>,
}

/// How storage is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StorageCheck {
    /// Not at all.
    #[default]
    None,
    /// The file system answers and a file can be written.
    Statvfs,
    /// The same, and GlusterFS says that no copy is behind.
    Gluster,
    /// An extension of kind `storage-check` says how it stands.
    Extension,
}

impl StorageSection {
    pub(super) fn fault(&self) -> Option<Fault> {
        self.missing()
            .or_else(|| self.bad_path())
            .or_else(|| self.bad_command())
    }

    fn missing(&self) -> Option<Fault> {
        let by_extension = self.check == StorageCheck::Extension;
        if self.check != StorageCheck::None && self.path.is_none() {
            let advice = "add `path = \"/where/the/storage/is/mounted\"` under [storage]";
            return Some(Fault::new("check", "there is no path to check", advice));
        }
        match &self.extension {
            None if by_extension => {
                let advice =
                    "add `extension = \"NAME\"` under [storage]; `holdfast ext list` has the names";
                let what = "there is no extension that could check it";
                Some(Fault::new("check", what, advice))
            }
            Some(name) if !by_extension => {
                let what = format!("`{name}` is not asked: `check` says otherwise");
                let advice = "write `check = \"extension\"`, or leave `extension` out";
                Some(Fault::new("extension", what, advice))
            }
            _ => None,
        }
    }

    fn bad_path(&self) -> Option<Fault> {
        if let Some(path) = self.path.as_ref().filter(|path| !path.is_absolute()) {
            let what = format!("`path` is `{}`", path.display());
            return Some(Fault::new("path", what, "give the whole path, from / on"));
        }
        let mut paths = self.paths.iter();
        let (name, path) =
            paths.find(|(name, path)| name.as_str() == OWN_PATH || !path.is_absolute())?;
        Some(match name.as_str() {
            OWN_PATH => {
                let what = format!("`{OWN_PATH}` is the name of `path` itself");
                Fault::new("paths", what, "use another name, or leave it out")
            }
            _ => {
                let what = format!("`{name}` is `{}`", path.display());
                Fault::new("paths", what, "give the whole path, from / on")
            }
        })
    }

    fn bad_command(&self) -> Option<Fault> {
        let mut commands = self.commands.iter();
        commands.find_map(|(name, words)| {
            let what = match words.first() {
                None => format!("`{name}` has no words"),
                Some(program) if !Path::new(program).is_absolute() => {
                    format!("`{name}` begins with `{program}`")
                }
                _ if words.iter().any(|word| word.contains('\0')) => {
                    format!("a word of `{name}` has a zero byte in it")
                }
                _ => return None,
            };
            let advice = "write the program's whole path and then its words, such as \
                          [\"/usr/sbin/gluster\", \"pool\", \"list\"]; there is no shell";
            Some(Fault::new("commands", what, advice))
        })
    }
}
