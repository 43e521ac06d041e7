//! Whether an event handler keeps its contract: it is told of everyday and odd events, with targets that take what they
//! are sent and targets that do not, and the records of a made-up cluster.

pub(super) mod chaos;
mod judge;
mod questions;
mod records;
mod web;

use super::log::{self, Written};
use super::shared::relaxed;
use super::{Fuel, Report};
use crate::error::{CallError, ExtensionError};
use crate::events::EventHandler;
use crate::fresh::Called;
use crate::loaded::Loaded;
use crate::outside::{Reach, Request};
use holdfast_model::event::EventKind;
use holdfast_model::extension::{Manifest, Rights};
use questions::{Asked, MANY_NAME, all, one};
use records::MadeUp;
use std::sync::Arc;
use std::time::Duration;
use web::{Mock, Mood};

/// With a target that hangs: long enough that a busy machine is not the handler's fault, and no longer.
const HANGING_MS: u64 = 2_000;
/// After so many calls without an answer there is no sense in asking on.
const FAILURES_MAX: usize = 4;
/// The cost is that of the call in the middle of so many: now and then a machine is busy with something else.
const TIMES: usize = 7;

/// What it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Granted {
    /// What its manifest asks for.
    All,
    /// Its log.
    Nothing,
}

/// What it was told, and what became of it.
struct Tried<'a> {
    asked: &'a Asked,
    mood: Mood,
    granted: Granted,
    called: Called<()>,
    sent: Vec<Request>,
    written: Written,
}

impl Tried<'_> {
    /// Which call it was, in words.
    fn which(&self) -> String {
        let target = match self.granted {
            Granted::All => self.mood.words(),
            Granted::Nothing => "nothing granted",
        };
        format!("{}, {target}", self.asked.name)
    }
}

/// What 50 events cost.
struct Costs {
    cpu: Duration,
    memory_bytes: usize,
}

struct Suite<'a> {
    loaded: &'a Loaded,
    manifest: &'a Manifest,
}

/// Puts a handler through all checks.
///
/// # Errors
/// If it does not fit its contract.
pub(super) fn run(
    loaded: &Loaded,
    metered: Option<&Loaded>,
    manifest: &Manifest,
) -> Result<Report, ExtensionError> {
    let suite = Suite { loaded, manifest };
    let all = all(suite.heeded()?);
    let mut tried = Vec::new();
    for (mood, granted) in moods(&manifest.rights) {
        for asked in &all {
            if mood == Mood::Hangs && asked.name != MANY_NAME {
                continue;
            }
            tried.push(suite.tell(asked, mood, granted)?);
            if tried.iter().filter(|each| without_answer(each)).count() >= FAILURES_MAX {
                return Ok(report(&tried, None, manifest, 0));
            }
        }
    }
    let (costs, more) = suite.measure(&all)?;
    let counted = metered.map(|loaded| Suite { loaded, manifest }.fuel(&all));
    Ok(Report {
        fuel: counted.transpose()?.flatten(),
        ..report(&tried, costs, manifest, more)
    })
}

/// One that sends nothing has no targets to be tried with.
fn moods(rights: &Rights) -> Vec<(Mood, Granted)> {
    let mut moods = vec![(Mood::Takes, Granted::All), (Mood::Takes, Granted::Nothing)];
    if !rights.http.is_empty() {
        let others = Mood::ALL.into_iter().filter(|mood| *mood != Mood::Takes);
        moods.extend(others.map(|mood| (mood, Granted::All)));
    }
    moods
}

fn without_answer(tried: &Tried<'_>) -> bool {
    !matches!(tried.called.answer, Ok(()) | Err(CallError::Refused(_)))
}

impl Suite<'_> {
    /// The first kind of events for which it sends something; hosts that are fenced, if it sends nothing for any alone.
    fn heeded(&self) -> Result<&'static str, ExtensionError> {
        let usual = EventKind::HostFenced;
        for kind in [usual].iter().chain(&EventKind::ALL) {
            let asked = one(kind.word());
            let tried = self.tell(&asked, Mood::Takes, Granted::All)?;
            if without_answer(&tried) {
                break;
            }
            if !tried.sent.is_empty() {
                return Ok(kind.word());
            }
        }
        Ok(usual.word())
    }

    /// By a handler of its own each time: none rests because of what was before.
    fn tell<'q>(
        &self,
        asked: &'q Asked,
        mood: Mood,
        granted: Granted,
    ) -> Result<Tried<'q>, ExtensionError> {
        let mut limits = relaxed(self.manifest.limits());
        if mood == Mood::Hangs {
            limits.wall_ms = HANGING_MS;
        }
        let web = Arc::new(Mock::new(mood));
        let rights = match granted {
            Granted::All => self.manifest.rights.clone(),
            Granted::Nothing => Rights {
                log: self.manifest.rights.log,
                ..Rights::default()
            },
        };
        let reach = Reach {
            rights,
            web: Some(web.clone()),
            records: Some(Arc::new(MadeUp)),
            ..Reach::default()
        };
        let handler = EventHandler::new(self.loaded, limits)?;
        let called = handler.handle(&asked.events, reach);
        Ok(Tried {
            written: Written::all(handler.journal()),
            asked,
            mood,
            granted,
            called,
            sent: web.sent(),
        })
    }

    /// What it executes for 50 events that its target takes, if it is one that is counted.
    fn fuel(&self, all: &[Asked]) -> Result<Option<Fuel>, ExtensionError> {
        let Some(many) = all.iter().find(|asked| asked.name == MANY_NAME) else {
            return Ok(None);
        };
        let tried = self.tell(many, Mood::Takes, Granted::All)?;
        Ok(Fuel::of_call(MANY_NAME, &tried.called))
    }

    /// None if it does not take everyday events; and the number of calls.
    fn measure(&self, all: &[Asked]) -> Result<(Option<Costs>, usize), ExtensionError> {
        let Some(many) = all.iter().find(|asked| asked.name == MANY_NAME) else {
            return Ok((None, 0));
        };
        let mut cpu = Vec::new();
        let mut memory_bytes = 0;
        for _ in 0..TIMES {
            let called = self.tell(many, Mood::Takes, Granted::All)?.called;
            if called.answer.is_ok() {
                cpu.push(called.cost.cpu);
                memory_bytes = memory_bytes.max(called.cost.memory_bytes);
            }
        }
        cpu.sort_unstable();
        let middle = cpu.get(cpu.len() / 2).copied();
        let costs = middle.map(|cpu| Costs { cpu, memory_bytes });
        Ok((costs, TIMES))
    }
}

fn report(tried: &[Tried<'_>], costs: Option<Costs>, manifest: &Manifest, more: usize) -> Report {
    let limits = manifest.limits();
    let headroom = costs.map_or_else(Vec::new, |costs| judge::headroom(&costs, limits));
    let names: Vec<String> = tried.iter().map(Tried::which).collect();
    let written = names.iter().zip(tried);
    Report {
        checks: judge::judge(tried, &headroom, limits),
        headroom,
        fuel: None,
        questions: tried.len() + more,
        notes: Vec::new(),
        log: log::all(written.map(|(name, each)| (name.as_str(), &each.written))),
    }
}
