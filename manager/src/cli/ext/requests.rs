//! `holdfast ext requests`: what extensions had a manager send.

use super::super::error::CliError;
use super::super::paint::{Tone, table};
use super::super::{Session, hint};
use crate::api::extensions::RequestsHere;
use crate::requests::{Ended, Requested};
use crate::wall::moment;

impl Session {
    pub(in super::super) fn ext_requests(&self) -> Result<(), CliError> {
        self.shown::<RequestsHere>("/requests", |here, _| {
            if here.requests.is_empty() {
                hint(&format!(
                    "no extension has had {} send anything",
                    here.manager
                ));
                return String::new();
            }
            drawn(&here.requests)
        })
    }
}

fn drawn(requests: &[Requested]) -> String {
    let rows = requests.iter().map(|request| {
        let (tone, words) = outcome(&request.outcome);
        vec![
            (Tone::Dim, moment(request.at)),
            (Tone::Plain, request.about.clone()),
            (Tone::Plain, request.target.clone()),
            (Tone::Plain, format!("{} {}", request.method, request.path)),
            (tone, words),
        ]
    });
    table(
        &["at", "for", "target", "request", "outcome"],
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
