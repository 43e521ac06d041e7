//! The runner against real programs: shell scripts that behave like fence agents, or do not.

use super::*;
use crate::ALONE;
use holdfast_model::fence_device::FenceDevice;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// Longer than anything here takes.
const BOUND: Duration = Duration::from_secs(20);

/// A folder that only its owner can change, with one program in it.
struct Rig {
    dir: TempDir,
}

impl Rig {
    fn new(script: &str) -> Self {
        let rig = Self {
            dir: tempfile::tempdir().expect("a folder"),
        };
        let text = format!("#!/bin/sh\n{script}\n");
        fs::write(rig.path("fence_x"), text).expect("written");
        rig.mode("fence_x", 0o755);
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(self.path(name), mode).expect("its mode");
    }

    fn agents(&self) -> FenceAgents {
        let name = "fence_x".parse().expect("a name");
        let programs = BTreeMap::from([(name, self.path("fence_x"))]);
        FenceAgents::new(programs, self.dir.path().to_owned())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

fn target(options: &[(&str, &str)]) -> Target {
    let options = options.iter();
    Target {
        host: "a1".parse().expect("a name"),
        name: "board".parse().expect("a name"),
        incarnation: "l1".parse().expect("a name"),
        attempt: 1,
        device: FenceDevice::by_agent(
            "fence_x".parse().expect("a name"),
            options
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            1_000,
        ),
    }
}

#[tokio::test]
async fn exit_codes_say_what_the_interface_says() {
    let _alone = ALONE.lock().await;
    for (code, status) in [(0, Ok(Power::On)), (2, Ok(Power::Off))] {
        let rig = Rig::new(&format!("cat >/dev/null; exit {code}"));
        assert_eq!(rig.agents().status(&target(&[])).await, status);
    }
    // 2 means off of a status, and nothing of an "off".
    for code in [1, 2, 3] {
        let rig = Rig::new(&format!(
            "echo some detail >&2; echo no route >&2; exit {code}"
        ));
        let why = rig.agents().switch_off(&target(&[])).await;
        let says = format!("fence_x ended off with exit code {code}: no route");
        assert_eq!(why, Err(says));
    }
    for code in [1, 3, 127] {
        let rig = Rig::new(&format!("exit {code}"));
        assert!(rig.agents().status(&target(&[])).await.is_err(), "{code}");
    }
    let killed = Rig::new("kill -9 $$");
    let why = killed
        .agents()
        .status(&target(&[]))
        .await
        .expect_err("no answer");
    assert!(why.contains("a signal"), "{why}");
}

#[tokio::test]
async fn options_and_secrets_come_on_standard_input_and_nowhere_else() {
    let _alone = ALONE.lock().await;
    let rig = Rig::new(
        "cat >\"${0%/*}/input\"; echo \"$#\" >\"${0%/*}/args\"; env >\"${0%/*}/env\"; exit 2",
    );
    fs::write(rig.path("a1.ipmi"), "s3cret\n").expect("written");
    let mut target = target(&[("ip", "192.0.2.1"), ("passwd_file", "a1.ipmi")]);
    assert_eq!(rig.agents().status(&target).await, Ok(Power::Off));
    let expected = "action=status\nnodename=a1\nip=192.0.2.1\npasswd=s3cret\n";
    assert_eq!(rig.read("input"), expected);
    assert_eq!(rig.read("args"), "0\n");
    assert!(!rig.read("env").is_empty() && !rig.read("env").contains("s3cret"));
    // A device of several hosts is told which.
    target.device.hosts = vec![target.host.clone(), "a2".parse().expect("a name")];
    rig.agents()
        .switch_off(&target)
        .await
        .expect_err("exit code 2");
    assert!(
        rig.read("input")
            .starts_with("action=off\nnodename=a1\nplug=a1\n")
    );
}

#[tokio::test]
async fn what_cannot_be_trusted_is_not_run() {
    let _alone = ALONE.lock().await;
    let rig = Rig::new("touch \"${0%/*}/ran\"; exit 2");
    let agents = rig.agents();
    let says = async |target: Target, part: &str| {
        let why = agents.status(&target).await.expect_err(part);
        assert!(why.contains(part), "{why}");
    };
    let mut unknown = target(&[]);
    unknown.device.agent = Some("fence_y".parse().expect("a name"));
    says(unknown, "has no `fence_y`").await;
    says(
        target(&[("passwd_file", "missing")]),
        "cannot read the secret",
    )
    .await;
    // The policy was checked when it was set; it comes from etcd all the same.
    says(
        target(&[("passwd_file", "../../etc/shadow")]),
        "without a path",
    )
    .await;
    says(
        target(&[("ssh_path", "/bin/sh")]),
        "would have the program run",
    )
    .await;
    fs::write(rig.path("two"), "a\naction=on\n").expect("written");
    says(target(&[("passwd_file", "two")]), "more than one line").await;
    assert!(agents.faults().is_empty());
    rig.mode("fence_x", 0o775);
    assert_eq!(agents.faults().len(), 1);
    says(target(&[]), "can be changed by others").await;
    rig.mode("fence_x", 0o755);
    rig.mode("", 0o777);
    says(target(&[]), "can be changed by others").await;
    rig.mode("", 0o700);
    assert!(!rig.path("ran").exists());
    assert_eq!(agents.status(&target(&[])).await, Ok(Power::Off));
    assert!(rig.path("ran").exists(), "the script would have run");
}

/// Whether a process is there and is no zombie.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, wait).await.expect(what);
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_it_started() {
    let _alone = ALONE.lock().await;
    let rig = Rig::new(
        "cat >/dev/null; sleep 1000 & echo $$ $! >\"${0%/*}/pids.new\"; \
         mv \"${0%/*}/pids.new\" \"${0%/*}/pids\"; wait",
    );
    let agents = rig.agents();
    let target = target(&[]);
    let calls = tokio::select! {
        ended = agents.status(&target) => Some(ended),
        () = until("it runs", || rig.path("pids").exists()) => None,
    };
    assert_eq!(calls, None, "it hangs");
    let text = rig.read("pids");
    let pids: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "{text}");
    until("both are gone", || !pids.iter().any(|pid| is_alive(pid))).await;
}

#[tokio::test]
async fn what_a_program_leaves_behind_holds_nothing_up() {
    let _alone = ALONE.lock().await;
    // It keeps the standard error open.
    let rig = Rig::new("cat >/dev/null; sleep 30 & echo $! >\"${0%/*}/pid\"; exit 2");
    let agents = rig.agents();
    let answer = tokio::time::timeout(BOUND / 2, agents.status(&target(&[]))).await;
    assert_eq!(answer, Ok(Ok(Power::Off)));
    let left = rig.read("pid");
    assert!(is_alive(left.trim()), "it outlives its parent");
    let pid = left.trim().parse().ok().and_then(Pid::from_raw);
    rustix::process::kill_process(pid.expect("a pid"), Signal::KILL).expect("ended");
}

#[tokio::test]
async fn a_talkative_program_is_heard_out() {
    let _alone = ALONE.lock().await;
    let rig = Rig::new(
        "i=0; while [ $i -lt 3000 ]; do echo a line of a log that nobody wants >&2; i=$((i+1)); done; exit 2",
    );
    let answer = tokio::time::timeout(BOUND, rig.agents().status(&target(&[]))).await;
    assert_eq!(answer, Ok(Ok(Power::Off)));
}
