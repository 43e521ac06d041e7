//! How a host can misbehave at a fencing extension. It has to end within its limits, and may say nothing that no board
//! has said.

use super::super::TestSetup;
use super::super::acting::{
    Ends, GIANT_BYTES, SENT_NOTHING, hurried, is_hurried, wait, wait_almost, without,
};
use super::super::chaos::{Drill, Planned, Went, all};
use super::super::log::{Journals, Writes};
use super::super::shared::relaxed;
use super::board::{Board, Mood};
use super::judge::{overstated, short};
use super::{Asked, Site, ask};
use crate::error::ExtensionError;
use crate::fencing::Fencing;
use crate::loaded::Loaded;
use crate::outside::{
    Action, Ended, ProgramError, Programs, Reach, Request, Response, Web, WebError,
};
use holdfast_model::extension::{Limits, Manifest, Rights};
use holdfast_model::id::TargetName;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Requests that are answered before something goes wrong, at the most: more than it takes to switch a host.
const GOOD_MAX: usize = 4;
/// Objects in objects.
const DEEP: usize = 10_000;

const DRILLS: [Planned<Stage, Went>; 9] = [
    ("refuses", "reaches no board", refuses),
    (
        "hangs",
        "has no answer before the time of the call is over",
        hangs,
    ),
    ("late", "has every answer just before that", late),
    ("garbage", "hands over what is no answer", garbage),
    ("giant", "hands 256 KiB over with each answer", giant),
    ("lost", "carries orders out, and loses their answers", lost),
    (
        "dies",
        "answers one request, two, three, and then none any more",
        dies,
    ),
    ("rights", "has taken its rights away", rights),
    ("cpu", "gives 1 ms of CPU time", cpu),
];

/// What is asked of each board; where each takes seconds, the first two.
const ASKED: [Asked; 4] = [Asked::Status, Asked::Off, Asked::StatusAfter, Asked::On];

/// What a drill works with.
struct Stage {
    loaded: Loaded,
    limits: Limits,
    rights: Rights,
    site: Site,
    journals: Journals,
}

impl Writes for Stage {
    fn journals(&self) -> &Journals {
        &self.journals
    }
}

/// See [`super::super::chaos::run`].
pub(crate) fn run(
    loaded: &Loaded,
    manifest: &Manifest,
    setup: &TestSetup,
) -> Result<Vec<Drill>, ExtensionError> {
    let stage = Stage {
        site: Site::new(setup),
        journals: Journals::default(),
        loaded: loaded.clone(),
        // What it costs is for the other tests to find out.
        limits: relaxed(manifest.limits()),
        rights: manifest.rights.clone(),
    };
    // What does not fit is told before anything is tried.
    loaded.fits_here(stage.limits)?;
    Ok(all(stage, &DRILLS))
}

/// What the host does with requests and programs, before and after they get to the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Nothing.
    Plain,
    /// They take all the time there is.
    Waits,
    /// A little less.
    Late,
    /// So many are answered; then it is nonsense, which one of it is counted.
    Garbage { good: usize, which: usize },
    /// Answers are very long.
    Giant,
    /// So many are answered; then the board is away.
    Dies { good: usize },
}

/// A board behind a host that misbehaves.
struct Unruly {
    board: Board,
    how: How,
    asked: AtomicUsize,
}

/// Before it is put up: what the board does, and what the host does before it.
type Made = (Mood, How);

impl Unruly {
    fn new(site: &Site, (mood, how): Made) -> Arc<Self> {
        Arc::new(Self {
            board: Board::new(&site.speech, mood),
            how,
            asked: AtomicUsize::new(0),
        })
    }

    /// One more request; the nonsense that it gets, if it gets that.
    fn meets(&self, until: Instant) -> Option<usize> {
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        match self.how {
            How::Waits => wait(until),
            How::Late => wait_almost(until),
            How::Dies { good } if before == good => self.board.turns(Mood::Hangs),
            How::Garbage { good, which } if before >= good => return Some(which),
            How::Plain | How::Giant | How::Dies { .. } | How::Garbage { .. } => {}
        }
        None
    }
}

