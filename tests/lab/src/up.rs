//! From nothing to a lab, in steps, with a way back from each.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::blueprint::{self, DAEMONS, Start};
use crate::clean::{self, Files};
use crate::cuts;
use crate::error::{LabError, Result};
use crate::guest::{GuestKind, GuestSpec, accel, linux};
use crate::lab::{Lab, in_parallel};
use crate::layout::{Layout, Machine, NET_NAMESPACE};
use crate::machine;
use crate::observer;
use crate::options::{Driver, LabOptions};
use crate::progress::Progress;
use crate::run::wait_until;
use crate::state::{self, LabLock, LabRecord, StateDir, real_boot_id};
use crate::storage::Exec;
use crate::{configs, guests, net, programs, ready};

pub(crate) fn up(options: LabOptions, progress: &Progress) -> Result<Lab> {
    Lab::require_root()?;
    programs::check(&options)?;
    let layout = Layout::new(options.hosts_per_site)?;
    let state = StateDir::new(&options.state)?;
    let lock = LabLock::take()?;
    for old in [Some(state.root().to_owned()), lock.current_state()]
        .into_iter()
        .flatten()
    {
        let old = StateDir::new(&old)?;
        if old.record().exists() || net::namespace_file(NET_NAMESPACE).exists() {
            progress.step("take down the earlier lab", || {
                clean::clean(&old, Files::Remove)
            })?;
        }
    }
    refuse_foreign_dir(&state)?;
    lock.set_state(state.root())?;
    let mut lab = Lab {
        record: first_record(&state, options, layout)?,
        state,
        hits: Default::default(),
    };
    let result = build(&lab, progress).and_then(|()| {
        lab.record.complete = true;
        state::write_json(&lab.state.record(), &lab.record)
    });
    match result {
        Ok(()) => Ok(lab),
        Err(error) => {
            // The first error is the one that matters; the next `up` cleans again.
            let files = match error {
                LabError::Interrupted => Files::Remove,
                _ => Files::Keep,
            };
            let _ = progress.step("clean up", || clean::clean(&lab.state, files));
            if files == Files::Remove {
                let _ = lock.remove();
            }
            Err(error)
        }
    }
}

/// `down` removes the directory, so it must be the lab's own from the start.
fn refuse_foreign_dir(state: &StateDir) -> Result<()> {
    let root = state.root();
    let empty = match std::fs::read_dir(root) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => true,
    };
    if empty {
        return Ok(());
    }
    let text = format!(
        "{} is not empty and not a lab's: choose another --state",
        root.display()
    );
    Err(LabError::Refused(text))
}

fn first_record(state: &StateDir, options: LabOptions, layout: Layout) -> Result<LabRecord> {
    let made_dirs = clean::make_mount_targets(&blueprint::mount_targets(&layout, &options))?;
    let record = LabRecord {
        domain_type: match options.driver {
            Driver::Qemu => accel::domain_type(linux::cached().as_ref())?,
            Driver::Test => "test".into(),
        },
        options,
        layout,
        real_boot_id: real_boot_id()?,
        made_dirs,
        complete: false,
    };
    state::make_dir(state.root())?;
    state::write_json(&state.record(), &record)?;
    Ok(record)
}

fn build(lab: &Lab, progress: &Progress) -> Result<()> {
    let (options, layout) = (lab.options(), lab.layout());
    let accelerated = if lab.domain_type() == "kvm" {
        "kvm"
    } else {
        "emulation"
    };
    progress.line(&format!(
        "  lab in {} ({accelerated})",
        lab.state.root().display()
    ));
    progress.step("network", || {
        net::create(layout)?;
        cuts::create()
    })?;
    progress.step("machines", || {
        crate::ram::mount(&lab.state)?;
        for machine in layout.controls() {
            crate::ram::mount_etcd(&lab.state, &machine.name)?;
        }
        start_observer(lab)?;
        if !options.storage {
            state::make_dir(&lab.state.root().join("shared"))?;
        }
        for machine in &layout.machines {
            blueprint::write_disks(&lab.state, layout, machine, options)?;
        }
        lab.write_specs(Start::First)?;
        let machines: Vec<&Machine> = layout.machines.iter().collect();
        net::set_cables(&machines, true)?;
        in_parallel(&machines, |each| {
            machine::start(&lab.state, each, &options.init_program)
        })
    })?;
    type Check = fn(&Lab) -> Result<()>;
    let mut checks: Vec<(&str, Check)> = vec![("etcd", ready::etcd)];
    if options.storage {
        checks.push(("storage", ready::storage));
    }
    if options.driver == Driver::Qemu {
        checks.push(("libvirt", ready::libvirt));
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = checks
            .into_iter()
            .map(|(name, check)| scope.spawn(move || progress.step(name, || check(lab))))
            .collect();
        let lost = || Err(LabError::Refused("a thread of the lab has died".into()));
        let results: Vec<Result<()>> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| lost()))
            .collect();
        results.into_iter().collect::<Result<()>>()
    })?;
    let made = match options.driver {
        Driver::Qemu => progress.step("guests", || make_guests(lab, progress))?,
        Driver::Test => Vec::new(),
    };
    lab.write_specs(Start::Again)?;
    if options.daemons {
        start_holdfast(lab, progress, &made)?;
    }
    Ok(())
}

