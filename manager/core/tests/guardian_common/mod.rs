//! A host and one VM on it, built up fact by fact; the guardian's answer in words.
#![allow(dead_code, reason = "each test file uses its share")]

use holdfast_core::guardian::{
    Action, Decision, Domain, DomainState, EndKind, Ended, Grant, HostWorld, Job, decide,
};
use holdfast_model::host::{ExitKind, PauseReason, RunState, VmReport};
use holdfast_model::id::{Generation, VmName};
use holdfast_model::policy::RestartPolicy;
use holdfast_model::time::Instant;
use holdfast_model::vm::{Failures, Intent, Owner, Runner, SiteRule, VmSpec};
use std::collections::BTreeMap;

pub const NOW: u64 = 100_000;
/// This host's present life; its last one.
pub const LIFE: &str = "i2";
pub const PAST: &str = "i1";

pub fn vm() -> VmName {
    "web".parse().expect("a name")
}

/// A host `h` with nothing on it and a session in its best years.
pub struct Here(pub HostWorld);

pub fn here() -> Here {
    Here(HostWorld {
        now: Instant(NOW),
        host: "h".parse().expect("a name"),
        incarnation: Some(LIFE.parse().expect("a name")),
        may_act_until: Instant(NOW + 3_000),
        deadline: Instant(NOW + 4_000),
        guard_works: true,
        restart: RestartPolicy::default(),
        domains: Some(BTreeMap::new()),
        grants_known: true,
        elsewhere: BTreeMap::new(),
        grants: BTreeMap::new(),
        reports: BTreeMap::new(),
        jobs: BTreeMap::new(),
        ends: BTreeMap::new(),
    })
}

pub fn runner(text: &str) -> Runner {
    let (host, life) = text.split_once('/').unwrap_or((text, LIFE));
    Runner {
        host: host.parse().expect("a name"),
        incarnation: life.parse().expect("a name"),
    }
}

impl Here {
    /// The owner record: holder and incoming as `host` or `host/life`, `-` for nobody.
    pub fn owner(mut self, holder: &str, incoming: &str, generation: u64, intent: Intent) -> Self {
        let named = |text: &str| (text != "-").then(|| runner(text));
        let owner = Owner {
            holder: named(holder),
            incoming: named(incoming),
            generation: Generation(generation),
            lease: holdfast_model::lease::StorageClass::Plain,
            intent,
            run_serial: 0,
            rest: None,
            failures: Failures::default(),
            migrate_failures: 0,
            follows: Vec::new(),
            placed_by_hand: false,
            reason: String::new(),
        };
        let spec = VmSpec {
            name: vm(),
            uuid: "7b6a1c9e-0000-4000-8000-000000000001"
                .parse()
                .expect("a UUID"),
            domain_xml: "<domain/>".to_owned(),
            run: true,
            run_serial: 0,
            deleting: false,
            memory_mib: 512,
            vcpus: 1,
            priority: 0,
            preferred_site: None,
            site_rule: SiteRule::Should,
            spread: None,
            storage_lease: true,
            on_io_error: None,
            labels: Default::default(),
        };
        let spec = Some(spec);
        self.0.grants.insert(vm(), Grant { owner, spec });
        self
    }
    pub fn granted(self, generation: u64, intent: Intent) -> Self {
        self.owner("h", "-", generation, intent)
    }
    pub fn domain(mut self, generation: u64, state: DomainState) -> Self {
        let generation = Generation(generation);
        let domain = Domain {
            generation,
            own: !matches!(state, DomainState::Receiving | DomainState::Received),
            state,
        };
        self.0.domains = Some(BTreeMap::from([(vm(), domain)]));
        self
    }
    pub fn report(self, generation: u64, state: RunState) -> Self {
        self.report_of(LIFE, generation, state)
    }
    pub fn report_of(mut self, life: &str, generation: u64, state: RunState) -> Self {
        let report = VmReport {
            incarnation: life.parse().expect("a name"),
            generation: Generation(generation),
            state,
        };
        self.0.reports.insert(vm(), report);
        self
    }
    pub fn job(mut self, job: Job) -> Self {
        self.0.jobs.insert(vm(), job);
        self
    }
    pub fn end(mut self, generation: u64, how: EndKind) -> Self {
        let generation = Generation(generation);
        self.0.ends.insert(vm(), Ended { generation, how });
        self
    }
    pub fn but(mut self, change: impl FnOnce(&mut HostWorld)) -> Self {
        change(&mut self.0);
        self
    }
    /// `report … / action …`, or `-`.
    #[track_caller]
    pub fn gives(&self, expected: &str) {
        assert_eq!(words(&decide(&self.0)), expected, "{:#?}", self.0);
    }
}

pub fn words(decision: &Decision) -> String {
    let mut said = Vec::new();
    for report in decision.reports.values() {
        said.push(match report {
            None => "remove report".to_owned(),
            Some(report) => {
                assert_eq!(report.incarnation.as_str(), LIFE);
                format!("report {} {}", report.generation, state(&report.state))
            }
        });
    }
    for action in decision.actions.values() {
        said.push(match action {
            Action::Start { generation } => format!("start {generation}"),
            Action::TakeOver { generation } => format!("take over {generation}"),
            Action::Resume { generation } => format!("resume {generation}"),
            Action::Shutdown => "shut down".to_owned(),
            Action::Destroy { why } => format!("destroy: {why}"),
            Action::Migrate { generation, to } => format!("migrate {generation} to {to}"),
            Action::AbortMigration => "abort migration".to_owned(),
        });
    }
    if said.is_empty() {
        said.push("-".to_owned());
    }
    said.join(" / ")
}

pub fn state(state: &RunState) -> String {
    match state {
        RunState::Exited { how } => match how {
            ExitKind::Crashed { reason } => format!("crashed: {reason}"),
            ExitKind::StartFailed { reason } => format!("start failed: {reason}"),
            other => format!("{other:?}"),
        },
        RunState::MigrationFailed { reason } => format!("migration failed: {reason}"),
        other => format!("{other:?}"),
    }
}

pub fn paused(reason: PauseReason) -> DomainState {
    DomainState::Paused { reason }
}

pub fn exited(how: ExitKind) -> RunState {
    RunState::Exited { how }
}

pub fn failed(reason: &str) -> RunState {
    RunState::MigrationFailed {
        reason: reason.to_owned(),
    }
}

pub fn failure(reason: &str) -> EndKind {
    EndKind::MigrationFailed {
        reason: reason.to_owned(),
    }
}
