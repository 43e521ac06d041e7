//! Running other programs and waiting for conditions, always with a bound.

use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{LabError, Result};

/// How long a program that answers at once may take on a loaded machine.
pub(crate) const SHORT: Duration = Duration::from_secs(20);

static INTERRUPTED: OnceLock<std::sync::Arc<AtomicBool>> = OnceLock::new();

/// Makes Ctrl-C and SIGTERM end the wait in progress with [`LabError::Interrupted`] instead of
/// ending the process, so that the caller can clean up.
pub fn catch_interrupts() -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Default::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, flag.clone())
            .map_err(LabError::io("watch signals for", "this process"))?;
    }
    Ok(())
}

/// Whether Ctrl-C or SIGTERM came since [`catch_interrupts`].
pub fn interrupted() -> bool {
    INTERRUPTED
        .get()
        .is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Forgets an interrupt, so that cleaning up is not interrupted by it.
pub(crate) fn clear_interrupt() {
    if let Some(flag) = INTERRUPTED.get() {
        flag.store(false, Ordering::Relaxed);
    }
}

/// What a program printed and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// Its standard error, invalid UTF-8 replaced.
    pub stderr: String,
}

impl Output {
    /// Turns a failed run into an error that names `command`.
    pub fn ok(self, command: &str) -> Result<Output> {
        if self.status.success() {
            return Ok(self);
        }
        let said = if self.stderr.trim().is_empty() {
            self.stdout
        } else {
            self.stderr
        };
        Err(LabError::Command {
            command: command.into(),
            status: format!("failed with {}", self.status),
            stderr: said,
        })
    }
}

/// The command line as a person would type it.
pub(crate) fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    if let Some((end, _)) = text.char_indices().nth(300) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Runs a program to its end, or kills it at `limit`. A failed status is not an error here.
pub(crate) fn output(command: &mut Command, input: &[u8], limit: Duration) -> Result<Output> {
    let name = describe(command);
    let failed = |status: String| LabError::Command {
        command: name.clone(),
        status,
        stderr: String::new(),
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("did not start: {error}")))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let input = input.to_vec();
    // A program that ends without reading its input is no error of ours.
    std::thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(&input)));
    let stdout = read_in_background(stdout);
    let stderr = read_in_background(stderr);
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child
            .try_wait()
            .map_err(|error| failed(error.to_string()))?
        {
            break status;
        }
        if start.elapsed() > limit || interrupted() {
            // Both may fail only because it has just ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            if interrupted() {
                return Err(LabError::Interrupted);
            }
            return Err(failed(format!(
                "did not end within {:.0} s",
                limit.as_secs_f64()
            )));
        }
        std::thread::sleep(Duration::from_millis(4));
    };
    Ok(Output {
        status,
        stdout: collect(stdout),
        stderr: collect(stderr),
    })
}

type Reader = std::sync::mpsc::Receiver<Vec<u8>>;

fn read_in_background(pipe: Option<impl Read + Send + 'static>) -> Reader {
    let (send, receive) = std::sync::mpsc::channel();
    if let Some(mut pipe) = pipe {
        std::thread::spawn(move || {
            let mut buffer = [0u8; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
    }
    receive
}

/// Everything read until end of file; a daemon that keeps the pipe open costs at most 2 s.
fn collect(reader: Reader) -> String {
    let mut all = Vec::new();
    while let Ok(part) = reader.recv_timeout(Duration::from_secs(2)) {
        all.extend(part);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Runs a program that must succeed, and gives its standard output.
pub(crate) fn run(program: &str, args: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    let name = describe(&command);
    Ok(output(&mut command, b"", SHORT)?.ok(&name)?.stdout)
}

/// Feeds `script` to a program that must succeed.
pub(crate) fn run_with_input(program: &str, args: &[&str], script: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    let name = describe(&command);
    Ok(output(&mut command, script.as_bytes(), SHORT)?
        .ok(&name)?
        .stdout)
}

/// What a condition says when asked: it holds, or what it is waiting for.
pub type Poll<T> = std::result::Result<T, String>;

/// Asks `condition` until it gives a value. At the limit the error says what was waited for, what
/// was seen last and, in `hint`, where to look.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    hint: &str,
    mut condition: impl FnMut() -> Poll<T>,
) -> Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        if interrupted() {
            return Err(LabError::Interrupted);
        }
        match condition() {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() >= limit => {
                return Err(LabError::TimedOut {
                    what: what.into(),
                    waited: start.elapsed(),
                    last,
                    hint: hint.into(),
                });
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
