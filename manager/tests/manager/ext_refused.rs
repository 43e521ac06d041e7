//! What `ext install` and the API behind it refuse: too large, of another contract, granted what was not asked for. A
//! real manager, real components, the real command line; nothing of it is stored.
#![cfg(feature = "extensions")]

use crate::support::foreign::{component, renamed};
use crate::support::guests::guest;
use crate::support::requests::{JSON, check_problem};
use crate::support::rig::Rig;
use crate::support::{BOUND, file};
use holdfast_store::components::entries;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// What is said of itself by what is refused.
const MANIFEST: &str =
    "name = \"x\"\nversion = \"1.0.0\"\nkind = \"placement\"\nsummary = \"Test.\"\n";

impl Rig {
    /// No component, no extension.
    async fn has_nothing(&self) {
        let stored = entries(&self.store).await.expect("an answer");
        assert!(stored.is_empty(), "{stored:?}");
        let (_, installed) = self.manager.get("/extensions").await;
        assert_eq!(installed, json!([]));
    }

    /// A file of so many MiB that takes no room.
    fn sparse(&self, mib: u64) -> String {
        let path = self.dir.path().join(format!("{mib}.wasm"));
        let file = std::fs::File::create(&path).expect("a file");
        file.set_len(mib << 20).expect("its length");
        path.display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_too_large_is_refused_before_it_is_read() {
    let rig = Rig::start().await;
    let manifest = file(&rig.dir, "extension.toml", MANIFEST);
    for (mib, more, says) in [
        (
            9,
            &[][..],
            "the component has 9.0 MiB, and more than 8 MiB are not taken unasked",
        ),
        (
            100,
            &[],
            "the component has 100.0 MiB, and no cluster takes more than 32 MiB",
        ),
        (
            100,
            &["--allow-large"],
            "the component has 100.0 MiB, and no cluster takes more than 32 MiB",
        ),
    ] {
        let wasm = rig.sparse(mib);
        for last in ["--yes", "--dry-run"] {
            let first = ["ext", "install", &wasm, "--manifest", &manifest, last];
            let (code, out, err) = rig.cli(&[&first[..], more].concat()).await;
            assert!(code == 1 && err.contains(says), "{mib}: {code}: {out}{err}");
            let names_it = err.contains(&format!("{mib}.wasm"));
            let way_out = err.contains("--allow-large");
            assert!(names_it && way_out == (mib == 9), "{mib}: {err}");
        }
        // No manager is needed for that, and none is asked.
        let nowhere = [
            "--api",
            "http://127.0.0.1:9",
            "ext",
            "install",
            &wasm,
            "--manifest",
            &manifest,
        ];
        let (_, _, err) = rig.cli(&[&nowhere[..], more].concat()).await;
        assert!(err.contains(says), "{mib}: {err}");
    }
    rig.has_nothing().await;
}

/// Whoever sends it without the command line is told the same, and hears it: the connection is not just closed.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_says_so_of_what_it_is_sent() {
    let rig = Rig::start().await;
    let zeros = |mib: usize| Some(("application/wasm", "\0".repeat(mib << 20)));
    for (query, mib, says) in [
        (
            "",
            9,
            "the component has 9.0 MiB, and more than 8 MiB are not taken unasked",
        ),
        (
            "",
            33,
            "the component has 33.0 MiB, and no cluster takes more than 32 MiB",
        ),
        (
            "?large=true",
            33,
            "the component has 33.0 MiB, and no cluster takes more than 32 MiB",
        ),
        (
            "?large=true&dry_run=true",
            33,
            "no cluster takes more than 32 MiB",
        ),
    ] {
        let path = format!("/components/abc{query}");
        let answer = rig.manager.ask("PUT", &path, zeros(mib)).await;
        check_problem(&answer, (422, "invalid"), says);
    }
    // One that asks first is answered before it sends anything; so is one that would send without end.
    for (length, asks) in [(33_u64 << 20, "expect: 100-continue\r\n"), (1 << 40, "")] {
        let answer = head(&rig.manager.url, length, asks).await;
        check_problem(
            &answer,
            (422, "invalid"),
            "no cluster takes more than 32 MiB",
        );
    }
    rig.has_nothing().await;
}

/// Sends the head of an upload, and nothing of its body.
async fn head(url: &str, length: u64, more: &str) -> (u16, Value) {
    let address = url.trim_start_matches("http://").to_owned();
    let request = format!(
        "PUT /v1/components/abc HTTP/1.1\r\nhost: {address}\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n"
    );
    let talk = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(BOUND)).expect("a bound");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    });
    let answer = talk.await.expect("no panic");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = serde_json::from_str(body).expect("JSON");
    (status.expect("a status"), body)
}

