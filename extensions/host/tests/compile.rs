//! The child that compiles, and what it may take. This program is that child as well.

mod common;

use common::wasm;
use holdfast_extension_host::cache::Cache;
use holdfast_extension_host::compile::{self, Caps, Compiler, here};
use holdfast_extension_host::{EngineKind, ExtensionError, Runtime};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// By this it becomes the child.
const COMPILE: &str = "--compile";

/// Enough for a machine that is busy with other tests.
const PATIENT: Caps = Caps {
    memory_mib: 4_096,
    cpu_s: 60,
    wall: Duration::from_secs(300),
};

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(COMPILE) {
        return compile::child(EngineKind::Native);
    }
    let trials = [
        (
            "what_the_child_makes_is_what_is_made_here",
            what_the_child_makes_is_what_is_made_here as fn(),
        ),
        (
            "what_is_no_component_is_told_in_the_child_s_words",
            what_is_no_component_is_told_in_the_child_s_words,
        ),
        (
            "one_that_takes_too_much_memory_is_ended",
            one_that_takes_too_much_memory_is_ended,
        ),
        (
            "one_that_takes_too_much_cpu_is_ended",
            one_that_takes_too_much_cpu_is_ended,
        ),
        (
            "one_that_takes_too_long_is_ended",
            one_that_takes_too_long_is_ended,
        ),
        (
            "one_that_cannot_be_started_is_told",
            one_that_cannot_be_started_is_told,
        ),
    ];
    let trials = trials.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}

/// This program as the child.
fn own(caps: Caps) -> Compiler {
    Compiler {
        program: "/proc/self/exe".into(),
        arguments: vec![COMPILE.to_owned()],
        caps,
    }
}

/// A child that writes down which process it is, takes its input, and then does this.
fn shell(pid: &Path, then: &str, caps: Caps) -> Compiler {
    let script = format!("echo $$ > {}; cat > /dev/null; {then}", pid.display());
    Compiler {
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script],
        caps,
    }
}

fn refused(compiler: &Compiler, wasm: &[u8]) -> String {
    match compiler.compile(wasm) {
        Ok(code) => panic!("{} bytes of machine code", code.len()),
        Err(error @ ExtensionError::Compile(_)) => error.to_string(),
        Err(error) => panic!("another kind of error: {error}"),
    }
}

/// It was started, and is gone.
fn is_gone(pid: &Path) {
    let pid = std::fs::read_to_string(pid).expect("it was started");
    let process = Path::new("/proc").join(pid.trim());
    assert!(!process.exists(), "{} is left", process.display());
}

fn what_the_child_makes_is_what_is_made_here() {
    let wasm = wasm("label-match");
    let runtime = Runtime::new(EngineKind::Native).expect("a runtime");
    let made_here = here(&runtime, &wasm).expect("machine code");
    let made = own(PATIENT).compile(&wasm).expect("machine code");
    assert!(made == made_here, "{} bytes", made.len());
}

fn what_is_no_component_is_told_in_the_child_s_words() {
    let words = refused(&own(PATIENT), b"#!/bin/sh");
    assert!(words.contains("it is no WASM component"), "{words}");
    assert!(!words.contains("it may take"), "{words}");
}

/// Other than its CPU time, it needs what a compiler needs: so it is the real one.
fn one_that_takes_too_much_memory_is_ended() {
    let wasm = wasm("label-match");
    own(PATIENT).compile(&wasm).expect("with more it can");
    let tight = Caps {
        memory_mib: 16,
        ..PATIENT
    };
    let words = refused(&own(tight), &wasm);
    let says = "it may take 16 MiB of memory and 60 s of CPU";
    assert!(words.contains(says), "{words}");
}

fn one_that_takes_too_much_cpu_is_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    let pid = dir.path().join("pid");
    let tight = Caps {
        cpu_s: 1,
        ..PATIENT
    };
    let busy = shell(&pid, "while :; do :; done", tight);
    let words = refused(&busy, b"anything");
    assert!(words.contains("SIGKILL"), "{words}");
    let says = "it may take 4096 MiB of memory and 1 s of CPU";
    assert!(words.contains(says), "{words}");
    is_gone(&pid);
    // Nor is there half of it where machine code is kept.
    let code = dir.path().join("code");
    let cache = Cache::open(&code).expect("a directory");
    let runtime = Runtime::new(EngineKind::Native).expect("a runtime");
    let loaded = cache.load_or_compile(&runtime, &busy, b"anything");
    assert!(loaded.is_err());
    let left = std::fs::read_dir(&code).expect("it is there");
    assert_eq!(left.count(), 0);
    is_gone(&pid);
}

fn one_that_takes_too_long_is_ended() {
    let dir = tempfile::tempdir().expect("a directory");
    let pid = dir.path().join("pid");
    let tight = Caps {
        wall: Duration::from_secs(5),
        ..PATIENT
    };
    let words = refused(&shell(&pid, "exec sleep 600", tight), b"anything");
    assert!(words.contains("it took more than 5 s"), "{words}");
    is_gone(&pid);
}

fn one_that_cannot_be_started_is_told() {
    let nowhere = Compiler {
        program: "/nonexistent/holdfast".into(),
        arguments: Vec::new(),
        caps: PATIENT,
    };
    let words = refused(&nowhere, b"anything");
    assert!(
        words.contains("cannot start /nonexistent/holdfast"),
        "{words}"
    );
}
