//! How a host can misbehave at an event handler. It has to end within its limits, and may not say that it told what
//! nobody can have heard.

use super::super::acting::{Ends, GIANT_BYTES, SENT_NOTHING, hurried, wait, wait_almost, without};
use super::super::chaos::{Drill, Planned, Went, all};
use super::super::log::{Journals, Writes};
use super::super::shared::relaxed;
use super::questions::{every_kind, unknown};
use super::records::MadeUp;
use crate::error::ExtensionError;
use crate::events::{EventHandler, Told};
use crate::loaded::Loaded;
use crate::outside::{Reach, Request, Response, Web, WebError};
use holdfast_model::extension::{Limits, Manifest, Rights};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Requests that are answered before the target goes away, at the most.
const GOOD_MAX: usize = 3;
/// Far more events than a batch has.
const FLOOD: usize = 2_500;
/// Of the text of each of them, in characters.
const FLOOD_TEXT: usize = 1_000;

const DRILLS: [Planned<Stage, Went>; 11] = [
    ("refuses", "reaches no target", refuses),
    (
        "hangs",
        "has no answer before the time of the call is over",
        hangs,
    ),
    ("late", "has every answer just before that", late),
    ("garbage", "hands over what is no answer", garbage),
    ("giant", "hands 256 KiB over with each answer", giant),
    ("lost", "sends, and loses the answers", lost),
    (
        "dies",
        "sends one request, two, three, and then none any more",
        dies,
    ),
    ("rights", "has taken its rights away", rights),
    (
        "again",
        "tells the same batch twice, and each event in it twice",
        again,
    ),
    ("newer", "tells of what a later version has", newer),
    (
        "flood",
        "tells 2,500 events at once, and then gives 1 ms of CPU time",
        flood,
    ),
];

/// What a drill works with.
struct Stage {
    loaded: Loaded,
    limits: Limits,
    rights: Rights,
    /// What every handler of everything hears: one of each kind, so that whatever it heeds is there.
    batch: Vec<Told>,
    /// It sends something for that, if its target takes it.
    sends: bool,
    journals: Journals,
}

impl Writes for Stage {
    fn journals(&self) -> &Journals {
        &self.journals
    }
}

/// See [`super::super::chaos::run`].
pub(crate) fn run(loaded: &Loaded, manifest: &Manifest) -> Result<Vec<Drill>, ExtensionError> {
    let mut stage = Stage {
        loaded: loaded.clone(),
        // What it costs is for the other tests to find out.
        limits: relaxed(manifest.limits()),
        rights: manifest.rights.clone(),
        batch: every_kind().collect(),
        sends: false,
        journals: Journals::default(),
    };
    let hook = Hook::new(How::Takes);
    let handler = EventHandler::new(loaded, stage.limits)?;
    drop(handler.handle(&stage.batch, stage.reach(&stage.rights, &hook)));
    stage.sends = !hook.sent().is_empty();
    Ok(all(stage, &DRILLS))
}

/// What the host does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// It sends them, and they are taken.
    Takes,
    /// There is no way to the target.
    Away,
    /// They are sent, and no answer comes; nor does this for as long as there is time.
    Waits,
    /// They are taken, almost too late.
    Late,
    /// They are sent, and it is known at once that no answer will come.
    Loses,
    /// This is the answer.
    Garbage { status: u16 },
    /// They are taken, with many words.
    Giant,
    /// So many are taken; then there is no way to the target.
    Dies { good: usize },
}

/// A target behind a host that misbehaves. Keeps of each request whether it was taken.
struct Hook {
    how: How,
    taken: Mutex<Vec<bool>>,
}

/// Whether an answer says so.
fn is_taken(answer: &Result<Response, WebError>) -> bool {
    let status = answer.as_ref().map(|response| response.status);
    status.is_ok_and(|status| (200..300).contains(&status))
}

