//! The guard's heartbeats as a peer would see them: a thread of the bench reads the sector all the time.
//!
//! ```text
//! guard's loop ── sends (the counter) ─> its thread that writes ─> the volume ─> read here, every 2 ms
//!       └──────────────────────── from sending to being seen ──────────────────────────┘
//! ```
//! The thread that reads has the priority of the guard's helpers, so that its own wait for a CPU is not
//! measured; how long it saw nothing at all, because the storage held up its reads, is told.

use super::PERIOD_MS;
use holdfast_host::guard::harden::behind_the_guard;
use holdfast_lease::volume::{Access, Volume};
use holdfast_model::lease::Record;
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two reads.
const PAUSE: Duration = Duration::from_millis(2);

/// Milliseconds since the machine was started, and parts of one.
fn boottime_ms() -> f64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

/// Looks at a sector until it is asked what it has seen.
pub struct Reader {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Each heartbeat: when it was sent, by its counter, and when it was first read.
    beats: Vec<(u64, f64)>,
    /// Between two reads at most, in milliseconds.
    blind_ms: f64,
    reads: u64,
}

impl Reader {
    /// At the volume there.
    pub fn start(path: &Path, sector: u64) -> Self {
        let volume = Volume::open(path, Access::Read).expect("the volume");
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            behind_the_guard();
            let mut seen = Seen::default();
            let mut last = boottime_ms();
            while !ended.load(Ordering::Relaxed) {
                let read = volume.read(sector).map(|sector| sector.record);
                let now = boottime_ms();
                seen.reads += 1;
                seen.blind_ms = seen.blind_ms.max(now - last);
                last = now;
                if let Ok(Record::Heartbeat(Some(own))) = read
                    && seen
                        .beats
                        .last()
                        .is_none_or(|(sent, _)| *sent != own.counter)
                {
                    seen.beats.push((own.counter, now));
                }
                std::thread::sleep(PAUSE);
            }
            seen
        });
        Self { end, thread }
    }

    /// All of it.
    pub fn seen(self) -> Seen {
        self.end.store(true, Ordering::Relaxed);
        let mut seen = self.thread.join().expect("it reads");
        // That one was there before the first look.
        seen.beats.drain(..seen.beats.len().min(1));
        seen
    }
}

impl Seen {
    /// When each was sent.
    pub fn sent(&self) -> Vec<u64> {
        self.beats.iter().map(|(sent, _)| *sent).collect()
    }

    /// In words and as histograms, to be pasted into `docs/figures.md`.
    pub fn words(&self) -> String {
        let pairs = self.beats.windows(2);
        let intervals = pairs.map(|pair| pair[1].1 - pair[0].1 - PERIOD_MS as f64);
        let ages = self.beats.iter().map(|(sent, at)| at - *sent as f64);
        format!(
            "at the volume, intervals less the period of {PERIOD_MS} ms: {}at the volume, from sending to \
             being seen: {}at the volume, {} reads, at most {:.1} ms apart",
            Spread::of(intervals.collect()),
            Spread::of(ages.collect()),
            self.reads,
            self.blind_ms,
        )
    }
}

/// How numbers of milliseconds are spread.
struct Spread {
    /// Sorted.
    ms: Vec<f64>,
}

/// Where one line of a histogram ends and the next one begins, and the same below zero.
const STEPS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3];

impl Spread {
    fn of(mut ms: Vec<f64>) -> Self {
        ms.sort_unstable_by(f64::total_cmp);
        Self { ms }
    }

    /// So much of 100 is not above it.
    fn percent(&self, part: usize) -> f64 {
        let at = self.ms.len().saturating_sub(1) * part / 100;
        self.ms.get(at).copied().unwrap_or(f64::NAN)
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.ms.len();
        if count == 0 {
            return writeln!(f, "none");
        }
        writeln!(
            f,
            "{count}, median {:.1} ms, 5 % to 95 % {:.1} to {:.1} ms, all {:.1} to {:.1} ms",
            self.percent(50),
            self.percent(5),
            self.percent(95),
            self.percent(0),
            self.percent(100)
        )?;
        let below = STEPS.iter().rev().map(|step| -step);
        let edges: Vec<f64> = below.chain(STEPS).chain([f64::INFINITY]).collect();
        let mut from = f64::NEG_INFINITY;
        for edge in edges {
            let inside = |ms: &&f64| (from..edge).contains(*ms);
            let number = self.ms.iter().filter(inside).count();
            if number > 0 {
                let bar = "#".repeat((number * 40).div_ceil(count));
                let range = match (from.is_finite(), edge.is_finite()) {
                    (false, _) => format!("below {edge}"),
                    (_, false) => format!("{from} or more"),
                    _ => format!("{from} to {edge}"),
                };
                writeln!(f, "  {range:>13} ms {number:>5} {bar}")?;
            }
            from = edge;
        }
        Ok(())
    }
}
