//! Programs that extensions have run are in the journal: before they start, and when they have ended.

use super::*;
use crate::requests::{ProgramEnd, ProgramRun, Requests};
use crate::web::{Journal, Noted, NotedRun, Outcome, RequestId, RunEnd};
use tempfile::TempDir;

/// Whatever is waited for comes within this, or the test fails.
const BOUND: Duration = Duration::from_secs(60);
const SECRET: &str = "hunter2-and-more";

/// A folder with a program in it, whose folder is `$here` in this text, and a secret.
fn with_program(text: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("fence_x");
    let text = format!("#!/bin/sh\nhere=\"${{0%/*}}\"\ncat >\"$here/input\"\n{text}");
    fs::write(&script, text).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    fs::write(dir.path().join("secret"), format!("{SECRET}\n")).expect("written");
    dir
}

fn journal_file(dir: &TempDir) -> PathBuf {
    dir.path().join("requests.jsonl")
}

/// A device whose extension runs that program, with so much time for a call, in milliseconds.
fn rig(dir: &TempDir, wall_ms: u64, book: Option<Arc<dyn RequestBook>>) -> Rig {
    let board = Board::new(Manner::Dead);
    let mut rig = Rig::with("fence-agents", &board, dir.path(), (wall_ms, book));
    rig.target.device.read_back = None;
    rig.target.device.read_back_program = "fence_x".parse().ok();
    let options = [("ip", "192.0.2.1"), ("passwd_file", "secret")];
    rig.target.device.options = options.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    rig
}

/// What the last of them came to, once that is known.
async fn last_ended(journal: &Journal) -> ProgramRun {
    let begun = Instant::now();
    loop {
        let last = journal.programs().pop();
        match last {
            Some(run) if run.outcome != ProgramEnd::UnderWay => return run,
            other => assert!(begun.elapsed() < BOUND, "it has no end: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn there(file: &Path) {
    let begun = Instant::now();
    while !file.exists() {
        assert!(begun.elapsed() < BOUND, "there is never a {file:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_written_down_before_it_starts_and_when_it_has_ended() {
    let _alone = ALONE.lock().await;
    // It looks into the journal itself.
    let dir = with_program("cp \"$here/requests.jsonl\" \"$here/seen\"\nexit 2\n");
    let journal = Arc::new(Journal::open(&journal_file(&dir)).expect("opened"));
    let rig = rig(&dir, 30_000, Some(journal.clone()));
    rig.off().await.expect_err("two is no success");
    let seen = fs::read_to_string(dir.path().join("seen")).expect("it was run");
    assert_eq!(seen.lines().count(), 1, "{seen}");
    assert!(seen.contains("\"line\":\"run\""), "{seen}");
    let run = last_ended(&journal).await;
    assert_eq!(run.about, "fencing of a1, life l1, attempt 1");
    assert_eq!(run.extension, rig.target.device.extension);
    assert_eq!(
        (run.program.as_str(), run.action.as_str()),
        ("fence_x", "off")
    );
    assert_eq!(run.arguments, ["ip=192.0.2.1", "passwd_file=secret"]);
    assert_eq!(run.outcome, ProgramEnd::Exited { exit_code: 2 });
    assert!(run.ended_at.is_some() && run.took_ms.is_some(), "{run:?}");
    // Also when this machine reads back, and when it is only asked: whose run it was is told.
    assert_eq!(rig.status().await, Ok(Power::Off));
    assert_eq!(rig.devices.look(&rig.target).await, Ok(Power::Off));
    let all = journal.programs();
    let count = |own: bool, about: &str| {
        let alike = |run: &&ProgramRun| {
            run.extension.is_none() == own && run.about.starts_with(about) && run.action == "status"
        };
        all.iter().filter(alike).count()
    };
    for own in [false, true] {
        assert_eq!(count(own, "fencing of a1"), 1, "{all:?}");
        assert_eq!(
            count(own, "power of a1, asked by an operator"),
            1,
            "{all:?}"
        );
    }
    // The program was told the secret, and nobody else.
    let input = fs::read_to_string(dir.path().join("input")).expect("it was run");
    assert!(input.contains(SECRET), "{input}");
    let text = fs::read_to_string(journal_file(&dir)).expect("a journal");
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_is_in_the_journal_as_such() {
    let _alone = ALONE.lock().await;
    let dir = with_program("touch \"$here/started\"\nexec sleep 1000\n");
    let journal = Arc::new(Journal::open(&journal_file(&dir)).expect("opened"));
    // Long enough for it to be started, also on a busy machine.
    let mut rig = rig(&dir, 6_000, Some(journal.clone()));
    let why = rig.off().await.expect_err("it never ends");
    assert!(why.contains("was killed"), "{why}");
    assert!(dir.path().join("started").exists(), "it was never started");
    let run = last_ended(&journal).await;
    let is_killed = |run: &ProgramRun, part: &str| matches!(&run.outcome, ProgramEnd::Unknown { why } if why.contains(part));
    assert!(
        is_killed(&run, "did not end in time and was killed"),
        "{run:?}"
    );
    // Nobody waits for the read-back any more: it is given up in the middle.
    fs::remove_file(dir.path().join("started")).expect("removed");
    rig.target.device.timeout_ms = 60_000;
    let started = dir.path().join("started");
    tokio::select! {
        read = rig.devices.read(&rig.target, Why::Fence) => {
            panic!("it has ended: {:?}", read.map_err(Unread::words));
        }
        () = there(&started) => {}
    }
    let run = last_ended(&journal).await;
    assert!(is_killed(&run, "nobody waited for it any more"), "{run:?}");
    assert_eq!(run.extension, None);
}

/// Refuses.
struct Full;

impl RequestBook for Full {
    fn before(&self, _: RequestId, _: &Noted) -> Result<(), String> {
        Err("the disk is full".to_owned())
    }

    fn after(&self, _: RequestId, _: &Outcome) {
        panic!("it was never sent");
    }

    fn before_run(&self, _: RequestId, _: &NotedRun) -> Result<(), String> {
        Err("the disk is full".to_owned())
    }

    fn after_run(&self, _: RequestId, _: &RunEnd, _: u64) {
        panic!("it was never started");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_down_is_not_started() {
    let _alone = ALONE.lock().await;
    let dir = with_program("exit 2\n");
    let full: Arc<dyn RequestBook> = Arc::new(Full);
    for (book, says) in [
        (Some(full), "could not be written down: the disk is full"),
        (None, "could not be written down: there is no journal here"),
    ] {
        let rig = rig(&dir, 30_000, book);
        let why = rig.off().await.expect_err("nothing is written down");
        assert!(why.contains(says) && why.contains("not started"), "{why}");
        let why = rig.devices.look(&rig.target).await;
        let why = why.expect_err("nothing is written down");
        assert!(why.contains(says), "{why}");
    }
    assert!(!dir.path().join("input").exists(), "it was started");
}
