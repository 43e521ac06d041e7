//! A shadow that is slow, fails, and is replaced: without any sandbox.

use super::*;
use crate::made_up::installed;
use holdfast_model::extension::ExtensionKind;
use holdfast_model::shadow::{Counts, DIFFERENCES_MAX, Differs, difference};
use holdfast_model::standing::Level;
use holdfast_model::time::UnixMs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// Every wait ends in a clear failure after this.
const WAIT: Duration = Duration::from_secs(60);

/// Tells that it is asked, then answers when the test lets it.
struct Slow {
    begun: Mutex<Sender<u64>>,
    go: Mutex<Receiver<Judged>>,
    rests: AtomicBool,
    _ends: Ends,
}

/// Tells that nobody has it any more.
struct Ends(Sender<u64>);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.send(u64::MAX);
    }
}

/// What it has to say for itself.
fn line() -> Line {
    Line {
        at: UnixMs(1),
        level: Level::Warn,
        text: "it is slow".to_owned(),
    }
}

impl Candidate for Slow {
    type Heard = u64;
    type Means = ();

    const QUEUE: usize = 2;
    const NICE: i32 = 19;

    fn is_wanted((): &(), installed: &Installed) -> bool {
        installed.manifest.kind == ExtensionKind::Placement
    }

    fn is_known(&self, heard: &u64) -> bool {
        *heard == 0
    }

    fn ask(&self, heard: u64) -> Asked {
        self.begun
            .lock()
            .expect("no panic")
            .send(heard)
            .expect("the test");
        let judged = self.go.lock().expect("no panic").recv().expect("the test");
        Asked {
            cpu: Duration::from_micros(heard),
            memory_bytes: 1 << 20,
            judged,
        }
    }

    fn rests(&self) -> bool {
        self.rests.load(Ordering::Relaxed)
    }

    fn lines(&self) -> Vec<Line> {
        vec![line()]
    }
}

fn candidate(version: &str) -> Installed {
    installed(name(), version)
}

fn name() -> ExtensionName {
    "spread".parse().expect("a name")
}

/// One that is ready, with what it tells and what lets it answer.
fn ready(version: &str) -> (Shadows<Slow>, Receiver<u64>, Sender<Judged>) {
    let shadows = Shadows::<Slow>::default();
    let candidate = candidate(version);
    let to_load = shadows.take_in(vec![candidate.clone()]);
    assert!(to_load.iter().eq([&candidate]));
    let (begun, begins) = channel();
    let (go, goes) = channel();
    let slow = Slow {
        begun: Mutex::new(begun.clone()),
        go: Mutex::new(goes),
        rests: AtomicBool::new(false),
        _ends: Ends(begun),
    };
    shadows.begin(&candidate, slow);
    (shadows, begins, go)
}

fn counts(shadows: &Shadows<Slow>) -> Counts {
    shadows.standings()[&name()].counts
}

fn until(shadows: &Shadows<Slow>, what: &str, wanted: impl Fn(Counts) -> bool) {
    let begin = Instant::now();
    while !wanted(counts(shadows)) {
        assert!(begin.elapsed() < WAIT, "{what}: {:?}", counts(shadows));
        std::thread::yield_now();
    }
}

fn differs() -> Judged {
    let differs = Differs {
        verdicts: true,
        ..Differs::default()
    };
    Judged::Compared(differs, Some(difference(UnixMs(1), None, Vec::new())))
}

#[test]
fn while_it_is_slow_questions_are_skipped_and_nobody_waits() {
    let (shadows, begins, go) = ready("2.0.0");
    shadows.hear(&name(), 7);
    assert_eq!(begins.recv_timeout(WAIT), Ok(7), "it is being asked");
    // It does not answer: this thread goes on all the same, with two that wait for it.
    for heard in 1..=5 {
        shadows.hear(&name(), heard);
    }
    assert_eq!((counts(&shadows).skipped, counts(&shadows).asked), (3, 0));
    for _ in 0..3 {
        go.send(Judged::Compared(Differs::default(), None))
            .expect("it waits");
    }
    until(&shadows, "three answers", |counts| counts.agreed == 3);
    assert_eq!(counts(&shadows).asked, 3);
    let told: Vec<u64> = begins.try_iter().collect();
    assert_eq!(told, [1, 2], "in their order");
    let standing = &shadows.standings()[&name()];
    assert_eq!((standing.costs.calls, standing.costs.cpu_p99_us), (3, 2));
    let wrote: Vec<&str> = standing.log.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(wrote, ["it is slow"], "what it wants to be told is");
    // Another one has no shadow.
    shadows.hear(&"other".parse().expect("a name"), 1);
    assert_eq!(shadows.standings().len(), 1);
}

