//! A host with nothing but a guard, and processes that stand for QEMU.

use holdfast_host::guard::protocol::{Answer, Call, Killed, Message, Process, Request, Status};
use holdfast_host::process::{ProcessId, verified};
use holdfast_model::host::RunnerBounds;
use holdfast_model::id::{Generation, Incarnation};
use holdfast_model::lease::{AgentState, Heartbeat, HostPhase, StorageClass};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Every wait ends in a clear failure after this.
pub const WAIT: Duration = Duration::from_secs(60);
pub const DEADLINE_MS: u64 = 1_200;

/// A child that does not outlive the test.
pub struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Owned {
    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }

    pub fn wait_for_end(&mut self) -> ExitStatus {
        until("the process ends", || self.0.try_wait().expect("a child"))
    }
}

pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < WAIT, "not within {WAIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A host with nothing but a guard.
pub struct Bench {
    pub dir: TempDir,
    pub config: PathBuf,
    pub guard: Owned,
}

impl Bench {
    pub fn new() -> Self {
        Self::with("")
    }

    /// With more in its configuration; `DIR` stands for the directory.
    pub fn with(more: &str) -> Self {
        // Direct I/O needs a real file system.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let config = dir.path().join("host.toml");
        let shown = dir.path().display();
        std::fs::create_dir(dir.path().join("libvirt")).expect("a directory");
        let text = format!(
            "cluster = \"c1\"\nname = \"h1\"\nsite = \"a\"\nrun_dir = \"{shown}/run\"\n\
             [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\n\
             [libvirt]\nmigrate_address = \"127.0.0.1\"\nrun_dir = \"{shown}/libvirt\"\n\
             [guard]\nsocket = \"{shown}/guard.sock\"\n{}",
            more.replace("DIR", &shown.to_string())
        );
        std::fs::write(&config, text).expect("written");
        let guard = start_guard(&config);
        Self { dir, config, guard }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn connect(&self) -> Agent {
        let socket = self.path().join("guard.sock");
        let stream = until("the guard listens", || UnixStream::connect(&socket).ok());
        stream.set_read_timeout(Some(WAIT)).expect("a socket");
        Agent {
            lines: BufReader::new(stream),
            next_id: 1,
        }
    }

    /// Ends the guard as a crash would, and starts another.
    pub fn crash_guard(&mut self) {
        self.guard.0.kill().expect("a child");
        self.guard.0.wait().expect("a child");
        self.guard = start_guard(&self.config);
    }

    /// How often the guard's own thread has gone on after a wait, or was interrupted, and for how long it
    /// has had a CPU, in the kernel's ticks of 10 ms.
    pub fn effort(&self) -> (u64, u64) {
        let pid = self.guard.0.id();
        let read = |name: &str| {
            let file = format!("/proc/{pid}/task/{pid}/{name}");
            std::fs::read_to_string(file).expect("it runs")
        };
        let number = |word: Option<&str>| -> u64 {
            let number = word.and_then(|word| word.parse().ok());
            number.expect("a number")
        };
        let status = read("status");
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        let switches = lines.map(|line| number(line.split_whitespace().nth(1)));
        let stat = read("stat");
        let (_, stat) = stat.rsplit_once(')').expect("a name");
        let ticks = stat.split_whitespace().skip(11).take(2);
        (switches.sum(), ticks.map(|word| number(Some(word))).sum())
    }

    /// libvirtd's status file of a domain.
    pub fn status_file(&self, vm: &str, uuid: &str, pid: u32) {
        let text = format!(
            "<domstatus state='running' reason='booted' pid='{pid}'><domain type='kvm' id='1'>\
             <name>{vm}</name><uuid>{uuid}</uuid><metadata><holdfast:vm \
             xmlns:holdfast='https://holdfast.dev/xmlns/domain/1' cluster='c1' vm='{vm}' \
             generation='4' incarnation='i1'/></metadata></domain></domstatus>"
        );
        let path = self.path().join("libvirt").join(format!("{vm}.xml"));
        std::fs::write(path, text).expect("written");
    }
}

pub fn start_guard(config: &Path) -> Owned {
    let child = guard_command(config).spawn();
    Owned(child.expect("the guard"))
}

/// As systemd starts it: with the environment that its unit names.
pub fn guard_command(config: &Path) -> Command {
    let unit = include_str!("../../packaging/holdfast-guard.service");
    let named = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="));
    let variables = named.filter_map(|one| one.split_once('='));
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-guard"));
    command.arg("--config").arg(config).envs(variables);
    command
}

/// The agent's end of the socket.
pub struct Agent {
    pub lines: BufReader<UnixStream>,
    pub next_id: u64,
}

impl Agent {
    pub fn message(&mut self) -> Message {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line in time");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    }

    pub fn send(&mut self, call: Call) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let request = Request { v: 1, id, call };
        let line = serde_json::to_string(&request).expect("JSON") + "\n";
        let stream = self.lines.get_mut();
        stream.write_all(line.as_bytes()).expect("written");
        id
    }

