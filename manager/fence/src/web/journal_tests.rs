//! The journal in a file: what it keeps, and what it does when it cannot.

use super::*;
use holdfast_extension_host::outside::Method;

fn noted(path: &str) -> Noted {
    Noted {
        about: "fencing of a1".to_owned(),
        target: "a1-board".parse().expect("a name"),
        place: "https://192.0.2.111".to_owned(),
        method: Method::Post,
        path: path.to_owned(),
        at: UnixMs(5),
    }
}

fn outcomes(journal: &Journal) -> Vec<(String, Option<Outcome>)> {
    let entries = journal.recent.newest().into_iter();
    entries
        .map(|entry| (entry.request.path, entry.outcome))
        .collect()
}

#[test]
fn what_was_sent_outlives_the_manager() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("requests.jsonl");
    let journal = Journal::open(&path).expect("opened");
    let ids = [(); 3].map(|()| RequestId::new());
    for (id, path) in ids.iter().zip(["/answered", "/lost", "/under-way"]) {
        journal.before(*id, &noted(path)).expect("written");
    }
    let lost = Err(WebError::Unanswered("cut".to_owned()));
    journal.after(ids[0], &Ok(204));
    journal.after(ids[1], &lost);
    // The machine ended in the middle of a line.
    journal
        .file
        .lock()
        .expect("no panic")
        .write_all(b"{\"line\":\"se")
        .expect("written");
    drop(journal);
    let journal = Journal::open(&path).expect("opened");
    let ended = "the daemon ended before it was answered".to_owned();
    let expected = [
        ("/answered".to_owned(), Some(Ok(204))),
        ("/lost".to_owned(), Some(lost)),
        (
            "/under-way".to_owned(),
            Some(Err(WebError::Unanswered(ended))),
        ),
    ];
    assert_eq!(outcomes(&journal), expected);
    let id = RequestId::new();
    journal.before(id, &noted("/next")).expect("written");
    journal.after(id, &Ok(200));
    drop(journal);
    let journal = Journal::open(&path).expect("opened");
    let last = outcomes(&journal).pop();
    assert_eq!(last, Some(("/next".to_owned(), Some(Ok(200)))));
}

#[test]
fn a_long_one_is_put_aside_and_still_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("requests.jsonl");
    let journal = Journal::open(&path).expect("opened");
    let first = RequestId::new();
    journal.before(first, &noted("/first")).expect("written");
    let much = vec![b'\n'; usize::try_from(BYTES_MAX).expect("fits")];
    let mut grown = options().open(&path).expect("opened");
    grown.write_all(&much).expect("grown");
    journal.after(first, &Ok(200));
    assert!(with_ending(&path).exists(), "the old one is put aside");
    let size = std::fs::metadata(&path).expect("a new one").len();
    assert!(size < 1_000, "{size}");
    drop(journal);
    // Sent in the one, ended in the other.
    let journal = Journal::open(&path).expect("opened");
    assert_eq!(outcomes(&journal), [("/first".to_owned(), Some(Ok(200)))]);
}

#[test]
fn what_cannot_be_written_down_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("requests.jsonl");
    let journal = Journal::open(&path).expect("opened");
    *journal.file.lock().expect("no panic") = File::open(&path).expect("for reading only");
    let why = journal
        .before(RequestId::new(), &noted("/x"))
        .expect_err("nothing can be written");
    assert!(why.contains("`requests_file`"), "{why}");
    assert!(journal.recent.newest().is_empty());
    assert!(Journal::open(&dir.path().join("none").join("x")).is_err());
}

fn noted_run(program: &str) -> NotedRun {
    NotedRun {
        about: "fencing of a1".to_owned(),
        extension: "fence-agents".parse().ok(),
        program: program.parse().expect("a name"),
        action: "off".to_owned(),
        arguments: vec!["ip=192.0.2.111".to_owned()],
        at: UnixMs(5),
    }
}

