//! `extensions_engine = "pulley"`, from the directory to the answer, in a process that may not make memory executable: as
//! a daemon runs whose unit has `MemoryDenyWriteExecute=yes`. This program is that process, and its child that
//! compiles, as well.

use holdfast_extension_host::{Loaded, Placement, Runtime};
use holdfast_extension_ready::{Workshop, child};
use holdfast_model::advice::{Candidate, Labels, Question, VmFacts};
use holdfast_model::extension::{ExtensionKind, Limits};
use holdfast_model::files::ExtensionsEngine;
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::Arc;

/// By this, a directory and `pulley` or `native` it is the process that asks.
const ASK: &str = "--ask";
/// The kernel does not know how to forbid it.
const CANNOT: i32 = 77;

fn main() -> ExitCode {
    if let Some(code) = child() {
        return code;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, dir, engine] = &words[..]
        && first == ASK
    {
        return ask(Path::new(dir), engine);
    }
    let trial = Trial::test(
        "an_interpreted_rule_is_compiled_loaded_and_asked_without_executable_memory",
        || {
            without_executable_memory();
            Ok::<(), Failed>(())
        },
    );
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

/// Forbids this to a process, which then becomes this program.
fn forbidden(dir: &Path, engine: &str) -> Output {
    let prctl = match std::env::consts::ARCH {
        "x86_64" => 157,
        _ => 167,
    };
    // 65 is PR_SET_MDWE, and 1 PR_MDWE_REFUSE_EXEC_GAIN; it goes on to what is executed and to children.
    let script = format!(
        "syscall({prctl}, 65, 1, 0, 0, 0) == 0 or exit {CANNOT}; exec @ARGV or exit {CANNOT}"
    );
    let own = std::env::current_exe().expect("this program's own path");
    let mut perl = Command::new("perl");
    perl.args(["-e", &script]).arg(own).arg(ASK).arg(dir);
    perl.arg(engine).output().expect("perl, which dpkg needs")
}

fn without_executable_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let code = dir.path().join("code");
    let asked = forbidden(&code, "pulley");
    if asked.status.code() == Some(CANNOT) {
        eprintln!("skipped: this kernel cannot forbid a process executable memory (PR_SET_MDWE)");
        return;
    }
    let errors = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success(), "{}: {errors}", asked.status);
    let said = String::from_utf8(asked.stdout).expect("text");
    assert_eq!(said.trim(), here(), "{errors}");
    let kept = || std::fs::read_dir(&code).expect("it is there").count();
    assert_eq!(kept(), 1, "what was compiled is kept");
    // From there; another engine's is none for it.
    let again = forbidden(&code, "pulley");
    assert!(again.status.success());
    assert_eq!(String::from_utf8(again.stdout).expect("text"), said);
    assert_eq!(kept(), 1);
    // It was forbidden: machine code is compiled as well, and cannot be loaded.
    let native = forbidden(&code, "native");
    let errors = String::from_utf8_lossy(&native.stderr);
    assert!(!native.status.success(), "machine code runs in it");
    assert!(errors.contains("it cannot be loaded"), "{errors}");
    // And it can where it is not.
    let own = std::env::current_exe().expect("this program's own path");
    let free = Command::new(own).arg(ASK).arg(&code).arg("native").output();
    let free = free.expect("it starts");
    assert_eq!(String::from_utf8(free.stdout).expect("text"), said);
}

/// What machine code says in this process.
fn here() -> String {
    let runtime = Runtime::new(holdfast_extension_host::EngineKind::Native).expect("a runtime");
    let loaded = Loaded::compile(&runtime, &wasm()).expect("a component");
    answer(&loaded)
}

/// What the process does that asks: as a daemon does.
fn ask(dir: &Path, engine: &str) -> ExitCode {
    let engine = match engine {
        "pulley" => ExtensionsEngine::Pulley,
        _ => ExtensionsEngine::Native,
    };
    let workshop = Workshop::open(dir, engine).expect("a workshop");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let loaded = runtime.expect("a runtime").block_on(workshop.load(wasm()));
    match loaded {
        Ok(loaded) => {
            println!("{}", answer(&loaded));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("it cannot be loaded: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `site-affinity`, as `cargo xtask extensions` built it.
fn wasm() -> Vec<u8> {
    // target/PROFILE/deps/TEST
    let own = std::env::current_exe().expect("this program's own path");
    let target = own.ancestors().nth(3).expect("a target directory");
    let path: PathBuf = target.join("extensions/site-affinity/component.wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask extensions` builds it",
            path.display()
        )
    })
}

fn answer(loaded: &Loaded) -> String {
    let limits = Limits {
        cpu_ms: 5_000,
        wall_ms: 60_000,
        ..ExtensionKind::Placement.default_limits()
    };
    let rule = Placement::new(loaded, limits, true).expect("one for placement");
    let said = rule.ask(&question()).said.expect("an answer");
    format!("{said:?}")
}

fn question() -> Question {
    let candidate = |n: u64| Candidate {
        host: format!("h{n}").parse().expect("a name"),
        site: Some(["a", "b"][n as usize % 2].parse().expect("a name")),
        labels: Arc::new(Labels::from([("rack".to_owned(), format!("r{}", n % 3))])),
        memory_mib: 65_536,
        memory_free_mib: 1_024 * (n + 1),
        vcpus: 32,
        vcpus_used: 3,
        vms: 2,
    };
    Question {
        vm: VmFacts {
            name: "web-1".parse().expect("a name"),
            memory_mib: 2_048,
            vcpus: 2,
            priority: 10,
            preferred_site: Some("a".parse().expect("a name")),
            group: Some("web".to_owned()),
            labels: Labels::default(),
            peers: Vec::new(),
            last_host: None,
            live: false,
        },
        candidates: (0..20).map(candidate).collect(),
    }
}
