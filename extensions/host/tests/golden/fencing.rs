//! For fencing, over HTTP and by a fence agent.

use super::outside::{Outside, on_web, request, response};
use super::{limits_of, log, name, written};
use holdfast_extension_host::fencing::{Device, Ordered, Power};
use holdfast_extension_host::journal::Level;
use holdfast_extension_host::outside::{Action, Ended, Method, ProgramError, Programs, WebError};
use holdfast_extension_host::{Fencing, Loaded, Reach};
use holdfast_model::extension::{ExtensionKind, Rights};
use holdfast_model::id::TargetName;
use std::time::Instant;

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

pub fn fencing_0_1_0_http(loaded: &Loaded) {
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

pub fn fencing_0_1_0_agent(loaded: &Loaded) {
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