/// Whole components, of another contract or with imports that this host has not: refused before they are used.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_for_another_host_is_refused() {
    let rig = Rig::start().await;
    let later = component("label-match");
    let later = renamed(
        &later,
        "holdfast:placement/rule@0.2.0",
        "holdfast:placement/rule@0.3.0",
    );
    let later = renamed(
        &later,
        "holdfast:placement/types@0.2.0",
        "holdfast:placement/types@0.3.0",
    );
    let log = "holdfast:host/log@0.1.0";
    let sockets = renamed(&component("bad-traps"), log, "wasi:sockets/tcp@0.2.10");
    // As long as the name of its types, which it then has not.
    let types = "holdfast:placement/types@0.2.0";
    let http = renamed(
        &component("label-match"),
        types,
        "holdfast:host/http@0.1.0-alpha",
    );
    let probe = "holdfast:host/probe@0.1.0";
    let state = renamed(
        &component("gluster-check"),
        probe,
        "holdfast:host/state@0.1.0",
    );
    let storage = MANIFEST.replace("placement", "storage-check");
    let cases = [
        (
            "later",
            later,
            MANIFEST,
            "it was built for `holdfast:placement/rule@0.3.0` (0.3); this Holdfast has 0.2",
        ),
        (
            "sockets",
            sockets,
            MANIFEST,
            "it imports `wasi:sockets/tcp@0.2.10`, which is not there",
        ),
        (
            "http",
            http,
            MANIFEST,
            "which an extension for placement does not get",
        ),
        (
            "state",
            state,
            storage.as_str(),
            "it imports `holdfast:host/state@0.1.0`, which an extension for storage-check does not get",
        ),
    ];
    // A component that is uploaded to be installed stays for an hour; one that is only tried, not even that.
    for last in ["--dry-run", "--yes"] {
        for (name, wasm, manifest, says) in &cases {
            let path = rig.dir.path().join(format!("{name}.wasm"));
            std::fs::write(&path, wasm).expect("written");
            let path = path.display().to_string();
            let manifest = file(&rig.dir, &format!("{name}.toml"), manifest);
            let install = ["ext", "install", &path, "--manifest", &manifest, last];
            let (code, out, err) = rig.cli(&install).await;
            assert!(
                code == 1 && err.contains(says),
                "{name}: {code}: {out}{err}"
            );
            let (_, installed) = rig.manager.get("/extensions").await;
            assert_eq!(installed, json!([]), "{name}");
        }
        if last == "--dry-run" {
            rig.has_nothing().await;
        }
    }
    // No machine code either.
    let kept = std::fs::read_dir(rig.dir.path().join("code")).expect("a directory");
    assert_eq!(kept.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_asked_for_can_be_granted_or_left_out() {
    let rig = Rig::start().await;
    for (name, right, says) in [
        ("label-match", "log", "it asks for nothing"),
        ("site-affinity", "logs", "did you mean `log`?"),
        (
            "notifier",
            "read everything",
            "it asks for: log, send to webhook: POST /",
        ),
    ] {
        let dir = guest(name).display().to_string();
        let (code, _, err) = rig
            .cli(&["ext", "install", &dir, "--without", right, "--yes"])
            .await;
        assert!(code == 2 && err.contains(says), "{name}: {code}: {err}");
    }
    rig.has_nothing().await;
    // Nor by the API: what is granted is a part of what is asked for.
    let manifest = |rights: Value| json!({"name": "x", "version": "1.0.0", "kind": "events", "summary": "Test.", "rights": rights});
    let asked = json!({"http": {"webhook": ["POST /"]}});
    for (granted, says) in [
        (
            json!({"log": true}),
            "granted is what it does not ask for: log; leave that out",
        ),
        (
            json!({"http": {"webhook": ["POST /", "PUT /"]}}),
            "granted is what it does not ask for: send to webhook: PUT /; leave that out",
        ),
        (
            json!({"state": ["vms/"]}),
            "granted is what it does not ask for: read state vms/",
        ),
    ] {
        let wanted = json!({
            "manifest": manifest(asked.clone()), "digest": "abc", "granted": granted, "then": "closed",
        });
        let body = Some((JSON, wanted.to_string()));
        let answer = rig.manager.ask("PUT", "/extensions/x", body).await;
        check_problem(&answer, (422, "invalid"), says);
    }
    rig.has_nothing().await;
}
