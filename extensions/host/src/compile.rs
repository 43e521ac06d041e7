//! Compiling: seconds of CPU and hundreds of MiB for some languages, on bytes that somebody uploaded. So it is
//! done by a child process with limits of its own, when an extension is installed or a machine first hears of
//! it, and never in a failover.
//!
//! The child is this very program again, so that what it makes fits what runs here: it gets the component on
//! its standard input and hands the machine code back on its standard output ([`child`]).

use crate::engine::{EngineKind, Runtime};
use crate::error::ExtensionError;
use crate::loaded::one_line;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Address space of the child. Python's 18 MB component takes 360 MiB to compile; the rest is room.
const CHILD_BYTES: u64 = 4 << 30;
/// Its CPU time. The same takes 15 s on a slow machine.
const CHILD_CPU: Duration = Duration::from_secs(180);
/// Until it is given up.
const CHILD_WALL: Duration = Duration::from_secs(300);
/// So much of what it says about a failure is told.
const SAID_MAX: u64 = 2_000;

/// How the child is started.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The program.
    pub program: PathBuf,
    /// What makes it call [`child`].
    pub arguments: Vec<String>,
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

/// What the child does, from its standard input to its standard output.
pub fn child(kind: EngineKind) -> ExitCode {
    let limit = |resource, most: u64| {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit)
    };
    let work = || -> Result<(), String> {
        limit(Resource::As, CHILD_BYTES).map_err(|error| error.to_string())?;
        limit(Resource::Cpu, CHILD_CPU.as_secs()).map_err(|error| error.to_string())?;
        limit(Resource::Core, 0).map_err(|error| error.to_string())?;
        // The daemon that started it is killed late when memory is short: what it started is not.
        let _ = std::fs::write("/proc/self/oom_score_adj", "500");
        let mut wasm = Vec::new();
        let mut stdin = std::io::stdin().lock();
        stdin
            .read_to_end(&mut wasm)
            .map_err(|error| error.to_string())?;
        let runtime = Runtime::new(kind).map_err(|error| error.to_string())?;
        let code = here(&runtime, &wasm).map_err(|error| error.to_string())?;
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&code).map_err(|error| error.to_string())
    };
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
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
            let ended = child.wait_until(Instant::now() + CHILD_WALL);
            // The pipes end with the child, so none of these waits for longer.
            let fed = feed.join();
            let (code, words) = (code.join(), words.join().unwrap_or_default());
            let status = ended.map_err(|error| failed("cannot wait for", error))?;
            let Some(status) = status else {
                let seconds = CHILD_WALL.as_secs();
                return Err(ExtensionError::Compile(format!(
                    "it took more than {seconds} s"
                )));
            };
            match (status.success(), fed, code) {
                (true, Ok(Ok(())), Ok(Ok(code))) => Ok(code),
                (false, ..) if !words.trim().is_empty() => {
                    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
                    Err(ExtensionError::Compile(words))
                }
                _ => Err(ExtensionError::Compile(format!(
                    "its child ended with {status}: it takes more than {} GiB of memory or {} s of CPU",
                    CHILD_BYTES >> 30,
                    CHILD_CPU.as_secs()
                ))),
            }
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
