//! `holdfast lease …`, as a person types it.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

fn holdfast(arguments: &[&str], volume: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .arg("lease")
        .arg(arguments[0])
        .arg(volume)
        .args(&arguments[1..])
        .output()
        .unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_volume_is_made_shown_and_mended() {
    // On the disk that the build is on: `/tmp` may be in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("leases");
    let made = [
        "create",
        "--cluster",
        "prod",
        "--class",
        "quorum",
        "--hosts",
        "8",
        "--vms",
        "100",
    ];
    let (code, out, _) = said(&holdfast(&made, &path));
    assert_eq!(code, Some(0));
    assert!(out.contains("of cluster prod: 8 hosts, 100 VMs"), "{out}");
    let (code, _, err) = said(&holdfast(&["create", "--cluster", "test"], &path));
    assert_eq!(code, Some(1));
    assert!(
        err.contains("of cluster prod") && err.contains("--force"),
        "{err}"
    );

    // Over it only if that is said twice: once as `--force`, once when it is known what is there.
    let over = ["create", "--cluster", "test", "--force"];
    let before = std::fs::read(&path).unwrap();
    let (code, _, err) = said(&holdfast(&over, &path));
    assert!(code == Some(2) && err.contains("--yes"), "{err}");
    let (code, out, err) = said(&holdfast(&[&over[..], &["--dry-run"]].concat(), &path));
    assert!(code == Some(0) && out.contains("would make"), "{out}");
    assert!(err.contains("of cluster prod"), "{err}");
    let untouched = std::fs::read(&path).unwrap() == before;
    assert!(untouched, "something was written");
    let other = dir.path().join("other");
    std::fs::write(&other, vec![7; 8192]).unwrap();
    let yes = [&over[..], &["--yes", "--hosts", "8"]].concat();
    let (code, out, err) = said(&holdfast(&yes, &other));
    assert!(code == Some(0) && out.contains("of cluster test"), "{err}");

    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let (mailbox, claim) = (2 + 8 + 3, 2 + 2 * 8 + 5);
    for sector in [0, mailbox, claim] {
        file.write_all_at(&[0; 4096], sector * 4096).unwrap();
    }
    file.sync_all().unwrap();
    let (code, out, _) = said(&holdfast(&["show"], &path));
    assert_eq!(code, Some(0));
    for named in ["(superblock 0)", "(mailbox 3)", "(claim 5)", "class quorum"] {
        assert!(out.contains(named), "{named}: {out}");
    }
    let before = std::fs::read(&path).unwrap();
    let (code, _, err) = said(&holdfast(&["repair"], &path));
    assert!(code == Some(2) && err.contains("--yes"), "{err}");
    let (code, out, _) = said(&holdfast(&["repair", "--dry-run"], &path));
    assert!(code == Some(0) && out.contains("would mend the superblock and one mailbox"));
    assert!(
        std::fs::read(&path).unwrap() == before,
        "nothing was written"
    );
    let (code, _, err) = said(&holdfast(&["repair", "--yes"], &path));
    assert_eq!(code, Some(0));
    assert!(err.contains("left: claim 5: nothing but zeros"), "{err}");
    let (_, out, _) = said(&holdfast(&["show", "-o", "json"], &path));
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    let damaged = shown["damaged"].as_array().unwrap();
    assert_eq!(damaged.len(), 1, "{shown}");
    assert_eq!(damaged[0]["slot"], 5);
    // One that was cut short is not told of sector by sector.
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..4096 * 10]).unwrap();
    let (_, out, _) = said(&holdfast(&["show"], &path));
    let lines: Vec<&str> = out.lines().filter(|l| l.contains("cut short")).collect();
    assert_eq!(lines.len(), 2, "mailboxes and claims: {out}");
    assert!(
        lines[0].contains("sectors 10 to 17 (mailbox 0 to 7), each"),
        "{out}"
    );
    std::fs::write(&path, &whole).unwrap();
    // Emptied only by who says that etcd knows better.
    let (code, out, _) = said(&holdfast(&["repair", "--claims", "--yes"], &path));
    assert!(
        code == Some(0) && out.contains("mended: one claim"),
        "{out}"
    );
    let (_, out, _) = said(&holdfast(&["show", "-o", "json"], &path));
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        shown["damaged"].as_array().map(Vec::len),
        Some(0),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_a_volume_is_said() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("leases");
    for (arguments, code, says) in [
        (&["show"][..], 1, "No such file"),
        (&["create", "--cluster", "a b"], 2, "has ' ' in it"),
        (
            &["create", "--cluster", "c", "--hosts", "1"],
            1,
            "use 2 to 1024",
        ),
        (
            &["create", "--cluster", "c", "--sector-size", "1024"],
            1,
            "use 4096, or 512",
        ),
    ] {
        let (found, _, err) = said(&holdfast(arguments, &path));
        assert!(
            found == Some(code) && err.contains(says),
            "{arguments:?}: {err}"
        );
        assert!(!path.exists(), "{arguments:?} left something behind");
    }
}

/// A FIFO that nobody writes to: opening it to read hangs, as storage does that is gone.
#[test]
fn storage_that_does_not_answer_is_given_up() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("hangs");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    for arguments in [
        &["show"][..],
        &["repair", "--dry-run"],
        &["repair", "--yes"],
    ] {
        let arguments = [arguments, &["--wait-s", "1"]].concat();
        let (code, out, err) = said(&holdfast(&arguments, &path));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        for says in ["hangs: its storage has not answered for 1 s", "--wait-s"] {
            assert!(err.contains(says), "{arguments:?}: {err}");
        }
    }
    let (code, _, err) = said(&holdfast(&["show", "--wait-s", "0"], &path));
    assert!(code == Some(2) && err.contains("--wait-s"), "{err}");
}

#[test]
fn a_hosts_slot_is_emptied_only_if_that_is_said() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("leases");
    let made = ["create", "--cluster", "prod", "--hosts", "4", "--vms", "8"];
    let (code, _, err) = said(&holdfast(&made, &path));
    assert_eq!(code, Some(0), "{err}");
    // The checksum does not fit any more, so it is damaged; one of another version is mended in the same way.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[2], (2 + 3) * 4096 + 8).unwrap();
    file.sync_all().unwrap();
    let before = std::fs::read(&path).unwrap();
    let (code, out, err) = said(&holdfast(&["repair", "--yes"], &path));
    assert!(code == Some(0) && out.contains("nothing to mend"), "{out}");
    assert!(
        err.contains("left: heartbeat 3: ") && err.contains("--heartbeats"),
        "{err}"
    );
    assert!(std::fs::read(&path).unwrap() == before, "it was written to");
    let (code, out, err) = said(&holdfast(&["repair", "--heartbeats", "--yes"], &path));
    assert!(
        code == Some(0) && out.contains("mended: one host's slot"),
        "{out}{err}"
    );
    let (_, out, _) = said(&holdfast(&["show", "-o", "json"], &path));
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        shown["damaged"].as_array().map(Vec::len),
        Some(0),
        "{shown}"
    );
}
