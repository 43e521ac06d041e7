//! Requests of extensions to targets that manager.toml, or the fence.toml of a host, names.
//!
//! ```text
//! guest ─> send ─> room? ─> thread: written down ─> credentials, whom to trust ─> connected ─> sent ─> answered
//!           │ waits until then               └───────── Unreachable ────────┘ ‖ └─── Unanswered ───┘   │
//!           └─ given up: before ‖ nothing is sent any more, after it the request goes on               │
//!                                                                    what became of it is written down <┘
//! ```
//! ‖ is crossed once, by the one that comes first ([`Stage`]): that is what makes "nothing was done" certain.

mod book;
mod connection;
mod exchange;
mod journal;
mod trust;

pub use book::{Entry, Noted, NotedRun, Outcome, Recent, RequestBook, RequestId, RunEnd};
pub use journal::Journal;

use crate::{FILE, secrets};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use holdfast_extension_host::outside::{Request, Response, Web, WebError};
use holdfast_model::id::TargetName;
use holdfast_model::target::{Credentials, Place, TargetSection};
use holdfast_store::clock::wall;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use ureq::http::HeaderValue;

/// Requests under way at a time, all together: each has a thread.
const UNDER_WAY: usize = 32;
/// To one target: one that hangs must not keep the others from being reached.
const UNDER_WAY_EACH: usize = 8;

/// The targets that the configuration names.
#[derive(Clone)]
pub struct WebTargets(Arc<Inner>);

struct Inner {
    targets: BTreeMap<TargetName, TargetSection>,
    secrets: PathBuf,
    book: Arc<dyn RequestBook>,
    under_way: Mutex<BTreeMap<TargetName, usize>>,
}

impl std::fmt::Debug for WebTargets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(&self.0.targets).finish()
    }
}

impl WebTargets {
    /// These, with their secrets in the files of this directory; each request is written down there.
    pub fn new(
        targets: BTreeMap<TargetName, TargetSection>,
        secrets: PathBuf,
        book: Arc<dyn RequestBook>,
    ) -> Self {
        Self(Arc::new(Inner {
            targets,
            secrets,
            book,
            under_way: Mutex::default(),
        }))
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &TargetName> {
        self.0.targets.keys()
    }

    /// What is wrong with the targets, as far as it can be told before one is needed.
    pub fn faults(&self) -> Vec<String> {
        let each = self.0.targets.iter();
        each.flat_map(|(name, target)| {
            let found = self.0.target_faults(target);
            found
                .into_iter()
                .map(move |fault| format!("[targets.{name}] {fault}"))
        })
        .collect()
    }
}

impl Inner {
    fn target_faults(&self, target: &TargetSection) -> Vec<String> {
        let place = match target.place() {
            Ok(place) => place,
            Err((what, advice)) => return vec![format!("`url`: {what}; {advice}")],
        };
        let mut faults = Vec::new();
        faults.extend(self.authorization(target).err());
        if place.tls {
            faults.extend(trust::tls(target).err());
        } else if target.credentials() != Credentials::None && !place.is_loopback() {
            faults.push(format!(
                "its credentials go to {} where others can read them; use https://",
                place
            ));
        }
        faults
    }

