//! How a host can misbehave at a storage check.

use super::super::chaos::{Drill, Happened, Planned, all};
use super::super::log::{Journals, Writes};
use super::super::{StorageSetup, TestSetup};
use super::situations::{Storage, domain, healthy};
use crate::error::{CallError, ExtensionError};
use crate::fresh::Called;
use crate::loaded::Loaded;
use crate::outside::{Output, ProbeError, Probes, Reach, Space};
use crate::storage_check::{Domain, Findings, StorageCheck};
use holdfast_model::extension::{LIMITS_MAX, Limits, Manifest, Rights};
use holdfast_model::id::TargetName;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Checks in a row.
const ROW: usize = 10;
/// What a guest gets that is to find that all looks hang.
const SHORT_WALL_MS: u64 = 1_000;
/// Far more than the agent hands over.
const GIANT_BYTES: usize = 4 << 20;

const DRILLS: [Planned<Stage>; 4] = [
    ("cpu", "gives 1 ms of CPU time", cpu),
    (
        "hangs",
        "answers no look before the time of the call is over",
        hangs,
    ),
    ("giant", "hands 4 MiB over for each command", giant),
    ("log", "drops every line of its log", log),
];

/// What a drill works with.
struct Stage {
    loaded: Loaded,
    limits: Limits,
    rights: Rights,
    storage: Storage,
    setup: Option<StorageSetup>,
    journals: Journals,
}

impl Writes for Stage {
    fn journals(&self) -> &Journals {
        &self.journals
    }
}

impl Stage {
    fn check(
        &self,
        limits: Limits,
        rights: Rights,
        probes: Arc<dyn Probes>,
    ) -> Result<StorageCheck, String> {
        let reach = Reach {
            rights,
            probes: Some(probes),
            ..Reach::default()
        };
        let check = StorageCheck::new(&self.loaded, limits, reach);
        let check = check.map_err(|error| error.to_string())?;
        self.journals.add(check.journal());
        Ok(check)
    }

    fn domain(&self) -> Domain {
        domain(self.setup.as_ref())
    }

    fn on(&self, storage: Storage) -> Result<StorageCheck, String> {
        self.check(self.limits, self.rights.clone(), Arc::new(storage))
    }

    /// Whether it can go on after all that.
    fn and_goes_on(&self) -> Happened {
        match told(&self.on(self.storage.clone())?.check(&self.domain()))? {
            words if words.starts_with("answered") => Ok("the next check is answered".to_owned()),
            words => Ok(format!("the next check is not: {words}")),
        }
    }
}

/// See [`super::super::super::chaos::run`].
pub(crate) fn run(
    loaded: &Loaded,
    manifest: &Manifest,
    setup: &TestSetup,
) -> Result<Vec<Drill>, ExtensionError> {
    let setup = setup.storage_check.clone();
    let storage = healthy(setup.as_ref()).into_iter().next();
    let stage = Stage {
        setup,
        journals: Journals::default(),
        loaded: loaded.clone(),
        limits: Limits {
            // How busy this machine is with other things is no matter here.
            wall_ms: LIMITS_MAX.wall_ms,
            ..manifest.limits()
        },
        rights: manifest.rights.clone(),
        storage: storage
            .ok_or_else(|| ExtensionError::Engine("there is no storage to ask about".to_owned()))?,
    };
    // What does not fit is told before anything is tried.
    loaded.fits_here(stage.limits)?;
    Ok(all(stage, &DRILLS))
}

/// What was answered, in words; an error if that is a defect of the host.
fn told(called: &Called<Findings>) -> Happened {
    match &called.answer {
        Ok(_) => Ok(format!(
            "answered in {:.1} ms of CPU",
            called.cost.cpu.as_secs_f64() * 1_000.0
        )),
        Err(error @ CallError::Host(_)) => Err(error.to_string()),
        Err(error) => Ok(format!("ended: {error}")),
    }
}

fn cpu(stage: &Stage) -> Happened {
    let limits = Limits {
        cpu_ms: 1,
        ..stage.limits
    };
    let hasty = stage.check(
        limits,
        stage.rights.clone(),
        Arc::new(stage.storage.clone()),
    )?;
    let (mut good, mut ended) = (0, None);
    for _ in 0..ROW {
        let called = hasty.check(&stage.domain());
        let words = told(&called)?;
        match called.answer {
            Ok(_) => good += 1,
            Err(_) => ended = Some(words),
        }
    }
    let last = ended.map_or(String::new(), |ended| format!("; the last {ended}"));
    let next = stage.and_goes_on()?;
    Ok(format!(
        "{good} of {ROW} answered before anybody looked{last}; {next}"
    ))
}

/// Each look takes all the time there is.
struct Hanging;

impl Hanging {
    fn hang<T>(until: Instant) -> Result<T, ProbeError> {
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        Err(ProbeError::TimedOut("nothing in time".to_owned()))
    }
}

impl Probes for Hanging {
    fn usage(&self, _: &TargetName, until: Instant) -> Result<Space, ProbeError> {
        Self::hang(until)
    }

    fn read_latency(&self, _: &TargetName, until: Instant) -> Result<u64, ProbeError> {
        Self::hang(until)
    }

    fn command(&self, _: &TargetName, until: Instant) -> Result<Output, ProbeError> {
        Self::hang(until)
    }
}

fn hangs(stage: &Stage) -> Happened {
    let limits = Limits {
        wall_ms: SHORT_WALL_MS,
        ..stage.limits
    };
    let check = stage.check(limits, stage.rights.clone(), Arc::new(Hanging))?;
    let called = check.check(&stage.domain());
    let first = told(&called)?;
    let took = called.cost.wall;
    if took > Duration::from_millis(SHORT_WALL_MS) * 10 {
        return Err(format!("a call of {SHORT_WALL_MS} ms took {took:?}"));
    }
    let next = stage.and_goes_on()?;
    Ok(format!("{first}; {next}"))
}

fn giant(stage: &Stage) -> Happened {
    let mut storage = stage.storage.clone();
    if let Ok(output) = &mut storage.command {
        output.stdout = "x".repeat(GIANT_BYTES);
    }
    let first = told(&stage.on(storage)?.check(&stage.domain()))?;
    let next = stage.and_goes_on()?;
    Ok(format!("{first}; {next}"))
}

fn log(stage: &Stage) -> Happened {
    let rights = Rights {
        log: false,
        ..stage.rights.clone()
    };
    let probes = Arc::new(stage.storage.clone());
    let unheard = stage.check(stage.limits, rights, probes)?;
    let words = told(&unheard.check(&stage.domain()))?;
    match unheard.journal().lines().0.len() {
        0 => Ok(words),
        kept => Err(format!("{kept} lines were kept all the same")),
    }
}
