//! Laws of one decision of the guardian, and of the runner's deadline, for whatever is there.

use holdfast_core::guardian::deadline::{Deadline, Renewal, Verdict};
use holdfast_core::guardian::{
    Action, Domain, DomainState, EndKind, Ended, Grant, HostWorld, Job, decide, settled_ends,
};
use holdfast_model::host::{ExitKind, PauseReason, RunState, RunnerBounds, VmReport};
use holdfast_model::id::{Generation, Incarnation, VmName};
use holdfast_model::policy::RestartPolicy;
use holdfast_model::time::Instant;
use holdfast_model::vm::{Intent, Owner, Runner, VmSpec};
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeMap;

const NOW: u64 = 100_000;

fn vms() -> Vec<VmName> {
    ["db", "web"]
        .map(|name| name.parse().expect("a name"))
        .to_vec()
}

fn life() -> impl Strategy<Value = Incarnation> {
    prop_oneof![3 => Just("i2"), 1 => Just("i1")].prop_map(|name| name.parse().expect("a name"))
}

fn runner() -> impl Strategy<Value = Runner> {
    let host = prop_oneof![3 => Just("h"), 1 => Just("other")];
    (host, life()).prop_map(|(host, incarnation)| Runner {
        host: host.parse().expect("a name"),
        incarnation,
    })
}

fn generation() -> impl Strategy<Value = Generation> {
    (6u64..9).prop_map(Generation)
}

fn intent() -> impl Strategy<Value = Intent> {
    prop_oneof![
        3 => Just(Intent::Run),
        1 => Just(Intent::Stop),
        1 => Just(Intent::Kill),
        1 => Just(Intent::Resume),
        1 => Just(Intent::Migrate),
        1 => Just(Intent::AbortMigration),
    ]
}

fn spec() -> VmSpec {
    serde_json::from_value(serde_json::json!({
        "name": "web", "uuid": "7b6a1c9e-0000-4000-8000-000000000001",
        "domain_xml": "<domain/>", "run": true, "memory_mib": 512, "vcpus": 1,
    }))
    .expect("a spec")
}

fn grant() -> impl Strategy<Value = Grant> {
    let named = (
        option::weighted(0.9, runner()),
        option::weighted(0.4, runner()),
    );
    (named, generation(), intent(), any::<bool>()).prop_map(
        |((holder, incoming), generation, intent, defined)| Grant {
            owner: Owner {
                holder,
                incoming,
                generation,
                lease: holdfast_model::lease::StorageClass::Plain,
                intent,
                run_serial: 0,
                rest: None,
                failures: Default::default(),
                migrate_failures: 0,
                follows: Vec::new(),
                placed_by_hand: false,
                reason: String::new(),
            },
            spec: defined.then(spec),
        },
    )
}

fn pause() -> impl Strategy<Value = PauseReason> {
    prop_oneof![
        Just(PauseReason::IoError),
        Just(PauseReason::ByHand),
        Just(PauseReason::Migration),
        Just(PauseReason::Other),
    ]
}

fn domain() -> impl Strategy<Value = Domain> {
    let state = prop_oneof![
        Just(DomainState::Running),
        Just(DomainState::Created),
        pause().prop_map(|reason| DomainState::Paused { reason }),
        Just(DomainState::Receiving),
        Just(DomainState::Received),
        Just(DomainState::ShuttingDown),
    ];
    (generation(), state).prop_map(|(generation, state)| Domain {
        generation,
        own: !matches!(state, DomainState::Receiving | DomainState::Received),
        state,
    })
}

fn words() -> impl Strategy<Value = String> {
    Just("words".to_owned())
}

fn run_state() -> impl Strategy<Value = RunState> {
    let how = prop_oneof![
        Just(ExitKind::GuestShutdown),
        Just(ExitKind::Stopped),
        Just(ExitKind::SelfFenced),
        words().prop_map(|reason| ExitKind::Crashed { reason }),
        words().prop_map(|reason| ExitKind::StartFailed { reason }),
    ];
    prop_oneof![
        Just(RunState::Starting),
        Just(RunState::Running),
        pause().prop_map(|reason| RunState::Paused { reason }),
        Just(RunState::Stopping),
        Just(RunState::MigratingOut),
        words().prop_map(|reason| RunState::MigrationFailed { reason }),
        Just(RunState::MigratedAway),
        any::<bool>().prop_map(|complete| RunState::Incoming { complete }),
        Just(RunState::NotHere),
        how.prop_map(|how| RunState::Exited { how }),
        words().prop_map(|reason| RunState::Unknown { reason }),
    ]
}

