//! How a host can misbehave at a placement extension.

use super::super::chaos::{Drill, Happened, Planned, all};
use super::super::log::{Journals, Writes};
use super::questions::{MANY, question, with_peers};
use crate::error::{CallError, ExtensionError};
use crate::loaded::Loaded;
use crate::placement::{Answered, Placement};
use holdfast_model::advice::Question;
use holdfast_model::extension::{LIMITS_MAX, Limits, Manifest};
use std::sync::Arc;
use std::time::Instant;

/// Questions in a row.
const ROW: usize = 100;
/// What a limit of memory that is just enough is set against.
const LARGER: usize = 2_000;
/// Far more than the largest cluster.
const GIANT_CANDIDATES: usize = 10_000;
/// Far more than the largest group.
const GIANT_PEERS: usize = 200;
const MIB: usize = 1 << 20;

/// What a drill works with.
struct Stage {
    loaded: Loaded,
    limits: Limits,
    log: bool,
    small: Question,
    many: Question,
    larger: Question,
    giant: Question,
    journals: Journals,
}

impl Stage {
    fn placement(&self, limits: Limits, log: bool) -> Result<Placement, ExtensionError> {
        let placement = Placement::new(&self.loaded, limits, log)?;
        self.journals.add(placement.journal());
        Ok(placement)
    }
}

impl Writes for Stage {
    fn journals(&self) -> &Journals {
        &self.journals
    }
}

const DRILLS: [Planned<Stage>; 6] = [
    (
        "restart",
        "drops the instance in the middle of 100 questions, and starts another one",
        restart,
    ),
    (
        "memory",
        "gives just the memory that 100 candidates need, and asks about 2,000",
        memory,
    ),
    ("cpu", "gives 1 ms of CPU time", cpu),
    ("giant", "asks about 10,000 candidates and 200 peers", giant),
    ("log", "drops every line of its log", log),
    (
        "hosts",
        "has another host join, and another label changed, before each of 100 questions",
        hosts,
    ),
];

/// See [`super::super::chaos::run`].
pub(crate) fn run(loaded: &Loaded, manifest: &Manifest) -> Result<Vec<Drill>, ExtensionError> {
    let named = |error: holdfast_model::id::NameError| ExtensionError::Engine(error.to_string());
    let peers = |hosts, count| {
        let question = question(hosts).and_then(|asked| with_peers(asked, count, 1));
        question.map_err(named)
    };
    let stage = Stage {
        loaded: loaded.clone(),
        limits: Limits {
            // How busy this machine is with other things is no matter here.
            wall_ms: LIMITS_MAX.wall_ms,
            ..manifest.limits()
        },
        log: manifest.rights.log,
        small: peers(2, 1)?,
        many: peers(MANY, 10)?,
        larger: peers(LARGER, 10)?,
        giant: peers(GIANT_CANDIDATES, GIANT_PEERS)?,
        journals: Journals::default(),
    };
    // What does not fit is told before anything is tried.
    stage.placement(stage.limits, stage.log)?;
    Ok(all(stage, &DRILLS))
}

/// What was answered, in words; an error if that is a defect of the host.
fn in_words(answered: &Answered) -> Happened {
    match &answered.said {
        Ok(_) => Ok(format!(
            "answered in {:.1} ms of CPU",
            answered.cost.cpu.as_secs_f64() * 1_000.0
        )),
        Err(error @ CallError::Host(_)) => Err(error.to_string()),
        Err(error) => Ok(format!("ended: {error}")),
    }
}

fn prepared(placement: Result<Placement, ExtensionError>) -> Result<Placement, String> {
    placement.map_err(|error| error.to_string())
}

/// Whether it can go on after all that: a guest that answers the small question by itself has to answer it now.
fn and_goes_on(stage: &Stage, placement: &Placement) -> Happened {
    let alone = prepared(stage.placement(stage.limits, stage.log))?;
    let wanted = alone.ask(&stage.small).said;
    if wanted.is_err() {
        return Ok("it answers no everyday question either".to_owned());
    }
    match placement.ask(&stage.small).said {
        said if said == wanted => Ok("the next question is answered".to_owned()),
        Ok(_) => {
            Ok("the next question gets another answer than it should: it remembers".to_owned())
        }
        Err(error) => Err(format!("the next question is not answered: {error}")),
    }
}

