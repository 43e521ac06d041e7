//! `holdfast ext requests`: what extensions had managers send.

use super::super::args::Output;
use super::super::client::FromEach;
use super::super::error::CliError;
use super::super::paint::{Tone, table};
use super::super::{Session, hint, print, print_json};
use super::logs::{merged, tell_silent};
use crate::requests::{Ended, Requested};
use crate::wall::moment;
use serde::Deserialize;
use serde_json::{Value, json};

/// One request, and which manager has sent it.
#[derive(Deserialize)]
struct Sent {
    manager: String,
    #[serde(flatten)]
    request: Requested,
}

impl Session {
    /// Each is written down where it was sent: all managers are asked for theirs.
    pub(in super::super) fn ext_requests(&self) -> Result<(), CliError> {
        let FromEach {
            by_manager, silent, ..
        } = self.client.get_from_each("/requests")?;
        let managers: Vec<String> = by_manager.keys().cloned().collect();
        let requests = Value::Array(merged(by_manager, "requests"));
        if self.output == Output::Json {
            return print_json(
                &json!({"managers": managers, "silent": silent, "requests": requests}),
            );
        }
        let sent: Vec<Sent> = serde_json::from_value(requests).map_err(|error| {
            let (url, reason) = (managers.join(", "), error.to_string());
            CliError::Answer { url, reason }
        })?;
        match sent.is_empty() {
            true => hint(&format!(
                "no extension has had {} send anything",
                managers.join(", ")
            )),
            false => print(&drawn(&sent))?,
        }
        tell_silent(&silent, "what was sent from it, if anything, is missing");
        Ok(())
    }
}

fn drawn(all: &[Sent]) -> String {
    let rows = all.iter().map(|Sent { manager, request }| {
        let (tone, words) = outcome(&request.outcome);
        vec![
            (Tone::Dim, moment(request.at)),
            (Tone::Plain, manager.clone()),
            (Tone::Plain, request.about.clone()),
            (Tone::Plain, request.target.clone()),
            (Tone::Plain, format!("{} {}", request.method, request.path)),
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