/// What boards have said that were broken, half updated, or something else.
fn nonsense() -> [String; 9] {
    [
        String::new(),
        "\0\u{fffd}\u{1b}[31mOff\r\n".to_owned(),
        "{\"PowerState\":".to_owned(),
        "{\"PowerState\": [\"Off\"]}".to_owned(),
        "{\"PowerState\": {\"Off\": \"Off\"}}".to_owned(),
        "{\"PowerState\": \"PoweringOff\", \"Members\": \"Off\"}".to_owned(),
        "{\"Members\": [{\"@odata.id\": 7}, null], \"PowerState\": 0}".to_owned(),
        "<html><body>PowerState: Off</body></html>".to_owned(),
        "{\"PowerState\": ".repeat(DEEP),
    ]
}

/// To orders: none says that they were taken.
const STATUSES: [u16; 9] = [500, 0, 99, 302, 503, 600, 65_535, 418, 101];
/// None of a fence agent's.
const CODES: [Option<i32>; 9] = [
    Some(1),
    None,
    Some(-1),
    Some(3),
    Some(77),
    Some(255),
    Some(258),
    Some(i32::MIN),
    Some(i32::MAX),
];

impl Web for Unruly {
    fn send(&self, request: &Request, until: Instant) -> Result<Response, WebError> {
        if let Some(which) = self.meets(until) {
            let status = match self.board.may_order(request) {
                false => 200,
                true => self.board.no(STATUSES[which]),
            };
            let body = nonsense()[which].clone();
            return Ok(Response { status, body });
        }
        let mut answer = self.board.send(request, until)?;
        if self.how == How::Giant {
            answer.body.push_str(&" ".repeat(GIANT_BYTES));
        }
        Ok(answer)
    }
}

impl Programs for Unruly {
    fn run(
        &self,
        program: &TargetName,
        action: Action,
        arguments: &[(String, String)],
        until: Instant,
    ) -> Result<Ended, ProgramError> {
        if let Some(which) = self.meets(until) {
            return Ok(Ended {
                exit_code: CODES[which],
                said: nonsense()[which].clone(),
            });
        }
        let mut ended = self.board.run(program, action, arguments, until)?;
        if self.how == How::Giant {
            ended.said.push_str(&"x".repeat(GIANT_BYTES));
        }
        Ok(ended)
    }
}

/// What it said of several boards.
#[derive(Default)]
struct Told {
    /// Each word, and how often.
    said: BTreeMap<&'static str, usize>,
    /// Why it gave no answer, the last time.
    ended: Option<String>,
    /// Requests and programs.
    sent: usize,
    /// Orders whose answers were lost.
    lost: usize,
}

impl Told {
    fn words(&self) -> String {
        let said: Vec<String> = self
            .said
            .iter()
            .map(|(word, count)| format!("{word} {count}"))
            .collect();
        let last = self.ended.as_ref();
        let last = last.map_or(String::new(), |ended| format!(", the last: {ended}"));
        format!("it says {}{last}", said.join(", "))
    }

    /// As one of a guest that has to send something for it.
    fn of_sending(&self) -> Went {
        match self.sent {
            0 => Went::NotDrilled(SENT_NOTHING),
            _ => Went::Drilled(self.words()),
        }
    }
}

