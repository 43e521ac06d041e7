//! What an extension costs besides its answers, for one of each language: from its component to a question that can
//! be asked, and what it holds while nobody asks. A line for each figure: its name, its unit, a number of each round.
//!
//! Each round is a process of its own, so that no round finds what another one left: this program again, told what to
//! do by its arguments.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{question, wasm};
use holdfast_extension_host::cache::Cache;
use holdfast_extension_host::compile::{self, Compiler};
use holdfast_extension_host::outside::Reach;
use holdfast_extension_host::storage_check::Domain;
use holdfast_extension_host::{EngineKind, Loaded, Placement, Runtime, StorageCheck};
use holdfast_model::component::digest;
use holdfast_model::extension::{ExtensionKind, Limits};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// One of each language, and a second one of Rust that is started anew for each call.
const GUESTS: [(&str, &str, ExtensionKind); 6] = [
    ("site-affinity", "Rust", ExtensionKind::Placement),
    ("label-match", "C", ExtensionKind::Placement),
    ("free-memory", "JavaScript", ExtensionKind::Placement),
    ("free-vcpus", "Python", ExtensionKind::Placement),
    ("gluster-check", "Rust", ExtensionKind::StorageCheck),
    ("storage-probe", "Python", ExtensionKind::StorageCheck),
];
const ROUNDS: usize = 5;
/// Held at a time, to see what one holds.
const HELD: usize = 20;
/// Calls whose median counts.
const CALLS: usize = 21;

/// The child that compiles; then the file for its peak.
const COMPILE: &str = "--compile";
const ROUND: &str = "--round";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [COMPILE, peak] => {
            let code = compile::child(EngineKind::Native);
            std::fs::write(peak, of_status("VmHWM").to_string()).expect("written");
            return code;
        }
        [ROUND, guest] => round(guest),
        _ => all(),
    }
    ExitCode::SUCCESS
}

fn all() {
    let own = std::env::current_exe().expect("this program's own path");
    for (guest, language, _) in GUESTS {
        let mut lines: Vec<String> = Vec::new();
        for _ in 0..ROUNDS {
            let output = Command::new(&own).args([ROUND, guest]).output();
            let output = output.expect("this program starts");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{guest}: {errors}");
            let text = String::from_utf8(output.stdout).expect("text");
            for (number, line) in text.lines().enumerate() {
                let (name, value) = line.rsplit_once(' ').expect("a name and a number");
                match lines.get_mut(number) {
                    Some(line) => *line += &format!(" {value}"),
                    None => lines.push(format!("{guest} ({language}): {name}\t{value}")),
                }
            }
        }
        lines.iter().for_each(|line| println!("{line}"));
    }
}

/// Prints `NAME, UNIT NUMBER` for each figure.
fn round(guest: &str) {
    let kind = GUESTS.iter().find(|(name, ..)| *name == guest);
    let (_, _, kind) = kind.expect("one of the guests");
    let wasm = wasm(guest);
    let dir = tempfile::tempdir().expect("a directory");
    let peak = dir.path().join("peak");
    let compiler = Compiler {
        program: "/proc/self/exe".into(),
        arguments: vec![COMPILE.to_owned(), peak.display().to_string()],
    };
    let cache = Cache::open(&dir.path().join("code")).expect("a directory");
    let runtime = Runtime::new(EngineKind::Native).expect("a runtime");
    let begin = Instant::now();
    let loaded = cache.load_or_compile(&runtime, &compiler, &wasm);
    let mut asked = Asked::new(*kind, &loaded.expect("compiled"));
    asked.ask();
    println!(
        "from the component to its first answer, ms {}",
        begin.elapsed().as_millis()
    );
    let peak_kib = std::fs::read_to_string(&peak).expect("the child's peak");
    let peak_kib: u64 = peak_kib.parse().expect("a number");
    println!("peak of what compiles it, MiB {}", peak_kib >> 10);
    drop(asked);
    // As a daemon finds it that starts again.
    let again = Runtime::new(EngineKind::Native).expect("a runtime");
    let begin = Instant::now();
    let loaded = cache.load(&again, &digest(&wasm)).expect("kept");
    let mut asked = Asked::new(*kind, &loaded);
    asked.ask();
    println!(
        "from machine code that was kept, ms {}",
        begin.elapsed().as_millis()
    );
    let mut calls: Vec<u128> = (0..CALLS)
        .map(|_| {
            let begin = Instant::now();
            asked.ask();
            begin.elapsed().as_micros()
        })
        .collect();
    calls.sort_unstable();
    println!("a call about one host, us {}", calls[CALLS / 2]);
    let before = of_status("VmRSS");
    let mut held: Vec<Asked> = (0..HELD).map(|_| Asked::new(*kind, &loaded)).collect();
    held.iter_mut().for_each(Asked::ask);
    let each = of_status("VmRSS").saturating_sub(before) / HELD as u64;
    println!("held by one that was asked, KiB {each}");
}

/// What is asked.
enum Asked {
    Placement(Placement),
    Storage(StorageCheck),
}

impl Asked {
    fn new(kind: ExtensionKind, loaded: &Loaded) -> Self {
        let limits = Limits {
            cpu_ms: 5_000,
            wall_ms: 60_000,
            memory_mib: 128,
            ..kind.default_limits()
        };
        match kind {
            ExtensionKind::Placement => {
                Self::Placement(Placement::new(loaded, limits, true).expect("for placement"))
            }
            _ => {
                let check = StorageCheck::new(loaded, limits, Reach::log_only(true));
                Self::Storage(check.expect("a storage check"))
            }
        }
    }

    fn ask(&mut self) {
        match self {
            Self::Placement(placement) => {
                placement.ask(&question(1)).said.expect("an answer");
            }
            Self::Storage(check) => {
                let domain = Domain {
                    name: "storage".to_owned(),
                    path: "/srv".to_owned(),
                    settings: Vec::new(),
                };
                check.check(&domain).answer.expect("an answer");
            }
        }
    }
}

/// A line of this process's status, in KiB.
fn of_status(key: &str) -> u64 {
    let text = std::fs::read_to_string(Path::new("/proc/self/status")).expect("its own status");
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect("KiB")
}
