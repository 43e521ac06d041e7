//! Golden guests: what was built with a released contract gets from the present host what it was built for, and is
//! understood by it ([how they are made](golden/README.md)). What fails here would fail where it is installed.

mod common;

use common::{RUNTIME, limits, question};
use holdfast_extension_host::events::Told;
use holdfast_extension_host::fencing::{Device, Ordered, Power};
use holdfast_extension_host::journal::{Journal, Level};
use holdfast_extension_host::outside::{
    Action, Ended, Method, Output, ProbeError, Probes, ProgramError, Programs, Request, Response,
    Space, Web, WebError,
};
use holdfast_extension_host::storage_check::{Answer, Domain, Findings};
use holdfast_extension_host::{
    CallError, EventHandler, Fencing, Loaded, Placement, Reach, StorageCheck,
};
use holdfast_model::advice::{Question, Said, Score};
use holdfast_model::extension::{ExtensionKind, Limits, Rights};
use holdfast_model::id::TargetName;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Asks one, and holds what it answers against what it did when it was released.
type Ask = fn(&Loaded);

/// Each of them.
const ALL: [(&str, Ask); 5] = [
    ("placement-0.1.0", placement_0_1_0),
    ("fencing-0.1.0-http", fencing_0_1_0_http),
    ("fencing-0.1.0-agent", fencing_0_1_0_agent),
    ("storage-check-0.1.0", storage_check_0_1_0),
    ("events-0.1.0", events_0_1_0),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn loaded(name: &str) -> Loaded {
    let path = folder().join(format!("{name}.wat"));
    let wasm = wat::parse_file(&path).unwrap_or_else(|error| panic!("{error}"));
    Loaded::compile(&RUNTIME, &wasm)
        .unwrap_or_else(|error| panic!("this host does not take {name} any more: {error}"))
}

#[test]
fn golden_guests_are_answered_and_understood_as_when_they_were_released() {
    for (name, ask) in ALL {
        println!("{name}");
        ask(&loaded(name));
    }
}

/// That they pass means something: with one field named otherwise it would not.
#[test]
fn a_contract_that_differs_in_a_name_is_found() {
    let path = folder().join("placement-0.1.0.wat");
    let text = std::fs::read_to_string(&path).expect("a golden guest");
    let other = text.replace("\"vcpus-used\"", "\"vcpus-taken\"");
    assert_ne!(other, text);
    let wasm = wat::parse_str(other).expect("a component");
    let loaded = Loaded::compile(&RUNTIME, &wasm).expect("one for placement");
    let placement = Placement::new(&loaded, limits(), true);
    let said = placement.map(|placement| placement.ask(&question(3)).said);
    let words = match said {
        Ok(Ok(said)) => panic!("it answers {said:?}"),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    assert!(words.contains("vcpus-taken"), "{words}");
}

#[test]
fn none_is_left_out() {
    let read = std::fs::read_dir(folder()).expect("the golden guests");
    let paths = read.map(|entry| entry.expect("an entry").path());
    let found: BTreeSet<String> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "wat"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into())
        .collect();
    let asked: BTreeSet<String> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(asked, found);
}

fn name(text: &str) -> TargetName {
    text.parse().expect("a name")
}

fn log() -> Rights {
    Rights {
        log: true,
        ..Rights::default()
    }
}

/// Those of its kind, but for the clock: this machine may be busy with other tests.
fn limits_of(kind: ExtensionKind) -> Limits {
    Limits {
        wall_ms: 60_000,
        ..kind.default_limits()
    }
}

fn written(journal: &Journal) -> Vec<(Level, String)> {
    let lines = journal.lines().0.into_iter();
    lines.map(|line| (line.level, line.text)).collect()
}

fn placement_0_1_0(loaded: &Loaded) {
    let placement = Placement::new(loaded, limits(), true).expect("it fits");
    let mut asked = question(3);
    for (candidate, free_mib) in asked.candidates.iter_mut().zip([32_768, 16_384, 49_152]) {
        candidate.memory_free_mib = free_mib;
    }
    let labels = common::labels(&[("rack", "r1"), ("no-go", "it is being rebuilt")]);
    asked.candidates[1].labels = Arc::new(labels);
    let asked = common::with_peer(asked, 2);
    let said = |question: &Question| placement.ask(question).said;
    let refusals = vec![None, Some("it is being rebuilt".to_owned()), None];
    let answer = |scores: [f64; 3]| {
        let scores = scores.map(|score| Score::new(score).expect("a score"));
        Ok(Said::Answer {
            refusals: refusals.clone(),
            scores: scores.into(),
        })
    };
    // 50, 25 and 75 % are free, with 0, 1 and 2 machines.
    assert_eq!(said(&asked), answer([50.0, 24.0, 73.0]));
    let mut live = asked.clone();
    live.vm.live = true;
    live.vm.last_host = Some("h002".parse().expect("a name"));
    assert_eq!(said(&live), answer([25.0, 12.0, 36.5]));
    let none = CallError::Refused("there is no candidate".to_owned());
    assert_eq!(said(&question(0)), Err(none));
    let about = (Level::Info, "web-1".to_owned());
    assert_eq!(written(placement.journal()), vec![about; 3]);
}

/// Answers as it is told, and keeps what it was asked.
struct Outside<Q, A> {
    answer: A,
    asked: Mutex<Vec<Q>>,
}

impl<Q, A> Outside<Q, A> {
    fn new(answer: A) -> Arc<Self> {
        Arc::new(Self {
            answer,
            asked: Mutex::default(),
        })
    }

    fn asked(&self, question: Q) {
        self.asked.lock().expect("no panic").push(question);
    }

    fn taken(&self) -> Vec<Q> {
        std::mem::take(&mut *self.asked.lock().expect("no panic"))
    }
}

type Answered = Result<Response, WebError>;

impl Web for Outside<Request, Answered> {
    fn send(&self, request: &Request, _: Instant) -> Answered {
        self.asked(request.clone());
        self.answer.clone()
    }
}

fn response(status: u16, body: &str) -> Answered {
    Ok(Response {
        status,
        body: body.to_owned(),
    })
}

fn request(target: &str, method: Method, path: &str, body: Option<&str>) -> Vec<Request> {
    vec![Request {
        about: "a golden guest".to_owned(),
        target: name(target),
        method,
        path: path.to_owned(),
        body: body.map(str::to_owned),
    }]
}

/// Of one role, bound to a name of the operator's.
fn on_web(web: &Arc<Outside<Request, Answered>>, role: &str, bound: &str) -> Reach {
    let requests = ["GET /*".to_owned(), "POST /*".to_owned()].into();
    Reach {
        about: "a golden guest".to_owned(),
        rights: Rights {
            http: [(name(role), requests)].into(),
            ..log()
        },
        bound: [(name(role), name(bound))].into(),
        web: Some(web.clone()),
        ..Reach::default()
    }
}

fn device(settings: &[(&str, &str)]) -> Device {
    let settings = settings.iter();
    Device {
        host: "a1".to_owned(),
        name: "board-of-a1".to_owned(),
        settings: settings
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn fencing_0_1_0_http(loaded: &Loaded) {
    let fencing = Fencing::new(loaded, limits_of(ExtensionKind::Fencing)).expect("it fits");
    let of_a1 = device(&[("path", "/power/a1"), ("other", "not asked for")]);
    let why = |words: &str| words.to_owned();
    let lost = || Err(WebError::Unanswered(why("nothing in time")));
    let away = || Err(WebError::Unreachable(why("no way to it")));
    for (answer, power) in [
        (response(200, "on"), Power::On),
        (response(200, "off"), Power::Off),
        (response(200, "offline"), Power::Unknown(why("offline"))),
        (response(503, "busy"), Power::Unknown(why("busy"))),
        (lost(), Power::Unknown(why("nothing in time"))),
        (away(), Power::Unknown(why("no way to it"))),
    ] {
        let board = Outside::new(answer);
        let called = fencing.status(&of_a1, on_web(&board, "board", "bmc-a1"));
        assert_eq!(called.answer, Ok(power));
        let get = request("bmc-a1", Method::Get, "/power/a1", None);
        assert_eq!(board.taken(), get);
    }
    assert!(
        fencing.journal().lines().0.is_empty(),
        "looking is not told"
    );
    for (answer, ordered) in [
        (response(202, ""), Ordered::Accepted),
        (response(304, ""), Ordered::Already),
        (response(409, "in use"), Ordered::Refused(why("in use"))),
        (response(500, "broken"), Ordered::Unknown(why("broken"))),
        (lost(), Ordered::Unknown(why("nothing in time"))),
        (away(), Ordered::Refused(why("no way to it"))),
    ] {
        let board = Outside::new(answer);
        let called = fencing.off(&of_a1, on_web(&board, "board", "bmc-a1"));
        assert_eq!(called.answer, Ok(ordered.clone()));
        let called = fencing.on(&of_a1, on_web(&board, "board", "bmc-a1"));
        assert_eq!(called.answer, Ok(ordered));
        let orders = ["off", "on"];
        let orders = orders.map(|word| request("bmc-a1", Method::Post, "/power/a1", Some(word)));
        assert_eq!(board.taken(), orders.concat());
    }
    let off = (Level::Warn, "a1".to_owned());
    assert_eq!(written(fencing.journal()), vec![off; 6]);
    // What is not granted is the guest's to tell.
    let board = Outside::new(response(202, ""));
    let mut reach = on_web(&board, "board", "bmc-a1");
    reach.rights.http.clear();
    let called = fencing.off(&of_a1, reach);
    let Ok(Ordered::Unknown(words)) = called.answer else {
        panic!("{:?}", called.answer);
    };
    assert!(words.contains("`board` is not granted"), "{words}");
    assert!(board.taken().is_empty());
    let called = fencing.status(&device(&[]), Reach::default());
    assert_eq!(called.answer, Ok(Power::Unknown(why("no path is set"))));
}

type Run = (TargetName, Action, Vec<(String, String)>);
type RunEnded = Result<Ended, ProgramError>;

impl Programs for Outside<Run, RunEnded> {
    fn run(
        &self,
        program: &TargetName,
        action: Action,
        arguments: &[(String, String)],
        _: Instant,
    ) -> RunEnded {
        self.asked((program.clone(), action, arguments.to_vec()));
        self.answer.clone()
    }
}

fn fencing_0_1_0_agent(loaded: &Loaded) {
    let fencing = Fencing::new(loaded, limits_of(ExtensionKind::Fencing)).expect("it fits");
    let of_a1 = device(&[("ip", "192.0.2.1"), ("password_file", "a1")]);
    let ended = |exit_code, said: &str| {
        Ok(Ended {
            exit_code,
            said: said.to_owned(),
        })
    };
    let unknown = |words: &str| (Power::Unknown(words.into()), Ordered::Unknown(words.into()));
    let refused = |words: &str| (Power::Unknown(words.into()), Ordered::Refused(words.into()));
    let not_started = || Err(ProgramError::NotStarted("no memory".to_owned()));
    let unanswered = || Err(ProgramError::Unanswered("it was killed".to_owned()));
    for (answer, (power, ordered)) in [
        (ended(Some(0), "done"), (Power::On, Ordered::Accepted)),
        (
            ended(Some(2), "is off"),
            (Power::Off, Ordered::Refused("is off".to_owned())),
        ),
        (ended(Some(-7), "no"), refused("no")),
        (ended(None, "a signal"), unknown("a signal")),
        (not_started(), refused("no memory")),
        (unanswered(), unknown("it was killed")),
    ] {
        let program = Outside::new(answer);
        let reach = || Reach {
            rights: Rights {
                programs: [name("agent")].into(),
                ..log()
            },
            bound: [(name("agent"), name("fence-ipmilan"))].into(),
            programs: Some(program.clone()),
            ..Reach::default()
        };
        assert_eq!(fencing.status(&of_a1, reach()).answer, Ok(power));
        assert_eq!(fencing.off(&of_a1, reach()).answer, Ok(ordered.clone()));
        assert_eq!(fencing.on(&of_a1, reach()).answer, Ok(ordered));
        let actions = [Action::Status, Action::Off, Action::On];
        let run = |action| (name("fence-ipmilan"), action, of_a1.settings.clone());
        assert_eq!(program.taken(), actions.map(run));
    }
    let off = (Level::Error, "board-of-a1".to_owned());
    assert_eq!(written(fencing.journal()), vec![off; 6]);
}

type Looks = (
    Result<Space, ProbeError>,
    Result<u64, ProbeError>,
    Result<Output, ProbeError>,
);

impl Probes for Outside<String, Looks> {
    fn usage(&self, path: &TargetName, _: Instant) -> Result<Space, ProbeError> {
        self.asked(format!("usage {path}"));
        self.answer.0.clone()
    }

    fn read_latency(&self, path: &TargetName, _: Instant) -> Result<u64, ProbeError> {
        self.asked(format!("read-latency {path}"));
        self.answer.1.clone()
    }

    fn command(&self, command: &TargetName, _: Instant) -> Result<Output, ProbeError> {
        self.asked(format!("command {command}"));
        self.answer.2.clone()
    }
}

fn storage_check_0_1_0(loaded: &Loaded) {
    let space = |read_only| {
        Ok(Space {
            total_bytes: 4 << 40,
            free_bytes: 2 << 40,
            read_only,
            kind: "fuse.glusterfs".to_owned(),
        })
    };
    let output = |exit_code, cut| {
        Ok(Output {
            exit_code,
            stdout: "3 entries".to_owned(),
            stderr: "no quorum".to_owned(),
            cut,
        })
    };
    let no = |words: &str| Answer::No(words.to_owned());
    let unknown = |words: &str| Answer::Unknown(words.to_owned());
    let yes = || Answer::Yes;
    let failed = || ProbeError::Failed("I/O error".to_owned());
    let late = || ProbeError::TimedOut("nothing in time".to_owned());
    let nothing = || ProbeError::NoName("there is none".to_owned());
    let cases: [(Looks, [Answer; 3]); 6] = [
        (
            (space(false), Ok(400), output(Some(0), false)),
            [yes(), yes(), yes()],
        ),
        (
            (space(false), Ok(1_000_001), output(Some(1), false)),
            [yes(), no("slow"), no("3 entries")],
        ),
        (
            (space(true), Ok(1_000_000), output(None, false)),
            [yes(), no("fuse.glusterfs"), unknown("no quorum")],
        ),
        (
            (Err(failed()), Err(failed()), Err(failed())),
            [unknown("I/O error"), no("I/O error"), unknown("I/O error")],
        ),
        (
            (Err(late()), Err(late()), output(Some(0), true)),
            [
                unknown("nothing in time"),
                unknown("nothing in time"),
                unknown("no quorum"),
            ],
        ),
        (
            (space(false), Ok(u64::MAX), Err(nothing())),
            [yes(), no("slow"), unknown("there is none")],
        ),
    ];
    let domain = Domain {
        name: "own".to_owned(),
        path: "/srv/holdfast".to_owned(),
        settings: vec![("max_read_ms".to_owned(), "1000".to_owned())],
    };
    for (looks, [reachable, usable, synced]) in cases {
        let storage = Outside::new(looks);
        let reach = Reach {
            rights: Rights {
                paths: [name("storage")].into(),
                commands: [name("heal")].into(),
                ..log()
            },
            probes: Some(storage.clone()),
            ..Reach::default()
        };
        let limits = limits_of(ExtensionKind::StorageCheck);
        let check = StorageCheck::new(loaded, limits, reach).expect("it fits");
        let findings = Findings {
            reachable,
            usable,
            synced,
        };
        assert_eq!(check.check(&domain).answer, Ok(findings));
        let looks = ["usage storage", "read-latency storage", "command heal"];
        assert_eq!(storage.taken(), looks);
        let path = (Level::Debug, "/srv/holdfast".to_owned());
        assert_eq!(written(check.journal()), [path]);
    }
}

fn events_0_1_0(loaded: &Loaded) {
    let event = |kind: &str, host: Option<&str>, text: &str| Told {
        at_unix_ms: 1_764_000_000_000,
        actor: "m-a".to_owned(),
        kind: kind.to_owned(),
        host: host.map(str::to_owned),
        site: Some("a".to_owned()),
        vm: None,
        text: text.to_owned(),
    };
    let events = [
        event("host-fenced", Some("a1"), "its lease has expired"),
        event("site-painted", None, "green, as it is on a good day: ✔"),
    ];
    let refused = |words: &str| Err(CallError::Refused(words.to_owned()));
    for (answer, ended) in [
        (response(200, "ok"), Ok(())),
        (response(204, ""), refused("it was not taken")),
        (
            Err(WebError::Unreachable("no way to it".to_owned())),
            refused("no way to it"),
        ),
    ] {
        let limits = limits_of(ExtensionKind::Events);
        let handler = EventHandler::new(loaded, limits).expect("it fits");
        let hook = Outside::new(answer);
        let reach = || on_web(&hook, "webhook", "ops-hook");
        assert_eq!(handler.handle(&events, reach()).answer, ended);
        let post = request("ops-hook", Method::Post, "/", Some("site-painted"));
        assert_eq!(hook.taken(), post);
        let lines = [
            (Level::Info, events[0].text.clone()),
            (Level::Warn, events[1].text.clone()),
        ];
        assert_eq!(written(handler.journal()), lines);
        let nothing = handler.handle(&[], reach()).answer;
        assert_eq!(nothing, refused("nothing was told"));
    }
}
