//! `holdfast fence status`: fencing devices, asked before they are needed. Nothing is switched.

use super::args::{FenceCommand, Output};
use super::client::{FromEach, Silent};
use super::error::CliError;
use super::paint::{Line, Tone, table};
use super::{Session, hint, print, print_json};
use crate::api::fencing::{DeviceSaid, PowerHere, Said};
use holdfast_model::id::{DeviceName, HostName};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// A device has two minutes at the most, and some may have to wait for others.
const ANSWER: Duration = Duration::from_secs(300);

/// What all managers say.
#[derive(Serialize)]
struct Told {
    managers: Vec<String>,
    silent: Vec<Silent>,
    devices: Vec<Row>,
    /// Devices that no manager has asked.
    not_asked: Vec<NotAsked>,
    /// Hosts that no device switches.
    without: Vec<HostName>,
}

/// What a device says to a manager.
#[derive(Serialize)]
struct Row {
    manager: String,
    #[serde(flatten)]
    said: DeviceSaid,
}

#[derive(Serialize)]
struct NotAsked {
    host: HostName,
    device: DeviceName,
    order: u32,
    why: String,
}

impl Session {
    pub(super) fn fence(&self, command: &FenceCommand) -> Result<(), CliError> {
        match command {
            FenceCommand::Status { host } => self.fence_status(host.as_ref()),
        }
    }

    /// Any manager may have to ask: all of them do.
    fn fence_status(&self, host: Option<&HostName>) -> Result<(), CliError> {
        let query = host.map_or(String::new(), |host| format!("?host={host}"));
        let path = format!("/fencing/power{query}");
        let told = told(self.client.patient(ANSWER).get_from_each(&path)?)?;
        let is_well = told.is_well();
        match self.output {
            Output::Json => print_json(&told)?,
            Output::Table | Output::Wide => show(&told)?,
        }
        match is_well {
            true => Ok(()),
            false => Err(CliError::Sick),
        }
    }
}

fn told(from_each: FromEach) -> Result<Told, CliError> {
    let FromEach {
        by_manager, silent, ..
    } = from_each;
    let managers: Vec<String> = by_manager.keys().cloned().collect();
    let (mut devices, mut passed, mut without) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (manager, value) in by_manager {
        let here: PowerHere = serde_json::from_value(value).map_err(|error| {
            let (url, reason) = (manager.clone(), error.to_string());
            CliError::Answer { url, reason }
        })?;
        without.extend(here.without);
        for said in here.devices {
            match said.answer {
                Said::NotAsked => passed.push(said),
                _ => devices.push(Row {
                    manager: manager.clone(),
                    said,
                }),
            }
        }
    }
    devices.sort_by(|one, two| place(&one.said).cmp(&place(&two.said)));
    let asked: BTreeSet<_> = devices.iter().map(|row| key(&row.said)).collect();
    let mut not_asked: Vec<DeviceSaid> = passed
        .into_iter()
        .filter(|s| !asked.contains(&key(s)))
        .collect();
    not_asked.sort_by(|one, two| place(one).cmp(&place(two)));
    not_asked.dedup_by(|one, two| key(one) == key(two));
    let not_asked = not_asked.into_iter().map(|said| NotAsked {
        host: said.host,
        device: said.device,
        order: said.order,
        why: said.words.unwrap_or_default(),
    });
    Ok(Told {
        managers,
        silent,
        not_asked: not_asked.collect(),
        without: without.into_iter().collect(),
        devices,
    })
}

fn key(said: &DeviceSaid) -> (HostName, DeviceName) {
    (said.host.clone(), said.device.clone())
}

fn place(said: &DeviceSaid) -> (&HostName, u32, &DeviceName) {
    (&said.host, said.order, &said.device)
}

impl Told {
    /// Each device is asked by somebody, and gives all who ask it an answer of use.
    fn is_well(&self) -> bool {
        let answers = |row: &Row| matches!(row.said.answer, Said::On | Said::Off);
        self.not_asked.is_empty() && self.devices.iter().all(answers)
    }
}

fn show(told: &Told) -> Result<(), CliError> {
    let asked = told.devices.iter().map(|row| {
        let (tone, answer) = match row.said.answer {
            Said::On => (Tone::Good, "on"),
            Said::Off => (Tone::Warn, "off"),
            Said::WrongOff => (Tone::Bad, "off"),
            Said::Nothing | Said::NotAsked => (Tone::Bad, "no answer"),
        };
        vec![
            (Tone::Plain, row.said.host.to_string()),
            (Tone::Plain, row.said.device.to_string()),
            (Tone::Dim, row.said.order.to_string()),
            (Tone::Plain, row.manager.clone()),
            (tone, answer.to_owned()),
            (Tone::Dim, format!("{} ms", row.said.took_ms)),
            (Tone::Plain, row.said.words.clone().unwrap_or_default()),
        ]
    });
    let not_asked = told.not_asked.iter().map(|each| {
        vec![
            (Tone::Plain, each.host.to_string()),
            (Tone::Plain, each.device.to_string()),
            (Tone::Dim, each.order.to_string()),
            (Tone::Dim, "-".to_owned()),
            (Tone::Bad, "not asked".to_owned()),
            (Tone::Dim, "-".to_owned()),
            (
                Tone::Plain,
                format!("{}, and none of them answered", each.why),
            ),
        ]
    });
    let rows: Vec<_> = asked.chain(not_asked).collect();
    if !rows.is_empty() {
        let heads = ["HOST", "DEVICE", "ORDER", "ASKED BY", "POWER", "TOOK", ""];
        print(&table(&heads, rows))?;
    }
    let without: Vec<&str> = told.without.iter().map(HostName::as_str).collect();
    if !without.is_empty() {
        hint(&format!("no fencing device: {}", without.join(", ")));
    }
    for Silent { manager, why } in &told.silent {
        let text = format!(
            "{manager} does not answer ({why}): whether it reaches the devices is not known"
        );
        hint(&Line::new().add(Tone::Warn, "note: ").text(text).draw());
    }
    Ok(())
}