fn report() -> impl Strategy<Value = VmReport> {
    (life(), generation(), run_state()).prop_map(|(incarnation, generation, state)| VmReport {
        incarnation,
        generation,
        state,
    })
}

fn job() -> impl Strategy<Value = Job> {
    let at = (NOW - 90_000..=NOW).prop_map(Instant);
    prop_oneof![
        generation().prop_map(|generation| Job::Start { generation }),
        generation().prop_map(|generation| Job::TakeOver { generation }),
        generation().prop_map(|generation| Job::Resume { generation }),
        at.prop_map(|since| Job::Shutdown { since }),
        Just(Job::Destroy),
        (generation(), any::<bool>()).prop_map(|(generation, aborting)| Job::Migrate {
            generation,
            aborting
        }),
    ]
}

fn ended() -> impl Strategy<Value = Ended> {
    let how = prop_oneof![
        words().prop_map(|reason| EndKind::StartFailed { reason }),
        Just(EndKind::GuestShutdown),
        words().prop_map(|reason| EndKind::Crashed { reason }),
        Just(EndKind::Destroyed),
        Just(EndKind::SelfFenced),
        Just(EndKind::MigratedAway),
        words().prop_map(|reason| EndKind::MigrationFailed { reason }),
    ];
    (generation(), how).prop_map(|(generation, how)| Ended { generation, how })
}

fn each<T: Clone + std::fmt::Debug>(
    one: impl Strategy<Value = T>,
    how_often: f64,
) -> impl Strategy<Value = BTreeMap<VmName, T>> {
    prop::collection::vec(option::weighted(how_often, one), 2).prop_map(|all| {
        let pairs = vms().into_iter().zip(all);
        pairs.filter_map(|(vm, one)| Some((vm, one?))).collect()
    })
}

prop_compose! {
    fn world()(
        incarnation in option::weighted(0.9, Just("i2")),
        may_act in prop_oneof![3 => Just(NOW + 3_000), 1 => NOW - 10..NOW + 10],
        left_ms in 0u64..5_000,
        guard_works in prop::bool::weighted(0.85),
        grants_known in prop::bool::weighted(0.9),
        libvirt in prop::bool::weighted(0.9),
        domains in each(domain(), 0.6),
        grants in each(grant(), 0.9),
        reports in each(report(), 0.6),
        jobs in each(job(), 0.2),
        ends in each(ended(), 0.3),
    ) -> HostWorld {
        HostWorld {
            now: Instant(NOW),
            host: "h".parse().expect("a name"),
            incarnation: incarnation.map(|name| name.parse().expect("a name")),
            may_act_until: Instant(may_act),
            deadline: Instant(may_act + left_ms),
            guard_works,
            restart: RestartPolicy::default(),
            domains: libvirt.then_some(domains),
            grants_known, grants, reports, jobs, ends,
            elsewhere: BTreeMap::new(),
        }
    }
}