fn restart(stage: &Stage) -> Happened {
    let placement = prepared(stage.placement(stage.limits, stage.log))?;
    let mut answers = Vec::new();
    for n in 0..ROW {
        if n == ROW / 2 {
            placement.restart();
        }
        let answered = placement.ask(&stage.many);
        match in_words(&answered)? {
            _ if answered.said.is_ok() => answers.push(answered.said.ok()),
            why => return Ok(format!("question {}: {why}", n + 1)),
        }
    }
    answers.dedup();
    let same = match answers.len() {
        1 => "and all the same",
        _ => "and not the same each time: it remembers",
    };
    Ok(format!("all {ROW} answered, {same}"))
}

fn memory(stage: &Stage) -> Happened {
    let free = prepared(stage.placement(stage.limits, stage.log))?;
    let need = free.ask(&stage.many);
    if need.said.is_err() {
        return in_words(&need);
    }
    let memory_mib = need.cost.memory_bytes.div_ceil(MIB).max(1) as u64;
    let limits = Limits {
        memory_mib,
        ..stage.limits
    };
    let tight = prepared(stage.placement(limits, stage.log))?;
    let first = in_words(&tight.ask(&stage.many))?;
    let second = in_words(&tight.ask(&stage.larger))?;
    let third = and_goes_on(stage, &tight)?;
    Ok(format!(
        "within {memory_mib} MiB 100 candidates are {first}; 2,000 are {second}; {third}"
    ))
}

fn cpu(stage: &Stage) -> Happened {
    let limits = Limits {
        cpu_ms: 1,
        ..stage.limits
    };
    let hasty = prepared(stage.placement(limits, stage.log))?;
    let (mut good, mut ended, mut resting) = (0, None, 0);
    for _ in 0..10 {
        let answered = hasty.ask(&stage.many);
        let words = in_words(&answered)?;
        match answered.said {
            Ok(_) => good += 1,
            Err(CallError::Resting { .. }) => resting += 1,
            Err(_) => ended = Some(words),
        }
    }
    let mut words = format!("{good} of 10 answered before anybody looked");
    if let Some(ended) = ended {
        words += &format!("; {ended}");
    }
    if resting > 0 {
        words += &format!("; then it rested for {resting} of them");
    }
    Ok(words)
}

fn giant(stage: &Stage) -> Happened {
    let placement = prepared(stage.placement(stage.limits, stage.log))?;
    let begin = Instant::now();
    let first = in_words(&placement.ask(&stage.giant))?;
    let took = begin.elapsed().as_secs_f64();
    let second = and_goes_on(stage, &placement)?;
    Ok(format!("{first}, {took:.2} s by the clock; {second}"))
}

/// A guest that is told of hosts is told anew each time.
fn hosts(stage: &Stage) -> Happened {
    let placement = prepared(stage.placement(stage.limits, stage.log))?;
    let mut told = 0;
    for n in 0..ROW {
        let mut asked = stage.larger.clone();
        asked.candidates.truncate(MANY + n);
        if let Some(host) = asked.candidates.get_mut(n) {
            host.labels = Arc::new([("rack".to_owned(), format!("new-{n}"))].into());
        }
        let answered = placement.ask(&asked);
        told += u32::from(!answered.cost.told_cpu.is_zero());
        let words = in_words(&answered)?;
        if answered.said.is_err() {
            return Ok(format!("question {}: {words}", n + 1));
        }
    }
    let second = and_goes_on(stage, &placement)?;
    Ok(format!(
        "all {ROW} answered, told of hosts {told} times; {second}"
    ))
}

fn log(stage: &Stage) -> Happened {
    let (with, without) = (
        prepared(stage.placement(stage.limits, true))?,
        prepared(stage.placement(stage.limits, false))?,
    );
    let heard = with.ask(&stage.many);
    let unheard = without.ask(&stage.many);
    let (first, second) = (in_words(&heard)?, in_words(&unheard)?);
    let lines = with.journal().lines().0.len();
    let dropped = without.journal().lines().0.len();
    if dropped > 0 {
        return Err(format!("{dropped} lines were kept all the same"));
    }
    Ok(match heard.said == unheard.said {
        true => format!("{lines} lines dropped; {second}, the same as with a log"),
        // What a trap is told with is taken from the log.
        false => format!("{lines} lines dropped; {second}; with a log {first}"),
    })
}
