//! Reading a volume without waiting for its storage for ever.
//!
//! A thread that hangs in the kernel keeps its whole process from ending. So a process of its own reads the
//! volume, and is left behind if it does not answer:
//!
//! ```text
//! show, doctor, repair ── starts ──> lease read VOLUME ── direct I/O ──> the storage
//!          ^                                 │
//!          └── JSON over a pipe, or nothing ─┘  within the wait
//! ```

use super::super::error::CliError;
use super::super::print_json;
use clap::Args;
use holdfast_lease::survey::{Survey, survey};
use holdfast_lease::volume::{Access, Volume};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long a command waits for the storage.
#[derive(Debug, Clone, Copy, Args)]
pub struct Wait {
    /// Give storage up that has not answered for this long, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait_s: u64,
}

/// What the other process says.
type Told = Result<Survey, String>;

/// Everything that stands on a volume.
///
/// # Errors
/// What is wrong with the volume, or that its storage does not answer.
pub fn read(path: &Path, wait: Wait) -> Result<Survey, CliError> {
    let failed = |what: String| CliError::Lease(format!("{}: {what}", path.display()));
    // The very program that this is, also if it was replaced meanwhile.
    let child = Command::new("/proc/self/exe")
        .arg0("holdfast")
        .env_remove("HOLDFAST_API")
        .args(["lease", "read", "--"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|error| failed(format!("start a reader: {error}")))?;
    let pipe = child.stdout.take();
    let (send, told) = channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = pipe.map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut text));
        // Nobody listens any more if it took too long.
        let _ = send.send(read.map(|_| text));
    });
    let text = match told.recv_timeout(Duration::from_secs(wait.wait_s)) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(failed(format!("read what its reader says: {error}"))),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            // It ends with the call that hangs, and nobody waits for that.
            let _ = child.kill();
            return Err(failed(format!(
                "its storage has not answered for {} s, so it is not known what stands on the volume. See \
                 whether the mount or the device hangs on this host only (`dmesg`, the storage's own \
                 tools, the same command on another host); storage that is only slow may need a longer \
                 --wait-s. Process {} tried to read it and is there until the storage lets it go",
                wait.wait_s,
                child.id()
            )));
        }
    };
    match serde_json::from_str::<Told>(&text) {
        Ok(told) => told.map_err(CliError::Lease),
        Err(error) => {
            let ended = child
                .wait()
                .map_or_else(|e| e.to_string(), |s| s.to_string());
            Err(failed(format!("its reader ended ({ended}): {error}")))
        }
    }
}

/// The other process: reads, as long as that may take, and says what came of it.
///
/// # Errors
/// If nobody listens.
pub fn tell(path: &Path) -> Result<(), CliError> {
    let read = || survey(&Volume::open(path, Access::Read)?);
    let told: Told = read().map_err(|error| error.to_string());
    print_json(&told)
}
