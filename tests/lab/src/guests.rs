//! Making guests in a running lab, and reading their disks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{LabError, Result};
use crate::guest::{Guest, GuestKind, GuestSpec, boot_sector, domain_xml, linux};
use crate::journal::Journal;
use crate::lab::Lab;
use crate::layout::{Machine, STORAGE_DIR};
use crate::machine::{self, Power};
use crate::observer::{self, FIRST_PORT, PORTS};
use crate::run::wait_until;
use crate::state;
use crate::storage::Exec;

/// A disk that cannot be read in this time is on the wrong side of a cut.
const READ_LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn add(lab: &Lab, spec: GuestSpec, hand_over: bool) -> Result<Guest> {
    let host = powered_hypervisor(lab)?;
    let mut content = Vec::new();
    match spec.kind {
        GuestKind::BootSector => content = boot_sector::image(),
        GuestKind::Linux => {
            provide_linux(lab, host)?;
            content.resize(linux::DISK_BYTES as usize, 0);
        }
    }
    write_on(lab, host, &spec.image(), &content)?;
    let port = take_port(lab, &spec.name)?;
    let uuid_file = "/proc/sys/kernel/random/uuid";
    let uuid = std::fs::read_to_string(uuid_file).map_err(LabError::io("read", uuid_file))?;
    let dir = lab.state.vms();
    let guest = Guest {
        uuid: uuid.trim().to_owned(),
        port,
        spec_file: dir.join(format!("{}.toml", spec.name)),
        xml_file: dir.join(format!("{}.xml", spec.name)),
        spec,
    };
    let xml = domain_xml(&guest.spec, &guest.uuid, lab.domain_type(), port);
    state::write(&guest.xml_file, xml)?;
    state::write(&guest.spec_file, guest.spec.to_toml())?;
    state::write_json(&dir.join(format!("{}.json", guest.spec.name)), &guest)?;
    if hand_over {
        apply(lab, &guest.spec.name)?;
    }
    Ok(guest)
}

/// `holdfast vm apply -f`
pub(crate) fn apply(lab: &Lab, name: &str) -> Result<()> {
    let file = lab.state.vms().join(format!("{name}.toml"));
    let file = file.to_string_lossy();
    wait_until(
        &format!("{name} to be taken"),
        Duration::from_secs(30),
        "",
        || {
            let applied = lab.cli(&["vm", "apply", "-f", &file]);
            let applied = applied.and_then(|output| output.ok("holdfast vm apply"));
            applied.map(drop).map_err(|error| error.to_string())
        },
    )
}

pub(crate) fn list(lab: &Lab) -> Result<Vec<Guest>> {
    let dir = lab.state.vms();
    let Ok(entries) = std::fs::read_dir(&dir) else {
        return Ok(Vec::new());
    };
    let mut guests: Vec<Guest> = Vec::new();
    for entry in entries {
        let path = entry.map_err(LabError::io("list", &dir))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            guests.push(state::read_json(&path)?);
        }
    }
    guests.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
    Ok(guests)
}

fn powered_hypervisor(lab: &Lab) -> Result<&Machine> {
    let mut all = lab.layout().hypervisors();
    all.find(|machine| lab.power_of(machine) == Power::On)
        .ok_or_else(|| LabError::Refused("no hypervisor has power".into()))
}

/// The kernel and RAM disk of all Linux guests, once per lab.
fn provide_linux(lab: &Lab, host: &Machine) -> Result<()> {
    let there = format!("{STORAGE_DIR}/lab-initrd");
    if lab
        .exec_in(host, &["test", "-e", &there], READ_LIMIT)?
        .status
        .success()
    {
        return Ok(());
    }
    let files = linux::cached().ok_or_else(|| {
        LabError::Refused("the Linux guest's kernel is missing: run `cargo xtask setup`".into())
    })?;
    for (from, to) in [
        (&files.kernel, "lab-vmlinuz"),
        (&files.initrd, "lab-initrd"),
    ] {
        let content = std::fs::read(from).map_err(LabError::io("read", from))?;
        write_on(lab, host, &format!("{STORAGE_DIR}/{to}"), &content)?;
    }
    Ok(())
}

fn write_on(lab: &Lab, host: &Machine, path: &str, content: &[u8]) -> Result<()> {
    let to = format!("of={path}");
    let argv = ["dd", &to, "bs=1M", "conv=fsync", "status=none"];
    let limit = Duration::from_secs(60);
    let name = format!("{}: write {path}", host.name);
    machine::exec(&lab.state, host, &argv, content, limit)?
        .ok(&name)
        .map(drop)
}

fn take_port(lab: &Lab, name: &str) -> Result<u16> {
    let path = observer::ports_file(&lab.state.observer());
    let mut ports: BTreeMap<u16, String> = if path.exists() {
        state::read_json(&path)?
    } else {
        BTreeMap::new()
    };
    if let Some((port, _)) = ports.iter().find(|(_, known)| *known == name) {
        return Ok(*port);
    }
    let port = FIRST_PORT + ports.len() as u16;
    if ports.len() >= usize::from(PORTS) {
        let text = format!("the observer can hear {PORTS} VMs, {name} is one too many");
        return Err(LabError::Refused(text));
    }
    ports.insert(port, name.to_owned());
    state::write_json(&path, &ports)?;
    Ok(port)
}

/// The journals of all Linux guests whose disks can be read from a hypervisor that has power.
pub(crate) fn journals(lab: &Lab) -> Result<BTreeMap<String, Journal>> {
    let mut found = BTreeMap::new();
    let guests = list(lab)?;
    let hosts: Vec<&Machine> = lab
        .layout()
        .hypervisors()
        .filter(|host| lab.power_of(host) == Power::On)
        .collect();
    for guest in guests
        .iter()
        .filter(|guest| guest.spec.kind == GuestKind::Linux)
    {
        let from = format!("if={}", guest.spec.image());
        // A host that is cut off cannot read; the next may.
        let text = hosts.iter().find_map(|host| {
            let argv = ["dd", &from, "bs=1M", "iflag=direct", "status=none"];
            let output = lab.exec_in(host, &argv, READ_LIMIT).ok()?;
            output.status.success().then_some(output.stdout)
        });
        if let Some(journal) = text.and_then(|text| Journal::parse(text.as_bytes())) {
            found.insert(guest.spec.name.clone(), journal);
        }
    }
    Ok(found)
}