impl Stage {
    /// Asks it about each board; what it said, or the first of it that it may not say.
    fn asks(
        &self,
        limits: Limits,
        rights: &Rights,
        boards: impl IntoIterator<Item = Made>,
        ends: Ends,
    ) -> Result<Told, String> {
        let fencing = Fencing::new(&self.loaded, limits).map_err(|error| error.to_string())?;
        self.journals.add(fencing.journal());
        let mut told = Told::default();
        let most = match is_hurried(limits) {
            true => 2,
            false => ASKED.len(),
        };
        for made in boards {
            let board = Unruly::new(&self.site, made);
            for asked in ASKED.into_iter().take(most) {
                let reach = Reach {
                    rights: rights.clone(),
                    web: Some(board.clone()),
                    programs: Some(board.clone()),
                    ..Reach::default()
                };
                let tried = ask(&fencing, &self.site.device, asked, reach, &board.board);
                let ended_so = tried.said.as_ref().err();
                let wrong = overstated(&tried);
                let wrong = wrong.or_else(|| ended_so.and_then(|error| ends.wrong(error)));
                if let Some(wrong) = wrong {
                    return Err(format!("asked for {}: {wrong}", asked.words()));
                }
                told.lost += usize::from(tried.heard.unanswered);
                match &tried.said {
                    Ok(answer) => *told.said.entry(short(answer)).or_default() += 1,
                    Err(error) => {
                        *told.said.entry("no answer").or_default() += 1;
                        told.ended = Some(error.to_string());
                    }
                }
            }
            told.sent += board.asked.load(Ordering::Relaxed);
        }
        Ok(told)
    }

    fn within(&self, boards: impl IntoIterator<Item = Made>) -> Result<Told, String> {
        self.asks(self.limits, &self.rights, boards, Ends::Within)
    }

    /// By requests that meet with such a host.
    fn sending(&self, boards: impl IntoIterator<Item = Made>) -> Result<Went, String> {
        Ok(self.within(boards)?.of_sending())
    }

    /// With little time by the clock.
    fn hurried(&self, board: Made) -> Result<Went, String> {
        let limits = hurried(self.limits);
        let told = self.asks(limits, &self.rights, [board], Ends::Within)?;
        Ok(told.of_sending())
    }
}

fn refuses(stage: &Stage) -> Result<Went, String> {
    stage.sending([(Mood::Away, How::Plain)])
}

fn hangs(stage: &Stage) -> Result<Went, String> {
    stage.hurried((Mood::Hangs, How::Waits))
}

fn late(stage: &Stage) -> Result<Went, String> {
    stage.hurried((Mood::Obeys, How::Late))
}

fn garbage(stage: &Stage) -> Result<Went, String> {
    let each = |good| (0..nonsense().len()).map(move |which| How::Garbage { good, which });
    let all = (0..GOOD_MAX).flat_map(each);
    stage.sending(all.map(|how| (Mood::Obeys, how)))
}

fn giant(stage: &Stage) -> Result<Went, String> {
    stage.sending([(Mood::Obeys, How::Giant)])
}

fn lost(stage: &Stage) -> Result<Went, String> {
    let told = stage.within([(Mood::Loses, How::Plain)])?;
    Ok(match told.lost {
        0 if told.sent > 0 => Went::NotDrilled("it sent no order"),
        _ => told.of_sending(),
    })
}

fn dies(stage: &Stage) -> Result<Went, String> {
    let all = (0..=GOOD_MAX).map(|good| How::Dies { good });
    stage.sending(all.map(|how| (Mood::Obeys, how)))
}

/// By a board that would say off.
fn rights(stage: &Stage) -> Result<Went, String> {
    let board = (Mood::IsOff, How::Plain);
    let none = without(&stage.rights);
    let told = stage.asks(stage.limits, &none, [board], Ends::Within)?;
    Ok(Went::Drilled(told.words()))
}

fn cpu(stage: &Stage) -> Result<Went, String> {
    let limits = Limits {
        cpu_ms: 1,
        ..stage.limits
    };
    let board = (Mood::IsOff, How::Plain);
    let first = stage.asks(limits, &stage.rights, [board], Ends::Anyhow)?;
    let next = stage.within([(Mood::Obeys, How::Plain)])?;
    let words = format!("{}; with all of it {}", first.words(), next.words());
    Ok(Went::Drilled(words))
}
