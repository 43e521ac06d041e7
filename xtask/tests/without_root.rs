//! The lab needs root. Whoever is not told so at once would be told by the kernel, half-way through.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// `nobody` of Debian and its relatives.
const NOBODY: u32 = 65534;

/// Runs a command as somebody who is not root.
fn run(program: &Path, dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("HOLDFAST_LAB_STATE", dir.join("state"))
        // If the check were missing: nothing is built or installed either.
        .env("PATH", dir)
        .env("CARGO", "/bin/false")
        .stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().expect("it runs")
}

#[test]
fn every_command_that_needs_root_says_so_and_does_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    // The build's own directory may be one that only root may enter.
    let program = dir.path().join("xtask");
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).expect("a copy");
    let open = |path: &Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("permissions");
    };
    open(&program, 0o755);
    // Anybody could write here.
    open(dir.path(), 0o777);
    for arguments in [
        &["demo"][..],
        &["bench", "failover"],
        &["lab", "up"],
        &["lab", "status"],
        &["lab", "cli", "status"],
        &["lab", "exec", "a1", "--", "true"],
        &["lab", "power-off", "a1"],
        &["lab", "power-on", "a1"],
        &["lab", "cut", "a", "b"],
        &["lab", "heal", "a", "b"],
        &["lab", "freeze", "a1", "libvirtd"],
        &["lab", "proof"],
        &["lab", "down"],
    ] {
        let Output {
            status,
            stdout,
            stderr,
        } = run(&program, dir.path(), arguments);
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{arguments:?}: {stderr}");
        let says = "the lab needs root (namespaces, mounts, nftables): run it again with sudo";
        assert!(
            stderr.contains(says),
            "{arguments:?} said {stderr}\nnot  {says}"
        );
        assert!(stdout.is_empty(), "{arguments:?}: no data on an error");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
        let left = std::fs::read_dir(dir.path()).expect("a directory").count();
        assert_eq!(left, 1, "{arguments:?}: only the program itself");
    }
}
