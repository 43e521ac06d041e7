//! Keeps the services of one machine running and reaps every orphan.
//!
//! ```text
//!   Down ──wanted, back-off over──▶ Up ──exit──▶ Down (back-off 0.2 s, doubling to 2 s;
//!                                                      reset by 10 s of running)
//! ```
//! Single-threaded: `Command::spawn` and the `wait` for any child here would steal each other's children
//! from different threads.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use super::mounts;
use super::spec::{Reply, Request, Service, ServiceState};
use crate::{clock, wall};

const BACK_OFF_MIN: Duration = Duration::from_millis(200);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
const SETTLED: Duration = Duration::from_secs(10);

struct Unit {
    service: Service,
    wanted: bool,
    pid: Option<Pid>,
    starts: u32,
    last_exit: Option<String>,
    started_at: Instant,
    start_after: Instant,
    back_off: Duration,
}

pub(super) struct Supervisor {
    units: Vec<Unit>,
    log_dir: std::path::PathBuf,
    own_log: Option<File>,
}

impl Supervisor {
    pub(super) fn new(services: Vec<Service>, log_dir: &Path) -> Supervisor {
        let now = Instant::now();
        let units = services
            .into_iter()
            .map(|service| Unit {
                wanted: service.autostart,
                service,
                pid: None,
                starts: 0,
                last_exit: None,
                started_at: now,
                start_after: now,
                back_off: BACK_OFF_MIN,
            })
            .collect();
        let own_log = append(&log_dir.join("init.log")).ok();
        Supervisor {
            units,
            log_dir: log_dir.into(),
            own_log,
        }
    }

    /// Reaps what has ended and starts what is due.
    pub(super) fn step(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let ended = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exit {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => continue,
            };
            self.note_end(pid, ended);
        }
        for index in 0..self.units.len() {
            let unit = &self.units[index];
            if unit.wanted && unit.pid.is_none() && Instant::now() >= unit.start_after {
                self.start(index);
            }
        }
    }

    /// Carries out one wish.
    pub(super) fn handle(&mut self, request: Request) -> Reply {
        let error = match request {
            Request::List => None,
            Request::Start { service } => self.change(&service, true),
            Request::Stop { service } => self.change(&service, false),
        };
        Reply {
            error,
            services: self.units.iter().map(state_of).collect(),
        }
    }

    fn change(&mut self, name: &str, wanted: bool) -> Option<String> {
        let Some(unit) = self.units.iter_mut().find(|unit| unit.service.name == name) else {
            let known: Vec<&str> = self
                .units
                .iter()
                .map(|unit| unit.service.name.as_str())
                .collect();
            return Some(format!(
                "no service {name:?} here; known: {}",
                known.join(" ")
            ));
        };
        unit.wanted = wanted;
        unit.start_after = Instant::now();
        unit.back_off = BACK_OFF_MIN;
        if let (false, Some(pid)) = (wanted, unit.pid) {
            // Gone already is as good; the next step sees it.
            let _ = kill_process(pid, Signal::KILL);
        }
        None
    }

    fn note_end(&mut self, pid: Pid, ended: String) {
        let Some(unit) = self.units.iter_mut().find(|unit| unit.pid == Some(pid)) else {
            return; // an orphan: a QEMU, a brick
        };
        unit.pid = None;
        if unit.started_at.elapsed() >= SETTLED {
            unit.back_off = BACK_OFF_MIN;
        }
        unit.start_after = Instant::now() + unit.back_off;
        unit.back_off = (unit.back_off * 2).min(BACK_OFF_MAX);
        unit.last_exit = Some(ended.clone());
        let text = format!("{} ended: {ended}", unit.service.name);
        self.log(&text);
    }

    fn start(&mut self, index: usize) {
        let unit = &mut self.units[index];
        if let Some(place) = &unit.service.unmount_first {
            mounts::remove_dead_fuse(place);
        }
        unit.starts += 1;
        unit.started_at = Instant::now();
        let log = self.log_dir.join(format!("{}.log", unit.service.name));
        let text = match spawn(&unit.service, &log) {
            Ok(pid) => {
                unit.pid = Some(pid);
                format!(
                    "{} started, pid {}",
                    unit.service.name,
                    pid.as_raw_nonzero()
                )
            }
            Err(error) => {
                unit.start_after = Instant::now() + BACK_OFF_MAX;
                unit.last_exit = Some(format!("did not start: {error}"));
                format!("{} did not start: {error}", unit.service.name)
            }
        };
        self.log(&text);
    }

    fn log(&mut self, text: &str) {
        if let Some(file) = &mut self.own_log {
            // A full disk must not stop the machine.
            let _ = writeln!(file, "{} {text}", clock::now_ms());
        }
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    File::options().create(true).append(true).open(path)
}

fn spawn(service: &Service, log: &Path) -> std::io::Result<Pid> {
    let missing = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let (program, args) = service.argv.split_first().ok_or_else(missing)?;
    let output = append(log)?;
    let wall = match service.own_wall_clock && Path::new(wall::FILE).exists() {
        true => wall::environment(),
        false => Vec::new(),
    };
    let child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", crate::programs::system_path())
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .envs(&service.env)
        .envs(wall)
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(output.try_clone()?)
        .stdout(output)
        .process_group(0)
        .spawn()?;
    Pid::from_raw(child.id() as i32).ok_or_else(missing)
}

fn state_of(unit: &Unit) -> ServiceState {
    ServiceState {
        name: unit.service.name.clone(),
        wanted: unit.wanted,
        pid: unit.pid.map(|pid| pid.as_raw_nonzero().get()),
        starts: unit.starts,
        last_exit: unit.last_exit.clone(),
    }
}
