//! `holdfast ext decisions`: what an extension was asked in decisions, and what it said.

use super::super::args::Output;
use super::super::client::{FromEach, Silent};
use super::super::error::CliError;
use super::super::paint::{Tone, table};
use super::super::{Session, hint, print, print_json};
use super::logs::tell_silent;
use crate::extensions::{Decided, DecisionsHere};
use crate::wall::moment;
use holdfast_model::advice::{Said, Score};
use holdfast_model::id::{ExtensionName, ManagerName};
use serde::Serialize;
use std::cmp::Reverse;
use std::sync::Arc;

/// Hosts of an answer that are named.
const HOSTS_MAX: usize = 3;

/// Of all managers. `ext replay` reads the decisions.
#[derive(Serialize)]
struct Decisions {
    /// Which extension was asked.
    extension: ExtensionName,
    /// What each of them has.
    managers: Vec<Keeper>,
    /// Those that did not answer.
    silent: Vec<Silent>,
    /// The newest last.
    decisions: Vec<Kept>,
}

#[derive(Serialize)]
struct Keeper {
    manager: ManagerName,
    forgotten: u64,
    missed: u64,
}

#[derive(Serialize)]
struct Kept {
    /// Which manager decided.
    manager: ManagerName,
    #[serde(flatten)]
    decided: Arc<Decided>,
}

impl Session {
    /// Each manager keeps its own: whoever led before has what was decided then.
    pub(in super::super) fn ext_decisions(&self, name: &ExtensionName) -> Result<(), CliError> {
        let path = format!("/extensions/{name}/decisions");
        let FromEach {
            by_manager, silent, ..
        } = self.client.get_from_each(&path)?;
        let mut all = Decisions {
            extension: name.clone(),
            managers: Vec::new(),
            silent,
            decisions: Vec::new(),
        };
        for (manager, value) in by_manager {
            let here: DecisionsHere =
                serde_json::from_value(value).map_err(|error| CliError::Answer {
                    url: manager,
                    reason: error.to_string(),
                })?;
            all.take_in(here);
        }
        all.decisions.sort_by_key(|kept| kept.decided.at);
        if self.output == Output::Json {
            return print_json(&all);
        }
        if !all.decisions.is_empty() {
            print(&all.drawn(self.output == Output::Wide))?;
        }
        all.tell();
        Ok(())
    }
}

impl Decisions {
    fn take_in(&mut self, here: DecisionsHere) {
        let DecisionsHere {
            manager,
            forgotten,
            missed,
            decisions,
        } = here;
        let kept = decisions.into_iter().map(|decided| Kept {
            manager: manager.clone(),
            decided,
        });
        self.decisions.extend(kept);
        self.managers.push(Keeper {
            manager,
            forgotten,
            missed,
        });
    }

    fn drawn(&self, wide: bool) -> String {
        let mut heads = vec!["ASKED", "TIMES", "VM", "VERSION", "IT SAID"];
        if wide {
            heads.push("ON");
        }
        let rows = self.decisions.iter().flat_map(|kept| {
            let Kept { manager, decided } = kept;
            let ours = decided.advice.iter();
            let ours = ours.filter(|each| each.extension == self.extension);
            ours.map(move |advice| {
                let (tone, said) = said(decided, &advice.said);
                let mut row = vec![
                    (Tone::Dim, moment(decided.at)),
                    (Tone::Plain, decided.times.to_string()),
                    (Tone::Plain, decided.question.vm.name.to_string()),
                    (Tone::Plain, advice.version.clone()),
                    (tone, said),
                ];
                if wide {
                    row.push((Tone::Plain, manager.to_string()));
                }
                row
            })
        });
        table(&heads, rows.collect())
    }

    /// What is not there.
    fn tell(&self) {
        if self.decisions.is_empty() {
            let each = self.managers.iter().map(|keeper| keeper.manager.as_str());
            let managers: Vec<&str> = each.collect();
            hint(&format!(
                "{} was asked in no decision of {} since that was started",
                self.extension,
                managers.join(", ")
            ));
        }
        for keeper in &self.managers {
            let Keeper {
                manager,
                forgotten,
                missed,
            } = keeper;
            if *forgotten > 0 {
                hint(&format!("{manager}: {forgotten} older ones have made room"));
            }
            if *missed > 0 {
                hint(&format!("{manager}: there was no time to keep {missed}"));
            }
        }
        let missing = "what it decided, if it led, is missing";
        tell_silent(&self.silent, missing);
    }
}

/// Where it would rather have it, and where not; or why it said nothing.
fn said(decided: &Decided, said: &Said) -> (Tone, String) {
    let (refusals, scores) = match said {
        Said::Nothing { reason, .. } => return (Tone::Warn, format!("nothing: {reason}")),
        Said::Answer { refusals, scores } => (refusals, scores),
    };
    let candidates = decided.question.candidates.iter().enumerate();
    let is_refused = |at: usize| refusals.get(at).is_some_and(Option::is_some);
    let (not, mut may): (Vec<_>, Vec<_>) = candidates.partition(|(at, _)| is_refused(*at));
    let score = |at: usize| scores.get(at).copied().unwrap_or_default();
    may.sort_by_key(|(at, _)| Reverse(score(*at)));
    let rated = |score: Score| match scores.is_empty() {
        true => String::new(),
        false => format!(" ({score})"),
    };
    let may = may.iter();
    let may = may.map(|(at, each)| format!("{}{}", each.host, rated(score(*at))));
    let not = not.iter().map(|(_, each)| each.host.to_string());
    let parts = [
        ("may", listed(may.collect())),
        ("not", listed(not.collect())),
    ];
    let parts = parts.into_iter().filter_map(|(word, hosts)| {
        let hosts = hosts?;
        Some(format!("{word}: {hosts}"))
    });
    (Tone::Plain, parts.collect::<Vec<_>>().join("; "))
}

/// A few of them; none if there are none.
fn listed(mut hosts: Vec<String>) -> Option<String> {
    let more = hosts.len().saturating_sub(HOSTS_MAX);
    hosts.truncate(HOSTS_MAX);
    if more > 0 {
        hosts.push(format!("{more} more"));
    }
    (!hosts.is_empty()).then(|| hosts.join(", "))
}
