//! Asks about each situation, twice.

use super::super::log::{Reader, Written};
use super::super::shared::{Ended, dearest, limits as limits_kept, relaxed, written};
use super::super::{Fuel, Report, StorageSetup, TestSetup};
use super::judge::judge;
use super::situations::{Situation, Storage, all, domain, healthy};
use crate::error::{CallError, ExtensionError};
use crate::fresh::Called;
use crate::loaded::Loaded;
use crate::outside::Reach;
use crate::storage_check::{Answer, Findings, StorageCheck};
use holdfast_model::extension::{Limits, Manifest};
use std::sync::Arc;

/// Times that each is asked about: an answer that differs shows.
const TIMES: usize = 2;

/// So often it may compute for too long before nothing more is asked: each time takes seconds.
const LATE_MAX: usize = 2;

/// What is counted is asked about the storage that it is content with.
const WELL: &str = "a storage that is well";

/// One situation, and what was said of it.
pub(super) struct Tried {
    pub situation: Arc<Situation>,
    pub called: Called<Findings>,
    pub written: Written,
}

/// What tries it.
struct Bench<'a> {
    loaded: &'a Loaded,
    manifest: &'a Manifest,
    setup: Option<&'a StorageSetup>,
    limits: Limits,
}

impl Bench<'_> {
    /// A check that sees this storage and no other; one that failed before is asked all the same.
    fn check(&self, storage: &Storage) -> Result<StorageCheck, ExtensionError> {
        let reach = Reach {
            rights: self.manifest.rights.clone(),
            probes: Some(Arc::new(storage.clone())),
            ..Reach::default()
        };
        StorageCheck::new(self.loaded, self.limits, reach)
    }

    /// The storage that it says most good of.
    fn content(&self) -> Result<Storage, ExtensionError> {
        let mut best: Option<(usize, Storage)> = None;
        let mut late = 0;
        for storage in healthy(self.setup) {
            let called = self.check(&storage)?.check(&domain(self.setup));
            late += usize::from(is_late(&called));
            let good = called.answer.map_or(0, |findings| {
                let Findings {
                    reachable,
                    usable,
                    synced,
                } = findings;
                let all = [reachable, usable, synced].into_iter();
                all.filter(|answer| *answer == Answer::Yes).count()
            });
            if best.as_ref().is_none_or(|(most, _)| good > *most) {
                best = Some((good, storage));
            }
            if late == LATE_MAX {
                break;
            }
        }
        best.map(|(_, storage)| storage)
            .ok_or_else(|| ExtensionError::Engine("there is no storage to ask about".to_owned()))
    }
}

fn is_late(called: &Called<Findings>) -> bool {
    let ended = called.answer.as_ref().err();
    ended.is_some_and(|error| {
        matches!(
            error,
            CallError::CpuTime { .. } | CallError::WallTime { .. }
        )
    })
}

/// See [`super::super::run`].
pub(crate) fn run(
    loaded: &Loaded,
    metered: Option<&Loaded>,
    manifest: &Manifest,
    setup: &TestSetup,
) -> Result<Report, ExtensionError> {
    let bench = Bench {
        loaded,
        manifest,
        setup: setup.storage_check.as_ref(),
        limits: relaxed(manifest.limits()),
    };
    let content = bench.content()?;
    let mut tried: Vec<Tried> = Vec::new();
    for situation in all(&content, bench.setup) {
        if tried.iter().filter(|each| is_late(&each.called)).count() >= LATE_MAX {
            break;
        }
        let situation = Arc::new(situation);
        let check = bench.check(&situation.storage)?;
        let mut reader = Reader::new(check.journal());
        for _ in 0..TIMES {
            tried.push(Tried {
                called: check.check(&situation.domain),
                situation: Arc::clone(&situation),
                written: reader.next(),
            });
        }
    }
    let counted = match metered {
        Some(loaded) => {
            let check = Bench { loaded, ..bench }.check(&content)?;
            Fuel::of_call(WELL, &check.check(&domain(bench.setup)))
        }
        None => None,
    };
    let ended: Vec<Ended<'_>> = tried.iter().map(Tried::ended).collect();
    let good = tried.iter().filter(|each| each.called.answer.is_ok());
    let costs = good.map(|each| (each.situation.name, each.called.cost));
    let headroom = dearest(costs, manifest.limits());
    let mut checks = judge(&tried, &ended, &manifest.rights);
    checks.extend(limits_kept(&ended, &headroom, manifest.limits()));
    Ok(Report {
        checks,
        headroom,
        fuel: counted,
        questions: tried.len() + healthy(bench.setup).len(),
        notes: Vec::new(),
        log: written(&ended),
    })
}

impl Tried {
    fn ended(&self) -> Ended<'_> {
        let said = self.called.answer.as_ref();
        Ended {
            question: self.situation.name,
            by: "a fresh instance",
            said: said.map(|findings| format!("{findings:?}")),
            written: &self.written,
        }
    }
}
