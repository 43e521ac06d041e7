//! What a restarted guard goes on from: a file in the run directory, replaced whole at each change.
//!
//! Every entry errs to the safe side: an old send time means an earlier deadline, a process that
//! has ended since is found gone. A table of another boot is worth nothing and is ignored.

use super::protocol::{Killed, Process};
use super::reset::LeftToReset;
use super::watched::Doom;
use holdfast_core::guardian::deadline::Deadline;
use holdfast_model::id::Revision;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The file's contents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The boot it was written on: the clock of the deadline starts anew with each.
    pub boot_id: String,
    /// The deadline.
    pub deadline: Deadline,
    /// What is watched.
    pub watched: Vec<Process>,
    /// What was killed at the last deadline.
    pub killed: Vec<Killed>,
    /// The slot on the lease volume.
    #[serde(default)]
    pub slot: Option<u32>,
    /// The store's revision of the last heartbeat of the session that is known to have happened: which
    /// messages in the mailbox are obsolete.
    #[serde(default)]
    pub acknowledged: Revision,
    /// What of the watched has to go, by process id.
    #[serde(default)]
    pub doomed: BTreeMap<u32, Doom>,
    /// How long a kill may take, by the bounds that were armed last: a life that has lapsed has none
    /// any more.
    #[serde(default)]
    pub kill_bound_ms: Option<u64>,
    /// This host was left to its watchdog.
    #[serde(default)]
    pub left_to_reset: Option<LeftToReset>,
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct TableFile {
    path: PathBuf,
}

/// What was found at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A table of this boot.
    Table(Box<Table>),
    /// None of this boot: the guard's first start since.
    Nothing,
    /// One that cannot be read. What it said is lost.
    Damaged(String),
}

impl TableFile {
    /// In this directory.
    pub fn new(run_dir: &Path) -> Self {
        Self {
            path: run_dir.join("guard.json"),
        }
    }

    /// Reads it.
    pub fn read(&self, boot_id: &str) -> Found {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Found::Nothing,
            Err(error) => return Found::Damaged(error.to_string()),
        };
        match serde_json::from_slice::<Table>(&text) {
            Ok(table) if table.boot_id == boot_id => Found::Table(Box::new(table)),
            Ok(_) => Found::Nothing,
            Err(error) => Found::Damaged(error.to_string()),
        }
    }

    /// Replaces it. Not forced to the disk: after a loss of power there is another boot.
    pub fn write(&self, table: &Table) -> io::Result<()> {
        let next = self.path.with_extension("json.next");
        let mut file = std::fs::File::create(&next)?;
        file.write_all(&serde_json::to_vec(table)?)?;
        drop(file);
        std::fs::rename(&next, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_back_on_the_same_boot_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = TableFile::new(dir.path());
        assert_eq!(file.read("b1"), Found::Nothing);
        let table = Table {
            boot_id: "b1".into(),
            ..Table::default()
        };
        file.write(&table).expect("written");
        assert_eq!(file.read("b1"), Found::Table(Box::new(table)));
        assert_eq!(file.read("b2"), Found::Nothing);
        std::fs::write(dir.path().join("guard.json"), "{\"boot").expect("written");
        assert!(matches!(file.read("b1"), Found::Damaged(_)));
    }
}
