//! What a storage check that is an extension can look at on this host: only what host.toml names, only for as long
//! as its call lasts.
//!
//! - `space`: how much room a file system has, and what it is
//! - `latency`: how long a read past all caches takes
//! - `command`: runs a status command
//! - `behind`: each look on a thread that is left behind if it hangs

mod behind;
mod command;
mod latency;
mod space;

use behind::Behind;
use holdfast_extension_host::outside::{Output, ProbeError, Probes, Space};
use holdfast_host::config::Config;
use holdfast_model::files::OWN_PATH;
use holdfast_model::id::TargetName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

/// See the module.
pub struct Looks {
    paths: BTreeMap<TargetName, PathBuf>,
    commands: BTreeMap<TargetName, Vec<String>>,
    /// The file that is kept in a directory. Other hosts look at the same one.
    kept: String,
    behind: Behind,
}

impl Looks {
    /// What this host's configuration names.
    pub fn of(config: &Config) -> Self {
        let storage = &config.storage;
        let own = OWN_PATH.parse().ok().zip(storage.path.clone());
        Self {
            paths: storage.paths.clone().into_iter().chain(own).collect(),
            commands: storage.commands.clone(),
            kept: format!(".holdfast-read-{}-{}", config.cluster, config.name),
            behind: Behind::default(),
        }
    }

    /// The same for a shadow: its looks do not stand in the way of others, and it keeps a file of its own.
    pub fn of_shadow(config: &Config) -> Self {
        let looks = Self::of(config);
        Self {
            kept: format!("{}-shadow", looks.kept),
            ..looks
        }
    }

    /// The names.
    pub fn names(&self) -> (BTreeSet<TargetName>, BTreeSet<TargetName>) {
        let (paths, commands) = (self.paths.keys(), self.commands.keys());
        (paths.cloned().collect(), commands.cloned().collect())
    }

    fn path(&self, name: &TargetName) -> Result<PathBuf, ProbeError> {
        let path = self.paths.get(name).cloned();
        path.ok_or_else(|| {
            ProbeError::NoName(format!("[storage.paths] in host.toml has no `{name}`"))
        })
    }
}

impl Probes for Looks {
    fn usage(&self, path: &TargetName, until: Instant) -> Result<Space, ProbeError> {
        let found = self.path(path)?;
        let what = format!("the room of `{path}`");
        self.behind
            .until(until, &what, move || space::space(&found))
    }

    fn read_latency(&self, path: &TargetName, until: Instant) -> Result<u64, ProbeError> {
        let (found, kept) = (self.path(path)?, self.kept.clone());
        let what = format!("a read of `{path}`");
        self.behind
            .until(until, &what, move || latency::latency_us(&found, &kept))
    }

    fn command(&self, command: &TargetName, until: Instant) -> Result<Output, ProbeError> {
        let words = self.commands.get(command).cloned();
        let words = words.ok_or_else(|| {
            ProbeError::NoName(format!(
                "[storage.commands] in host.toml has no `{command}`"
            ))
        })?;
        let what = format!("command `{command}`");
        self.behind
            .until(until, &what, move || command::run(&words, until))
    }
}
