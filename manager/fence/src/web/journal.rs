//! The journal of requests and programs, in a file of this machine: each is in it, on the disk, before it is sent or
//! started, and what became of it when that is known. It outlives the extension that asked, and the daemon.
//!
//! ```text
//! {"line":"sent","id":"…","about":"fencing of a1, …","target":"a1-board","method":"POST","path":"/…","at":…}
//! {"line":"ended","id":"…","at":…,"status":204}          or  "unanswered":"why", "unreachable":"why"
//! {"line":"run","id":"…","about":"fencing of a1, …","program":"fence_apc","action":"off","arguments":["ip=…"],…}
//! {"line":"ran","id":"…","at":…,"took_ms":812,"exit-code":0}       or  "killed":"why", "not-started":"why"
//! ```
//! One that has no end was under way when the daemon ended: what became of it nobody knows. An earlier version passes
//! over lines that it does not know (`run`, `ran`), and loses no other for it.

use super::book::{Entry, Noted, NotedRun, Outcome, Recent, RequestBook, RequestId, RunEnd};
use crate::requests::{Ended, ProgramEnd, ProgramRun, RequestCounts, Requested, Requests};
use holdfast_extension_host::outside::WebError;
use holdfast_model::time::UnixMs;
use holdfast_store::clock::wall;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A file that is larger is put aside, under its name with [`OLD`], in place of the one before it.
const BYTES_MAX: u64 = 4 << 20;
/// Ending of the file before.
const OLD: &str = ".old";
/// Others than its owner have no business with it.
const MODE: u32 = 0o600;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
enum Line {
    Sent {
        id: RequestId,
        #[serde(flatten)]
        request: Noted,
    },
    Ended {
        id: RequestId,
        at: UnixMs,
        #[serde(flatten)]
        how: How,
    },
    Run {
        id: RequestId,
        #[serde(flatten)]
        run: NotedRun,
    },
    Ran {
        id: RequestId,
        at: UnixMs,
        took_ms: u64,
        #[serde(flatten)]
        how: RunEnd,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum How {
    Status(u16),
    NoTarget(String),
    Unreachable(String),
    Unanswered(String),
}

impl From<&Outcome> for How {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Ok(status) => Self::Status(*status),
            Err(WebError::NoTarget(why)) => Self::NoTarget(why.clone()),
            Err(WebError::Unreachable(why)) => Self::Unreachable(why.clone()),
            Err(WebError::Unanswered(why)) => Self::Unanswered(why.clone()),
        }
    }
}

impl From<How> for Outcome {
    fn from(how: How) -> Self {
        match how {
            How::Status(status) => Ok(status),
            How::NoTarget(why) => Err(WebError::NoTarget(why)),
            How::Unreachable(why) => Err(WebError::Unreachable(why)),
            How::Unanswered(why) => Err(WebError::Unanswered(why)),
        }
    }
}

/// See the module.
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
    recent: Recent,
}

impl Journal {
    /// Opens it, or begins it, and takes in what it has.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let recent = Recent::default();
        for file in [with_ending(path), path.to_owned()] {
            match File::open(&file) {
                Ok(file) => take_in(&recent, file)?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let gone = "the daemon ended before it was answered".to_owned();
        let killed = RunEnd::Killed("the daemon ended before it did".to_owned());
        recent.end_all(&Err(WebError::Unanswered(gone)), &killed);
        let mut file = options().open(path)?;
        // A line that was being written when the machine ended must not swallow the next one.
        if file.seek(SeekFrom::End(0))? > 0 {
            file.write_all(b"\n")?;
        }
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            recent,
        })
    }

    /// Is on the disk when this returns.
    fn write(&self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        // A line that could not be written to its end is cut off by the line break before the next one.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.metadata()?.len() > BYTES_MAX {
            std::fs::rename(&self.path, with_ending(&self.path))?;
            *file = options().open(&self.path)?;
        }
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| file.sync_data());
        if written.is_err() {
            // As said above; if this fails too, so does the next line.
            let _ = file.write_all(b"\n");
        }
        written
    }

    /// Writes what is to happen next. If that fails it must not happen.
    fn write_first(&self, line: &Line) -> Result<(), String> {
        self.write(line).map_err(|error| {
            format!(
                "{}: {error}; make room, or correct `requests_file`",
                self.path.display()
            )
        })
    }
}

