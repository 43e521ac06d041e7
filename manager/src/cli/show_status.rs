//! The cluster on one screen: who leads, the sites side by side, what deserves attention, the VMs.

use super::paint::{Line, Tone, boxed, memory, table, width, wrapped};
use crate::why::word;
use holdfast_model::host::Membership;
use holdfast_model::status::{Host, Member, Plane, Site, SiteState, Status, Vm, VmState};

/// VMs shown at most; the ones that are well are left out first.
const VMS: usize = 40;

/// The whole screen.
pub fn screen(status: &Status, wide: bool) -> String {
    screen_at(status, wide, width())
}

fn screen_at(status: &Status, wide: bool, width: usize) -> String {
    let mut out = heading(status).draw() + "\n\n";
    out += &sites(status, width);
    out += &conditions(status);
    out += &vms(status, wide);
    out
}

fn heading(status: &Status) -> Line {
    let mut line = Line::new()
        .add(Tone::Bold, format!("cluster {}", status.cluster))
        .text("   ");
    line = match &status.leader {
        Some(leader) => line
            .text("leader ")
            .add(Tone::Good, leader.name.as_str())
            .add(Tone::Dim, format!(" (epoch {})", leader.epoch)),
        None => line.add(Tone::Bad, "no leader"),
    };
    let tone = if status.quorum.healthy {
        Tone::Good
    } else {
        Tone::Bad
    };
    line = line.text("   etcd ").add(tone, up(&status.quorum.members));
    if !status.quorum.healthy {
        line = line.add(Tone::Bad, " NO QUORUM");
    }
    let all = status.managers.iter().all(|manager| manager.healthy);
    let tone = if all { Tone::Good } else { Tone::Warn };
    line = line.text("   managers ").add(tone, up(&status.managers));
    let running = status
        .vms
        .iter()
        .filter(|vm| vm.state == VmState::Running)
        .count();
    line.text(format!("   {running}/{} VMs running", status.vms.len()))
}

fn up(members: &[Member]) -> String {
    let healthy = members.iter().filter(|member| member.healthy).count();
    format!("{healthy}/{}", members.len())
}

/// The sites that run VMs, two side by side; the witness is a line below.
fn sites(status: &Status, width: usize) -> String {
    let homes: Vec<&Site> = status.sites.iter().filter(|site| !site.witness).collect();
    let mut out = String::new();
    for pair in homes.chunks(2) {
        let half = (width - 1) / 2;
        let each = if pair.len() == 2 { half } else { width };
        let contents: Vec<Vec<Line>> = pair.iter().map(|site| hosts_of(status, site)).collect();
        let height = contents.iter().map(Vec::len).max().unwrap_or(0);
        let boxes: Vec<Vec<String>> = pair
            .iter()
            .zip(contents)
            .map(|(site, mut lines)| {
                lines.resize(height, Line::new());
                boxed(site_title(status, site), &lines, each)
            })
            .collect();
        for row in 0..height + 2 {
            let cells: Vec<&str> = boxes
                .iter()
                .filter_map(|lines| lines.get(row))
                .map(String::as_str)
                .collect();
            out += &(cells.join(" ") + "\n");
        }
    }
    let orphans: Vec<Line> = status
        .hosts
        .iter()
        .filter(|host| host.site.is_none())
        .map(host_line)
        .collect();
    if !orphans.is_empty() {
        let title = Line::new().add(Tone::Warn, "no site yet");
        out += &(boxed(title, &orphans, width).join("\n") + "\n");
    }
    for site in status.sites.iter().filter(|site| site.witness) {
        let line = Line::new().text(format!("  witness {} ", site.name)).add(
            Tone::of_site(site.state),
            format!("● {}", witness_word(site)),
        );
        out += &(line.draw() + "\n");
    }
    out + "\n"
}

fn witness_word(site: &Site) -> String {
    match site.state {
        SiteState::Empty => "no manager or etcd member of it is known".to_owned(),
        state => word(&state),
    }
}

fn site_title(status: &Status, site: &Site) -> Line {
    let here = |vm: &&Vm| vm.site.as_ref() == Some(&site.name);
    let count = status.vms.iter().filter(here).count();
    let mut line = Line::new()
        .add(Tone::Bold, format!("site {}", site.name))
        .text(" ")
        .add(
            Tone::of_site(site.state),
            format!("● {}", word(&site.state)),
        )
        .add(
            Tone::Dim,
            if count == 1 {
                "  1 VM".to_owned()
            } else {
                format!("  {count} VMs")
            },
        );
    if !site.storage.is_empty() && site.storage != "not checked" {
        line = line.add(Tone::Dim, format!("  storage {}", site.storage));
    }
    line
}

fn hosts_of(status: &Status, site: &Site) -> Vec<Line> {
    let there = status
        .hosts
        .iter()
        .filter(|host| host.site.as_ref() == Some(&site.name));
    let lines: Vec<Line> = there.map(host_line).collect();
    if lines.is_empty() {
        return vec![Line::new().add(Tone::Dim, "no hosts")];
    }
    lines
}

