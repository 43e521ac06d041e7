//! What an event handler is told: everyday events, and odd ones that real clusters have or will have.

use crate::events::Told;
use holdfast_model::event::EventKind;

/// Most events that one call is told.
const MANY: usize = 50;
/// Characters of a text that is longer than any.
const LONG: usize = 20_000;

/// Events with what is special about them.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// In a few words.
    pub name: &'static str,
    /// They are such that a handler has no reason not to take them.
    pub plain: bool,
    /// What it is told.
    pub events: Vec<Told>,
}

/// The largest everyday batch: what limits are held against.
pub(super) const MANY_NAME: &str = "50 events";

/// All of them. What is odd about single events is so about events of this kind: one that it heeds.
pub(super) fn all(heeded: &str) -> Vec<Asked> {
    let asked = |name, plain, events| Asked {
        name,
        plain,
        events,
    };
    let kinds = every_kind;
    vec![
        asked("no events", true, Vec::new()),
        one(heeded),
        asked("every kind there is", true, kinds().collect()),
        asked(MANY_NAME, true, kinds().cycle().take(MANY).collect()),
        asked("kinds that are yet to come", true, unknown()),
        asked(
            "events about nothing",
            true,
            kinds().map(about_nothing).collect(),
        ),
        asked(
            "machines that move, that nobody has, that are not there",
            true,
            elsewhere(),
        ),
        asked(
            "63-character names",
            true,
            kinds().map(long_names).collect(),
        ),
        asked("times that make no sense", true, times(heeded)),
        asked("odd texts", false, texts(heeded)),
        asked("very long texts", false, long(heeded)),
    ]
}

/// A single event.
pub(super) fn one(kind: &str) -> Asked {
    Asked {
        name: "1 event",
        plain: true,
        events: vec![event(kind)],
    }
}

/// One of each kind there is.
pub(super) fn every_kind() -> impl Iterator<Item = Told> + Clone {
    EventKind::ALL.iter().map(|kind| event(kind.word()))
}

fn event(kind: &str) -> Told {
    Told {
        at_unix_ms: 1_764_000_000_000,
        actor: "m-a".to_owned(),
        kind: kind.to_owned(),
        host: Some("a1".to_owned()),
        site: Some("a".to_owned()),
        vm: Some("web-1".to_owned()),
        text: format!("made up: {kind}"),
    }
}

pub(super) fn unknown() -> Vec<Told> {
    let words = [
        "site-painted",
        "x",
        "",
        "Host-Fenced",
        "host_fenced",
        "vm-granted2",
        "ü-💥",
    ];
    words.map(event).into()
}

fn about_nothing(event: Told) -> Told {
    Told {
        host: None,
        site: None,
        vm: None,
        text: String::new(),
        ..event
    }
}

/// Of all that is told of machines: what the records say is another thing for each of these.
fn elsewhere() -> Vec<Told> {
    let about = ["db-1", "off-1", "new-1", "gone-1"];
    let kinds = every_kind().filter(|event| event.kind.starts_with("vm-"));
    let told = kinds.flat_map(|event| {
        about.map(|vm| Told {
            vm: Some(vm.to_owned()),
            ..event.clone()
        })
    });
    told.collect()
}

fn long_names(event: Told) -> Told {
    let name = Some("n".repeat(63));
    Told {
        actor: "m".repeat(63),
        host: name.clone(),
        site: name.clone(),
        vm: name,
        ..event
    }
}

fn times(kind: &str) -> Vec<Told> {
    // The later one first, and both ends.
    let times = [u64::MAX, 1_764_000_000_000, 0, 1, 253_402_300_800_000];
    let at = |at_unix_ms| Told {
        at_unix_ms,
        ..event(kind)
    };
    times.map(at).into()
}

fn texts(kind: &str) -> Vec<Told> {
    let texts = [
        "two\nlines\r\nand a third",
        "\"quotes\" 'and' \\backslashes\\ {\"and\": \"json\"}",
        "\u{0} \u{1b}[31mred\u{1b}[0m \u{7f} \u{2028}",
        "ü ж 你好 💥 e\u{301} \u{202e}backwards",
        "<script>&amp; %s {} ${x} `id` $(id)",
        "   ",
    ];
    let with = |text: &str| Told {
        text: text.to_owned(),
        ..event(kind)
    };
    texts.map(with).into()
}

fn long(kind: &str) -> Vec<Told> {
    let with = |text: String| Told {
        text,
        ..event(kind)
    };
    vec![with("x".repeat(LONG)), with("💥\n".repeat(LONG / 8))]
}
