//! Asks the questions: of fresh instances, of a warm one, and again; and of those that were told of other hosts
//! besides, or in another order.

use super::super::log::{Reader, Written};
use super::super::shared::{Ended, limits as limits_kept, no_other, relaxed, written};
use super::super::{Check, Headroom, Report, TestSetup};
use super::cost::{Costs, fuel, leak, measure};
use super::judge::{judge, notes};
use super::questions::{Asked, all, among_others};
use crate::budget::Cost;
use crate::contract::V0_1;
use crate::error::{CallError, ExtensionError};
use crate::loaded::Loaded;
use crate::placement::{Answered, Host, Placement, hosts_of};
use holdfast_model::advice::Question;
use holdfast_model::extension::{LIMITS_MAX, Limits, Manifest};

/// In what state a guest was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// By an instance that had answered nothing.
    Fresh,
    /// By one that had answered other questions.
    Warm,
    /// By one that had answered this very question too.
    Again,
    /// By one that had been told of other hosts besides.
    Longer,
    /// By one that had been told of them in another order.
    Permuted,
}

impl State {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Fresh => "a fresh instance",
            Self::Warm => "one that had answered other questions",
            Self::Again => "one that had answered it before",
            Self::Longer => "one that was told of other hosts besides",
            Self::Permuted => "one that was told of the hosts in another order",
        }
    }

    /// Which hosts a fresh instance is told of before it is asked; none: it is told of those of the question.
    fn table(self, question: &Question) -> Option<Vec<Host>> {
        let own = hosts_of(question);
        match self {
            Self::Longer => Some(among_others(own)),
            Self::Permuted => Some(own.into_iter().rev().collect()),
            Self::Fresh | Self::Warm | Self::Again => None,
        }
    }
}

/// One question and what became of it.
pub(super) struct Tried<'a> {
    pub asked: &'a Asked,
    pub state: State,
    pub answered: Answered,
    pub written: Written,
}

/// See [`super::super::run`].
pub(crate) fn run(
    loaded: &Loaded,
    metered: Option<&Loaded>,
    manifest: &Manifest,
    setup: &TestSetup,
) -> Result<Report, ExtensionError> {
    let all =
        all(setup.placement.as_ref()).map_err(|error| ExtensionError::Engine(error.to_string()))?;
    let limits = relaxed(manifest.limits());
    let log = manifest.rights.log;
    let (fresh, warm) = (
        Placement::new(loaded, limits, log)?,
        Placement::new(loaded, limits, log)?,
    );
    let mut tried = Vec::new();
    let order = [
        (&fresh, State::Fresh),
        (&warm, State::Warm),
        (&warm, State::Again),
        (&fresh, State::Longer),
        (&fresh, State::Permuted),
    ];
    let is_told = loaded.surface().version > V0_1;
    let of_its_version = |(_, state): &&(&Placement, State)| {
        is_told || !matches!(state, State::Longer | State::Permuted)
    };
    let mut order = order.iter().filter(of_its_version);
    let _ = order.all(|(placement, state)| ask(placement, &all, *state, &mut tried));
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
    let mut checks = checks(&tried, costs.as_ref(), &headroom, manifest.limits());
    if is_told {
        checks.push(table(&tried));
    }
    let asked = costs.as_ref().map_or(0, |costs| costs.questions);
    let ended: Vec<Ended<'_>> = tried.iter().map(Tried::ended).collect();
    Ok(Report {
        checks,
        headroom,
        fuel,
        questions: tried.len() + asked,
        notes: notes(&tried, setup.placement.as_ref()),
        log: written(&ended),
    })
}

fn checks(
    tried: &[Tried<'_>],
    costs: Option<&Costs>,
    headroom: &[Headroom],
    limits: Limits,
) -> Vec<Check> {
    let ended: Vec<Ended<'_>> = tried.iter().map(Tried::ended).collect();
    let mut checks = judge(tried, &ended);
    checks.push(leak(costs, limits));
    checks.extend(limits_kept(&ended, headroom, limits));
    checks
}

/// Only hosts that are asked about count, whatever stands before and behind them.
fn table(tried: &[Tried<'_>]) -> Check {
    let fresh = |each: &&Tried<'_>| !matches!(each.state, State::Warm | State::Again);
    let ended: Vec<Ended<'_>> = tried.iter().filter(fresh).map(Tried::ended).collect();
    no_other(
        "table",
        "which other hosts it was told of, and in what order, makes no difference",
        &ended,
        "look only at hosts that are candidates or have a peer, and not at their numbers",
    )
}

impl Tried<'_> {
    /// That it cannot say is an answer as well.
    fn ended(&self) -> Ended<'_> {
        let said = match &self.answered.said {
            said @ (Ok(_) | Err(CallError::Refused(_))) => Ok(format!("{said:?}")),
            Err(error) => Err(error),
        };
        Ended {
            question: &self.asked.name,
            by: self.state.words(),
            said,
            written: &self.written,
        }
    }
}

/// Whether there is any sense in asking on: after some failures the host itself does not.
fn ask<'a>(
    placement: &Placement,
    all: &'a [Asked],
    state: State,
    tried: &mut Vec<Tried<'a>>,
) -> bool {
    let mut reader = Reader::new(placement.journal());
    for asked in all {
        if !matches!(state, State::Warm | State::Again) {
            placement.restart();
        }
        if let Some(hosts) = state.table(&asked.question)
            && let Err(error) = placement.restart_told(&hosts)
        {
            tried.push(Tried {
                asked,
                state,
                answered: Answered {
                    said: Err(error),
                    cost: Cost::default(),
                },
                written: reader.next(),
            });
            continue;
        }
        let answered = placement.ask(&asked.question);
        if matches!(answered.said, Err(CallError::Resting { .. })) {
            return false;
        }
        tried.push(Tried {
            asked,
            state,
            answered,
            written: reader.next(),
        });
    }
    true
}
