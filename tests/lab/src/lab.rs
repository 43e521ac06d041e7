//! A running lab and everything that can be done to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::blueprint;
use crate::error::{LabError, Result};
use crate::guest::Guest;
use crate::layout::{API_PORT, Layout, Machine, NET_NAMESPACE, Role};
use crate::machine::{self, Power};
use crate::needless::{Hit, Struck};
use crate::net;
use crate::observer::{self, ObserverLog};
use crate::options::LabOptions;
use crate::progress::Progress;
use crate::proof::{self, Proof};
use crate::run::{Output, output, wait_until};
use crate::state::{self, LabLock, LabRecord, StateDir, real_boot_id};
use crate::status::{self, Status};
use crate::storage::{self, Exec, StorageState};
use crate::{clean, clock, guests, up};

/// A lab that is up.
#[derive(Debug)]
pub struct Lab {
    pub(crate) state: StateDir,
    pub(crate) record: LabRecord,
    /// What was done that may stop VMs, see [`crate::needless`].
    pub(crate) hits: Mutex<Vec<Struck>>,
}

impl Lab {
    /// Builds and starts a lab, after taking down an earlier one. If this fails or is interrupted
    /// (see [`crate::catch_interrupts`]) nothing keeps running; the logs stay until the next.
    pub fn up(options: LabOptions, progress: &Progress) -> Result<Lab> {
        up::up(options, progress)
    }

    /// Finds the lab that is up.
    pub fn attach(state: &Path) -> Result<Lab> {
        let state = StateDir::new(state)?;
        let none = || LabError::NoLab {
            state: state.root().into(),
        };
        if !state.record().exists() {
            return Err(none());
        }
        let record: LabRecord = state::read_json(&state.record())?;
        if record.real_boot_id != real_boot_id()? || !net::namespace_file(NET_NAMESPACE).exists() {
            return Err(none());
        }
        Ok(Lab {
            state,
            record,
            hits: Mutex::default(),
        })
    }

    /// Fails unless this is root: worth asking before anything that takes time.
    pub fn require_root() -> Result<()> {
        match rustix::process::geteuid().is_root() {
            true => Ok(()),
            false => Err(LabError::NotRoot),
        }
    }

    /// Takes the lab down and removes everything it made.
    pub fn down(self) -> Result<()> {
        Lab::down_at(self.state.root()).map(drop)
    }

    /// Ends everything of the lab and leaves its files: the logs tell what went wrong. The next
    /// [`Lab::up`] removes them.
    pub fn stop(self) -> Result<()> {
        let _lock = LabLock::take()?;
        clean::clean(&self.state, clean::Files::Keep).map(drop)
    }

    /// Takes down whatever is left of a lab, alive or killed; whether there was anything.
    pub fn down_at(state: &Path) -> Result<bool> {
        Lab::require_root()?;
        let lock = LabLock::take()?;
        let asked = StateDir::new(state)?;
        let mut existed = clean::clean(&asked, clean::Files::Remove)?;
        if let Some(other) = lock.current_state().filter(|other| other != asked.root()) {
            existed |= clean::clean(&StateDir::new(&other)?, clean::Files::Remove)?;
        }
        lock.remove()?;
        Ok(existed)
    }

    /// Its machines.
    pub fn layout(&self) -> &Layout {
        &self.record.layout
    }

    /// How it was built.
    pub fn options(&self) -> &LabOptions {
        &self.record.options
    }

    /// Where its files are.
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// `kvm` or `qemu`.
    pub fn domain_type(&self) -> &str {
        &self.record.domain_type
    }

    /// A command inside a machine, for the caller to run.
    pub fn command(&self, machine: &str, argv: &[&str]) -> Result<Command> {
        machine::command(&self.state, self.layout().machine(machine)?, argv)
    }

    /// Runs a command inside a machine; it is killed after `limit`.
    pub fn exec(&self, machine: &str, argv: &[&str], limit: Duration) -> Result<Output> {
        machine::exec(
            &self.state,
            self.layout().machine(machine)?,
            argv,
            b"",
            limit,
        )
    }

    /// The `holdfast` command line with the managers' addresses, run where an operator would sit:
    /// in the lab's network, outside all machines.
    pub fn cli_command(&self, args: &[&str]) -> Command {
        self.cli_to(&self.layout().control_urls("a", API_PORT), args)
    }

