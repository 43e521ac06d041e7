//! What the guard costs, and how punctual it is: its memory, its share of a CPU while nothing happens, and
//! how late its heartbeats are sent, and seen at the volume, idle and on a machine that is busy with CPU, disk and
//! memory.
//!
//! ```sh
//! cargo bench -p holdfast-host --bench guard                  # 20 s idle, 60 s under load
//! cargo bench -p holdfast-host --bench guard -- 5 10          # shorter
//! ```
//! One guard with a lease volume with 32 peers, whose heartbeats change once a second, and 500 watched
//! processes with a claim each; an agent's end of the socket renews the session and asks for the volume once
//! a second, as an agent does. "Late" is the time between two heartbeats less the period, by the counters on the volume:
//! each is the time at which the guard's loop sent it to the thread that writes. What a peer sees of it is
//! measured at the volume ([`volume`]), and how long the guard's threads waited for a CPU is the kernel's word.

#[allow(dead_code, reason = "what the tests need besides")]
#[path = "../../tests/guard/bench.rs"]
mod bench;
mod load;
mod volume;

use bench::{Agent, Bench, Owned, guard_command, life, peer, until};
use holdfast_core::guardian::deadline::Phase;
use holdfast_core::lease::claim::Wanted;
use holdfast_host::guard::claims::ClaimState;
use holdfast_host::guard::protocol::{Answer, Call, Process};
use holdfast_host::process::{ProcessId, start_ticks};
use holdfast_lease::volume::Volume;
use holdfast_model::id::{Generation, Revision};
use holdfast_model::lease::{Holder, Layout, Record, StorageClass, Superblock};
use holdfast_model::probe::ProbeKey;
use holdfast_store::clock::boottime;
use load::Load;
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use volume::{Reader, Seen};

const PEERS: u32 = 32;
const VMS: u32 = 500;
/// The bounds of the `default` profile, and the period that follows from them.
const RUNNER_DEADLINE_MS: u64 = 4_000;
const PERIOD_MS: u64 = 1_000;
/// What it may have with all of these. The bench fails beyond that.
const RESIDENT_MAX_KIB: u64 = 8192;
/// The guard's own slot, behind the peers'.
const OWN_SLOT: u32 = PEERS;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if load::is_worker(&arguments) {
        return ExitCode::SUCCESS;
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        // Started by `cargo test --all-targets`: that it builds is enough.
        return ExitCode::SUCCESS;
    }
    let mut seconds = arguments.iter().filter_map(|text| text.parse().ok());
    let idle_s: u64 = seconds.next().unwrap_or(20);
    let load_s: u64 = seconds.next().unwrap_or(60);
    println!("load of the machine before: {}", loadavg());
    let mut host = Host::start();
    host.settle(3);
    for warning in host.agent.status().warnings {
        println!("not permitted here: {warning}");
    }
    println!("\nmemory, armed, without peers and VMs\n{}", host.memory());
    host.fill();
    host.settle(5);
    let resident_kib = host.resident_kib();
    println!("memory, {PEERS} peers and {VMS} VMs\n{}", host.memory());
    let before = host.cpu_ns();
    let took = host.follow(idle_s);
    let share = (host.cpu_ns() - before) as f64 / took.as_nanos() as f64 * 100.0;
    println!("CPU, idle for {idle_s} s: {share:.2} % of one core");
    println!("\nidle for {idle_s} s\n{}", host.watch(idle_s));
    let mut load = Load::start(host.bench.path());
    host.settle(2);
    let watched = host.watch(load_s);
    println!("under load for {load_s} s: {}\n{watched}", load.words());
    drop(load);
    if let Phase::Armed(_) = host.agent.status().phase {
        println!("no deadline passed");
    } else {
        println!("a deadline passed: the storage took no heartbeat for {RUNNER_DEADLINE_MS} ms");
    }
    println!("load of the machine after: {}", loadavg());
    println!("resident: {resident_kib} kB of {RESIDENT_MAX_KIB} allowed");
    if resident_kib > RESIDENT_MAX_KIB {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn loadavg() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let numbers: Vec<&str> = text.split(' ').take(3).collect();
    numbers.join(" ")
}

