//! The guardian over time: one host, one VM, and an agent that may die at any point. The store,
//! the hypervisor and the shell are as small as they can be.
//!
//! For every order of events: the start call of one generation is made at most once; what was
//! reported as ended never runs again under that generation; and once things are quiet the host
//! comes to rest.

use holdfast_core::guardian::{
    Action, Domain, DomainState, EndKind, Ended, Grant, HostWorld, Job, decide, settled_ends,
};
use holdfast_model::host::{PauseReason, VmReport};
use holdfast_model::id::{Generation, Incarnation, VmName};
use holdfast_model::policy::RestartPolicy;
use holdfast_model::time::Instant;
use holdfast_model::vm::{Intent, Owner, Runner, VmSpec};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Rounds after which a quiet host must have come to rest: a stop takes the most (report, ask,
/// destroy, report), twice for a stray before it.
const ROUNDS_TO_REST: u32 = 20;

#[derive(Debug, Clone)]
enum Event {
    /// One round of the shell, cut short where the agent dies.
    Round(Dies),
    /// The call under way ends.
    JobEnds {
        well: bool,
    },
    /// The agent dies between rounds; a start call it was making may have had its effect.
    AgentDies {
        left_by_a_start: Left,
    },
    GuestShutsDown,
    QemuDies,
    DiskFull,
    LibvirtSilent(bool),
    Leader(Move),
    /// The deadline passes: the guard kills everything.
    Lapse,
    /// A new life, if the host is clean.
    NewLife,
    Wait,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Dies {
    Not,
    BeforeReports,
    BeforeActions,
    AfterActions,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Left {
    Nothing,
    Created,
    Running,
}

#[derive(Debug, Clone, Copy)]
enum Move {
    Stop,
    Run,
    /// A new generation, if the last one is reported as ended or its life is over.
    GrantAgain,
    /// Somebody else has it now (by evidence, so only when nothing runs here by right).
    Elsewhere,
    Delete,
}

struct Host {
    now: Instant,
    life: Option<Incarnation>,
    lives: u32,
    owner: Option<Owner>,
    report: Option<VmReport>,
    domain: Option<Domain>,
    job: Option<Job>,
    end: Option<Ended>,
    silent: bool,
    starts: BTreeMap<Generation, u32>,
    over: Vec<Generation>,
}

fn vm() -> VmName {
    "web".parse().expect("a name")
}

fn spec() -> VmSpec {
    serde_json::from_value(serde_json::json!({
        "name": "web", "uuid": "7b6a1c9e-0000-4000-8000-000000000001",
        "domain_xml": "<domain/>", "run": true, "memory_mib": 512, "vcpus": 1,
    }))
    .expect("a spec")
}

impl Host {
    fn new() -> Self {
        let mut host = Self {
            now: Instant(1_000_000),
            life: None,
            lives: 0,
            owner: None,
            report: None,
            domain: None,
            job: None,
            end: None,
            silent: false,
            starts: BTreeMap::new(),
            over: Vec::new(),
        };
        host.new_life();
        host.grant();
        host
    }

    fn new_life(&mut self) {
        self.lives += 1;
        self.life = Some(format!("i{}", self.lives).parse().expect("a name"));
    }

    fn grant(&mut self) {
        let Some(life) = &self.life else { return };
        let last = self.owner.as_ref().map_or(Generation(0), |o| o.generation);
        self.owner = Some(Owner {
            holder: Some(Runner {
                host: "h".parse().expect("a name"),
                incarnation: life.clone(),
            }),
            incoming: None,
            generation: last.next(),
            lease: holdfast_model::lease::StorageClass::Plain,
            intent: Intent::Run,
            run_serial: 0,
            rest: None,
            failures: Default::default(),
            migrate_failures: 0,
            follows: Vec::new(),
            placed_by_hand: false,
            reason: String::new(),
        });
    }

    fn world(&self) -> HostWorld {
        fn of<T: Clone>(one: &Option<T>) -> BTreeMap<VmName, T> {
            one.iter().map(|one| (vm(), one.clone())).collect()
        }
        let grant = self.owner.clone().map(|owner| Grant {
            owner,
            spec: Some(spec()),
        });
        let named = grant.filter(|grant| {
            let mut runners = grant.owner.possible_runners();
            runners.any(|runner| runner.host.as_str() == "h")
        });
        HostWorld {
            now: self.now,
            host: "h".parse().expect("a name"),
            incarnation: self.life.clone(),
            may_act_until: self.now.plus(1),
            deadline: self.now.plus(2),
            guard_works: true,
            restart: RestartPolicy::default(),
            domains: (!self.silent).then(|| of(&self.domain)),
            grants_known: true,
            elsewhere: BTreeMap::new(),
            grants: of(&named),
            reports: of(&self.report),
            jobs: of(&self.job),
            ends: of(&self.end),
        }
    }

    /// One round as the shell does it; true if there was anything to do.
    fn round(&mut self, dies: Dies) -> bool {
        if !settled_ends(&self.world()).is_empty() {
            self.end = None;
        }
        let decision = decide(&self.world());
        let busy = !decision.reports.is_empty() || !decision.actions.is_empty();
        if dies == Dies::BeforeReports {
            self.agent_dies(Left::Nothing);
            return busy;
        }
        for report in decision.reports.into_values() {
            assert!(self.life.is_some(), "a closed life writes nothing");
            if let Some(report) = report.as_ref().filter(|report| report.state.is_final()) {
                self.over.push(report.generation);
            }
            self.report = report;
        }
        if dies == Dies::BeforeActions {
            self.agent_dies(Left::Nothing);
            return busy;
        }
        for action in decision.actions.into_values() {
            self.call(action);
        }
        if dies == Dies::AfterActions {
            self.agent_dies(Left::Nothing);
        }
        busy
    }

    fn call(&mut self, action: Action) {
        self.job = Some(match action {
            Action::Start { generation } => {
                *self.starts.entry(generation).or_default() += 1;
                Job::Start { generation }
            }
            Action::TakeOver { generation } => Job::TakeOver { generation },
            Action::Resume { generation } => Job::Resume { generation },
            Action::Shutdown => Job::Shutdown { since: self.now },
            Action::Destroy { .. } => Job::Destroy,
            Action::Migrate { .. } | Action::AbortMigration => panic!("no migrations here"),
        });
    }

    fn job_ends(&mut self, well: bool) {
        let Some(job) = self.job.take() else { return };
        match job {
            Job::Start { generation } if well => {
                assert_eq!(self.domain, None, "started over a domain");
                self.run(generation);
            }
            Job::Start { generation } => {
                let reason = "no such bridge".to_owned();
                self.ended(generation, EndKind::StartFailed { reason });
            }
            Job::TakeOver { generation } | Job::Resume { generation } => {
                if well && self.domain.is_some() {
                    self.run(generation);
                }
            }
            Job::Shutdown { .. } => {
                if well {
                    self.gone(EndKind::GuestShutdown);
                }
            }
            Job::Destroy => {
                if well {
                    self.gone(EndKind::Destroyed);
                }
            }
            Job::Migrate { .. } => {}
        }
    }

    fn run(&mut self, generation: Generation) {
        assert!(
            !self.over.contains(&generation),
            "runs after its reported end"
        );
        let state = DomainState::Running;
        self.domain = Some(Domain {
            generation,
            own: !matches!(state, DomainState::Receiving | DomainState::Received),
            state,
        });
    }

    fn gone(&mut self, how: EndKind) {
        if let Some(domain) = self.domain.take() {
            self.ended(domain.generation, how);
        }
    }

    fn ended(&mut self, generation: Generation, how: EndKind) {
        self.end = Some(Ended { generation, how });
    }

    /// What the agent knew by heart is gone; what libvirt had is not.
    fn agent_dies(&mut self, left: Left) {
        self.end = None;
        if let Some(Job::Start { generation }) = self.job.take()
            && self.domain.is_none()
        {
            match left {
                Left::Nothing => {}
                Left::Created => {
                    let state = DomainState::Created;
                    self.domain = Some(Domain {
                        generation,
                        own: !matches!(state, DomainState::Receiving | DomainState::Received),
                        state,
                    });
                }
                Left::Running => self.run(generation),
            }
        }
    }

    fn ended_by_report(&self) -> bool {
        let (Some(owner), Some(report)) = (&self.owner, &self.report) else {
            return false;
        };
        report.generation == owner.generation && report.state.is_final()
    }

    /// What the leader may do by its own rules: closing a life that still runs something is not
    /// among them.
    fn leader(&mut self, to: Move) {
        let life_over = match (&self.owner, &self.life) {
            (Some(owner), Some(life)) => {
                owner.holder.as_ref().is_none_or(|h| h.incarnation != *life)
            }
            (Some(_), None) => self.domain.is_none() && self.job.is_none(),
            (None, _) => true,
        };
        let free = life_over || self.ended_by_report();
        match (to, &mut self.owner) {
            (Move::Stop, Some(owner)) => owner.intent = Intent::Stop,
            (Move::Run, Some(owner)) => owner.intent = Intent::Run,
            (Move::GrantAgain, _) if free => self.grant(),
            (Move::Elsewhere, Some(owner)) if free => {
                owner.generation = owner.generation.next();
                owner.holder = None;
            }
            (Move::Delete, Some(owner)) if free => owner.holder = None,
            _ => {}
        }
    }

    fn happens(&mut self, event: Event) {
        self.now = self.now.plus(10_000);
        match event {
            Event::Round(dies) => {
                self.round(dies);
            }
            Event::JobEnds { well } => self.job_ends(well),
            Event::AgentDies { left_by_a_start } => self.agent_dies(left_by_a_start),
            Event::GuestShutsDown if self.runs() => self.gone(EndKind::GuestShutdown),
            Event::QemuDies => self.gone(EndKind::Crashed {
                reason: "signal 11".to_owned(),
            }),
            Event::DiskFull if self.runs() => {
                if let Some(domain) = &mut self.domain {
                    domain.state = DomainState::Paused {
                        reason: PauseReason::IoError,
                    };
                }
            }
            Event::LibvirtSilent(silent) => self.silent = silent,
            Event::Leader(to) => self.leader(to),
            Event::Lapse => {
                self.gone(EndKind::SelfFenced);
                // The guard takes no process of a lapsed life: a start under way comes to nothing.
                if matches!(self.job, Some(Job::Start { .. })) {
                    self.job = None;
                }
                self.life = None;
            }
            Event::NewLife if self.life.is_none() && decide(&self.world()).clean => self.new_life(),
            Event::GuestShutsDown | Event::DiskFull | Event::NewLife | Event::Wait => {}
        }
        for (generation, calls) in &self.starts {
            assert!(
                *calls <= 1,
                "generation {generation} was started {calls} times"
            );
        }
    }

    fn runs(&self) -> bool {
        let running = DomainState::Running;
        self.domain
            .as_ref()
            .is_some_and(|domain| domain.state == running)
    }

    /// Everything answers and every call does what it should.
    fn comes_to_rest(&mut self) -> bool {
        self.silent = false;
        if self.life.is_none() {
            for _ in 0..ROUNDS_TO_REST {
                self.round(Dies::Not);
                self.job_ends(true);
            }
            assert!(
                decide(&self.world()).clean,
                "a closed life leaves a clean host"
            );
            self.new_life();
        }
        (0..ROUNDS_TO_REST).any(|_| {
            self.now = self.now.plus(60_000);
            let busy = self.round(Dies::Not);
            self.job_ends(true);
            !busy && self.job.is_none()
        })
    }
}

fn dies() -> impl Strategy<Value = Dies> {
    prop_oneof![
        6 => Just(Dies::Not),
        1 => Just(Dies::BeforeReports),
        1 => Just(Dies::BeforeActions),
        1 => Just(Dies::AfterActions),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let left = prop_oneof![
        Just(Left::Nothing),
        Just(Left::Created),
        Just(Left::Running)
    ];
    let to = prop_oneof![
        1 => Just(Move::Stop),
        1 => Just(Move::Run),
        4 => Just(Move::GrantAgain),
        1 => Just(Move::Elsewhere),
        1 => Just(Move::Delete),
    ];
    prop_oneof![
        8 => dies().prop_map(Event::Round),
        6 => prop::bool::weighted(0.8).prop_map(|well| Event::JobEnds { well }),
        1 => left.prop_map(|left_by_a_start| Event::AgentDies { left_by_a_start }),
        1 => Just(Event::GuestShutsDown),
        1 => Just(Event::QemuDies),
        1 => Just(Event::DiskFull),
        1 => any::<bool>().prop_map(Event::LibvirtSilent),
        3 => to.prop_map(Event::Leader),
        1 => Just(Event::Lapse),
        2 => Just(Event::NewLife),
        1 => Just(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn no_generation_starts_twice_and_every_host_comes_to_rest(
        events in prop::collection::vec(event(), 1..80),
    ) {
        let mut host = Host::new();
        for event in events {
            host.happens(event);
        }
        prop_assert!(host.comes_to_rest(), "{:#?}", host.world());
    }
}

#[test]
fn the_model_does_start_crash_and_start_again() {
    let mut host = Host::new();
    host.happens(Event::Round(Dies::Not));
    host.happens(Event::JobEnds { well: true });
    assert!(
        host.runs(),
        "a test that never starts anything proves nothing"
    );
    host.happens(Event::QemuDies);
    host.happens(Event::Round(Dies::Not));
    assert!(host.ended_by_report());
    host.happens(Event::Leader(Move::GrantAgain));
    host.happens(Event::Round(Dies::BeforeActions));
    assert!(!host.runs());
    host.happens(Event::Round(Dies::Not));
    assert!(host.ended_by_report(), "tried, as far as anyone can tell");
    host.happens(Event::Leader(Move::GrantAgain));
    host.happens(Event::Round(Dies::Not));
    host.happens(Event::JobEnds { well: true });
    assert!(host.runs());
    assert_eq!(host.starts.len(), 2);
}