impl Hook {
    fn new(how: How) -> Arc<Self> {
        Arc::new(Self {
            how,
            taken: Mutex::default(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Vec<bool>> {
        // Each change is complete before anything in it could panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since this was asked last.
    fn sent(&self) -> Vec<bool> {
        std::mem::take(&mut *self.taken())
    }

    fn answer(&self, until: Instant) -> Result<Response, WebError> {
        let answer = |status, body: String| Ok(Response { status, body });
        let taken = || answer(200, "ok".to_owned());
        let away = || Err(WebError::Unreachable("made up: no way to it".to_owned()));
        let lost = || Err(WebError::Unanswered("made up: no answer".to_owned()));
        let before = self.taken().len();
        match self.how {
            How::Takes => taken(),
            How::Away => away(),
            How::Waits => {
                wait(until);
                lost()
            }
            How::Late => {
                wait_almost(until);
                taken()
            }
            How::Loses => lost(),
            How::Garbage { status } => answer(status, "\0<html>{\"ok\": [[[\u{fffd}".to_owned()),
            How::Giant => answer(200, "x".repeat(GIANT_BYTES)),
            How::Dies { good } if before < good => taken(),
            How::Dies { .. } => away(),
        }
    }
}

impl Web for Hook {
    fn send(&self, _: &Request, until: Instant) -> Result<Response, WebError> {
        let answer = self.answer(until);
        self.taken().push(is_taken(&answer));
        answer
    }
}

impl Stage {
    fn reach(&self, rights: &Rights, hook: &Arc<Hook>) -> Reach {
        Reach {
            rights: rights.clone(),
            web: Some(hook.clone()),
            records: Some(Arc::new(MadeUp)),
            ..Reach::default()
        }
    }

    /// Tells it once; how that ended, or what it may not have said.
    fn tells(
        &self,
        limits: Limits,
        rights: &Rights,
        events: &[Told],
        how: How,
        ends: Ends,
    ) -> Result<Ended, String> {
        let hook = Hook::new(how);
        // One of its own each time: none rests because of what was before.
        let handler = EventHandler::new(&self.loaded, limits).map_err(|error| error.to_string())?;
        self.journals.add(handler.journal());
        let answer = handler.handle(events, self.reach(rights, &hook)).answer;
        let taken = hook.sent();
        let lost = taken.iter().filter(|taken| !**taken).count();
        let sent = taken.len();
        let words = match answer {
            Ok(()) if lost > 0 => Err(format!(
                "it says that it told, and {lost} of its {sent} requests were not taken"
            )),
            Ok(()) if sent == 0 && self.sends && events == self.batch => {
                Err("it says that it told, and nothing was sent".to_owned())
            }
            Ok(()) => Ok(format!("it took the events with {sent} requests")),
            Err(error) => match ends.wrong(&error) {
                Some(wrong) => Err(wrong),
                None => Ok(error.to_string()),
            },
        };
        words.map(|words| Ended { words, sent })
    }

    fn within(&self, how: How) -> Result<Ended, String> {
        self.tells(self.limits, &self.rights, &self.batch, how, Ends::Within)
    }

    /// With little time by the clock.
    fn hurried(&self, how: How) -> Result<Went, String> {
        let limits = hurried(self.limits);
        let ended = self.tells(limits, &self.rights, &self.batch, how, Ends::Within)?;
        Ok(ended.of_sending())
    }
}

/// How it ended, in words, and what was sent.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    words: String,
    sent: usize,
}

impl Ended {
    /// As the end of a guest that has to send something for it.
    fn of_sending(self) -> Went {
        match self.sent {
            0 => Went::NotDrilled(SENT_NOTHING),
            _ => Went::Drilled(self.words),
        }
    }
}

/// The last of several in which something was sent, or the first that is wrong.
fn last(all: impl IntoIterator<Item = Result<Ended, String>>) -> Result<Went, String> {
    let none = Went::NotDrilled(SENT_NOTHING);
    all.into_iter()
        .try_fold(none, |before, ended| match ended?.of_sending() {
            Went::NotDrilled(_) => Ok(before),
            drilled => Ok(drilled),
        })
}

fn refuses(stage: &Stage) -> Result<Went, String> {
    Ok(stage.within(How::Away)?.of_sending())
}

fn hangs(stage: &Stage) -> Result<Went, String> {
    stage.hurried(How::Waits)
}

fn late(stage: &Stage) -> Result<Went, String> {
    stage.hurried(How::Late)
}

fn garbage(stage: &Stage) -> Result<Went, String> {
    let statuses = [0, 99, 204, 302, 500, 600, 65_535];
    last(statuses.map(|status| stage.within(How::Garbage { status })))
}

fn giant(stage: &Stage) -> Result<Went, String> {
    Ok(stage.within(How::Giant)?.of_sending())
}

fn lost(stage: &Stage) -> Result<Went, String> {
    Ok(stage.within(How::Loses)?.of_sending())
}

fn dies(stage: &Stage) -> Result<Went, String> {
    last((0..=GOOD_MAX).map(|good| stage.within(How::Dies { good })))
}

/// Without them nothing can be sent; whether it would be is known from before.
fn rights(stage: &Stage) -> Result<Went, String> {
    let none = without(&stage.rights);
    let ended = stage.tells(stage.limits, &none, &stage.batch, How::Takes, Ends::Within)?;
    Ok(match stage.sends {
        true => Went::Drilled(ended.words),
        false => Went::NotDrilled(SENT_NOTHING),
    })
}

fn again(stage: &Stage) -> Result<Went, String> {
    let twice: Vec<Told> = stage
        .batch
        .iter()
        .flat_map(|event| [event.clone(), event.clone()])
        .collect();
    let told = |events: &[Told]| {
        stage.tells(
            stage.limits,
            &stage.rights,
            events,
            How::Takes,
            Ends::Within,
        )
    };
    let (first, second, third) = (told(&stage.batch)?, told(&stage.batch)?, told(&twice)?);
    if [&first, &second, &third].iter().all(|each| each.sent == 0) {
        return Ok(Went::NotDrilled(SENT_NOTHING));
    }
    let same = match first == second {
        true => "and so the second time",
        false => "and the second time it ends otherwise",
    };
    Ok(Went::Drilled(format!(
        "{}, {same}; of each event twice: {}",
        first.words, third.words
    )))
}

fn newer(stage: &Stage) -> Result<Went, String> {
    let mut events = unknown();
    events.extend(stage.batch.clone());
    for event in &mut events {
        event.actor = "manager:m-a/2".to_owned();
        event.site = Some("a/room-1".to_owned());
        event.host = None;
    }
    let happened = stage.tells(
        stage.limits,
        &stage.rights,
        &events,
        How::Takes,
        Ends::Within,
    )?;
    match happened.words.starts_with("it trapped") {
        true => Err(format!(
            "at what it does not know {}; pass over that",
            happened.words
        )),
        false => Ok(Went::Drilled(happened.words)),
    }
}

fn flood(stage: &Stage) -> Result<Went, String> {
    let kinds = every_kind().cycle().take(FLOOD);
    let many: Vec<Told> = kinds
        .map(|event| Told {
            text: "x".repeat(FLOOD_TEXT),
            ..event
        })
        .collect();
    let told = |limits: Limits, events: &[Told]| {
        stage.tells(limits, &stage.rights, events, How::Takes, Ends::Anyhow)
    };
    let first = told(stage.limits, &many)?;
    let limits = Limits {
        cpu_ms: 1,
        ..stage.limits
    };
    let second = told(limits, &many)?;
    let next = stage.within(How::Takes)?;
    Ok(Went::Drilled(format!(
        "{}; {}; then {}",
        first.words, second.words, next.words
    )))
}
