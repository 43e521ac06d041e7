//! Load on the whole machine by processes of the bench's own, as `stress --cpu N --hdd 2 --vm 2` makes it: each
//! is this very program, started again. They end with the bench, however it ends.

use super::bench::Owned;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;

/// The argument that makes a worker of this program; its kind, a directory and a number of bytes follow.
const FLAG: &str = "--load";
const WRITERS: usize = 2;
/// A writer writes this much, waits until the disk has it, and begins again.
const WRITTEN: usize = 64 << 20;
const TOUCHERS: usize = 2;
/// A quarter of what is free, and not more than this, is touched by all of them together.
const TOUCHED_MAX: usize = 1 << 30;

/// Until it is dropped.
pub struct Load {
    workers: Vec<Owned>,
    cpus: usize,
    touched: usize,
}

impl Load {
    /// On every CPU, on the disk under that directory, and on the memory.
    pub fn start(dir: &Path) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let touched = (available() / 4).min(TOUCHED_MAX);
        let mut load = Self {
            workers: Vec::new(),
            cpus,
            touched,
        };
        for _ in 0..cpus {
            load.add("cpu", dir, 0);
        }
        for _ in 0..WRITERS {
            load.add("disk", dir, WRITTEN);
        }
        for _ in 0..TOUCHERS {
            load.add("memory", dir, touched / TOUCHERS);
        }
        load
    }

    fn add(&mut self, kind: &str, dir: &Path, bytes: usize) {
        let own = std::env::current_exe().expect("this program");
        let child = Command::new(own)
            .args([FLAG, kind])
            .arg(dir)
            .arg(bytes.to_string())
            .spawn();
        self.workers.push(Owned(child.expect("a worker")));
    }

    /// What it consists of; a worker that has ended is no load.
    pub fn words(&mut self) -> String {
        let ended = self.workers.iter_mut().filter_map(|worker| {
            let alive = worker.is_alive();
            (!alive).then_some(())
        });
        let ended = match ended.count() {
            0 => String::new(),
            count => format!(" ({count} of them have ended)"),
        };
        format!(
            "{} busy loops on {} CPUs, {WRITERS} writers of {} MiB and a sync in turn, {TOUCHERS} that touch \
             {} MiB in all{ended}",
            self.cpus,
            self.cpus,
            WRITTEN >> 20,
            self.touched >> 20,
        )
    }
}

/// Memory that is free, in bytes.
fn available() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

/// Whether this process is a worker: then it works until it is killed.
pub fn is_worker(arguments: &[String]) -> bool {
    let [flag, kind, dir, bytes] = arguments else {
        return false;
    };
    if flag != FLAG {
        return false;
    }
    set_parent_process_death_signal(Some(Signal::KILL)).expect("it ends with the bench");
    let bytes = bytes.parse().expect("a number of bytes");
    match kind.as_str() {
        "cpu" => turn(),
        "disk" => write(Path::new(dir), bytes),
        "memory" => touch(bytes),
        other => panic!("no load of kind {other}"),
    }
    true
}

fn turn() {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(3).wrapping_add(1));
    }
}

fn write(dir: &Path, bytes: usize) {
    let path = dir.join(format!("load.{}", std::process::id()));
    let mut file = File::create(path).expect("a file");
    let block = vec![0x5a; 1 << 20];
    loop {
        for _ in 0..bytes / block.len() {
            file.write_all(&block).expect("written");
        }
        file.sync_all().expect("synced");
        file.rewind().expect("a file");
    }
}

/// Each page anew each time: the kernel has to find it, and to zero it.
fn touch(bytes: usize) {
    loop {
        let mut memory = vec![0_u8; bytes];
        for page in memory.chunks_mut(4096) {
            page[0] = 1;
        }
        std::hint::black_box(&memory);
    }
}
