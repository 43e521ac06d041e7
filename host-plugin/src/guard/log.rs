//! A log that never blocks: lines go to a thread, and are dropped when it cannot keep up. A
//! journal that stands still must not keep the guard from its work.

use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const LINES: usize = 1_024;
/// The thread's stack. All of it is locked, so it costs memory from the start; the thread writes lines and
/// nothing else.
const STACK: usize = 64 * 1024;

/// Hands out writers to the thread.
#[derive(Clone)]
pub struct Lines(SyncSender<Vec<u8>>);

impl Lines {
    /// Starts the thread, which writes to stderr.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Vec<u8>>(LINES);
        std::thread::Builder::new()
            .name("guard-log".into())
            .stack_size(STACK)
            .spawn(move || {
                for line in receiver {
                    // There is nowhere to say that saying something failed.
                    let _ = io::stderr().write_all(&line);
                }
            })?;
        Ok(Self(sender))
    }
}

/// One line being written.
pub struct Line {
    lines: Lines,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Full: the line is lost, which is the lesser evil.
        let _ = self.lines.0.try_send(std::mem::take(&mut self.text));
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line {
            lines: self.clone(),
            text: Vec::new(),
        }
    }
}