fn start_observer(lab: &Lab) -> Result<()> {
    let dir = lab.state.observer();
    state::make_dir(&dir)?;
    let log_path = dir.join("observer.log");
    let log = std::fs::File::create(&log_path).map_err(LabError::io("create", &log_path))?;
    let mut child = Command::new("nsenter")
        .arg(format!(
            "--net={}",
            net::namespace_file(NET_NAMESPACE).display()
        ))
        .arg("--")
        .arg(&lab.options().init_program)
        .arg("lab-observer")
        .arg(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .map_err(LabError::io("start", "nsenter"))?;
    let ready = observer::ready_file(&dir);
    let hint = format!("log: {}", log_path.display());
    wait_until("the observer", Duration::from_secs(10), &hint, || {
        if ready.exists() {
            Ok(())
        } else {
            Err(String::new())
        }
    })?;
    std::thread::spawn(move || child.wait());
    Ok(())
}

fn make_guests(lab: &Lab, progress: &Progress) -> Result<Vec<String>> {
    let options = lab.options();
    let mut specs = Vec::new();
    for number in 1..=options.vms {
        specs.push(GuestSpec::new(
            &format!("vm{number:02}"),
            GuestKind::BootSector,
            site(number),
        ));
    }
    if options.linux_vms > 0 && linux::cached().is_none() {
        progress.line("  note: no Linux guests: their kernel is missing, run `cargo xtask setup`");
    } else {
        for number in 1..=options.linux_vms {
            specs.push(GuestSpec::new(
                &format!("lx{number:02}"),
                GuestKind::Linux,
                site(number),
            ));
        }
    }
    specs
        .into_iter()
        .map(|spec| Ok(guests::add(lab, spec, false)?.spec.name))
        .collect()
}

/// Guests belong to the sites in turn.
fn site(number: usize) -> &'static str {
    if number % 2 == 1 { "a" } else { "b" }
}

/// Made on one host; the others see it over the storage.
fn make_lease_volume(lab: &Lab) -> Result<()> {
    let holdfast = lab.options().bin_dir.join("holdfast");
    let holdfast = holdfast.to_string_lossy();
    let host = lab
        .layout()
        .hypervisors()
        .next()
        .ok_or_else(|| LabError::Refused("the lab has no hypervisor".into()))?;
    let argv = [
        &holdfast,
        "lease",
        "create",
        configs::LEASE_VOLUME,
        "--cluster",
        configs::CLUSTER,
        "--class",
        "quorum",
    ];
    let output = lab.exec_in(host, &argv, Duration::from_secs(30))?;
    output.ok("holdfast lease create").map(drop)
}

fn start_holdfast(lab: &Lab, progress: &Progress, made: &[String]) -> Result<()> {
    if lab.options().storage {
        progress.step("lease volume", || make_lease_volume(lab))?;
    }
    progress.step("managers, guards and agents", || {
        lab.start_everywhere(&DAEMONS)?;
        ready::managers(lab)
    })?;
    let policy = lab.state.root().join("policy.toml");
    state::write(&policy, configs::policy_toml(lab.options()))?;
    progress.step("policy and VMs", || {
        let path = policy.to_string_lossy();
        // Refused for a moment while no leader is elected.
        wait_until(
            "the policy to be taken",
            Duration::from_secs(30),
            "",
            || {
                let applied = lab.cli(&["config", "apply", "-f", &path]);
                applied
                    .and_then(|output| output.ok("holdfast config apply"))
                    .map_err(|e| e.to_string())
            },
        )?;
        for name in made {
            guests::apply(lab, name)?;
        }
        Ok(())
    })
}