    fn cli_to(&self, urls: &[String], args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!(
                "--net={}",
                net::namespace_file(NET_NAMESPACE).display()
            ))
            .arg("--")
            .arg(self.options().bin_dir.join("holdfast"))
            .args(["--api", &urls.join(",")])
            .args(args);
        command
    }

    /// Runs [`Lab::cli_command`]; its exit status is part of the output, not an error.
    pub fn cli(&self, args: &[&str]) -> Result<Output> {
        output(&mut self.cli_command(args), b"", Duration::from_secs(60))
    }

    /// Like [`Lab::cli`] with `-o json`, parsed; a failed status is an error.
    pub fn cli_json(&self, args: &[&str]) -> Result<serde_json::Value> {
        let args: Vec<&str> = ["-o", "json"].iter().chain(args).copied().collect();
        json_of(&args, self.cli(&args)?)
    }

    /// The same, asked of one manager: what it alone knows.
    pub fn cli_json_of(&self, manager: &str, args: &[&str]) -> Result<serde_json::Value> {
        let args: Vec<&str> = ["-o", "json"].iter().chain(args).copied().collect();
        let address = &self.layout().machine(manager)?.address;
        let url = format!("http://{address}:{API_PORT}");
        let mut command = self.cli_to(&[url], &args);
        json_of(&args, output(&mut command, b"", Duration::from_secs(60))?)
    }

    /// The storage's bricks as a control machine sees them.
    pub fn storage_state(&self) -> Result<StorageState> {
        storage::state(self, self.layout())
    }

    /// Whether all bricks are up and nothing waits to be healed.
    pub fn storage_in_sync(&self) -> Result<bool> {
        self.storage_state().map(|state| state.in_sync())
    }

    /// Waits until [`Lab::storage_in_sync`]. A brick that glusterd leaves down is started as an operator
    /// would, and that is told.
    pub fn wait_storage_in_sync(&self, limit: Duration) -> Result<()> {
        let hint = "see `lab exec a-ctl -- gluster volume heal hf info`";
        let begin = Instant::now();
        let mut helped = false;
        wait_until("storage in sync", limit, hint, || {
            match self.storage_state() {
                Ok(state) if state.in_sync() => Ok(()),
                Ok(state) if !helped && begin.elapsed() > storage::BRICK_PATIENCE => {
                    helped = true;
                    if let Some(told) = storage::start_bricks(self, self.layout(), &state) {
                        println!("  {told}");
                    }
                    Err(state.describe())
                }
                Ok(state) => Err(state.describe()),
                Err(error) => Err(error.chain()),
            }
        })
    }

    /// Makes a guest: its image on the storage and the files for `virsh create` and
    /// `holdfast vm apply`; with `apply` it is also handed to Holdfast.
    pub fn add_guest(&self, spec: crate::guest::GuestSpec, apply: bool) -> Result<Guest> {
        guests::add(self, spec, apply)
    }

    /// All guests made so far.
    pub fn guests(&self) -> Result<Vec<Guest>> {
        guests::list(self)
    }

    /// The observer's log, read up to now.
    pub fn observer_log(&self) -> Result<ObserverLog> {
        let machines = &self.layout().machines;
        let hosts: BTreeMap<String, String> = machines
            .iter()
            .map(|each| (each.address.clone(), each.name.clone()))
            .collect();
        let mut log = ObserverLog::new(observer::log_file(&self.state.observer()), hosts);
        log.refresh()?;
        Ok(log)
    }

    /// Who ran where and when, from the observer's log and the Linux guests' disks.
    pub fn proof(&self) -> Result<Proof> {
        let log = self.observer_log()?;
        let journals = guests::journals(self)?;
        let guests: Vec<String> = self
            .guests()?
            .into_iter()
            .map(|each| each.spec.name)
            .collect();
        Ok(proof::build(log.records(), journals, &guests, |source| {
            log.host_of(source)
        }))
    }

    /// What is done next may stop VMs there. What is not named has to run on.
    pub fn hit(&self, hit: Hit) {
        let at_ms = clock::now_ms();
        self.struck().push(Struck { at_ms, hit });
    }

    /// The same for each hypervisor of a site.
    pub fn hit_site(&self, site: &str) -> Result<()> {
        for machine in self.layout().site(site)? {
            if machine.role == Role::Hypervisor {
                self.hit(Hit::host(&machine.name));
            }
        }
        Ok(())
    }

    /// All hits so far; whoever begins a trial empties them.
    pub(crate) fn struck(&self) -> MutexGuard<'_, Vec<Struck>> {
        self.hits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Machines, services, cuts and storage.
    pub fn status(&self) -> Result<Status> {
        status::collect(self)
    }

    /// Log file of a service of a machine.
    pub fn log_path(&self, machine: &str, service: &str) -> Result<std::path::PathBuf> {
        let machine = self.layout().machine(machine)?;
        Ok(self.state.log(&machine.name, service))
    }

    /// Starts services that `up` holds back, on every machine that has them.
    pub(crate) fn start_everywhere(&self, services: &[&str]) -> Result<()> {
        for machine in &self.layout().machines {
            let there = self.services(&machine.name)?;
            for service in services {
                if there.iter().any(|each| each.name == *service) {
                    self.start_service(&machine.name, service)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what the machines do at the next power-on.
    pub(crate) fn write_specs(&self, start: blueprint::Start) -> Result<()> {
        for machine in &self.layout().machines {
            let options = self.options();
            let spec = blueprint::init_spec(&self.state, self.layout(), machine, options, start);
            state::write_json(
                &self.state.machine(&machine.name).join("machine.json"),
                &spec,
            )?;
        }
        Ok(())
    }
}

impl Exec for Lab {
    fn exec_in(&self, machine: &Machine, argv: &[&str], limit: Duration) -> Result<Output> {
        machine::exec(&self.state, machine, argv, b"", limit)
    }

    fn power_of(&self, machine: &Machine) -> Power {
        machine::power(&self.state, machine)
    }
}

/// Does the same to several machines at once; gives the first error after all have ended.
pub(crate) fn in_parallel(
    machines: &[&Machine],
    work: impl Fn(&Machine) -> Result<()> + Sync,
) -> Result<()> {
    let work = &work;
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = machines
            .iter()
            .map(|machine| scope.spawn(move || work(machine)))
            .collect();
        let lost = || Err(LabError::Refused("a thread of the lab has died".into()));
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| lost()))
            .collect()
    });
    results.into_iter().collect()
}

/// What a command printed, read.
fn json_of(args: &[&str], output: Output) -> Result<serde_json::Value> {
    let name = format!("holdfast {}", args.join(" "));
    let output = output.ok(&name)?;
    serde_json::from_str(&output.stdout).map_err(|source| LabError::Parse {
        path: name.into(),
        source,
    })
}
