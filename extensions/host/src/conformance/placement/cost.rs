//! What it costs, held against its limits.

use super::super::{Check, Fuel, Headroom, Outcome};
use super::questions::{Asked, MANY, MANY_NAME, question};
use super::suite::Tried;
use crate::placement::{CALLS_MAX, Placement};
use holdfast_model::advice::Question;
use holdfast_model::extension::Limits;
use std::time::Duration;

/// A question's cost is the middle one of so many: now and then a machine is busy with something else.
const TIMES: usize = 7;
/// Questions in each of the four stretches over which memory is watched.
const STRETCH: u32 = 50;
/// Not for more CPU time than this.
const WATCH: Duration = Duration::from_secs(5);
const MIB: f64 = (1 << 20) as f64;

/// What was measured.
pub(super) struct Costs {
    /// Starting an instance.
    start: Duration,
    /// Being told of a hundred hosts, if it is told of any.
    told: Option<Duration>,
    /// A hundred candidates, of a warm instance.
    many: Duration,
    /// The question that cost most, if it is another one.
    dearest: Option<(String, Duration)>,
    /// Most of its memory, in bytes.
    memory_bytes: usize,
    /// What its memory does.
    growth: Growth,
    /// So many questions were asked for this.
    pub(super) questions: usize,
}

/// What memory does while the same question is asked again and again.
#[derive(Clone, Copy)]
enum Growth {
    /// It comes to rest.
    Rests,
    /// Each question leaves so many bytes behind.
    Leaks(f64),
    /// It takes too long to find out.
    Unknown,
}

/// Asks again for what was asked before. None if it does not answer everyday questions.
pub(super) fn measure(warm: &Placement, tried: &[Tried<'_>]) -> Option<Costs> {
    let good = || tried.iter().filter(|each| each.answered.said.is_ok());
    let many = good().find(|each| each.asked.name == MANY_NAME)?.asked;
    let own = |each: &&Tried<'_>| {
        let cost = each.answered.cost;
        cost.cpu.saturating_sub(cost.start_cpu + cost.told_cpu)
    };
    let dearest = good().max_by_key(own)?.asked;
    let starts = good().map(|each| each.answered.cost.start_cpu);
    let start = middle(starts.filter(|cpu| !cpu.is_zero()).collect())?;
    let told = good().filter(|each| each.asked.name == MANY_NAME);
    let told = told.map(|each| each.answered.cost.told_cpu);
    let told = middle(told.filter(|cpu| !cpu.is_zero()).collect());
    let mut asked = 0;
    let mut again = |each: &Asked| {
        let own = (0..TIMES).map(|_| {
            let answered = warm.ask(&each.question);
            let cost = answered.cost;
            // A guest that fails only now is not measured.
            let own = cost.cpu.saturating_sub(cost.start_cpu + cost.told_cpu);
            answered.said.is_ok().then_some(own)
        });
        asked += TIMES;
        middle(own.collect::<Option<_>>()?)
    };
    let many_cpu = again(many)?;
    let dearest = match dearest.name == many.name {
        true => None,
        false => again(dearest).map(|cpu| (dearest.name.clone(), cpu)),
    };
    let (memory_bytes, growth, watched) = watch(warm, many);
    let before = tried.iter().map(|each| each.answered.cost.memory_bytes);
    Some(Costs {
        start,
        told,
        many: many_cpu,
        dearest,
        memory_bytes: before.chain([memory_bytes]).max().unwrap_or(memory_bytes),
        growth,
        questions: asked + watched,
    })
}

