//! What is on a machine's private disks and which services it runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::configs;
use crate::error::Result;
use crate::init::spec::{InitSpec, Service};
use crate::layout::{Layout, Machine, Role, STORAGE_DIR};
use crate::options::{Driver, LabOptions};
use crate::state::{self, StateDir};
use crate::storage;

/// How a machine starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// For the first time: there is no volume to mount yet, and Holdfast comes last.
    First,
    /// After a power-on: everything at once.
    Again,
}

/// The daemons of this project.
pub const DAEMONS: [&str; 3] = ["manager", "guard", "agent"];

/// Where an etcd member keeps its data.
pub(crate) const ETCD_DIR: &str = "/var/lib/holdfast/etcd";
const HOLDFAST_DIRS: [&str; 3] = ["/etc/holdfast", "/var/lib/holdfast", "/var/log/holdfast"];
const LIBVIRT_DIRS: [&str; 4] = [
    "/etc/libvirt",
    "/var/lib/libvirt",
    "/var/log/libvirt",
    "/var/cache/libvirt",
];
const GLUSTER_DIRS: [&str; 3] = ["/var/lib/glusterd", "/etc/glusterfs", "/var/log/glusterfs"];

/// Directories a machine has for itself.
fn private_dirs(role: Role, options: &LabOptions) -> Vec<&'static str> {
    let mut dirs = HOLDFAST_DIRS.to_vec();
    if role == Role::Hypervisor && options.driver == Driver::Qemu {
        dirs.extend(LIBVIRT_DIRS);
    }
    if options.storage {
        dirs.extend(GLUSTER_DIRS);
    }
    dirs
}

/// All places that machines mount over; they must exist on the real file system.
pub(crate) fn mount_targets(layout: &Layout, options: &LabOptions) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = match options.storage {
        true => Path::new(STORAGE_DIR)
            .parent()
            .map(PathBuf::from)
            .into_iter()
            .collect(),
        false => vec![STORAGE_DIR.into()],
    };
    all.push(ETCD_DIR.into());
    for machine in &layout.machines {
        all.extend(
            private_dirs(machine.role, options)
                .into_iter()
                .map(PathBuf::from),
        );
    }
    all.sort();
    all.dedup();
    all
}

/// Writes the disks of a new machine.
pub(crate) fn write_disks(
    state: &StateDir,
    layout: &Layout,
    machine: &Machine,
    options: &LabOptions,
) -> Result<()> {
    let private = |path: &str| state.private(&machine.name, path);
    for dir in private_dirs(machine.role, options) {
        state::make_dir(&private(dir))?;
    }
    state::make_dir(&state.machine(&machine.name).join("log"))?;
    state::write(&private("/etc/hosts"), configs::hosts(layout))?;
    state::write(&private("/etc/nsswitch.conf"), configs::NSSWITCH)?;
    if options.storage {
        copy_tree(Path::new("/etc/glusterfs"), &private("/etc/glusterfs"))?;
        // The option groups are part of the package, but in the directory that is now hidden.
        let groups = "/var/lib/glusterd/groups";
        copy_tree(Path::new(groups), &private(groups))?;
    }
    match machine.role {
        Role::Control => {
            state::make_dir(&private(ETCD_DIR))?;
            state::make_dir(&state.etcd(&machine.name))?;
            let text = configs::manager_toml(layout, machine);
            state::write(&private("/etc/holdfast/manager.toml"), text)?;
            let program = private(crate::boards::PROGRAM);
            crate::boards::write_program(state, &program, &options.init_program)?;
        }
        Role::Hypervisor => {
            let text = configs::host_toml(layout, machine, options);
            state::write(&private("/etc/holdfast/host.toml"), text)?;
            let id = configs::machine_id(machine);
            state::write(&private(configs::MACHINE_ID_FILE), id)?;
            let conf = configs::libvirtd_conf(machine);
            state::write(&private("/etc/libvirt/libvirtd.conf"), conf)?;
            state::write(&private("/etc/libvirt/qemu.conf"), configs::QEMU_CONF)?;
        }
    }
    Ok(())
}

