//! What a person sees while the lab works: steps with times.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::error::Result;

/// Shows steps on standard error: spinners on a terminal, plain lines elsewhere, or nothing.
#[derive(Debug, Clone)]
pub struct Progress {
    spinners: Option<MultiProgress>,
    silent: bool,
}

impl Progress {
    /// For commands.
    pub fn stderr() -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress {
            spinners: terminal.then(MultiProgress::new),
            silent: false,
        }
    }

    /// For tests.
    pub fn silent() -> Progress {
        Progress {
            spinners: None,
            silent: true,
        }
    }

    /// Does one step; steps may run at the same time in several threads.
    pub fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        let spinner = self.spinners.as_ref().map(|all| {
            let style = ProgressStyle::with_template("  {spinner} {msg} {elapsed}");
            let bar = ProgressBar::new_spinner().with_message(name.to_owned());
            let bar = all.add(bar.with_style(style.unwrap_or(ProgressStyle::default_spinner())));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let result = work();
        let mark = if result.is_ok() { "ok" } else { "FAILED" };
        let line = format!(
            "  {mark:<6} {name} ({:.1} s)",
            start.elapsed().as_secs_f64()
        );
        match spinner {
            Some(bar) => {
                bar.finish_and_clear();
                self.line(&line);
            }
            None => self.line(&line),
        }
        result
    }

    /// Says something between steps.
    pub fn line(&self, text: &str) {
        match &self.spinners {
            _ if self.silent => {}
            // Fails only if the terminal is gone.
            Some(all) => drop(all.println(text)),
            None => anstream::eprintln!("{text}"),
        }
    }
}
