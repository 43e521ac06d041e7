//! Who asks a device, in which order, where agents may.
#![allow(clippy::unwrap_used)]

mod common;

use common::name;
use holdfast_core::errand::{Scene, Tried, Way};
use holdfast_model::asking::{AskMeans, Asker, AskerKind, HostAsks};
use holdfast_model::errand::Addressee;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::host::{
    GuardState, HostSpec, HostState, Membership, RunnerBounds, Session, SessionState,
};
use holdfast_model::id::{HostName, ManagerName, Revision};
use holdfast_model::leader::ManagerPresence;
use holdfast_model::plan::Step;
use holdfast_model::power::{PowerAsk, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::world::{HostView, Seen};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const NOW: Instant = Instant(100_000);
const SUSPECT_AFTER_MS: u64 = 3_000;

fn seen<T>(value: T, seen_at: Instant) -> Seen<T> {
    Seen {
        value,
        revision: Revision(1),
        seen_at,
    }
}

fn session(life: &str) -> Session {
    Session {
        incarnation: name(life),
        boot_id: name("b"),
        machine_id: name("m"),
        beat: 1,
        state: SessionState::Open,
        bounds: RunnerBounds {
            runner_deadline_ms: 4_000,
            kill_bound_ms: 1_000,
            watchdog_bound_ms: 0,
        },
        guard: GuardState::Working,
        storage: None,
        version: String::new(),
    }
}

fn state(membership: Membership, life: &str) -> HostState {
    HostState {
        membership,
        incarnation: name(life),
        boot_id: name("b"),
        losses: 0,
        reason: String::new(),
    }
}

/// What the leader sees: `m-w` at w leads; managers and hosts at a and b.
struct Stage {
    managers: BTreeMap<ManagerName, Seen<ManagerPresence>>,
    hosts: BTreeMap<HostName, Arc<HostView>>,
    asks: BTreeMap<HostName, Seen<HostAsks>>,
    own: ManagerName,
    site: &'static str,
}

impl Stage {
    fn new() -> Self {
        let mut stage = Self {
            managers: BTreeMap::new(),
            hosts: BTreeMap::new(),
            asks: BTreeMap::new(),
            own: name("m-w"),
            site: "w",
        };
        for (manager, site) in [("m-a", "a"), ("m-b", "b"), ("m-w", "w")] {
            let presence = ManagerPresence {
                name: name(manager),
                site: name(site),
                api: String::new(),
                life: format!("{manager}-1"),
                version: String::new(),
                beat: 1,
                extensions: BTreeMap::new(),
                shadows: BTreeMap::new(),
            };
            let there = seen(presence, Instant(99_000));
            stage.managers.insert(name(manager), there);
        }
        for host in ["a1", "a2", "b1", "b2"] {
            stage.host(host, Membership::Online);
        }
        stage
    }

    fn host(&mut self, host: &str, membership: Membership) {
        let life = format!("{host}-i");
        let spec = HostSpec {
            name: name(host),
            site: name(&host[..1]),
            maintenance: false,
        };
        let view = HostView {
            spec: Some(seen(spec, NOW)),
            session: Some(seen(session(&life), Instant(99_500))),
            state: Some(seen(state(membership, &life), NOW)),
            ..HostView::default()
        };
        self.hosts.insert(name(host), Arc::new(view));
        let asks = HostAsks {
            incarnation: name(&life),
            life: format!("{host}-1"),
            means: AskMeans {
                programs: [name("fence_x")].into(),
                ..AskMeans::default()
            },
            newest: Default::default(),
        };
        self.asks.insert(name(host), seen(asks, NOW));
    }

    fn change(&mut self, host: &str, change: impl FnOnce(&mut HostView)) {
        change(Arc::make_mut(
            self.hosts.get_mut(&name::<HostName>(host)).unwrap(),
        ));
    }

    fn way(&self, tried: &mut Tried, device: &FenceDevice, able: bool) -> Way {
        self.way_of(tried, &ask("a1-i"), device, able)
    }

    fn way_of(&self, tried: &mut Tried, ask: &PowerAsk, device: &FenceDevice, able: bool) -> Way {
        let site = name(self.site);
        let scene = Scene {
            managers: &self.managers,
            hosts: &self.hosts,
            asks: &self.asks,
            own: &self.own,
            site: &site,
            now: NOW,
            suspect_after_ms: SUSPECT_AFTER_MS,
        };
        tried.way(ask, device, able, scene)
    }

    /// All who could, with nobody tried.
    fn first(&self, device: &FenceDevice) -> Vec<String> {
        shown(&self.way(&mut Tried::default(), device, true))
    }
}

/// About a1.
fn ask(life: &str) -> PowerAsk {
    PowerAsk {
        host: name("a1"),
        incarnation: name(life),
        session_revision: Revision(5),
        device: name("board"),
        attempt: 1,
        step: Step {
            writes: Vec::new(),
            events: Vec::new(),
            why: String::new(),
        },
    }
}

fn device(askers: &[AskerKind], from: &[&str]) -> FenceDevice {
    let mut device = FenceDevice::by_agent(name("fence_x"), BTreeMap::new(), 5_000);
    device.hosts = vec![name("a1"), name("a2")];
    device.askers = askers.to_vec();
    device.from = from.iter().map(|site| name(site)).collect();
    device
}

const BOTH: [AskerKind; 2] = [AskerKind::Managers, AskerKind::Agents];

fn shown(way: &Way) -> Vec<String> {
    match way {
        Way::Here => vec!["here".to_owned()],
        Way::There(others) => others.iter().map(|to| to.asker().to_string()).collect(),
    }
}

fn agent(host: &str) -> Asker {
    Asker::Agent(name(host))
}

fn manager(manager: &str) -> Asker {
    Asker::Manager(name(manager))
}

fn nothing() -> PowerState {
    PowerState::Unknown {
        reason: "no answer".to_owned(),
    }
}

#[test]
fn agents_are_asked_only_where_the_policy_lets_them() {
    let stage = Stage::new();
    for askers in [&[][..], &[AskerKind::Managers]] {
        assert_eq!(stage.first(&device(askers, &[])), ["here"]);
        assert_eq!(stage.first(&device(askers, &["a"])), ["m-a"]);
    }
    let agents = [AskerKind::Agents];
    assert_eq!(
        stage.first(&device(&agents, &[])),
        ["the agent of a2", "the agent of b1"],
        "never a1's own; those of its site first"
    );
    assert_eq!(
        stage.first(&device(&agents, &["b"])),
        ["the agent of b1", "the agent of b2"]
    );
    assert_eq!(stage.first(&device(&agents, &["w"])), Vec::<String>::new());
}

#[test]
fn the_leader_comes_first_then_managers_then_agents_those_of_the_host_s_site_before_others() {
    let stage = Stage::new();
    let both = device(&BOTH, &[]);
    assert_eq!(stage.first(&both), ["here"]);
    // It has nothing to ask it with.
    let mut tried = Tried::default();
    assert_eq!(
        shown(&stage.way(&mut tried, &both, false)),
        ["m-a", "m-b", "the agent of a2", "the agent of b1"]
    );
    assert_eq!(
        stage.first(&device(&BOTH, &["a"])),
        ["m-a", "the agent of a2"]
    );
    // One that is long gone holds nobody up.
    let mut stage = stage;
    let m_a = stage.managers.get_mut(&name::<ManagerName>("m-a")).unwrap();
    m_a.seen_at = Instant(NOW.0 - 30_000);
    assert_eq!(stage.first(&device(&BOTH, &["a"])), ["the agent of a2"]);
}

#[test]
fn who_asked_in_vain_comes_after_the_others_until_all_had_their_turn() {
    let stage = Stage::new();
    let (both, ask) = (device(&BOTH, &[]), ask("a1-i"));
    let mut tried = Tried::default();
    let mut next = |by: Option<Asker>, state: PowerState, passed: &[Asker]| {
        tried.note(&ask, by.as_ref(), &state, passed.iter().cloned());
        shown(&stage.way(&mut tried, &both, true))
    };
    assert_eq!(next(None, nothing(), &[]), ["here"]);
    let all = ["m-a", "m-b", "the agent of a2", "the agent of b1"];
    assert_eq!(next(Some(manager("m-w")), nothing(), &[]), all);
    // It says on: who asked it reaches it, and its turn is not over.
    assert_eq!(next(Some(manager("m-a")), PowerState::On, &[]), all);
    let rest = ["the agent of a2", "the agent of b1"];
    assert_eq!(
        next(Some(manager("m-b")), nothing(), &[manager("m-a")]),
        rest
    );
    assert_eq!(
        next(None, nothing(), &[agent("a2"), agent("b1")]),
        ["the agent of b2"]
    );
    assert_eq!(
        next(Some(agent("b2")), nothing(), &[]),
        ["here"],
        "all of them anew"
    );
}

#[test]
fn another_life_of_the_host_begins_anew() {
    let stage = Stage::new();
    let both = device(&BOTH, &[]);
    let mut tried = Tried::default();
    assert_eq!(stage.way(&mut tried, &both, true), Way::Here);
    tried.note(&ask("a1-i"), Some(&manager("m-w")), &nothing(), []);
    assert_ne!(stage.way(&mut tried, &both, true), Way::Here);
    let way = stage.way_of(&mut tried, &ask("a1-j"), &both, true);
    assert_eq!(way, Way::Here);
    // What came of the earlier life says nothing of this one.
    tried.note(&ask("a1-i"), Some(&manager("m-w")), &nothing(), []);
    assert_eq!(
        stage.way_of(&mut tried, &ask("a1-j"), &both, true),
        Way::Here
    );
}

#[test]
fn only_agents_of_hosts_that_stand_and_have_what_it_takes() {
    let agents = device(&[AskerKind::Agents], &["a"]);
    let fit = ["the agent of a2"];
    let with = |change: &dyn Fn(&mut Stage)| {
        let mut stage = Stage::new();
        change(&mut stage);
        stage.first(&agents)
    };
    assert_eq!(with(&|_| {}), fit);
    assert_eq!(
        with(&|stage| stage.host("a2", Membership::Maintenance)),
        fit
    );
    for membership in [
        Membership::Suspect,
        Membership::Isolated,
        Membership::Fenced,
        Membership::Rejoining,
    ] {
        let found = with(&|stage| stage.host("a2", membership));
        assert_eq!(found, Vec::<String>::new(), "{membership:?}");
    }
    type Change = fn(&mut Session);
    let changes: [(&str, Change); 2] = [
        ("closed", |session| session.state = SessionState::Closed),
        ("another life", |session| {
            session.incarnation = "a2-j".parse().unwrap()
        }),
    ];
    for (what, change) in changes {
        let found = with(&|stage| {
            stage.change("a2", |view| {
                change(&mut view.session.as_mut().unwrap().value)
            });
        });
        assert_eq!(found, Vec::<String>::new(), "{what}");
    }
    let silent = with(&|stage| {
        stage.change("a2", |view| {
            view.session.as_mut().unwrap().seen_at = Instant(NOW.0 - SUSPECT_AFTER_MS);
        });
    });
    assert_eq!(silent, Vec::<String>::new());
    let bare = with(&|stage| {
        let asks = stage.asks.get_mut(&name::<HostName>("a2")).unwrap();
        asks.value.means = AskMeans::default();
    });
    assert_eq!(bare, Vec::<String>::new());
}

proptest! {
    /// Whoever has asked in vain or been passed by, nobody is asked twice before all have had their turn; nobody is
    /// asked who may not be, or about its own host; and somebody is asked as long as anybody could.
    #[test]
    fn each_has_a_turn(
        askers in prop::sample::subsequence(BOTH.to_vec(), 1..=2),
        from in prop::sample::subsequence(vec!["a", "b", "w"], 0..=3),
        memberships in prop::collection::vec(any::<bool>(), 4),
        able in any::<bool>(),
        ends in prop::collection::vec((any::<bool>(), 0..3usize), 1..24),
    ) {
        let mut stage = Stage::new();
        for (host, good) in ["a1", "a2", "b1", "b2"].into_iter().zip(&memberships) {
            stage.host(host, if *good { Membership::Online } else { Membership::Suspect });
        }
        let (device, ask) = (device(&askers, &from), ask("a1-i"));
        let mut tried = Tried::default();
        let mut asked: BTreeSet<Asker> = BTreeSet::new();
        let mut most = 0;
        for (answers, passed) in ends {
            let way = stage.way(&mut tried, &device, able);
            let line: Vec<Asker> = match &way {
                Way::Here => vec![manager("m-w")],
                Way::There(others) => others.iter().map(Addressee::asker).collect(),
            };
            if way == Way::Here {
                prop_assert!(device.is_reached_from(&name("w")));
                prop_assert!(able || !device.lets(AskerKind::Agents));
            }
            for asker in &line {
                prop_assert!(device.lets(asker.kind()));
                prop_assert_ne!(asker, &agent("a1"));
                if let Asker::Agent(host) = asker {
                    let at = ["a1", "a2", "b1", "b2"].iter().position(|name| *name == host.as_str());
                    prop_assert!(memberships[at.unwrap()], "a suspect host is asked");
                }
            }
            if device.lets(AskerKind::Agents) {
                if line.iter().any(|asker| asked.contains(asker)) {
                    prop_assert!(line.iter().all(|asker| asked.contains(asker)));
                    prop_assert!(asked.len() >= most, "not all have had their turn");
                    asked.clear();
                }
                // The first ones do not do it; the next one asks.
                let passed: Vec<Asker> = line.iter().take(passed).cloned().collect();
                let by = line.get(passed.len());
                let state = if answers { PowerState::On } else { nothing() };
                tried.note(&ask, by, &state, passed.iter().cloned());
                asked.extend(passed);
                if !answers {
                    asked.extend(by.cloned());
                }
                most = most.max(asked.len());
            }
        }
    }
}
