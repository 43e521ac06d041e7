//! Taking a lab down, whole or half-made, alive or killed long ago, and nothing else.
//!
//! Killed are: first processes of machines whose id *and* start time were recorded, and processes
//! inside network namespaces of the lab. Mounts are private to machines and go with them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::error::{LabError, Result};
use crate::layout::{Layout, MAX_HOSTS_PER_SITE};
use crate::machine;
use crate::net;
use crate::processes::{self, Process};
use crate::run::{clear_interrupt, wait_until};
use crate::state::{LabRecord, StateDir, read_json, real_boot_id};

/// Whether the state directory goes too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// Remove them.
    Remove,
    /// Keep the logs of a lab that did not come up.
    Keep,
}

/// Takes down whatever is there of the lab in `state`; whether there was anything.
pub(crate) fn clean(state: &StateDir, files: Files) -> Result<bool> {
    clear_interrupt();
    let record: Option<LabRecord> = match state.record().exists() {
        true => Some(read_json(&state.record())?),
        false => None,
    };
    let layout = match &record {
        Some(record) => record.layout.clone(),
        // The record is gone but namespaces may be left: the lab's names are fixed.
        None => Layout::new(MAX_HOSTS_PER_SITE)?,
    };
    let names: Vec<String> = net::namespaces(&layout)
        .into_iter()
        .filter(|name| net::namespace_file(name).exists())
        .collect();
    if record
        .as_ref()
        .is_some_and(|record| real_boot_id().is_ok_and(|id| id == record.real_boot_id))
    {
        for each in &layout.machines {
            for process in machine::processes_of(state, each) {
                processes::signal(&process, Signal::KILL);
            }
        }
    }
    // In rounds: a process killed late may have started another one meanwhile.
    wait_until(
        "all processes of the lab gone",
        Duration::from_secs(60),
        "",
        || {
            let left: Vec<Process> = names.iter().flat_map(|name| in_network(name)).collect();
            for process in &left {
                processes::signal(process, Signal::KILL);
            }
            let list = left
                .iter()
                .map(|each| format!("{} ({})", each.program, each.pid));
            if left.is_empty() {
                Ok(())
            } else {
                Err(list.collect::<Vec<_>>().join(", "))
            }
        },
    )?;
    for name in &names {
        net::remove_namespace(name)?;
    }
    let existed = record.is_some() || !names.is_empty();
    if let Some(record) = record {
        for dir in record.made_dirs.iter().rev() {
            // Only if empty, and only what the lab made: someone may have come to use it.
            let _ = std::fs::remove_dir(dir);
        }
        if files == Files::Remove {
            crate::ram::unmount(state)?;
            let root = state.root();
            std::fs::remove_dir_all(root).map_err(LabError::io("remove", root))?;
        }
    }
    Ok(existed)
}

fn in_network(namespace: &str) -> Vec<Process> {
    let Ok(file) = std::fs::metadata(net::namespace_file(namespace)) else {
        return Vec::new();
    };
    let own = std::process::id() as i32;
    let mut found = processes::in_namespace("net", &PathBuf::from(format!("net:[{}]", file.ino())));
    found.retain(|process| process.pid != own);
    found
}

/// Makes the places machines mount over; gives those that were not there, outermost first.
pub(crate) fn make_mount_targets(targets: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for target in targets {
        let missing: Vec<&Path> = target
            .ancestors()
            .take_while(|path| !path.exists())
            .collect();
        made.extend(missing.into_iter().rev().map(PathBuf::from));
        crate::state::make_dir(target)?;
    }
    Ok(made)
}