impl Requests for Journal {
    fn newest(&self) -> Vec<Requested> {
        self.recent.newest().into_iter().map(shown).collect()
    }

    fn programs(&self) -> Vec<ProgramRun> {
        self.recent
            .newest_runs()
            .into_iter()
            .map(run_shown)
            .collect()
    }

    fn counts(&self) -> RequestCounts {
        self.recent.counts()
    }
}

fn shown(entry: Entry) -> Requested {
    let Noted {
        about,
        target,
        place,
        method,
        path,
        at,
    } = entry.request;
    Requested {
        at,
        about,
        target: target.to_string(),
        place,
        method: method.word().to_owned(),
        path,
        outcome: match entry.outcome {
            None => Ended::UnderWay,
            Some(Ok(status)) => Ended::Answered { status },
            Some(Err(WebError::Unanswered(why))) => Ended::Unknown { why },
            Some(Err(WebError::NoTarget(why) | WebError::Unreachable(why))) => {
                Ended::NotDone { why }
            }
        },
        ended_at: entry.ended_at,
    }
}

fn run_shown(entry: Entry<NotedRun, RunEnd>) -> ProgramRun {
    let NotedRun {
        about,
        extension,
        program,
        action,
        arguments,
        at,
    } = entry.request;
    ProgramRun {
        at,
        about,
        extension,
        program,
        action,
        arguments,
        outcome: match entry.outcome {
            None => ProgramEnd::UnderWay,
            Some(RunEnd::ExitCode(exit_code)) => ProgramEnd::Exited { exit_code },
            Some(RunEnd::NotStarted(why)) => ProgramEnd::NotStarted { why },
            Some(RunEnd::Killed(why)) => ProgramEnd::Unknown { why },
        },
        ended_at: entry.ended_at,
        took_ms: entry.took_ms,
    }
}

impl RequestBook for Journal {
    fn before(&self, id: RequestId, request: &Noted) -> Result<(), String> {
        let line = Line::Sent {
            id,
            request: request.clone(),
        };
        self.write_first(&line)?;
        self.recent.before(id, request)
    }

    fn after(&self, id: RequestId, outcome: &Outcome) {
        let line = Line::Ended {
            id,
            at: wall(),
            how: outcome.into(),
        };
        if let Err(error) = self.write(&line) {
            // That it was sent is on the disk: without an end it counts as unanswered.
            tracing::error!(%id, %error, "what became of a request could not be written down");
        }
        self.recent.after(id, outcome);
    }

    fn before_run(&self, id: RequestId, run: &NotedRun) -> Result<(), String> {
        let line = Line::Run {
            id,
            run: run.clone(),
        };
        self.write_first(&line)?;
        self.recent.before_run(id, run)
    }

    fn after_run(&self, id: RequestId, end: &RunEnd, took_ms: u64) {
        let line = Line::Ran {
            id,
            at: wall(),
            took_ms,
            how: end.clone(),
        };
        if let Err(error) = self.write(&line) {
            // As of a request: without an end it counts as killed.
            tracing::error!(%id, %error, "what became of a program could not be written down");
        }
        self.recent.after_run(id, end, took_ms);
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE);
    options
}

fn with_ending(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(OLD);
    name.into()
}

/// Lines that cannot be read are passed over: a torn one, or one of a newer version.
fn take_in(recent: &Recent, file: File) -> std::io::Result<()> {
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        match serde_json::from_slice(&line) {
            Ok(Line::Sent { id, request }) => recent.add(id, request),
            Ok(Line::Ended { id, at, how }) => recent.end(id, &how.into(), at),
            Ok(Line::Run { id, run }) => recent.add_run(id, run),
            Ok(Line::Ran {
                id,
                at,
                took_ms,
                how,
            }) => recent.end_run(id, &how, at, took_ms),
            Err(_) if line.is_empty() => {}
            Err(error) => {
                tracing::warn!(%error, "a line of the journal of requests is passed over")
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
