//! Compiling: seconds of CPU and hundreds of MiB for some languages, on bytes that somebody uploaded. So it is
//! done by a child process with limits of its own, when an extension is installed or a machine first hears of
//! it, and never in a failover.
//!
//! The child is this very program again, so that what it makes fits what runs here: it gets the component on
//! its standard input and hands the machine code back on its standard output ([`child`]).

use crate::engine::{EngineKind, Runtime};
use crate::error::ExtensionError;
use crate::loaded::one_line;
use rustix::process::{Pid, Resource, Rlimit, prlimit, setrlimit};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What the child may take. All of it has room: Python's 18 MB component, the largest known, takes 395 MiB and 15 s of a
/// slow machine.
const CHILD: Caps = Caps {
    memory_mib: 4_096,
    cpu_s: 180,
    wall: Duration::from_secs(300),
};
/// So much of what it says about a failure is told.
const SAID_MAX: u64 = 2_000;
/// The child ends with this if its input is at fault. All else it may have ended with for want of something.
const NOT_A_COMPONENT: u8 = 3;

/// How the child is started.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// What makes it call [`child`].
    pub arguments: Vec<String>,
    /// What the child may take.
    pub caps: Caps,
}

/// What a child may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Address space, in MiB.
    pub memory_mib: u64,
    /// CPU time, in seconds.
    pub cpu_s: u64,
    /// Until it is given up, by the clock.
    pub wall: Duration,
}

impl Default for Caps {
    fn default() -> Self {
        CHILD
    }
}

impl Caps {
    /// Holds for a child that has not been given anything to do yet.
    fn bind(self, child: &Child) -> std::io::Result<()> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // None would be this process.
        let pid = pid.ok_or(std::io::ErrorKind::NotFound)?;
        let limit = |resource, most: u64| {
            let limit = Rlimit {
                current: Some(most),
                maximum: Some(most),
            };
            prlimit(Some(pid), resource, limit)
        };
        limit(Resource::As, self.memory_mib.saturating_mul(1 << 20))?;
        limit(Resource::Cpu, self.cpu_s)?;
        Ok(())
    }

    fn told(self) -> String {
        let Self {
            memory_mib, cpu_s, ..
        } = self;
        format!("it may take {memory_mib} MiB of memory and {cpu_s} s of CPU")
    }
}

/// The machine code of a component, in this process and without limits: for the child, and for tools.
///
/// # Errors
/// If it is no component.
pub fn here(runtime: &Runtime, wasm: &[u8]) -> Result<Vec<u8>, ExtensionError> {
    runtime
        .engine()
        .precompile_component(wasm)
        .map_err(|error| ExtensionError::NotAComponent(one_line(&error)))
}

/// What the child does, from its standard input to its standard output. What it may take is set by who started it.
pub fn child(kind: EngineKind) -> ExitCode {
    let failed = |error: std::io::Error| ExtensionError::Engine(error.to_string());
    let work = || -> Result<(), ExtensionError> {
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Core, none).map_err(|error| failed(error.into()))?;
        // The daemon that started it is killed late when memory is short: what it started is not.
        let _ = std::fs::write("/proc/self/oom_score_adj", "500");
        let mut wasm = Vec::new();
        let mut stdin = std::io::stdin().lock();
        stdin.read_to_end(&mut wasm).map_err(failed)?;
        let runtime = Runtime::new(kind)?;
        let code = here(&runtime, &wasm)?;
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&code).map_err(failed)
    };
    let Err(error) = work() else {
        return ExitCode::SUCCESS;
    };
    eprintln!("{error}");
    match error {
        ExtensionError::NotAComponent(_) => ExitCode::from(NOT_A_COMPONENT),
        _ => ExitCode::FAILURE,
    }
}

impl Compiler {
    /// The machine code of a component, made by a child. Blocks until it is there.
    ///
    /// # Errors
    /// If it is no component, takes too much, or the child cannot be started.
    pub fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, ExtensionError> {
        let failed = |what: &str, error: std::io::Error| {
            let program = self.program.display();
            ExtensionError::Compile(format!("{what} {program}: {error}"))
        };
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed("cannot start", error))?;
        let mut child = Ended(child);
        // It first reads what it is to compile, and that is handed over below.
        let bound = self.caps.bind(&child.0);
        bound.map_err(|error| failed("cannot limit", error))?;
        let (Some(mut input), Some(mut output), Some(errors)) = (
            child.0.stdin.take(),
            child.0.stdout.take(),
            child.0.stderr.take(),
        ) else {
            return Err(ExtensionError::Compile("its child has no pipes".to_owned()));
        };
        std::thread::scope(|scope| {
            let feed = scope.spawn(move || input.write_all(wasm));
            let code = scope.spawn(move || {
                let mut code = Vec::new();
                output.read_to_end(&mut code).map(|_| code)
            });
            let words = scope.spawn(move || {
                let mut words = String::new();
                let _ = errors.take(SAID_MAX).read_to_string(&mut words);
                words
            });
            let ended = child.wait_until(Instant::now() + self.caps.wall);
            // The pipes end with the child, so none of these waits for longer.
            let fed = feed.join();
            let (code, words) = (code.join(), words.join().unwrap_or_default());
            let status = ended.map_err(|error| failed("cannot wait for", error))?;
            let Some(status) = status else {
                let seconds = self.caps.wall.as_secs_f64();
                return Err(ExtensionError::Compile(format!(
                    "it took more than {seconds} s"
                )));
            };
            if let (true, Ok(Ok(())), Ok(Ok(code))) = (status.success(), fed, code) {
                return Ok(code);
            }
            let mut words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            if status.code() == Some(NOT_A_COMPONENT.into()) && !words.is_empty() {
                return Err(ExtensionError::Compile(words));
            }
            if !words.is_empty() {
                words = format!(" ({words})");
            }
            Err(ExtensionError::Compile(format!(
                "its child ended with {status}{words}; {}",
                self.caps.told()
            )))
        })
    }
}

/// Not left behind, however this ends.
struct Ended(Child);

impl Ended {
    /// Its exit; none if it had to be killed.
    fn wait_until(&mut self, until: Instant) -> std::io::Result<Option<std::process::ExitStatus>> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > until {
                self.0.kill()?;
                self.0.wait()?;
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
