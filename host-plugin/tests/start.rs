//! The programs as systemd starts them, where something is wrong or not there yet: what they say,
//! how they end, and that nothing is left half done. Needs neither etcd nor a libvirtd.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_holdfast-host");
const GUARD: &str = env!("CARGO_BIN_EXE_holdfast-guard");
/// Every wait ends in a clear failure after this.
const WAIT: Duration = Duration::from_secs(60);

/// A good file for a host of its own under `dir`; nothing serves etcd on port 1.
fn host_toml(dir: &Path) -> String {
    let shown = dir.display();
    format!(
        "cluster = \"c1\"\nname = \"h1\"\nsite = \"a\"\nrun_dir = \"{shown}/run\"\n\
         [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\ncall_timeout_ms = 300\n\
         [libvirt]\nuri = \"test:///default\"\nmigrate_address = \"192.0.2.1\"\n\
         [guard]\nsocket = \"{shown}/guard.sock\"\n"
    )
}

/// The program with this file, its log at its default.
fn program(path: &str, dir: &Path, text: &str) -> Command {
    let file = dir.join("host.toml");
    std::fs::write(&file, text).expect("written");
    let mut command = Command::new(path);
    command.arg("--config").arg(file).env_remove("HOLDFAST_LOG");
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// A program that runs, and its log line by line. Ends with the test.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("it starts");
        let stderr = child.stderr.take().expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The first line that says this.
    fn line(&self, says: &str) -> String {
        let end = Instant::now() + WAIT;
        let mut all = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(says) => return line,
                Ok(line) => all.push(line),
                Err(_) => panic!("never said {says}; said:\n{}", all.join("\n")),
            }
        }
    }

    /// As systemd stops it; its exit code.
    fn stop(mut self) -> Option<i32> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process"), Signal::TERM).expect("asked to end");
        let end = Instant::now() + WAIT;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("a state") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, or the test failed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn both_refuse_a_bad_file_with_one_line_and_touch_nothing() {
    for (part, instead, says) in [
        (
            "site",
            "stie",
            "host.toml, line 3, column 1: unknown key `stie`; did you mean `site`?",
        ),
        (
            "call_timeout_ms = 300",
            "call_timeout_s = 1",
            "unknown key `call_timeout_s`; did you mean `call_timeout_ms`? It is in milliseconds.",
        ),
        ("= 300", "= \"1s\"", "write `call_timeout_ms = 1000`"),
        (
            "http://",
            "https://",
            "line 6, column 1: `https://127.0.0.1:1`: TLS to etcd is not supported yet; write http://",
        ),
    ] {
        for path in [AGENT, GUARD] {
            for check in [true, false] {
                let dir = directory();
                let text = host_toml(dir.path()).replacen(part, instead, 1);
                let mut command = program(path, dir.path(), &text);
                command.args(check.then_some("--check-config"));
                let Output { status, stderr, .. } = command.output().expect("it runs");
                let stderr = String::from_utf8_lossy(&stderr);
                assert_eq!(status.code(), Some(2), "{stderr}");
                assert!(stderr.contains(says), "said {stderr}\nnot  {says}");
                assert_eq!(stderr.lines().count(), 1, "{stderr}");
                let left = std::fs::read_dir(dir.path()).expect("a directory").count();
                assert_eq!(left, 1, "only the file itself");
            }
        }
    }
}

#[test]
fn an_empty_guard_section_passes_the_check() {
    for path in [AGENT, GUARD] {
        let dir = directory();
        let text = host_toml(dir.path());
        let text = text.split("socket").next().expect("a text");
        let mut command = program(path, dir.path(), text);
        let output = command.arg("--check-config").output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
    }
}

/// A guard that may neither lock memory nor take priority works, and says what its unit lacks.
#[test]
fn a_guard_without_rights_says_which_limits_its_unit_needs() {
    const NOBODY: u32 = 65534;
    let dir = directory();
    // The build's own directory may be one that only root may enter.
    let guard = dir.path().join("guard");
    std::fs::copy(GUARD, &guard).expect("a copy");
    let anybody = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(dir.path(), anybody).expect("permissions");
    let inner = program(GUARD, dir.path(), &host_toml(dir.path()));
    let mut command = Command::new("prlimit");
    command.args(["--memlock=0:0", "--rtprio=0:0"]).arg(guard);
    command.args(inner.get_args()).env_remove("HOLDFAST_LOG");
    command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let guard = Running::start(command);
    let line = guard.line("memory is not locked");
    assert!(
        line.contains("give the unit LimitMEMLOCK=infinity"),
        "{line}"
    );
    let line = guard.line("no real-time priority");
    assert!(line.contains("give the unit LimitRTPRIO=20"), "{line}");
    guard.line("guarding");
}

#[test]
fn without_etcd_the_agent_says_what_to_do_waits_and_has_begun_nothing() {
    let dir = directory();
    let agent = Running::start(program(AGENT, dir.path(), &host_toml(dir.path())));
    let line = agent.line("waiting to take part");
    for says in [
        "http://127.0.0.1:1",
        "start etcd's members, or correct [etcd] endpoints",
    ] {
        assert!(line.contains(says), "{says}: {line}");
    }
    let left: Vec<_> = std::fs::read_dir(dir.path().join("run"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["agent.lock"], "no life was begun");

    // A second one in its place is told off meanwhile.
    let mut second = program(AGENT, dir.path(), &host_toml(dir.path()));
    let Output { status, stderr, .. } = second.output().expect("it runs");
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(3), "{stderr}");
    let says = "holdfast-host: another agent of this host is running (it holds ";
    assert!(stderr.contains(says), "{stderr}");

    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn without_libvirt_the_agent_says_what_to_do_and_goes_on_trying() {
    let dir = directory();
    let socket = dir.path().join("no-libvirt-sock");
    let uri = format!("qemu+unix:///system?socket={}", socket.display());
    let text = host_toml(dir.path()).replace("test:///default", &uri);
    let agent = Running::start(program(AGENT, dir.path(), &text));
    let line = agent.line("libvirt is not reachable");
    for says in [
        "no-libvirt-sock",
        "start libvirtd, or correct `uri` of [libvirt] in host.toml",
    ] {
        assert!(line.contains(says), "{says}: {line}");
    }
    // It is not the only thing it waits for, and neither hides the other.
    agent.line("waiting to take part");
    assert_eq!(agent.stop(), Some(0));
}
