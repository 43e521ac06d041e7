//! Asks the questions: of fresh instances, of a warm one, and again.

use super::cost::{Costs, fuel, measure};
use super::judge::judge;
use super::questions::{Asked, all};
use super::{Check, Headroom, Report};
use crate::error::{CallError, ExtensionError};
use crate::loaded::Loaded;
use crate::placement::{Answered, Placement};
use holdfast_model::extension::{LIMITS_MAX, Limits, Manifest};

/// So many times the CPU time that it may have: what is over a limit is told as a share of it.
const CPU_TIMES: u64 = 10;

/// In what state a guest was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// By an instance that had answered nothing.
    Fresh,
    /// By one that had answered other questions.
    Warm,
    /// By one that had answered this very question too.
    Again,
}

impl State {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Fresh => "a fresh instance",
            Self::Warm => "one that had answered other questions",
            Self::Again => "one that had answered it before",
        }
    }
}

/// One question and what became of it.
pub(super) struct Tried<'a> {
    pub asked: &'a Asked,
    pub state: State,
    pub answered: Answered,
}

/// Puts one for placement through all checks.
///
/// # Errors
/// If it does not fit its contract.
pub(super) fn run(
    loaded: &Loaded,
    metered: Option<&Loaded>,
    manifest: &Manifest,
) -> Result<Report, ExtensionError> {
    let all = all().map_err(|error| ExtensionError::Engine(error.to_string()))?;
    let limits = relaxed(manifest.limits());
    let log = manifest.rights.log;
    let (fresh, warm) = (
        Placement::new(loaded, limits, log)?,
        Placement::new(loaded, limits, log)?,
    );
    let mut tried = Vec::new();
    if ask(&fresh, &all, State::Fresh, &mut tried) {
        let _ =
            ask(&warm, &all, State::Warm, &mut tried) && ask(&warm, &all, State::Again, &mut tried);
    }
    let costs = measure(&warm, &tried);
    let fuel = match (metered, &costs) {
        (Some(metered), Some(_)) => {
            let limits = Limits {
                cpu_ms: LIMITS_MAX.cpu_ms,
                ..limits
            };
            fuel(&Placement::new(metered, limits, log)?, &all)
        }
        _ => None,
    };
    let headroom = costs
        .as_ref()
        .map_or_else(Vec::new, |costs| costs.headroom(manifest.limits()));
    let checks = checks(&tried, costs.as_ref(), &headroom, manifest.limits());
    let asked = costs.as_ref().map_or(0, |costs| costs.questions);
    Ok(Report {
        checks,
        headroom,
        fuel,
        questions: tried.len() + asked,
    })
}

fn checks(
    tried: &[Tried<'_>],
    costs: Option<&Costs>,
    headroom: &[Headroom],
    limits: Limits,
) -> Vec<Check> {
    let mut checks = judge(tried);
    checks.push(super::cost::leak(costs, limits));
    checks.extend(super::cost::checks(tried, headroom, limits));
    checks
}

fn relaxed(limits: Limits) -> Limits {
    Limits {
        cpu_ms: limits
            .cpu_ms
            .saturating_mul(CPU_TIMES)
            .min(LIMITS_MAX.cpu_ms),
        // A guest that never waits is slow by the clock only where the machine is busy.
        wall_ms: LIMITS_MAX.wall_ms,
        ..limits
    }
}

/// Whether there is any sense in asking on: after some failures the host itself does not.
fn ask<'a>(
    placement: &Placement,
    all: &'a [Asked],
    state: State,
    tried: &mut Vec<Tried<'a>>,
) -> bool {
    for asked in all {
        if state == State::Fresh {
            placement.restart();
        }
        let answered = placement.ask(&asked.question);
        if matches!(answered.said, Err(CallError::Resting { .. })) {
            return false;
        }
        tried.push(Tried {
            asked,
            state,
            answered,
        });
    }
    true
}