fn host_line(host: &Host) -> Line {
    let tone = Tone::of_host(host.state);
    let state = host.state.as_ref().map_or("not joined".to_owned(), word);
    let unit = if host.vms == 1 { "VM " } else { "VMs" };
    let line = Line::new()
        .text(format!("{:<10} ", host.name))
        .add(tone, format!("● {state:<11}"))
        .text(format!(" {:>3} {unit}", host.vms));
    if host.state == Some(Membership::Suspect) {
        let silence = host.silence_ms.unwrap_or_default() as f64 / 1000.0;
        return line.add(Tone::Warn, format!("  silent {silence:.0} s"));
    }
    line.add(Tone::Dim, format!("  {}", memory(host.memory_mib)))
}

fn conditions(status: &Status) -> String {
    if status.conditions.is_empty() {
        return Line::new()
            .add(Tone::Good, "✔ nothing needs attention")
            .draw()
            + "\n\n";
    }
    let mut out = String::new();
    for condition in &status.conditions {
        let tone = Tone::of_severity(condition.severity);
        let text = format!("{} [{}]", condition.text, condition.code);
        let line = Line::new()
            .add(tone, format!("{:<8} ", word(&condition.severity)))
            .text(wrapped(&text, 9, 9));
        out += &(line.draw() + "\n");
    }
    out + "\n"
}

fn vms(status: &Status, wide: bool) -> String {
    if status.vms.is_empty() {
        return "no VMs yet; `holdfast vm apply -f FILE` adds one\n".to_owned();
    }
    let mut shown: Vec<&Vm> = status.vms.iter().collect();
    let hidden = shown.len().saturating_sub(VMS);
    if hidden > 0 && !wide {
        shown.sort_by_key(|vm| (vm.state == VmState::Running, vm.name.clone()));
        shown.truncate(VMS);
        shown.sort_by_key(|vm| vm.name.clone());
    }
    let mut out = vm_table(&shown, wide);
    if hidden > 0 && !wide {
        out += &format!("… and {hidden} more; `holdfast vm list` shows all\n");
    }
    out
}

/// A table of VMs.
pub fn vm_table(vms: &[&Vm], wide: bool) -> String {
    let mut heads = vec!["VM", "STATE", "HOST", "SITE", "HOME"];
    if wide {
        heads.extend(["PRIO", "GEN", "LEASE", "UUID"]);
    }
    heads.push("WHY");
    let rows = vms.iter().map(|vm| vm_row(vm, wide)).collect();
    table(&heads, rows)
}

fn vm_row(vm: &Vm, wide: bool) -> Vec<(Tone, String)> {
    let plain = |text: String| (Tone::Plain, text);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let away = vm.site.is_some() && vm.preferred_site.is_some() && vm.site != vm.preferred_site;
    let site_tone = if away { Tone::Warn } else { Tone::Plain };
    let mut row = vec![
        plain(vm.name.to_string()),
        (Tone::of_vm(vm.state), word(&vm.state)),
        plain(or_dash(vm.host.as_ref().map(ToString::to_string))),
        (
            site_tone,
            or_dash(vm.site.as_ref().map(ToString::to_string)),
        ),
        plain(or_dash(vm.preferred_site.as_ref().map(ToString::to_string))),
    ];
    if wide {
        row.push(plain(vm.priority.to_string()));
        row.push(plain(vm.generation.to_string()));
        row.push(plain(vm.lease.clone()));
        row.push(plain(or_dash(vm.uuid.as_ref().map(ToString::to_string))));
    }
    let calm = matches!(vm.state, VmState::Running | VmState::Stopped);
    row.push((
        if calm { Tone::Dim } else { Tone::Plain },
        vm.reason.clone(),
    ));
    row
}

/// A table of hosts.
pub fn host_table(hosts: &[Host], wide: bool) -> String {
    let mut heads = vec!["HOST", "SITE", "STATE", "CONTROL", "VMS", "MEMORY"];
    if wide {
        heads.extend(["LIBVIRT", "STORAGE", "INCARNATION"]);
    }
    heads.push("WHY");
    let rows = hosts.iter().map(|host| host_row(host, wide)).collect();
    table(&heads, rows)
}

fn host_row(host: &Host, wide: bool) -> Vec<(Tone, String)> {
    let plain = |text: String| (Tone::Plain, text);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let control = match host.planes.control {
        Plane::Valid => Tone::Good,
        Plane::Lapsed => Tone::Bad,
        Plane::None => Tone::Dim,
    };
    let mut row = vec![
        plain(host.name.to_string()),
        plain(or_dash(host.site.as_ref().map(ToString::to_string))),
        (
            Tone::of_host(host.state),
            host.state.as_ref().map_or("not joined".to_owned(), word),
        ),
        (control, word(&host.planes.control)),
        plain(host.vms.to_string()),
        plain(memory(host.memory_mib)),
    ];
    if wide {
        row.push(plain(host.libvirt.clone()));
        row.push(plain(host.storage.clone()));
        row.push(plain(or_dash(
            host.incarnation.as_ref().map(ToString::to_string),
        )));
    }
    row.push(plain(host.reason.clone()));
    row
}

/// A table of sites.
pub fn site_table(sites: &[Site]) -> String {
    let rows = sites.iter().map(|site| {
        let kind = if site.witness { "witness" } else { "runs VMs" };
        vec![
            (Tone::Plain, site.name.to_string()),
            (Tone::of_site(site.state), word(&site.state)),
            (Tone::Plain, kind.to_owned()),
            (Tone::Plain, site.storage.clone()),
        ]
    });
    table(&["SITE", "STATE", "KIND", "STORAGE"], rows.collect())
}
