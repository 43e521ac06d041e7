//! The command line as a user has it: what it prints where, and its exit codes.

use crate::support::{BOUND, Cluster, Ran, cli, domain_xml, file};
use serde_json::Value;
use std::process::Output;
use std::time::Duration;

/// It ended with this code, and its standard error says this.
fn check_error(ran: &Ran, code: i32, says: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.err.contains(says), "said {}\nnot  {says}", ran.err);
    assert!(ran.out.is_empty(), "no data on an error: {ran:?}");
}

fn check_done(ran: &Ran, says: &str) {
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains(says), "said {}\nnot  {says}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_s_life_from_the_shell() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    file(&dir, "web.xml", &domain_xml("web", 1));
    let toml = "preferred_site = \"a\"\npriority = 3\ndomain_xml_file = \"web.xml\"\n";
    let path = file(&dir, "web.toml", toml);
    let run = async |args: &[&str]| cluster.manager.cli(args).await;

    check_done(
        &run(&["vm", "apply", "-f", &path, "--dry-run"]).await,
        "would create VM web",
    );
    check_done(&run(&["vm", "list"]).await, "VM");
    check_done(
        &run(&["vm", "apply", "-f", &path]).await,
        "ok: create VM web",
    );
    cluster.until_vm("web", "running").await;
    check_done(
        &run(&["vm", "apply", "-f", &path]).await,
        "nothing to do: web is unchanged",
    );

    let list = run(&["vm", "list"]).await;
    check_done(&list, "running");
    assert!(
        !list.out.contains('\u{1b}'),
        "no colours where nobody asked: {list:?}"
    );
    check_done(
        &run(&["-o", "wide", "vm", "list"]).await,
        "00000000-0000-4000-8000-000000000001",
    );
    check_done(&run(&["vm", "show", "web"]).await, "priority    3");
    check_done(
        &run(&["vm", "show", "web", "--xml"]).await,
        "<domain type='qemu'>",
    );

    let status = run(&["status", "-o", "json"]).await;
    let status: Value = serde_json::from_str(&status.out).expect("JSON alone on stdout");
    for key in [
        "cluster",
        "quorum",
        "leader",
        "sites",
        "hosts",
        "vms",
        "conditions",
    ] {
        assert!(!status[key].is_null(), "{key} is missing in {status:#}");
    }
    assert_eq!(status["vms"][0]["state"], "running");
    let screen = run(&["status"]).await;
    for part in [
        "cluster lab",
        "leader m-a",
        "site a",
        "site b",
        "a1",
        "witness w",
        "web",
    ] {
        check_done(&screen, part);
    }

    check_done(
        &run(&["vm", "move", "web", "--to", "b2", "--dry-run"]).await,
        "would move to b2",
    );
    check_done(
        &run(&["vm", "move", "web", "--to", "b2"]).await,
        "ok: move to b2 of VM web",
    );
    let there = |answer: &Value| answer["vm"]["host"] == "b2" && answer["vm"]["state"] == "running";
    cluster.manager.until("/vms/web", "web on b2", there).await;
    check_done(
        &run(&["why", "vm", "web", "--not-on", "b2"]).await,
        "it is on b2",
    );
    check_done(&run(&["why", "host", "b2"]).await, "it holds 1 VM: web");
    check_done(&run(&["timeline", "last"]).await, "VM web migrated live");
    check_done(
        &run(&["events", "--vm", "web"]).await,
        "tester asked: create VM web",
    );

    check_done(&run(&["vm", "stop", "web"]).await, "ok: stop VM web");
    cluster.until_vm("web", "stopped").await;
    check_error(
        &run(&["vm", "restart", "web"]).await,
        3,
        "start it with `holdfast vm start web`",
    );
    check_error(&run(&["vm", "delete", "web"]).await, 2, "add --yes");
    check_done(
        &run(&["vm", "delete", "web", "--dry-run"]).await,
        "would remove VM web",
    );
    let deleted = run(&["vm", "delete", "web", "--yes"]).await;
    check_done(&deleted, "ok: remove VM web");
    assert!(deleted.err.contains("its disks stay"), "{deleted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_refused_by_name_and_line() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let run = async |args: &[&str]| cluster.manager.cli(args).await;
    file(&dir, "broken.xml", "<domain>\n  <name>web</nam>\n</domain>");
    file(&dir, "good.xml", &domain_xml("web", 1));
    file(&dir, "twin.xml", &domain_xml("twin", 1));
    for (name, text, says) in [
        (
            "a.toml",
            "domain_xml_file = \"broken.xml\"",
            "broken.xml, line 2",
        ),
        ("b.toml", "domain_xml_file = \"none.xml\"", "none.xml"),
        (
            "c.toml",
            "preffered_site = \"a\"",
            "c.toml, line 1, column 1: unknown key `preffered_site`; did you mean `preferred_site`?",
        ),
        ("d.json", "{\"vcpus\": \"two\"}", "d.json, line 1"),
        (
            "e.toml",
            "name = \"my web\"\ndomain_xml_file = \"good.xml\"",
            "e.toml: VM name `my web` has ' ' in it",
        ),
        (
            "f.toml",
            "name = \"other\"\ndomain_xml_file = \"good.xml\"",
            "make them the same",
        ),
        ("g.toml", "priority = 1", "the VM has no name"),
        (
            "h.toml",
            "domain_xml_file = \"good.xml\"\npreferred_site = \"x\"",
            "which is no site of this cluster",
        ),
    ] {
        let path = file(&dir, name, text);
        check_error(&run(&["vm", "apply", "-f", &path]).await, 1, says);
    }
    check_error(
        &run(&["vm", "apply", "-f", "/nonexistent.toml"]).await,
        1,
        "cannot read /nonexistent.toml",
    );
    check_error(&run(&["vm", "start", "my web"]).await, 2, "has ' ' in it");

    let good = file(&dir, "good.toml", "domain_xml_file = \"good.xml\"");
    let twin = file(&dir, "twin.toml", "domain_xml_file = \"twin.xml\"");
    check_done(
        &run(&["vm", "apply", "-f", &good]).await,
        "ok: create VM web",
    );
    check_error(
        &run(&["vm", "apply", "-f", &twin]).await,
        1,
        "is that of VM web",
    );
    let stale = run(&["vm", "apply", "-f", &good, "--revision", "1"]).await;
    check_error(&stale, 3, "was read at revision 1");

    let policy = file(
        &dir,
        "policy.toml",
        "[timing]\ntaker_wait_ms = 5\n[[sites]]\nname = \"a\"",
    );
    check_error(
        &run(&["config", "apply", "-f", &policy]).await,
        1,
        "policy.toml: [timing] taker_wait_ms = 5 is too short",
    );
    let shown = run(&["config", "show"]).await;
    check_done(&shown, "profile = \"fast\"");
    let same = file(&dir, "same.toml", &shown.out);
    check_done(
        &run(&["config", "apply", "-f", &same]).await,
        "the policy is unchanged",
    );
    check_done(&run(&["rto"]).await, "host lost (power, hang, network)");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_are_applied_all_or_none() {
    let cluster = Cluster::start().await;
    let dir = tempfile::tempdir().expect("a directory");
    let vm = |name: &str, number: u8, more: &str| {
        let xml = format!("vm{number}.xml");
        file(&dir, &xml, &domain_xml(name, number));
        let text = format!("domain_xml_file = \"{xml}\"\n{more}");
        file(&dir, &format!("vm{number}.toml"), &text)
    };
    let (web, db) = (vm("web", 1, ""), vm("db", 2, ""));
    let same_name = vm("web", 3, "");
    let same_uuid = {
        let xml = domain_xml("twin", 1);
        file(&dir, "twin.toml", &format!("domain_xml = \"{xml}\""))
    };
    let long = vm(&"x".repeat(300), 4, "");
    let slash = vm("a/b", 5, "");
    let no_site = vm("mail", 6, "preferred_site = \"nowhere\"\n");
    let broken = file(&dir, "broken.toml", "domain_xml = \"<domain><name>x\"");
    let before = cluster.store.list_now("/holdfast/v1/vms/").items;
    for (third, says) in [
        (&same_name, "vm3.toml: the VM is named `web` as in "),
        (
            &same_uuid,
            "twin.toml: the VM has the UUID 00000000-0000-4000-8000-000000000001 (make another \
             with `uuidgen`) as in ",
        ),
        (&long, "has 300 characters"),
        (&slash, "a/b` has '/' in it"),
        (
            &no_site,
            "which is no site of this cluster; use a or b; nothing was changed",
        ),
        (&broken, "broken.toml: domain XML, line 1"),
    ] {
        let args = ["vm", "apply", "-f", &web, "-f", &db, "-f", third];
        let ran = cluster.manager.cli(&args).await;
        check_error(&ran, 1, says);
        assert_eq!(ran.err.lines().count(), 1, "one error: {ran:?}");
        assert!(
            ran.err.contains(third) || ran.err.contains("broken"),
            "{ran:?}"
        );
        let after = cluster.store.list_now("/holdfast/v1/vms/").items;
        assert_eq!(after, before, "nothing half done");
    }
    let args = ["vm", "apply", "-f", &web, "-f", &db];
    check_done(&cluster.manager.cli(&args).await, "ok: create VM db");
    // The name of a VM that is there, for another machine.
    let ran = cluster
        .manager
        .cli(&["vm", "apply", "-f", &same_name])
        .await;
    check_error(&ran, 1, "vm3.toml: VM `web` has the UUID");
    assert!(ran.err.contains("give it another name"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_printed_without_a_manager() {
    let gone = "http://127.0.0.1:1";
    for (of, key) in [
        ("policy", "timing"),
        ("vm", "domain_xml_file"),
        ("host", "libvirt"),
        ("manager", "listen"),
    ] {
        let ran = cli(gone, &["config", "schema", of]).await;
        let schema: Value = serde_json::from_str(&ran.out).expect("JSON alone on stdout");
        assert!(schema["properties"][key].is_object(), "{ran:?}");
        assert_eq!(schema["additionalProperties"], false, "{ran:?}");
    }
    check_done(
        &cli(gone, &["config", "schema"]).await,
        "Holdfast: cluster policy",
    );
    check_error(&cli(gone, &["config", "schema", "hots"]).await, 2, "host");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manager_that_is_well_is_asked() {
    let cluster = Cluster::start().await;
    // Nothing listens on port 1 of the loopback.
    let gone = "http://127.0.0.1:1";
    check_done(
        &cli(&format!("{gone},{}", cluster.manager.url), &["status"]).await,
        "leader m-a",
    );
    let ran = cli(&format!("{gone},127.0.0.1:2"), &["host", "list"]).await;
    check_error(&ran, 1, "http://127.0.0.1:2:");
    assert!(
        ran.err.contains(gone) && ran.err.contains("HOLDFAST_API"),
        "{ran:?}"
    );
    check_error(
        &cli("https://x", &["status"]).await,
        2,
        "write http://ADDRESS:7070",
    );
    check_error(&cli(gone, &["stauts"]).await, 2, "status");
    assert_eq!(cli(gone, &["--version"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_as_they_happen() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let cluster = Cluster::start().await;
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["events", "-f", "-n", "0"])
        .env("HOLDFAST_API", &cluster.manager.url)
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let read = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if line.contains("drain host a1") {
                return true;
            }
        }
        false
    };
    // Asked for again and again: the stream may not be open yet the first time.
    let ask = async {
        loop {
            cluster.manager.cli(&["host", "drain", "a1"]).await;
            cluster.manager.cli(&["host", "resume", "a1"]).await;
        }
    };
    let came = tokio::time::timeout(BOUND, async {
        tokio::select! {
            came = read => came,
            () = ask => false,
        }
    });
    assert!(came.await.expect("the event comes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_binary_refuses_a_bad_file_and_lives_without_etcd() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = |config: &str| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_holdfast-manager"));
        command.args(["--config", config]).kill_on_drop(true);
        command.stderr(std::process::Stdio::piped());
        command
    };
    let bad = file(
        &dir,
        "bad.toml",
        "cluster = \"lab\"\nlisten_on = \"127.0.0.1:7070\"\n",
    );
    let ended = tokio::time::timeout(BOUND, daemon(&bad).output()).await;
    let Output { status, stderr, .. } = ended.expect("it ends").expect("it runs");
    let text = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(2), "{text}");
    assert!(
        text.contains("bad.toml, line 2") && text.contains("did you mean `listen`?"),
        "{text}"
    );

    // What --check-config passes, the start does not refuse, and the other way round.
    let tls = "cluster = \"lab\"\nname = \"m\"\nsite = \"a\"\nlisten = \"127.0.0.1:7070\"\n\
               [etcd]\nendpoints = [\"https://192.0.2.1:2379\"]\n";
    let tls = file(&dir, "tls.toml", tls);
    for more in [&["--check-config"][..], &[]] {
        let ended = tokio::time::timeout(BOUND, daemon(&tls).args(more).output()).await;
        let Output { status, stderr, .. } = ended.expect("it ends").expect("it runs");
        let text = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(2), "{text}");
        let says = "tls.toml, line 6, column 1: `https://192.0.2.1:2379`: TLS to etcd is not \
                    supported yet; write http://";
        assert!(text.contains(says), "{text}");
    }

    // A port that was free a moment ago; nothing serves etcd on port 1.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let api = port.expect("a free port").to_string();
    let text = format!(
        "cluster = \"lab\"\nname = \"m-a\"\nsite = \"a\"\nlisten = \"{api}\"\n\
         [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\ncall_timeout_ms = 300\n"
    );
    let good = file(&dir, "good.toml", &text);
    let mut running = daemon(&good).spawn().expect("it runs");
    let told = async {
        loop {
            let ran = cli(&api, &["status"]).await;
            if ran.code == 4 && ran.err.contains("http://127.0.0.1:1") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let told = tokio::time::timeout(BOUND, told).await;
    assert!(
        told.is_ok(),
        "status tells that etcd is missing, by exit code 4 and its address"
    );
    assert_eq!(
        running.try_wait().expect("a state"),
        None,
        "it goes on trying"
    );
    running.start_kill().expect("it ends");
    let Output { stderr, .. } = running.wait_with_output().await.expect("its log");
    let log = String::from_utf8_lossy(&stderr);
    let told = log
        .lines()
        .filter(|line| line.contains("Start etcd's members"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "told once, not at every attempt: {log}");
    assert!(told[0].contains("http://127.0.0.1:1"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_vouched_for_only_by_who_means_it() {
    let cluster = Cluster::start().await;
    let run = async |args: &[&str]| cluster.manager.cli(args).await;
    check_error(&run(&["host", "confirm-off", "a1"]).await, 2, "add --yes");
    check_error(
        &run(&["host", "confirm-off", "a1", "--yes"]).await,
        3,
        "so it is not off",
    );
    check_error(
        &run(&["host", "forget", "a1", "--yes"]).await,
        3,
        "open session",
    );
    check_done(
        &run(&["site", "drain", "b", "--dry-run"]).await,
        "would drain site b",
    );
    check_done(&run(&["site", "drain", "b"]).await, "ok: drain site b");
    let drained = |host: &Value| host["host"]["state"] == "maintenance";
    cluster
        .manager
        .until("/hosts/b1", "maintenance", drained)
        .await;
    check_done(&run(&["host", "list"]).await, "maintenance");
    check_done(&run(&["site", "show", "b"]).await, "b2");
    check_done(&run(&["site", "resume", "b"]).await, "ok: resume site b");
    check_done(&run(&["site", "list"]).await, "witness");
}
