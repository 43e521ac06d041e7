//! A made-up board, over HTTP and as a fence agent: it obeys, or does not in one of the ways in which boards do not.
//! A fault is one of the board, so it hits every request, in whatever language; what is not understood does nothing
//! else.

use super::speech::{Back, Meant, Speech};
use crate::outside::{
    Action, Ended, Method, ProgramError, Programs, Request, Response, Web, WebError,
};
use holdfast_model::id::TargetName;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What the board does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// It does what it is told.
    Obeys,
    /// It is off already.
    IsOff,
    /// It says that it did, and did nothing.
    Pretends,
    /// It did, and its answer is lost.
    Loses,
    /// It is on the way from on to off.
    Between,
    /// Its own "no".
    Refuses,
    /// Something is wrong with it.
    Fails,
    /// Its answers are none.
    Babbles,
    /// Nothing comes back.
    Hangs,
    /// It cannot be reached.
    Away,
    /// The operator has bound nothing to it.
    Missing,
    /// It says yes to whatever it does not understand, as a proxy before it does; else it only says so.
    Nods,
}

impl Mood {
    pub(super) const ALL: [Self; 12] = [
        Self::Obeys,
        Self::IsOff,
        Self::Pretends,
        Self::Loses,
        Self::Between,
        Self::Refuses,
        Self::Fails,
        Self::Babbles,
        Self::Hangs,
        Self::Away,
        Self::Missing,
        Self::Nods,
    ];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Obeys => "a board that obeys",
            Self::IsOff => "a host that is off",
            Self::Pretends => "a board that only says so",
            Self::Loses => "a board whose answers to orders are lost",
            Self::Between => "a host between on and off",
            Self::Refuses => "a board that refuses",
            Self::Fails => "a board with an error of its own",
            Self::Babbles => "a board that answers nonsense",
            Self::Hangs => "a board that hangs",
            Self::Away => "a board that cannot be reached",
            Self::Missing => "no board",
            Self::Nods => "a board that says yes to everything",
        }
    }
}

/// What happened to the board in one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// It was told to switch off.
    pub ordered_off: bool,
    /// It was told to switch on.
    pub ordered_on: bool,
    /// It was told something that it does not know.
    pub ordered_else: bool,
    /// It said yes to an order.
    pub acknowledged: bool,
    /// An order has no answer: it may have been carried out.
    pub unanswered: bool,
    /// It said that the host is off.
    pub said_off: bool,
    /// And on.
    pub said_on: bool,
    /// It understood what it was asked or told.
    pub understood: bool,
    /// Requests and programs that got as far as to it.
    pub sent: usize,
    /// A request that it did not understand; one that may be an order rather than another.
    pub strange: Option<String>,
}

pub(super) struct Board {
    speech: Arc<Speech>,
    inner: Mutex<Inner>,
}

struct Inner {
    mood: Mood,
    on: bool,
    heard: Heard,
}