struct Host {
    bench: Bench,
    agent: Agent,
    volume: Volume,
    vms: Vec<Owned>,
    peers: bool,
    beat: u64,
}

impl Host {
    fn start() -> Self {
        let mut bench = Bench::with("[lease]\nvolume = \"DIR/leases\"\n");
        // The same once more, with less to say.
        bench.guard.0.kill().expect("a child");
        bench.guard.0.wait().expect("a child");
        let guard = guard_command(&bench.config)
            .env("HOLDFAST_LOG", "error")
            .spawn();
        bench.guard = Owned(guard.expect("a guard"));
        let superblock = Superblock {
            cluster: "c1".parse().expect("a name"),
            class: StorageClass::Quorum,
            layout: Layout {
                hosts_max: PEERS + 1,
                vms_max: VMS,
                ..Layout::default()
            },
            created_ms: 1,
        };
        let path = bench.path().join("leases");
        let volume = Volume::create(&path, &superblock, false).expect("a volume");
        let mut agent = bench.connect();
        let armed = agent.arm_in("i1", RUNNER_DEADLINE_MS, Some(OWN_SLOT));
        armed.expect("armed");
        let free = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let listen = free.local_addr().expect("an address");
        drop(free);
        let key = ProbeKey::new([1; ProbeKey::BYTES]);
        let answers = agent.call(Call::Probes { listen, key });
        assert_eq!(answers, Ok(Answer::Done), "it answers managers as well");
        Self {
            bench,
            agent,
            volume,
            vms: Vec::new(),
            peers: false,
            beat: 1,
        }
    }

    /// Peers on the volume, processes to be watched.
    fn fill(&mut self) {
        self.peers = true;
        for number in 0..VMS {
            let child = Command::new("sleep").arg("3600").spawn();
            let child = Owned(child.expect("a process"));
            let pid = child.0.id();
            let ticks = until("it is there", || start_ticks(pid));
            self.vms.push(child);
            let process = Process {
                vm: format!("vm{number}").parse().expect("a name"),
                generation: Generation(1),
                uuid: format!("11111111-2222-3333-4444-{number:0>12}")
                    .parse()
                    .expect("a UUID"),
                process: ProcessId {
                    pid,
                    start_ticks: ticks,
                },
                lease: StorageClass::Quorum,
                slot: Some(number),
            };
            self.claim(&process, number);
            let incarnation = life("i1");
            let watched = self.agent.call(Call::Watch {
                incarnation,
                process,
            });
            assert_eq!(watched, Ok(Answer::Done));
            if number % 50 == 0 {
                self.second();
            }
        }
    }

    /// Its claim stands on the volume, and is looked at again from then on.
    fn claim(&mut self, process: &Process, slot: u32) {
        let wanted = Box::new(Wanted {
            vm: process.vm.clone(),
            uuid: process.uuid.clone(),
            generation: process.generation,
            holder: Holder {
                host: "h1".parse().expect("a name"),
                incarnation: life("i1"),
            },
            follows: Vec::new(),
        });
        let state = until("the claim is done", || {
            let (slot, wanted) = (Some(slot), wanted.clone());
            match self.agent.call(Call::Claim { slot, wanted }) {
                Ok(Answer::Claim {
                    state: ClaimState::UnderWay,
                }) => None,
                answer => Some(answer),
            }
        });
        let state_is = matches!(
            state,
            Ok(Answer::Claim {
                state: ClaimState::Held
            })
        );
        assert!(state_is, "{state:?}");
    }

    /// What happens once a second besides.
    fn second(&mut self) {
        let renewed = self.agent.call(Call::Renewed {
            incarnation: life("i1"),
            sent_at: boottime(),
            revision: Revision(1),
        });
        assert!(matches!(renewed, Ok(Answer::Renewed { .. })), "{renewed:?}");
        let volume = self.agent.call(Call::Volume);
        assert!(matches!(volume, Ok(Answer::Volume { .. })), "{volume:?}");
        self.beat += 1;
        for slot in 0..if self.peers { PEERS } else { 0 } {
            let heartbeat = peer(&format!("peer{slot}"), self.beat);
            let number = self.volume.superblock().layout.heartbeat(slot);
            let record = Record::Heartbeat(Some(heartbeat));
            let written = self
                .volume
                .write(number.expect("a slot"), self.beat, record);
            written.expect("written");
        }
    }