/// What the machine's first process is to do.
pub(crate) fn init_spec(
    state: &StateDir,
    layout: &Layout,
    machine: &Machine,
    options: &LabOptions,
    start: Start,
) -> InitSpec {
    let dir = state.machine(&machine.name);
    let mut binds: Vec<(PathBuf, PathBuf)> = private_dirs(machine.role, options)
        .into_iter()
        .chain(["/etc/hosts", "/etc/nsswitch.conf"])
        .map(|path| (state.private(&machine.name, path), path.into()))
        .collect();
    let mut mount_points = Vec::new();
    if machine.role == Role::Control {
        binds.push((state.etcd(&machine.name), ETCD_DIR.into()));
    }
    if machine.role == Role::Hypervisor {
        if options.storage {
            mount_points.push(STORAGE_DIR.into());
        } else {
            binds.push((state.root().join("shared"), STORAGE_DIR.into()));
        }
    }
    InitSpec {
        hostname: machine.name.clone(),
        identity_file: identity_file(state, machine),
        boot_id_file: dir.join("boot_id"),
        control_socket: control_socket(state, machine),
        log_dir: dir.join("log"),
        binds,
        mount_points,
        services: services(layout, machine, options, start),
    }
}

/// Where a machine's first process writes who it is.
pub(crate) fn identity_file(state: &StateDir, machine: &Machine) -> PathBuf {
    state.machine(&machine.name).join("init.json")
}

/// Where a machine's first process listens.
pub(crate) fn control_socket(state: &StateDir, machine: &Machine) -> PathBuf {
    state.machine(&machine.name).join("init.sock")
}

fn services(
    layout: &Layout,
    machine: &Machine,
    options: &LabOptions,
    start: Start,
) -> Vec<Service> {
    let plain = |name: &str, argv: Vec<String>| Service {
        name: name.into(),
        argv,
        env: BTreeMap::new(),
        own_wall_clock: false,
        autostart: true,
        unmount_first: None,
    };
    let words = |line: &str| line.split(' ').map(String::from).collect();
    let daemon = |name: &str, program: &str, config: &str| Service {
        autostart: start == Start::Again,
        own_wall_clock: true,
        env: BTreeMap::from([
            ("RUST_LOG".into(), options.log_filter.clone()),
            ("RUST_BACKTRACE".into(), "1".into()),
        ]),
        ..plain(
            name,
            vec![
                options.bin_dir.join(program).to_string_lossy().into_owned(),
                "--config".into(),
                format!("/etc/holdfast/{config}.toml"),
            ],
        )
    };
    let mut all = Vec::new();
    match machine.role {
        Role::Control => {
            all.push(plain("etcd", configs::etcd_argv(layout, machine, options)));
            if options.storage {
                all.push(plain("storage", words("glusterd --no-daemon")));
            }
            if options.daemons {
                all.push(daemon("manager", "holdfast-manager", "manager"));
            }
        }
        Role::Hypervisor => {
            if options.driver == Driver::Qemu {
                all.push(plain("libvirtd", words("libvirtd --listen")));
            }
            if options.storage {
                let client = plain("storage", storage::client_argv(layout, machine));
                all.push(Service {
                    unmount_first: Some(STORAGE_DIR.into()),
                    autostart: start == Start::Again,
                    ..client
                });
            }
            if options.daemons {
                all.push(daemon("guard", "holdfast-guard", "host"));
                all.push(daemon("agent", "holdfast-host", "host"));
            }
        }
    }
    all
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    use crate::error::LabError;
    state::make_dir(to)?;
    let entries = match std::fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(LabError::io("list", from)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(LabError::io("list", from))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).map_err(LabError::io("copy", entry.path()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_by_role() {
        let layout = Layout::new(1).unwrap();
        let options = LabOptions::default();
        let names = |machine| -> Vec<String> {
            let machine = layout.machine(machine).unwrap();
            services(&layout, machine, &options, Start::Again)
                .into_iter()
                .map(|each| each.name)
                .collect()
        };
        assert_eq!(names("a1"), ["libvirtd", "storage", "guard", "agent"]);
        assert_eq!(names("witness"), ["etcd", "storage", "manager"]);
    }

    #[test]
    fn targets_cover_everything_that_is_mounted_over() {
        let layout = Layout::new(1).unwrap();
        let options = LabOptions::default();
        let targets = mount_targets(&layout, &options);
        let state = StateDir::new(Path::new("/x")).unwrap();
        for machine in &layout.machines {
            let spec = init_spec(&state, &layout, machine, &options, Start::First);
            let dirs = spec
                .binds
                .iter()
                .map(|(_, to)| to)
                .filter(|to| !to.ends_with("hosts") && !to.ends_with("nsswitch.conf"));
            assert!(dirs.clone().all(|dir| targets.contains(dir)));
            let mut parents = spec.mount_points.iter().filter_map(|place| place.parent());
            assert!(parents.all(|dir| targets.iter().any(|target| target == dir)));
        }
    }
}