#[test]
fn what_it_says_is_counted_and_the_last_differences_are_kept() {
    let (shadows, _begins, go) = ready("2.0.0");
    let ask = |judged: Judged| {
        let seen = counts(&shadows);
        go.send(judged).expect("it is there");
        shadows.hear(&name(), 1);
        until(&shadows, "an answer", |now| now != seen);
    };
    for _ in 0..DIFFERENCES_MAX + 2 {
        ask(differs());
    }
    ask(Judged::Failed("it trapped".to_owned()));
    ask(Judged::Rests);
    let all = DIFFERENCES_MAX as u64 + 2;
    let found = counts(&shadows);
    assert_eq!((found.differed, found.other_verdicts), (all, all));
    assert_eq!(
        (found.asked, found.failed, found.skipped),
        (all + 1, 1, 1),
        "one that rests was not asked"
    );
    let standing = &shadows.standings()[&name()];
    assert_eq!(standing.differences.len(), DIFFERENCES_MAX);
    assert_eq!(standing.costs.last_failure.as_deref(), Some("it trapped"));
    // What it knows is not counted again; the next one is.
    shadows.hear(&name(), 0);
    ask(differs());
    assert_eq!(counts(&shadows).asked, all + 2);
}

#[test]
fn another_version_begins_anew_and_the_one_before_ends() {
    let (shadows, begins, go) = ready("2.0.0");
    go.send(differs()).expect("it is there");
    shadows.hear(&name(), 1);
    until(&shadows, "an answer", |counts| counts.differed == 1);
    assert_eq!(begins.recv_timeout(WAIT), Ok(1));
    let ready = |shadows: &Shadows<Slow>| shadows.standings()[&name()].readiness.clone();
    let digest = "digest of 2.0.0".to_owned();
    assert_eq!(ready(&shadows), Readiness::Ready { digest });
    let other = candidate("3.0.0");
    let to_load = shadows.take_in(vec![other.clone()]);
    assert!(to_load.iter().eq([&other]));
    assert_eq!(ready(&shadows), Readiness::Loading);
    assert_eq!(counts(&shadows), Counts::default());
    assert!(shadows.ready(&name()).is_none());
    assert_eq!(begins.recv_timeout(WAIT), Ok(u64::MAX), "its thread ended");
    // What became of the one before does not matter any more.
    shadows.failed(&candidate("2.0.0"), "too late".to_owned());
    assert_eq!(ready(&shadows), Readiness::Loading);
    shadows.failed(&other, "no memory".to_owned());
    assert!(matches!(ready(&shadows), Readiness::Failed { .. }));
    assert!(shadows.take_in(Vec::new()).is_empty());
    assert!(shadows.standings().is_empty());
}

#[test]
fn one_without_anything_to_compare_it_with_is_not_followed() {
    let shadows = Shadows::<Slow>::default();
    let mut view = View::default();
    let seen = |value: Installed| holdfast_model::world::Seen {
        value,
        revision: holdfast_model::id::Revision(1),
        seen_at: holdfast_model::time::Instant(1),
    };
    view.shadows.insert(name(), seen(candidate("2.0.0")));
    assert!(shadows.followed(&view).is_empty());
    view.extensions.insert(name(), seen(candidate("1.0.0")));
    assert_eq!(shadows.followed(&view), [&candidate("2.0.0")]);
    let mut other = candidate("1.0.0");
    other.manifest.kind = ExtensionKind::Events;
    view.extensions.insert(name(), seen(other));
    assert!(shadows.followed(&view).is_empty());
}