    /// The header by which it is told who asks.
    fn authorization(&self, target: &TargetSection) -> Result<Option<HeaderValue>, String> {
        let (text, file) = match target.credentials() {
            Credentials::None => return Ok(None),
            Credentials::Token(file) => {
                let token = secrets::read(&self.secrets, file)?;
                (format!("Bearer {}", token.reveal()), file)
            }
            Credentials::Basic(user, file) => {
                let password = secrets::read(&self.secrets, file)?;
                let both = BASE64_STANDARD.encode(format!("{user}:{}", password.reveal()));
                (format!("Basic {both}"), file)
            }
        };
        let value = HeaderValue::try_from(text);
        let mut value =
            value.map_err(|_| format!("the secret {file} is nothing that HTTP can send"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeMap<TargetName, usize>> {
        // Each change is one number.
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one more request; it is given back when that is dropped.
    fn room(self: &Arc<Self>, target: &TargetName) -> Result<Room, String> {
        let mut under_way = self.under_way();
        let all: usize = under_way.values().sum();
        let each = under_way.entry(target.clone()).or_default();
        if all >= UNDER_WAY || *each >= UNDER_WAY_EACH {
            return Err(format!(
                "busy: {each} requests to `{target}` are not answered yet, and {all} to all targets"
            ));
        }
        *each += 1;
        Ok(Room {
            inner: self.clone(),
            target: target.clone(),
        })
    }

    /// All of one request, on its own thread.
    fn carry_out(
        &self,
        target: &TargetSection,
        place: &Place,
        request: &Request,
        stage: &Stage,
    ) -> Result<Response, WebError> {
        let until = Instant::now() + Duration::from_millis(target.timeout_ms);
        let name = &request.target;
        let unreachable = |why: String| WebError::Unreachable(format!("`{name}`: {why}"));
        let id = RequestId::new();
        let noted = Noted::new(request, place, wall());
        let written = self.book.before(id, &noted);
        written.map_err(|why| unreachable(format!("it could not be written down: {why}")))?;
        let note = Note {
            book: &*self.book,
            id,
            outcome: Err(WebError::Unanswered(format!("`{name}`: asking it failed"))),
        };
        let connected = || {
            let authorization = self.authorization(target)?;
            let request = exchange::prepared(request, place, authorization)?;
            let tls = place.tls.then(|| trust::tls(target)).transpose()?;
            let connection = connection::connect(place, tls, until)?;
            match stage.send() {
                true => Ok((request, connection)),
                false => Err("not connected in time".to_owned()),
            }
        };
        let answer = match connected() {
            Ok((request, connection)) => exchange::exchange(request, connection)
                .map_err(|why| WebError::Unanswered(format!("`{name}`: {why}"))),
            Err(why) => Err(unreachable(why)),
        };
        note.ends(answer)
    }
}

/// A request whose outcome is written down whatever becomes of its thread.
struct Note<'a> {
    book: &'a dyn RequestBook,
    id: RequestId,
    outcome: Outcome,
}

impl Note<'_> {
    fn ends(mut self, answer: Result<Response, WebError>) -> Result<Response, WebError> {
        self.outcome = match &answer {
            Ok(response) => Ok(response.status),
            Err(error) => Err(error.clone()),
        };
        answer
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        self.book.after(self.id, &self.outcome);
    }
}

struct Room {
    inner: Arc<Inner>,
    target: TargetName,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut under_way = self.inner.under_way();
        if let Some(each) = under_way.get_mut(&self.target) {
            *each = each.saturating_sub(1);
        }
    }
}

/// How far a request is: it may be sent, or be given up, but not both.
struct Stage(AtomicU8);

impl Stage {
    const PREPARED: u8 = 0;
    const SENT: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn new() -> Self {
        Self(AtomicU8::new(Self::PREPARED))
    }

    fn becomes(&self, next: u8) -> bool {
        let (before, order) = (Self::PREPARED, Ordering::SeqCst);
        self.0.compare_exchange(before, next, order, order).is_ok()
    }

    /// From here on something may be done. False: it was given up.
    fn send(&self) -> bool {
        self.becomes(Self::SENT)
    }

    /// Nobody waits any more. True: nothing was sent, and nothing will be.
    fn give_up(&self) -> bool {
        self.becomes(Self::GIVEN_UP)
    }
}

impl Web for WebTargets {
    fn send(&self, request: &Request, until: Instant) -> Result<Response, WebError> {
        let name = &request.target;
        let target = self.0.targets.get(name).cloned().ok_or_else(|| {
            WebError::NoTarget(format!(
                "[targets] in {FILE} has no `{name}`; name it there"
            ))
        })?;
        let place = target.place();
        let place = place.map_err(|(what, advice)| {
            WebError::NoTarget(format!("[targets.{name}] `url`: {what}; {advice}"))
        })?;
        if until <= Instant::now() {
            let why = format!("`{name}`: there is no time left for it, and nothing was sent");
            return Err(WebError::Unreachable(why));
        }
        let room = self.0.room(name).map_err(WebError::Unreachable)?;
        let stage = Arc::new(Stage::new());
        let (tell, told) = sync_channel(1);
        let work = {
            let (request, stage) = (request.clone(), stage.clone());
            move || {
                let inner = room.inner.clone();
                let answer = inner.carry_out(&target, &place, &request, &stage);
                drop(room);
                // Nobody may wait for it any more.
                tell.send(answer).ok();
            }
        };
        let thread = std::thread::Builder::new().name(format!("to-{name}"));
        thread.spawn(work).map_err(|error| {
            WebError::Unreachable(format!("`{name}`: no thread to ask it on: {error}"))
        })?;
        let wait = until.saturating_duration_since(Instant::now());
        let why = match told.recv_timeout(wait) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Timeout) => "no answer in time",
            Err(RecvTimeoutError::Disconnected) => "asking it failed",
        };
        Err(match stage.give_up() {
            true => WebError::Unreachable(format!("`{name}`: {why}, and nothing was sent")),
            false => WebError::Unanswered(format!("`{name}`: {why}")),
        })
    }
}

#[cfg(test)]
mod tests;
