//! `holdfast ext requests`: what extensions had managers send and run, and agents of hosts.

use super::super::args::Output;
use super::super::client::FromEach;
use super::super::error::CliError;
use super::super::paint::{Tone, table};
use super::super::{Session, hint, print, print_json};
use super::logs::{merged, tell_silent};
use crate::requests::{Ended, ProgramEnd, ProgramRun, Requested};
use crate::wall::moment;
use holdfast_model::time::UnixMs;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A request or a program, and which manager, or which host's agent, has sent or run it.
#[derive(Deserialize)]
struct Told<T> {
    manager: Option<String>,
    host: Option<String>,
    #[serde(flatten)]
    what: T,
}

impl<T> Told<T> {
    fn by(&self) -> String {
        match (&self.manager, &self.host) {
            (Some(manager), _) => manager.clone(),
            (None, Some(host)) => format!("agent of {host}"),
            (None, None) => String::new(),
        }
    }
}

/// A line of the table.
struct Row {
    at: UnixMs,
    by: String,
    about: String,
    target: String,
    what: String,
    outcome: (Tone, String),
}

impl Session {
    /// Each is written down where it was sent or run: all managers are asked for theirs, and hosts have told the newest.
    pub(in super::super) fn ext_requests(&self) -> Result<(), CliError> {
        let FromEach {
            by_manager, silent, ..
        } = self.client.get_from_each("/requests")?;
        let managers: Vec<String> = by_manager.keys().cloned().collect();
        let hosts = of_hosts(&by_manager);
        let requests = with_hosts(merged(by_manager.clone(), "requests"), &hosts, "requests");
        let programs = with_hosts(merged(by_manager, "programs"), &hosts, "programs");
        if self.output == Output::Json {
            return print_json(&json!({
                "managers": managers, "silent": silent, "requests": requests, "programs": programs,
            }));
        }
        let mut rows: Vec<Row> = read(requests, &managers)?.map(Row::of_request).collect();
        rows.extend(read(programs, &managers)?.map(Row::of_program));
        // Those of one kind and one manager stay in their order.
        rows.sort_by_key(|row| row.at);
        match rows.is_empty() {
            true => hint(&format!(
                "no extension has had {} send or run anything",
                managers.join(", ")
            )),
            false => print(&drawn(rows))?,
        }
        tell_silent(&silent, "what was sent from it, if anything, is missing");
        Ok(())
    }
}

/// What each host has told: every manager sees the same, and one that is behind may lack a host.
fn of_hosts(by_manager: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let all = by_manager.values();
    let all = all.filter_map(|told| told["hosts"].as_object());
    all.flatten()
        .map(|(host, told)| (host.clone(), told.clone()))
        .collect()
}

/// With what agents have of this list, in the order of time.
fn with_hosts(mut all: Vec<Value>, hosts: &BTreeMap<String, Value>, list: &str) -> Vec<Value> {
    for (host, told) in hosts {
        for each in told[list].as_array().into_iter().flatten() {
            let mut each = each.clone();
            each["host"] = host.clone().into();
            all.push(each);
        }
    }
    all.sort_by_key(|each| each["at"].as_u64());
    all
}

fn read<T: DeserializeOwned>(
    list: Vec<Value>,
    managers: &[String],
) -> Result<impl Iterator<Item = Told<T>>, CliError> {
    let all: Vec<Told<T>> = serde_json::from_value(Value::Array(list)).map_err(|error| {
        let (url, reason) = (managers.join(", "), error.to_string());
        CliError::Answer { url, reason }
    })?;
    Ok(all.into_iter())
}

impl Row {
    fn of_request(sent: Told<Requested>) -> Self {
        let (by, what) = (sent.by(), sent.what);
        Self {
            at: what.at,
            by,
            about: what.about,
            target: what.target,
            what: format!("{} {}", what.method, what.path),
            outcome: outcome(&what.outcome),
        }
    }

    fn of_program(ran: Told<ProgramRun>) -> Self {
        let (by, what) = (ran.by(), ran.what);
        let outcome = ended(&what);
        let words = std::iter::once(what.action).chain(what.arguments);
        Self {
            at: what.at,
            by,
            about: what.about,
            target: what.program.to_string(),
            what: words.collect::<Vec<_>>().join(" "),
            outcome,
        }
    }
}

fn drawn(all: Vec<Row>) -> String {
    let rows = all.into_iter().map(|row| {
        let (tone, words) = row.outcome;
        vec![
            (Tone::Dim, moment(row.at)),
            (Tone::Plain, row.by),
            (Tone::Plain, row.about),
            (Tone::Plain, row.target),
            (Tone::Plain, row.what),
            (tone, words),
        ]
    });
    table(
        &["at", "by", "for", "target", "request", "outcome"],
        rows.collect(),
    )
}

fn outcome(ended: &Ended) -> (Tone, String) {
    match ended {
        Ended::UnderWay => (Tone::Plain, "under way".to_owned()),
        Ended::Answered { status } if *status < 400 => (Tone::Good, status.to_string()),
        Ended::Answered { status } => (Tone::Warn, status.to_string()),
        Ended::NotDone { why } => (Tone::Warn, format!("not done: {why}")),
        Ended::Unknown { why } => (Tone::Bad, format!("may have been done: {why}")),
    }
}

fn ended(run: &ProgramRun) -> (Tone, String) {
    let took = run.took_ms.map(|ms| format!(" in {ms} ms"));
    let took = took.unwrap_or_default();
    match &run.outcome {
        ProgramEnd::UnderWay => (Tone::Plain, "under way".to_owned()),
        ProgramEnd::Exited { exit_code } => {
            // Of a status, 2 is an answer: off.
            let good = *exit_code == 0 || (*exit_code == 2 && run.action == "status");
            let tone = if good { Tone::Good } else { Tone::Warn };
            (tone, format!("exit code {exit_code}{took}"))
        }
        ProgramEnd::NotStarted { why } => (Tone::Warn, format!("not done: {why}")),
        ProgramEnd::Unknown { why } => (Tone::Bad, format!("may have been done: {why}{took}")),
    }
}
