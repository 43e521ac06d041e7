//! A made-up board, over Redfish and as a fence agent: it obeys, or does not in one of the ways in which boards do not.

use crate::outside::{
    Action, Ended, Method, ProgramError, Programs, Request, Response, Web, WebError,
};
use holdfast_model::id::TargetName;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
}

impl Mood {
    pub(super) const ALL: [Self; 11] = [
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
}

pub(super) struct Board {
    inner: Mutex<Inner>,
}

struct Inner {
    mood: Mood,
    on: bool,
    heard: Heard,
}

/// What comes back, in whatever language.
enum Back {
    On,
    Off,
    Between,
    Done,
    Refused,
    Failed,
    Nonsense,
    Unanswered,
    Away,
    Missing,
}

impl Board {
    pub(super) fn new(mood: Mood) -> Self {
        let inner = Inner {
            mood,
            on: mood != Mood::IsOff,
            heard: Heard::default(),
        };
        Self {
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

    fn status(&self) -> Back {
        let mut inner = self.inner();
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
        let mut inner = self.inner();
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
            Mood::Pretends | Mood::Between => Back::Done,
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
}

const SYSTEMS: &str = "/redfish/v1/Systems";
const LOST: &str = "made up: no answer in time";
const NO_WAY: &str = "made up: no way to it";
const NOTHING: &str = "made up: there is none";

impl Web for Board {
    fn send(&self, request: &Request, _: Instant) -> Result<Response, WebError> {
        let system = request.path.strip_prefix(SYSTEMS);
        let inner = system.map(|rest| rest.trim_start_matches('/'));
        let action = inner.and_then(|rest| rest.split_once('/'));
        let back = match (request.method, inner, action) {
            (Method::Get, Some(""), _) => match self.mood() {
                Mood::Missing => Back::Missing,
                Mood::Away => Back::Away,
                Mood::Hangs => Back::Unanswered,
                _ => {
                    let json = format!("{{\"Members\": [{{\"@odata.id\": \"{SYSTEMS}/1\"}}]}}");
                    return answer(200, json);
                }
            },
            (Method::Get, Some(_), None) => self.status(),
            (Method::Post, _, Some((_, "Actions/ComputerSystem.Reset"))) => {
                let body = request.body.as_deref().unwrap_or_default();
                match body {
                    body if body.contains("\"ForceOff\"") => self.order(false),
                    body if body.contains("\"On\"") => self.order(true),
                    _ => {
                        self.inner().heard.ordered_else = true;
                        return answer(400, "{}".to_owned());
                    }
                }
            }
            (Method::Get, ..) => return answer(404, "{}".to_owned()),
            _ => {
                self.inner().heard.ordered_else = true;
                return answer(404, "{}".to_owned());
            }
        };
        // What it is built into and what is built into it stand otherwise.
        let state = |word: &str| {
            let other = if word == "Off" { "On" } else { "Off" };
            let part = format!("{{\"Id\": \"1\", \"PowerState\": \"{other}\"}}");
            answer(
                200,
                format!(
                    "{{\"Links\": {{\"Chassis\": [{part}]}}, \"PowerState\": \"{word}\", \"Oem\": {part}}}"
                ),
            )
        };
        match back {
            Back::On => state("On"),
            Back::Off => state("Off"),
            Back::Between => state("PoweringOff"),
            Back::Done => answer(204, String::new()),
            Back::Refused => answer(409, "{}".to_owned()),
            Back::Failed => answer(500, "{}".to_owned()),
            Back::Nonsense => answer(200, "<html>Off</html>".to_owned()),
            Back::Unanswered => Err(WebError::Unanswered(LOST.to_owned())),
            Back::Away => Err(WebError::Unreachable(NO_WAY.to_owned())),
            Back::Missing => Err(WebError::NoTarget(NOTHING.to_owned())),
        }
    }
}

fn answer(status: u16, body: String) -> Result<Response, WebError> {
    Ok(Response { status, body })
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
            Back::Nonsense => 77,
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
