//! Fencing: made-up boards that obey, refuse, hang, lie or are not there, and what may not be said of them.
//!
//! The boards speak Redfish and are a fence agent, or speak as `test.toml` has it. Whoever speaks something else meets
//! their faults all the same, and a board that says yes to everything; what else there is to see needs a board that
//! understands it, and is told as not looked at.

mod board;
pub(super) mod chaos;
mod judge;
mod own;
mod redfish;
mod speech;

use super::log::{Reader, Written};
use super::shared::{Ended, dearest, limits as limits_kept, relaxed, written};
use super::{Fuel, Report, TestSetup};
use crate::budget::Cost;
use crate::error::{CallError, ExtensionError};
use crate::fencing::{Device, Fencing, Ordered, Power};
use crate::loaded::Loaded;
use crate::outside::Reach;
use board::{Board, Heard, Mood};
use holdfast_model::extension::{Limits, Manifest};
use judge::judge;
use speech::Speech;
use std::sync::Arc;

/// Each board is asked the same twice: an answer that differs shows.
const TIMES: usize = 2;
/// So often it may give no answer before nothing more is asked: each time may take seconds.
const SILENT_MAX: usize = 4;

/// What it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Status,
    Off,
    StatusAfter,
    OffAgain,
    On,
}

impl Asked {
    /// In this order, of one board.
    const ALL: [Self; 5] = [
        Self::Status,
        Self::Off,
        Self::StatusAfter,
        Self::OffAgain,
        Self::On,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Off => "off",
            Self::StatusAfter => "status afterwards",
            Self::OffAgain => "off again",
            Self::On => "on",
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Ordered(Ordered),
    Power(Power),
}

/// What it was asked, of which board, and what became of it.
struct Tried {
    mood: Mood,
    asked: Asked,
    /// For people.
    name: String,
    said: Result<Said, CallError>,
    cost: Cost,
    heard: Heard,
    /// Whether the host was on before.
    was_on: bool,
    written: Written,
}

/// What it is asked about.
struct Site {
    device: Device,
    speech: Arc<Speech>,
}

impl Site {
    fn new(setup: &TestSetup) -> Self {
        let fencing = setup.fencing.as_ref();
        let device = speech::device(fencing);
        Self {
            speech: Arc::new(Speech::new(fencing, &device)),
            device,
        }
    }
}

/// See [`super::run`].
pub(super) fn run(
    loaded: &Loaded,
    metered: Option<&Loaded>,
    manifest: &Manifest,
    setup: &TestSetup,
) -> Result<Report, ExtensionError> {
    let limits = relaxed(manifest.limits());
    let fencing = Fencing::new(loaded, limits)?;
    let site = Site::new(setup);
    let mut reader = Reader::new(fencing.journal());
    let mut tried: Vec<Tried> = Vec::new();
    'moods: for mood in Mood::ALL {
        for _ in 0..TIMES {
            tried.extend(of_board(&fencing, &site, manifest, mood, &mut reader));
            if tried.iter().filter(|each| each.said.is_err()).count() >= SILENT_MAX {
                break 'moods;
            }
        }
    }
    let counted = metered.map(|metered| fuel(metered, &site, manifest));
    Ok(Report {
        fuel: counted.transpose()?.flatten(),
        ..report(&tried, &site.speech, manifest, manifest.limits())
    })
}

/// What it executes to switch a board off that obeys.
fn fuel(
    metered: &Loaded,
    site: &Site,
    manifest: &Manifest,
) -> Result<Option<Fuel>, ExtensionError> {
    let fencing = Fencing::new(metered, relaxed(manifest.limits()))?;
    let mut reader = Reader::new(fencing.journal());
    let tried = of_board(&fencing, site, manifest, Mood::Obeys, &mut reader);
    let off = tried.iter().find(|each| each.asked == Asked::Off);
    let call = off.and_then(|each| each.cost.fuel.filter(|_| each.said.is_ok()));
    Ok(call.map(|call| Fuel::Call {
        of: "off, of a board that obeys",
        call,
    }))
}

fn of_board(
    fencing: &Fencing,
    site: &Site,
    manifest: &Manifest,
    mood: Mood,
    reader: &mut Reader<'_>,
) -> Vec<Tried> {
    let board = Arc::new(Board::new(&site.speech, mood));
    let reach = || Reach {
        rights: manifest.rights.clone(),
        web: Some(board.clone()),
        programs: Some(board.clone()),
        ..Reach::default()
    };
    let all = Asked::ALL.into_iter();
    all.map(|asked| {
        let tried = ask(fencing, &site.device, asked, reach(), &board);
        Tried {
            written: reader.next(),
            ..tried
        }
    })
    .collect()
}

/// Asks once. The board is behind what it can reach, and tells what it heard.
fn ask(fencing: &Fencing, device: &Device, asked: Asked, reach: Reach, board: &Board) -> Tried {
    let (mood, was_on) = (board.mood(), board.is_on());
    let (said, cost) = match asked {
        Asked::Status | Asked::StatusAfter => {
            let called = fencing.status(device, reach);
            (called.answer.map(Said::Power), called.cost)
        }
        Asked::Off | Asked::OffAgain => {
            let called = fencing.off(device, reach);
            (called.answer.map(Said::Ordered), called.cost)
        }
        Asked::On => {
            let called = fencing.on(device, reach);
            (called.answer.map(Said::Ordered), called.cost)
        }
    };
    Tried {
        mood,
        asked,
        name: format!("{}, {}", asked.words(), mood.words()),
        said,
        cost,
        heard: board.take(),
        was_on,
        written: Written::default(),
    }
}

fn report(tried: &[Tried], speech: &Speech, manifest: &Manifest, limits: Limits) -> Report {
    let ended: Vec<Ended<'_>> = tried
        .iter()
        .map(|each| Ended {
            question: &each.name,
            by: "a fresh instance",
            said: each.said.as_ref().map(|said| format!("{said:?}")),
            written: &each.written,
        })
        .collect();
    let good = tried.iter().filter(|each| each.said.is_ok());
    let headroom = dearest(good.map(|each| (each.name.as_str(), each.cost)), limits);
    let mut checks = judge(tried, &ended, speech, manifest);
    checks.extend(limits_kept(&ended, &headroom, limits));
    Report {
        checks,
        headroom,
        fuel: None,
        questions: tried.len(),
        notes: Vec::new(),
        log: written(&ended),
    }
}