    fn settle(&mut self, seconds: u64) {
        self.follow(seconds);
    }

    /// For that long: how late heartbeats are, and how long the guard's threads waited for a CPU, in words.
    fn watch(&mut self, seconds: u64) -> String {
        let sector = self.volume.superblock().layout.heartbeat(OWN_SLOT);
        let reader = Reader::start(self.volume.path(), sector.expect("a slot"));
        let before = self.waited_ns();
        self.follow(seconds);
        let after = self.waited_ns();
        let seen: Seen = reader.seen();
        let mut words = format!("sent: {}{}\n", Lateness::of(&seen.sent()), seen.words());
        let per_s = 1e3 * seconds.max(1) as f64;
        for (thread, waited_ns) in &after {
            let before_ns = before.get(thread).copied().unwrap_or(0);
            let us = waited_ns.saturating_sub(before_ns) as f64 / per_s;
            words += &format!("  {thread:<16} waited {us:>7.0} µs a second for a CPU\n");
        }
        words
    }

    /// For that long, and how long it took.
    fn follow(&mut self, seconds: u64) -> Duration {
        let begin = Instant::now();
        let mut next = begin;
        while begin.elapsed() < Duration::from_secs(seconds) {
            if Instant::now() >= next {
                self.second();
                next += Duration::from_secs(1);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        begin.elapsed()
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.bench.guard.0.id());
        std::fs::read_to_string(path).expect("the guard runs")
    }

    fn memory(&self) -> String {
        let status = self.proc("status");
        let wanted = ["VmRSS:", "RssAnon:", "RssFile:", "VmLck:", "VmPTE:"];
        let of_it = |line: &&str| wanted.iter().any(|name| line.starts_with(name));
        let lines = status.lines().filter(of_it);
        lines.map(|line| format!("  {line}\n")).collect()
    }

    fn resident_kib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("its memory, in kB")
    }

    /// CPU time of all its threads.
    fn cpu_ns(&self) -> u64 {
        self.scheduled().into_iter().map(|(_, ran, _)| ran).sum()
    }

    /// How long each of its threads has waited for a CPU, by its name.
    fn waited_ns(&self) -> BTreeMap<String, u64> {
        let threads = self.scheduled().into_iter();
        threads.map(|(name, _, waited)| (name, waited)).collect()
    }

    /// Each of its threads: its name, for how long it ran, and waited for a CPU.
    fn scheduled(&self) -> Vec<(String, u64, u64)> {
        let tasks = format!("/proc/{}/task", self.bench.guard.0.id());
        let tasks = std::fs::read_dir(tasks).expect("the guard runs").flatten();
        let of_task = |task: std::fs::DirEntry| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let mut words = text.split_whitespace();
            let mut number = || words.next()?.parse::<u64>().ok();
            Some((name.trim().to_owned(), number()?, number()?))
        };
        tasks.filter_map(of_task).collect()
    }
}

/// How late heartbeats were.
struct Lateness {
    /// In milliseconds, sorted.
    late: Vec<u64>,
}

impl Lateness {
    fn of(beats: &[u64]) -> Self {
        let pairs = beats.windows(2);
        let mut late: Vec<u64> = pairs
            .map(|pair| (pair[1] - pair[0]).saturating_sub(PERIOD_MS))
            .collect();
        late.sort_unstable();
        Self { late }
    }
}

impl std::fmt::Display for Lateness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Some(median), Some(max)) = (self.late.get(self.late.len() / 2), self.late.last())
        else {
            return writeln!(f, "none");
        };
        let count = self.late.len();
        writeln!(
            f,
            "{count} sent, late by {median} ms (median), {max} ms at most"
        )?;
        let mut from = 0;
        for below in [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, u64::MAX] {
            let inside = |ms: &&u64| (from..below).contains(*ms);
            let number = self.late.iter().filter(inside).count();
            if number > 0 {
                let bar = "#".repeat((number * 40).div_ceil(count));
                writeln!(f, "  from {from:>4} ms {number:>5} {bar}")?;
            }
            from = below;
        }
        Ok(())
    }
}
