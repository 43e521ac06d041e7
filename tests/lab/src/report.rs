//! Tables for people, as text with colours that the output stream removes where nobody sees them.

use comfy_table::{Attribute, Cell, Color, Table, presets};

use crate::init::spec::ServiceState;
use crate::machine::Power;
use crate::proof::{Began, Proof, short};
use crate::status::Status;

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).enforce_styling();
    table.set_header(
        header
            .iter()
            .map(|text| Cell::new(text).add_attribute(Attribute::Bold)),
    );
    table
}

fn coloured(text: impl ToString, good: bool) -> Cell {
    Cell::new(text).fg(if good { Color::Green } else { Color::Red })
}

fn service(service: &ServiceState) -> String {
    let state = match (service.pid, service.wanted) {
        (Some(_), _) if service.starts > 1 => format!("restarted {}x", service.starts - 1),
        (Some(_), _) => return service.name.clone(),
        (None, false) => "stopped".to_owned(),
        (None, true) => service
            .last_exit
            .clone()
            .unwrap_or_else(|| "starting".into()),
    };
    format!("{} ({state})", service.name)
}

/// `lab status`
pub fn status(status: &Status) -> String {
    let mut machines = table(&[
        "MACHINE", "SITE", "ADDRESS", "POWER", "CABLE", "SERVICES", "VMS",
    ]);
    for each in &status.machines {
        let on = each.power == Power::On;
        let up = on
            && each
                .services
                .iter()
                .all(|service| service.pid.is_some() == service.wanted);
        let services: Vec<String> = each.services.iter().map(service).collect();
        machines.add_row([
            Cell::new(&each.machine.name),
            Cell::new(&each.machine.site),
            Cell::new(&each.machine.address),
            coloured(if on { "on" } else { "off" }, on),
            coloured(if each.cable { "in" } else { "out" }, each.cable),
            coloured(services.join(", "), up),
            Cell::new(each.vms.join(" ")),
        ]);
    }
    let mut text = format!("{machines}\n\n");
    if !status.complete {
        text.push_str("this lab never came up completely; `lab down` removes it\n");
    }
    match &status.storage {
        Some(storage) => text.push_str(&format!("storage  {}\n", storage.describe())),
        None => text.push_str("storage  unknown, or not replicated\n"),
    }
    if status.cuts.is_empty() {
        text.push_str("cuts     none\n");
    }
    for cut in &status.cuts {
        let line = format!(
            "{} -> {}: {} packets dropped",
            cut.from, cut.to, cut.dropped
        );
        text.push_str(&format!("cut      {line}\n"));
    }
    text
}

/// `lab proof`; times are seconds since the first sign of any VM.
pub fn proof(proof: &Proof) -> String {
    let all = proof.vms.iter().flat_map(|vm| &vm.stays);
    let zero_ms = all.map(|stay| stay.first_ms).min().unwrap_or(0);
    let seconds = |ms: u64| format!("{:.3}", ms.saturating_sub(zero_ms) as f64 / 1000.0);
    let mut lives = table(&[
        "VM",
        "HOST",
        "BOOT",
        "HOW",
        "FIRST s",
        "LAST s",
        "BEATS",
        "SILENT BEFORE s",
    ]);
    for vm in &proof.vms {
        let mut heard_ms = None;
        for stay in &vm.stays {
            let how = match stay.began {
                Began::Started => Cell::new("started"),
                Began::Restarted => Cell::new("restarted").fg(Color::Yellow),
                Began::Moved => Cell::new("moved").fg(Color::Green),
            };
            let silent = heard_ms.map(|last: u64| stay.first_ms.saturating_sub(last));
            heard_ms = heard_ms.max(Some(stay.last_ms));
            lives.add_row([
                Cell::new(&vm.vm),
                Cell::new(&stay.host),
                Cell::new(short(&stay.life)),
                how,
                Cell::new(seconds(stay.first_ms)),
                Cell::new(seconds(stay.last_ms)),
                Cell::new(stay.beats),
                Cell::new(silent.map_or(String::new(), |ms| format!("{:.3}", ms as f64 / 1000.0))),
            ]);
        }
    }
    let mut text = format!("{lives}\n\n");
    for vm in &proof.vms {
        if let Some(journal) = &vm.journal {
            let lives = journal.lives.iter().map(|life| {
                let (from, to) = (life.first_counter, life.last_counter);
                format!("boot {} wrote {from} to {to}", short(&life.life))
            });
            let lives = lives.collect::<Vec<_>>().join(", ");
            text.push_str(&format!(
                "disk of {}: {lives}; {} lost\n",
                vm.vm, vm.lost_writes
            ));
        }
        for overlap in &vm.overlaps {
            text.push_str(&format!("OVERLAP {}: {}\n", vm.vm, overlap.text));
        }
    }
    let never: Vec<&str> = proof.never_heard().collect();
    if !never.is_empty() {
        text.push_str(&format!("never heard: {}\n", never.join(" ")));
    }
    text.push_str(&match (proof.heard(), proof.overlaps, proof.lost_writes) {
        (false, _, _) => "NO DATA: no guest was ever heard, so nothing is proven\n".into(),
        (_, 0, 0) => {
            format!(
                "no VM ran twice (more than {} ms), no write lost\n",
                proof.tolerance_ms
            )
        }
        (_, overlaps, lost) => format!("{overlaps} OVERLAPS, {lost} LOST WRITES\n"),
    });
    text
}