#[test]
fn what_was_run_outlives_the_manager() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("requests.jsonl");
    let journal = Journal::open(&path).expect("opened");
    let ids = [(); 3].map(|()| RequestId::new());
    for (id, program) in ids.iter().zip(["ended", "killed", "under-way"]) {
        journal
            .before_run(*id, &noted_run(program))
            .expect("written");
    }
    journal.after_run(ids[0], &RunEnd::ExitCode(0), 812);
    journal.after_run(ids[1], &RunEnd::Killed("late".to_owned()), 5_000);
    assert_eq!(journal.programs()[2].outcome, ProgramEnd::UnderWay);
    drop(journal);
    let journal = Journal::open(&path).expect("opened");
    let unknown = |why: &str| ProgramEnd::Unknown {
        why: why.to_owned(),
    };
    let found = journal.programs().into_iter();
    let found: Vec<_> = found
        .map(|run| (run.program.to_string(), run.took_ms, run.outcome))
        .collect();
    let expected = [
        (
            "ended".to_owned(),
            Some(812),
            ProgramEnd::Exited { exit_code: 0 },
        ),
        ("killed".to_owned(), Some(5_000), unknown("late")),
        (
            "under-way".to_owned(),
            None,
            unknown("the daemon ended before it did"),
        ),
    ];
    assert_eq!(found, expected);
    assert!(journal.newest().is_empty());
    *journal.file.lock().expect("no panic") = File::open(&path).expect("for reading only");
    let why = journal
        .before_run(RequestId::new(), &noted_run("x"))
        .expect_err("nothing can be written");
    assert!(why.contains("`requests_file`"), "{why}");
    assert_eq!(journal.programs().len(), 3);
}

/// Lines as versions that knew nothing of programs have written and read them.
#[derive(Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
enum EarlierLine {
    Sent {
        id: RequestId,
        #[serde(flatten)]
        request: Noted,
    },
    Ended {
        id: RequestId,
        at: UnixMs,
        #[serde(flatten)]
        how: How,
    },
}

#[test]
fn an_earlier_version_is_understood_and_loses_no_request() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("requests.jsonl");
    let id = "0d9cbdd7-9a56-4d36-9c3f-2f6f0b1f3f5a";
    let earlier = format!(
        "{{\"line\":\"sent\",\"id\":\"{id}\",\"about\":\"fencing of a1\",\"target\":\"a1-board\",\"place\":\
         \"https://192.0.2.111\",\"method\":\"POST\",\"path\":\"/earlier\",\"at\":5}}\n\
         {{\"line\":\"ended\",\"id\":\"{id}\",\"at\":6,\"status\":204}}\n"
    );
    std::fs::write(&path, earlier).expect("written");
    let journal = Journal::open(&path).expect("opened");
    let (run, sent) = (RequestId::new(), RequestId::new());
    journal.before_run(run, &noted_run("x")).expect("written");
    journal.before(sent, &noted("/later")).expect("written");
    journal.after_run(run, &RunEnd::ExitCode(0), 1);
    journal.after(sent, &Ok(200));
    let expected = ["/earlier", "/later"].map(str::to_owned);
    let paths = journal.newest().into_iter().map(|request| request.path);
    assert_eq!(paths.collect::<Vec<_>>(), expected);
    let text = std::fs::read_to_string(&path).expect("a journal");
    let (mut sent, mut ended, mut passed_over) = (Vec::new(), Vec::new(), 0);
    for line in text.lines().filter(|line| !line.is_empty()) {
        match serde_json::from_str(line) {
            Ok(EarlierLine::Sent { id, request }) => sent.push((id, request.path)),
            Ok(EarlierLine::Ended { id, at, how }) => ended.push((id, at, Outcome::from(how))),
            Err(_) => passed_over += 1,
        }
    }
    assert_eq!((sent.len(), ended.len(), passed_over), (2, 2, 2), "{text}");
    assert_eq!((&sent[0].1, &sent[1].1), (&expected[0], &expected[1]));
    assert_eq!((sent[1].0, &ended[1].2), (ended[1].0, &Ok(200)));
}