impl Board {
    pub(super) fn new(speech: &Arc<Speech>, mood: Mood) -> Self {
        let inner = Inner {
            mood,
            on: mood != Mood::IsOff,
            heard: Heard::default(),
        };
        Self {
            speech: Arc::clone(speech),
            inner: Mutex::new(inner),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is complete before anything in it could panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it heard since this was asked last.
    pub(super) fn take(&self) -> Heard {
        std::mem::take(&mut self.inner().heard)
    }

    /// Whether the host is on.
    pub(super) fn is_on(&self) -> bool {
        self.inner().on
    }

    /// What it does at present.
    pub(super) fn mood(&self) -> Mood {
        self.inner().mood
    }

    /// From now on it does something else.
    pub(super) fn turns(&self, mood: Mood) {
        self.inner().mood = mood;
    }

    /// Whether such a request is an order, or may be one.
    pub(super) fn may_order(&self, request: &Request) -> bool {
        match self.speech.meant(request) {
            Meant::Order { .. } => true,
            Meant::Status | Meant::Known(_) => false,
            Meant::Unknown => request.method != Method::Get,
        }
    }

    /// The answer to an order by which it was not taken, with this number; if that is what a yes has, with another one.
    pub(super) fn no(&self, status: u16) -> u16 {
        match self.speech.is_yes(status) {
            true => 500,
            false => status,
        }
    }

    fn hear(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner();
        inner.heard.sent += 1;
        inner.heard.understood = true;
        inner
    }

    fn status(&self) -> Back {
        let mut inner = self.hear();
        match (inner.mood, inner.on) {
            (Mood::Missing, _) => Back::Missing,
            (Mood::Away, _) => Back::Away,
            (Mood::Hangs, _) => Back::Unanswered,
            (Mood::Fails, _) => Back::Failed,
            (Mood::Babbles, _) => Back::Nonsense,
            (Mood::Between, _) => Back::Between,
            (_, true) => {
                inner.heard.said_on = true;
                Back::On
            }
            (_, false) => {
                inner.heard.said_off = true;
                Back::Off
            }
        }
    }

    /// `wanted`: on or off.
    fn order(&self, wanted: bool) -> Back {
        let mut inner = self.hear();
        let mood = inner.mood;
        let back = match mood {
            Mood::Missing => return Back::Missing,
            Mood::Away => return Back::Away,
            Mood::Obeys | Mood::IsOff => {
                inner.on = wanted;
                Back::Done
            }
            Mood::Loses => {
                inner.on = wanted;
                Back::Unanswered
            }
            Mood::Pretends | Mood::Between | Mood::Nods => Back::Done,
            Mood::Hangs => Back::Unanswered,
            Mood::Refuses => Back::Refused,
            Mood::Fails | Mood::Babbles => Back::Failed,
        };
        let heard = &mut inner.heard;
        heard.ordered_off |= !wanted;
        heard.ordered_on |= wanted;
        heard.acknowledged |= matches!(back, Back::Done);
        heard.unanswered |= matches!(back, Back::Unanswered);
        back
    }

    /// What has to be asked before: it has no power to switch.
    fn known(&self) -> Back {
        let mut inner = self.inner();
        inner.heard.sent += 1;
        match inner.mood {
            Mood::Missing => Back::Missing,
            Mood::Away => Back::Away,
            Mood::Hangs => Back::Unanswered,
            _ => Back::Done,
        }
    }

    /// It may be an order, or may not. What goes wrong with it goes wrong all the same.
    fn unknown(&self, request: &Request) -> Back {
        let mut inner = self.inner();
        let mood = inner.mood;
        let heard = &mut inner.heard;
        heard.sent += 1;
        let may_order = request.method != Method::Get;
        if may_order || heard.strange.is_none() {
            heard.strange = Some(format!("{} {}", request.method.word(), request.path));
        }
        let back = match mood {
            Mood::Missing => return Back::Missing,
            Mood::Away => return Back::Away,
            Mood::Hangs => Back::Unanswered,
            Mood::Loses if may_order => Back::Unanswered,
            Mood::Refuses if may_order => Back::Refused,
            Mood::Babbles if !may_order => Back::Nonsense,
            Mood::Fails | Mood::Babbles => Back::Failed,
            Mood::Nods => Back::Agreed,
            Mood::Obeys
            | Mood::IsOff
            | Mood::Pretends
            | Mood::Loses
            | Mood::Between
            | Mood::Refuses => Back::Strange,
        };
        heard.ordered_else |= may_order;
        heard.acknowledged |= may_order && matches!(back, Back::Agreed);
        heard.unanswered |= may_order && matches!(back, Back::Unanswered);
        back
    }
}

const LOST: &str = "made up: no answer in time";
const NO_WAY: &str = "made up: no way to it";
const NOTHING: &str = "made up: there is none";

impl Web for Board {
    fn send(&self, request: &Request, _: Instant) -> Result<Response, WebError> {
        let meant = self.speech.meant(request);
        let back = match meant {
            Meant::Status => self.status(),
            Meant::Order { on } => self.order(on),
            Meant::Known(_) => self.known(),
            Meant::Unknown => self.unknown(request),
        };
        match back {
            Back::Unanswered => Err(WebError::Unanswered(LOST.to_owned())),
            Back::Away => Err(WebError::Unreachable(NO_WAY.to_owned())),
            Back::Missing => Err(WebError::NoTarget(NOTHING.to_owned())),
            _ => Ok(self.speech.words(meant, back)),
        }
    }
}

impl Programs for Board {
    fn run(
        &self,
        _: &TargetName,
        action: Action,
        _: &[(String, String)],
        _: Instant,
    ) -> Result<Ended, ProgramError> {
        let back = match action {
            Action::Status => self.status(),
            Action::Off => self.order(false),
            Action::On => self.order(true),
        };
        let code = match back {
            Back::On | Back::Done => 0,
            Back::Off => 2,
            Back::Between | Back::Refused | Back::Failed => 1,
            Back::Nonsense | Back::Agreed | Back::Strange => 77,
            Back::Unanswered => return Err(ProgramError::Unanswered(LOST.to_owned())),
            Back::Away => return Err(ProgramError::NotStarted(NO_WAY.to_owned())),
            Back::Missing => return Err(ProgramError::NoProgram(NOTHING.to_owned())),
        };
        Ok(Ended {
            exit_code: Some(code),
            said: format!("made up: {code}\n"),
        })
    }
}