/// Memory at the end, how it came to that, and the number of questions.
fn watch(warm: &Placement, asked: &Asked) -> (usize, Growth, usize) {
    let mut memory = Vec::new();
    let (mut count, mut spent) = (0, Duration::ZERO);
    while memory.len() < 4 && spent < WATCH {
        let mut at_end = 0;
        for _ in 0..STRETCH {
            let cost = warm.ask(&asked.question).cost;
            at_end = cost.memory_bytes;
            spent += cost.cpu;
            count += 1;
        }
        memory.push(at_end);
    }
    // What fills a heap once comes to rest; what leaks grows in every stretch.
    let growth = match memory[..] {
        [first, second, third, fourth] if first < second && second < third && third < fourth => {
            Growth::Leaks((fourth - first) as f64 / f64::from(3 * STRETCH))
        }
        [_, _, _, _] => Growth::Rests,
        _ => Growth::Unknown,
    };
    (memory.last().copied().unwrap_or(0), growth, count)
}

fn middle(mut all: Vec<Duration>) -> Option<Duration> {
    all.sort();
    all.get(all.len() / 2).copied()
}

impl Costs {
    pub(super) fn headroom(&self, limits: Limits) -> Vec<Headroom> {
        let cpu = |of: String, used: Duration| Headroom {
            of,
            used: used.as_secs_f64() * 1_000.0,
            limit: limits.cpu_ms as f64,
            unit: "ms",
        };
        let mut all = vec![
            cpu("CPU time, 100 candidates".to_owned(), self.many),
            cpu("CPU time, start of an instance".to_owned(), self.start),
        ];
        if let Some((name, used)) = &self.dearest {
            all.insert(1, cpu(format!("CPU time, {name}"), *used));
        }
        if let Some(told) = self.told {
            all.push(cpu("CPU time, being told of 100 hosts".to_owned(), told));
        }
        all.push(Headroom {
            of: "memory".to_owned(),
            used: self.memory_bytes as f64 / MIB,
            limit: limits.memory_mib as f64,
            unit: "MiB",
        });
        all
    }
}

/// Whether memory comes to rest.
pub(super) fn leak(costs: Option<&Costs>, limits: Limits) -> Check {
    let (outcome, words) = match costs {
        None => (Outcome::Skipped, "it answers too little".to_owned()),
        Some(costs) => match costs.growth {
            Growth::Rests => {
                let mib = costs.memory_bytes as f64 / MIB;
                let count = costs.questions;
                (
                    Outcome::Passed,
                    format!("{mib:.1} MiB after {count} questions more"),
                )
            }
            Growth::Leaks(each) => leaking(each, costs.memory_bytes, limits),
            Growth::Unknown => (Outcome::Skipped, "it takes too long".to_owned()),
        },
    };
    Check {
        name: "leaks",
        what: "its memory does not grow from question to question",
        outcome,
        words,
        log: Vec::new(),
    }
}

fn leaking(each: f64, memory_bytes: usize, limits: Limits) -> (Outcome, String) {
    let left = limits.memory_mib as f64 * MIB - memory_bytes as f64;
    let questions = (left / each).max(0.0);
    let grows = format!("each question leaves {:.1} KiB behind", each / 1024.0);
    // The host drops an instance after so many.
    if questions > f64::from(CALLS_MAX) {
        return (Outcome::Warned, format!("{grows}; free what you take"));
    }
    let words = format!(
        "{grows}: after some {questions:.0} questions `memory_mib` is used up; free what you take"
    );
    (Outcome::Failed, words)
}

/// What a fresh instance executes for one candidate, and then for a hundred.
pub(super) fn fuel(metered: &Placement, all: &[Asked]) -> Option<Fuel> {
    let many = all.iter().find(|asked| asked.name == MANY_NAME)?;
    let one = question(1).ok()?;
    metered.restart();
    let count = |question: &Question| {
        let answered = metered.ask(question);
        answered.said.is_ok().then_some(answered.cost.fuel)?
    };
    let (one, hundred) = (count(&one)?, count(&many.question)?);
    Some(Fuel::Question {
        one_candidate: one,
        hundred_candidates: hundred,
        each_candidate: hundred.saturating_sub(one) / (MANY as u64 - 1),
    })
}