    pub fn call(&mut self, call: Call) -> Result<Answer, String> {
        let wanted = self.send(call);
        loop {
            if let Message::Reply { id, result } = self.message()
                && id == wanted
            {
                return result;
            }
        }
    }

    pub fn arm(&mut self, incarnation: &str, runner_deadline_ms: u64) -> Result<Answer, String> {
        self.arm_in(incarnation, runner_deadline_ms, None)
    }

    pub fn arm_in(
        &mut self,
        incarnation: &str,
        runner_deadline_ms: u64,
        slot: Option<u32>,
    ) -> Result<Answer, String> {
        self.call(Call::Arm {
            incarnation: life(incarnation),
            bounds: RunnerBounds {
                runner_deadline_ms,
                kill_bound_ms: 500,
                watchdog_bound_ms: 0,
            },
            slot,
        })
    }

    pub fn watch(&mut self, vm: &Vm) -> Result<Answer, String> {
        self.call(Call::Watch {
            incarnation: life("i1"),
            process: vm.process(),
        })
    }

    pub fn status(&mut self) -> Status {
        match self.call(Call::Status) {
            Ok(Answer::Status(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// What the guard tells once everything it killed is gone.
    pub fn stopped(&mut self) -> (Option<Incarnation>, Vec<Killed>) {
        loop {
            if let Message::Stopped {
                incarnation,
                killed,
            } = self.message()
                && killed.iter().all(|killed| killed.gone)
            {
                return (incarnation, killed);
            }
        }
    }
}

/// A process that stands for a QEMU.
pub struct Vm {
    pub name: &'static str,
    pub uuid: String,
    pub child: Owned,
    pub id: ProcessId,
    pub lease: StorageClass,
    pub slot: Option<u32>,
}

impl Vm {
    pub fn start(name: &'static str) -> Self {
        let uuid = format!("11111111-2222-3333-4444-{:0>12}", name.len());
        // It complains about the file that is not there, and stays.
        let child = Command::new("tail")
            .args(["-f", "/dev/null", &uuid])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = Owned(child.expect("a process"));
        let parsed = uuid.parse().expect("a UUID");
        let id = until("its command line is there", || {
            verified(child.0.id(), &parsed)
        });
        Self {
            name,
            uuid,
            child,
            id,
            lease: StorageClass::Plain,
            slot: None,
        }
    }

    /// One that was granted under a storage lease.
    pub fn leased(name: &'static str) -> Self {
        Self {
            lease: StorageClass::Quorum,
            ..Self::start(name)
        }
    }

    pub fn process(&self) -> Process {
        Process {
            vm: self.name.parse().expect("a name"),
            generation: Generation(4),
            uuid: self.uuid.parse().expect("a UUID"),
            process: self.id,
            lease: self.lease,
            slot: self.slot,
        }
    }

    pub fn assert_killed(&mut self) {
        assert_eq!(self.child.wait_for_end().signal(), Some(9), "{}", self.name);
    }
}

pub fn life(name: &str) -> Incarnation {
    name.parse().expect("a name")
}

pub fn names(killed: &[Killed]) -> Vec<String> {
    let mut names: Vec<String> = killed.iter().map(|k| k.vm.to_string()).collect();
    names.sort();
    names
}

/// Another host's heartbeat on the lease volume, with the bounds of the `default` profile.
pub fn peer(host: &str, counter: u64) -> Heartbeat {
    Heartbeat {
        host: host.parse().expect("a name"),
        incarnation: life("theirs"),
        boot_id: "b2".parse().expect("a name"),
        counter,
        phase: HostPhase::Holding,
        agent: AgentState::Connected,
        answered: 0,
        period_ms: 1_000,
        runner_deadline_ms: 4_000,
        kill_bound_ms: 1_000,
        watchdog_bound_ms: 0,
    }
}
