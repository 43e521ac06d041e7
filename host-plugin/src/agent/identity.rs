//! Which machine this is, which boot, and which life its agent had on this boot.

use crate::config::Config;
use holdfast_model::id::{BootId, Incarnation, MachineId};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Why the machine cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It holds no id.
    #[error("{path} holds no id: {reason}; write one with `systemd-machine-id-setup`")]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The state file cannot be written.
    #[error("cannot write {path}: {source}; the agent needs it to survive its own restarts")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// This machine on this boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The boot.
    pub boot_id: BootId,
    /// The machine.
    pub machine_id: MachineId,
}

impl Machine {
    /// Reads both ids.
    pub fn read(config: &Config) -> Result<Self, IdentityError> {
        Ok(Self {
            boot_id: read_id(Path::new("/proc/sys/kernel/random/boot_id"))?,
            machine_id: read_id(&config.machine_id_file)?,
        })
    }
}

fn read_id<T: std::str::FromStr>(path: &Path) -> Result<T, IdentityError>
where
    T::Err: std::fmt::Display,
{
    let text = std::fs::read_to_string(path).map_err(|source| IdentityError::Read {
        path: path.to_owned(),
        source,
    })?;
    text.trim()
        .parse()
        .map_err(|error: T::Err| IdentityError::Content {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    boot_id: BootId,
    /// None: it is over.
    incarnation: Option<Incarnation>,
    /// Before it, on this boot; the newest last.
    #[serde(default)]
    earlier: Vec<Incarnation>,
}

/// Lives that are remembered: a store is not set back behind more of one boot.
const EARLIER_MAX: usize = 64;

/// Remembers the agent's life over its own restarts, not over a boot.
#[derive(Debug, Clone)]
pub struct LifeFile {
    path: PathBuf,
    boot_id: BootId,
}

impl LifeFile {
    /// In the run directory.
    pub fn new(run_dir: &Path, boot_id: BootId) -> Self {
        Self {
            path: run_dir.join("agent.json"),
            boot_id,
        }
    }

    /// The life of an agent before this one on this boot. A file that cannot be read counts as
    /// none: the host is cleaned then, and a new life begins.
    pub fn read(&self) -> Option<Incarnation> {
        self.saved()?.incarnation
    }

    /// The lives before that one on this boot.
    pub fn earlier(&self) -> Vec<Incarnation> {
        self.saved().map_or_else(Vec::new, |saved| saved.earlier)
    }

    fn saved(&self) -> Option<Saved> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!(path = %self.path.display(), %error, "the state file");
                }
                return None;
            }
        };
        match serde_json::from_slice::<Saved>(&text) {
            Ok(saved) => Some(saved).filter(|saved| saved.boot_id == self.boot_id),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the state file");
                None
            }
        }
    }

    /// Remembers a life, before its session is opened.
    pub fn write(&self, incarnation: &Incarnation) -> Result<(), IdentityError> {
        let written = self.replace(Some(incarnation.clone()));
        written.map_err(|source| IdentityError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// That life is over.
    pub fn forget(&self) {
        if self.read().is_none() {
            return;
        }
        if let Err(error) = self.replace(None) {
            tracing::warn!(path = %self.path.display(), %error, "the state file cannot be replaced");
            // A life that is over must not be gone on with.
            if let Err(error) = std::fs::remove_file(&self.path) {
                tracing::error!(path = %self.path.display(), %error, "the state file stays");
            }
        }
    }

    /// The present life from now on; the one before it is an earlier one.
    fn replace(&self, incarnation: Option<Incarnation>) -> std::io::Result<()> {
        let (before, mut earlier) = match self.saved() {
            Some(saved) => (saved.incarnation, saved.earlier),
            None => (None, Vec::new()),
        };
        earlier.extend(before.filter(|before| Some(before) != incarnation.as_ref()));
        let over = earlier.len().saturating_sub(EARLIER_MAX);
        earlier.drain(..over);
        let saved = Saved {
            boot_id: self.boot_id.clone(),
            incarnation,
            earlier,
        };
        let next = self.path.with_extension("json.next");
        std::fs::write(&next, serde_json::to_vec(&saved)?)?;
        std::fs::rename(&next, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_remembered_on_its_boot_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let boot = |name: &str| name.parse().expect("a name");
        let file = LifeFile::new(dir.path(), boot("b1"));
        assert_eq!(file.read(), None);
        let life = "i1".parse().expect("a name");
        file.write(&life).expect("written");
        assert_eq!(file.read(), Some(life));
        assert_eq!(LifeFile::new(dir.path(), boot("b2")).read(), None);
        std::fs::write(dir.path().join("agent.json"), "{\"boo").expect("written");
        assert_eq!(file.read(), None);
        let lives = ["i1", "i2"].map(|life| life.parse::<Incarnation>().expect("a name"));
        for life in &lives {
            file.write(life).expect("written");
        }
        assert_eq!(
            (file.read().as_ref(), file.earlier()),
            (Some(&lives[1]), vec![lives[0].clone()])
        );
        file.forget();
        file.forget();
        assert_eq!((file.read(), file.earlier()), (None, lives.to_vec()));
        assert!(LifeFile::new(dir.path(), boot("b2")).earlier().is_empty());
    }
}
