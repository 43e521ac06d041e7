//! A made-up target: it takes what it is sent, or does not, in one of the ways in which targets do not.

use crate::outside::{Request, Response, Web, WebError};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What the target does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// 200, and a word.
    Takes,
    /// 200, and more than anybody wants to read.
    Talks,
    /// 500.
    Fails,
    /// 302.
    Redirects,
    /// Cannot be reached.
    Away,
    /// No answer, as long as anybody waits.
    Hangs,
    /// There is none.
    Missing,
}

impl Mood {
    pub(super) const ALL: [Self; 7] = [
        Self::Takes,
        Self::Talks,
        Self::Fails,
        Self::Redirects,
        Self::Away,
        Self::Hangs,
        Self::Missing,
    ];

    /// It answers, and has not taken what it was sent.
    pub(super) fn is_error(self) -> bool {
        matches!(self, Self::Fails | Self::Redirects)
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Takes => "a target that takes it",
            Self::Talks => "a target that answers 200 KiB",
            Self::Fails => "a target that answers 500",
            Self::Redirects => "a target that answers 302",
            Self::Away => "a target that cannot be reached",
            Self::Hangs => "a target that hangs",
            Self::Missing => "no target",
        }
    }
}

/// Keeps what it is sent.
pub(super) struct Mock {
    mood: Mood,
    sent: Mutex<Vec<Request>>,
}

impl Mock {
    pub(super) fn new(mood: Mood) -> Self {
        Self {
            mood,
            sent: Mutex::default(),
        }
    }

    pub(super) fn sent(&self) -> Vec<Request> {
        let sent = self.sent.lock();
        sent.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Web for Mock {
    fn send(&self, request: &Request, until: Instant) -> Result<Response, WebError> {
        let sent = self.sent.lock();
        sent.unwrap_or_else(PoisonError::into_inner)
            .push(request.clone());
        let answer = |status, body: String| Ok(Response { status, body });
        match self.mood {
            Mood::Takes => answer(200, "ok".to_owned()),
            Mood::Talks => answer(200, "<html>".repeat(34_000)),
            Mood::Fails => answer(500, "Internal Server Error".to_owned()),
            Mood::Redirects => answer(302, String::new()),
            Mood::Away => Err(WebError::Unreachable("made up: no route to it".to_owned())),
            Mood::Hangs => {
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                Err(WebError::Unanswered(
                    "made up: no answer in time".to_owned(),
                ))
            }
            Mood::Missing => Err(WebError::NoTarget("made up: no such target".to_owned())),
        }
    }
}
