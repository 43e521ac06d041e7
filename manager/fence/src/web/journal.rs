//! The journal of requests, in a file of this machine: each is in it, on the disk, before it is sent, and what
//! became of it when that is known. It outlives the extension that asked, and the daemon.
//!
//! ```text
//! {"line":"sent","id":"…","about":"fencing of a1, …","target":"a1-board","method":"POST","path":"/…","at":…}
//! {"line":"ended","id":"…","at":…,"status":204}          or  "unanswered":"why", "unreachable":"why"
//! ```
//! One that has no end was under way when the daemon ended: what became of it nobody knows.

use super::book::{Entry, Noted, Outcome, Recent, RequestBook, RequestId};
use crate::requests::{Ended, RequestCounts, Requested, Requests};
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
        recent.end_all(&Err(WebError::Unanswered(gone)));
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
}

impl Requests for Journal {
    fn newest(&self) -> Vec<Requested> {
        self.recent.newest().into_iter().map(shown).collect()
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

impl RequestBook for Journal {
    fn before(&self, id: RequestId, request: &Noted) -> Result<(), String> {
        let line = Line::Sent {
            id,
            request: request.clone(),
        };
        self.write(&line).map_err(|error| {
            format!(
                "{}: {error}; make room, or correct `requests_file`",
                self.path.display()
            )
        })?;
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
            Err(_) if line.is_empty() => {}
            Err(error) => {
                tracing::warn!(%error, "a line of the journal of requests is passed over")
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_extension_host::outside::Method;

    fn noted(path: &str) -> Noted {
        Noted {
            about: "fencing of a1".to_owned(),
            target: "a1-board".parse().expect("a name"),
            place: "https://192.0.2.111".to_owned(),
            method: Method::Post,
            path: path.to_owned(),
            at: UnixMs(5),
        }
    }

    fn outcomes(journal: &Journal) -> Vec<(String, Option<Outcome>)> {
        let entries = journal.recent.newest().into_iter();
        entries
            .map(|entry| (entry.request.path, entry.outcome))
            .collect()
    }

    #[test]
    fn what_was_sent_outlives_the_manager() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("requests.jsonl");
        let journal = Journal::open(&path).expect("opened");
        let ids = [(); 3].map(|()| RequestId::new());
        for (id, path) in ids.iter().zip(["/answered", "/lost", "/under-way"]) {
            journal.before(*id, &noted(path)).expect("written");
        }
        let lost = Err(WebError::Unanswered("cut".to_owned()));
        journal.after(ids[0], &Ok(204));
        journal.after(ids[1], &lost);
        // The machine ended in the middle of a line.
        journal
            .file
            .lock()
            .expect("no panic")
            .write_all(b"{\"line\":\"se")
            .expect("written");
        drop(journal);
        let journal = Journal::open(&path).expect("opened");
        let ended = "the daemon ended before it was answered".to_owned();
        let expected = [
            ("/answered".to_owned(), Some(Ok(204))),
            ("/lost".to_owned(), Some(lost)),
            (
                "/under-way".to_owned(),
                Some(Err(WebError::Unanswered(ended))),
            ),
        ];
        assert_eq!(outcomes(&journal), expected);
        let id = RequestId::new();
        journal.before(id, &noted("/next")).expect("written");
        journal.after(id, &Ok(200));
        drop(journal);
        let journal = Journal::open(&path).expect("opened");
        let last = outcomes(&journal).pop();
        assert_eq!(last, Some(("/next".to_owned(), Some(Ok(200)))));
    }

    #[test]
    fn a_long_one_is_put_aside_and_still_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("requests.jsonl");
        let journal = Journal::open(&path).expect("opened");
        let first = RequestId::new();
        journal.before(first, &noted("/first")).expect("written");
        let much = vec![b'\n'; usize::try_from(BYTES_MAX).expect("fits")];
        let mut grown = options().open(&path).expect("opened");
        grown.write_all(&much).expect("grown");
        journal.after(first, &Ok(200));
        assert!(with_ending(&path).exists(), "the old one is put aside");
        let size = std::fs::metadata(&path).expect("a new one").len();
        assert!(size < 1_000, "{size}");
        drop(journal);
        // Sent in the one, ended in the other.
        let journal = Journal::open(&path).expect("opened");
        assert_eq!(outcomes(&journal), [("/first".to_owned(), Some(Ok(200)))]);
    }

    #[test]
    fn what_cannot_be_written_down_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("requests.jsonl");
        let journal = Journal::open(&path).expect("opened");
        *journal.file.lock().expect("no panic") = File::open(&path).expect("for reading only");
        let why = journal
            .before(RequestId::new(), &noted("/x"))
            .expect_err("nothing can be written");
        assert!(why.contains("`requests_file`"), "{why}");
        assert!(journal.recent.newest().is_empty());
        assert!(Journal::open(&dir.path().join("none").join("x")).is_err());
    }
}
