//! `holdfast doctor`: what the managers complain of, and whether etcd and the lease volume agree.

use super::error::CliError;
use super::lease::bounded::{self, Wait};
use super::paint::{Line, Tone, table};
use super::{Session, print, print_json};
use crate::cli::args::Output;
use crate::doctor::{Compared, Diagnosis, Grant, examine};
use holdfast_model::status::{Severity, Status};
use std::path::Path;

impl Session {
    pub(super) fn doctor(&self, volume: Option<&Path>, wait: Wait) -> Result<(), CliError> {
        let status: Status = self.client.get("/status")?;
        let survey = volume.map(|path| bounded::read(path, wait)).transpose()?;
        let found = examine(&status, survey.as_ref());
        match self.output {
            Output::Json => print_json(&found)?,
            Output::Table | Output::Wide => print(&draw(&found, volume.is_some()))?,
        }
        match found.severity() {
            Severity::Critical => Err(CliError::Sick),
            _ => Ok(()),
        }
    }
}

fn draw(found: &Diagnosis, looked: bool) -> String {
    let mut out = String::new();
    for condition in &found.conditions {
        let line = Line::new()
            .add(tone(condition.severity), format!("{}: ", condition.code))
            .text(condition.text.clone());
        out += &(line.draw() + "\n");
    }
    if found.conditions.is_empty() {
        let line = Line::new().add(Tone::Good, "ok: ");
        out += &(line.text("the managers complain of nothing").draw() + "\n");
    }
    if !looked {
        let line = Line::new().add(Tone::Dim, "not looked at: ");
        let text = "the lease volume; name it, on a host that has it: `holdfast doctor VOLUME`";
        return out + &(line.text(text).draw() + "\n");
    }
    if !found.vms.is_empty() {
        let heads = ["VM", "BY ETCD", "BY THE VOLUME", ""];
        out += &format!("\n{}", table(&heads, found.vms.iter().map(row).collect()));
    }
    for (slot, problem) in &found.damaged {
        let line = Line::new().add(Tone::Warn, format!("slot {slot}: "));
        let text = format!("{problem}. The VM's host writes it again while the VM runs");
        out += &(line.text(text).draw() + "\n");
    }
    out
}

fn row(vm: &Compared) -> Vec<(Tone, String)> {
    let severity = vm.verdict.severity();
    vec![
        (Tone::Plain, vm.vm.to_string()),
        (Tone::Plain, grant(vm.store.as_ref())),
        (Tone::Plain, grant(vm.volume.as_ref())),
        (tone(severity), vm.verdict.words().to_owned()),
    ]
}

fn grant(grant: Option<&Grant>) -> String {
    let Some(grant) = grant else {
        return "-".to_owned();
    };
    let host = grant.host.as_ref();
    let host = host.map_or("nobody", |host| host.as_str());
    format!("generation {}, {host}", grant.generation)
}

fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Info => Tone::Good,
        Severity::Warning => Tone::Warn,
        Severity::Critical => Tone::Bad,
    }
}