fn names_this_life(world: &HostWorld, runner: Option<&Runner>) -> bool {
    runner.is_some_and(|runner| {
        runner.host == world.host && Some(&runner.incarnation) == world.incarnation.as_ref()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn the_same_world_gives_the_same_decision(world in world()) {
        prop_assert_eq!(decide(&world), decide(&world.clone()));
        settled_ends(&world);
    }

    /// Two calls for one VM at once would race: only a shutdown may be overtaken by a destroy, and
    /// a migration by its abort.
    #[test]
    fn never_a_second_call_while_one_is_under_way(world in world()) {
        for (vm, action) in decide(&world).actions {
            let Some(job) = world.jobs.get(&vm) else { continue };
            let allowed = match (job, &action) {
                (Job::Shutdown { .. }, Action::Destroy { .. })
                | (Job::Migrate { aborting: false, .. }, Action::AbortMigration) => true,
                // A request the guest did not heed within the grace is no call any more.
                (Job::Shutdown { since }, _) => {
                    let grace_ms = world.restart.shutdown_grace_ms;
                    let here = world.domains.as_ref().is_some_and(|d| d.contains_key(&vm));
                    !here || world.now.since(*since) >= grace_ms
                }
                _ => false,
            };
            prop_assert!(allowed, "{vm}: {action:?} while {job:?}");
        }
    }

    /// vCPUs are set going only for the holder, by its present life, under the very grant, with
    /// time left and a guard, and with nobody else on the way in.
    #[test]
    fn nothing_is_set_going_without_its_right(world in world()) {
        for (vm, action) in decide(&world).actions {
            let (Action::Start { generation }
            | Action::TakeOver { generation }
            | Action::Resume { generation }) = action else { continue };
            let owner = &world.grants.get(&vm).expect("a grant").owner;
            prop_assert!(world.grants_known && world.guard_works);
            prop_assert!(world.now < world.may_act_until);
            prop_assert!(world.domains.is_some());
            prop_assert!(names_this_life(&world, owner.holder.as_ref()));
            prop_assert_eq!(owner.generation, generation);
            prop_assert!(matches!(
                owner.intent,
                Intent::Run | Intent::Resume | Intent::Migrate
            ));
            if !matches!(action, Action::Start { .. }) {
                prop_assert!(owner.incoming.is_none(), "{:?} is not settled", owner.incoming);
            }
        }
    }

    /// A start needs an empty place, a generation that no report ever named, and writes its own
    /// report with it.
    #[test]
    fn a_start_is_the_first_of_its_generation(world in world()) {
        let decision = decide(&world);
        for (vm, action) in &decision.actions {
            let Action::Start { generation } = action else { continue };
            prop_assert!(!world.domains.as_ref().expect("known").contains_key(vm));
            if let Some(report) = world.reports.get(vm) {
                prop_assert!(report.generation < *generation);
            }
            let written = decision.reports.get(vm).cloned().flatten().expect("a report");
            prop_assert_eq!(written.state, RunState::Starting);
            prop_assert_eq!(written.generation, *generation);
        }
    }

    /// Reports speak for the present life and the present grant; they are taken back only when the
    /// owner record names this host no more; a final one is never said while a domain or a call is
    /// here.
    #[test]
    fn reports_say_what_is_so(world in world()) {
        for (vm, report) in decide(&world).reports {
            let grant = world.grants.get(&vm);
            let domain = world.domains.as_ref().expect("libvirt answers").get(&vm);
            let Some(report) = report else {
                let named = grant.is_some_and(|grant| {
                    grant.owner.possible_runners().any(|runner| runner.host == world.host)
                });
                prop_assert!(!named && domain.is_none(), "the leader has not moved on");
                continue;
            };
            prop_assert_eq!(Some(&report.incarnation), world.incarnation.as_ref());
            let recorded = grant.map_or(Generation(0), |grant| grant.owner.generation);
            let forgotten = domain.filter(|domain| domain.own && domain.generation > recorded);
            let told = |domain: &&Domain| domain.generation == report.generation;
            if forgotten.filter(told).is_some() {
                // The store was set back; an unsettled report of it would be no report at all.
                prop_assert!(!report.state.is_final());
                continue;
            }
            let owner = &grant.expect("a grant").owner;
            prop_assert_eq!(report.generation, owner.generation);
            prop_assert!(
                names_this_life(&world, owner.holder.as_ref())
                    || names_this_life(&world, owner.incoming.as_ref())
            );
            if report.state.is_final() {
                prop_assert!(domain.is_none(), "{:?} with {domain:?}", report.state);
                let job = world.jobs.get(&vm);
                prop_assert!(matches!(job, None | Some(Job::Shutdown { .. })), "{job:?}");
            }
        }
    }

    /// What this life was granted and the store has forgotten is neither ended nor set going.
    #[test]
    fn a_grant_that_the_store_has_forgotten_is_told_of_and_left_alone(world in world()) {
        let decision = decide(&world);
        for (vm, domain) in world.domains.iter().flatten() {
            let recorded = world.grants.get(vm).map_or(Generation(0), |grant| grant.owner.generation);
            let open = world.incarnation.is_some() && world.grants_known;
            let over = world.now >= world.deadline || world.jobs.contains_key(vm);
            if open && domain.own && domain.generation > recorded && !over {
                prop_assert_eq!(decision.actions.get(vm), None);
                let told = decision.reports.get(vm).cloned().flatten();
                let told = told.or_else(|| world.reports.get(vm).cloned());
                prop_assert_eq!(told.map(|report| report.generation), Some(domain.generation));
            }
        }
    }

    /// A running VM is ended only when its right is gone or it is asked for; never for a late
    /// acknowledgement, a guard or libvirt that does not answer, or grants not read yet.
    #[test]
    fn a_running_vm_with_its_right_is_not_ended(world in world()) {
        let decision = decide(&world);
        for (vm, domain) in world.domains.iter().flatten() {
            let Some(grant) = world.grants.get(vm) else { continue };
            let owner = &grant.owner;
            let ended = world.reports.get(vm).is_some_and(|report| {
                report.generation == owner.generation && report.state.is_final()
            });
            let running = domain.state == DomainState::Running
                && domain.generation == owner.generation;
            let wanted = names_this_life(&world, owner.holder.as_ref())
                && !matches!(owner.intent, Intent::Stop | Intent::Kill);
            if running && wanted && !ended {
                let action = decision.actions.get(vm);
                prop_assert!(
                    matches!(action, None | Some(Action::Migrate { .. } | Action::AbortMigration)),
                    "{vm}: {action:?}"
                );
            }
        }
    }

    /// A new life opens only over an empty host.
    #[test]
    fn clean_means_nothing_is_left(world in world()) {
        if decide(&world).clean {
            prop_assert!(world.domains.as_ref().is_some_and(BTreeMap::is_empty));
            let calls = world.jobs.values().filter(|job| !matches!(job, Job::Shutdown { .. }));
            prop_assert_eq!(calls.count(), 0);
        }
    }
}

/// What may happen to a guard.
#[derive(Debug, Clone)]
enum Event {
    Arm {
        life: u8,
        deadline_ms: u64,
        empty: bool,
    },
    /// An acknowledgement of a heartbeat that was sent this long ago.
    Renewed {
        life: u8,
        sent_ms_ago: u64,
    },
    Tick,
}

fn event() -> impl Strategy<Value = (u64, Event)> {
    let event = prop_oneof![
        1 => (0u8..2, prop_oneof![Just(2_000u64), Just(4_000)], any::<bool>())
            .prop_map(|(life, deadline_ms, empty)| Event::Arm { life, deadline_ms, empty }),
        4 => (0u8..2, 0u64..4_000)
            .prop_map(|(life, sent_ms_ago)| Event::Renewed { life, sent_ms_ago }),
        2 => Just(Event::Tick),
    ];
    (0u64..1_500, event)
}

fn nth_life(n: u8) -> Incarnation {
    format!("i{n}").parse().expect("a name")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// For any order of events: while the guard lets VMs of a life run, a heartbeat of that life
    /// (or its arming) was sent less than the longest declared deadline ago and acknowledged in
    /// time; and a life that was killed never runs again.
    #[test]
    fn a_life_ends_at_its_deadline_and_stays_ended(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut guard = Deadline::new();
        let mut now = Instant(10_000);
        // Per life: the latest sign of life that counts; the longest bound it ever declared; over.
        let mut sent = [Instant(0); 2];
        let mut longest_ms = [0u64; 2];
        let mut over = [false; 2];
        for (pause_ms, event) in events {
            now = now.plus(pause_ms);
            match event {
                Event::Arm { life, deadline_ms, empty } => {
                    let n = usize::from(life);
                    let bounds = RunnerBounds {
                        runner_deadline_ms: deadline_ms,
                        kill_bound_ms: 1_000,
                        watchdog_bound_ms: 0,
                    };
                    let was_armed = guard.accepts(&nth_life(life));
                    if guard.arm(nth_life(life), bounds, false, empty, now).is_ok() {
                        // In production an incarnation's name is never used again.
                        let fresh = !was_armed || longest_ms[n] == 0;
                        if fresh {
                            prop_assert!(empty || longest_ms.iter().all(|ms| *ms == 0));
                            sent[n] = now;
                            over[n] = false;
                            longest_ms[n] = deadline_ms;
                            // The other one's right ended with it.
                            over[1 - n] = longest_ms[1 - n] > 0;
                        } else {
                            longest_ms[n] = longest_ms[n].max(deadline_ms);
                        }
                    }
                }
                Event::Renewed { life, sent_ms_ago } => {
                    let n = usize::from(life);
                    let sent_at = Instant(now.0 - sent_ms_ago);
                    if let Renewal::Until { deadline } = guard.renewed(&nth_life(life), sent_at, now)
                    {
                        prop_assert!(!over[n], "revived");
                        prop_assert!(now < deadline || guard.tick(now) == Verdict::KillAll);
                        sent[n] = sent[n].max(sent_at);
                    }
                }
                Event::Tick => {}
            }
            let verdict = guard.tick(now);
            for n in 0..2u8 {
                let i = usize::from(n);
                if longest_ms[i] == 0 {
                    continue;
                }
                if now >= sent[i].plus(longest_ms[i]) {
                    prop_assert!(!guard.accepts(&nth_life(n)), "runs past its deadline");
                }
                if guard.accepts(&nth_life(n)) {
                    prop_assert_eq!(verdict, Verdict::LetRun);
                    prop_assert!(!over[i], "runs again");
                    prop_assert!(guard.next_wake(now).is_some_and(|at| at > now));
                } else {
                    over[i] = true;
                }
            }
        }
    }
}
