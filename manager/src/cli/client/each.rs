//! What each manager has of its own: asked of all that were named, and of those that these know of.

use super::{Client, answer, words};
use crate::cli::error::CliError;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// More managers than any cluster has.
const MOST: usize = 16;

/// What they answered.
pub struct FromEach {
    /// By the manager's name. Empty: what was asked for is the cluster's, and in `shared`.
    pub by_manager: BTreeMap<String, Value>,
    /// An answer that names no manager: any other would be the same.
    pub shared: Option<Value>,
    /// Those that did not answer.
    pub silent: Vec<Silent>,
}

/// A manager that did not answer.
#[derive(Debug, Serialize)]
pub struct Silent {
    /// Its name, or its address where the name is not known.
    pub manager: String,
    /// Why.
    pub why: String,
}

impl Client {
    /// Asks all managers at once, then those that they know of under `others` and that have not answered yet. Fails
    /// if none answers.
    pub fn get_from_each(&self, path: &str) -> Result<FromEach, CliError> {
        let mut found = FromEach {
            by_manager: BTreeMap::new(),
            shared: None,
            silent: Vec::new(),
        };
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        let mut refused = None;
        let named = self.urls.iter().map(|url| (url.clone(), url.clone()));
        for (url, answered) in self.ask_all(named.collect(), path) {
            match answered {
                Ok(value) => found.take_in(value, &mut known),
                Err(error) => {
                    found.silent.push(Silent {
                        manager: url,
                        why: why(&error),
                    });
                    refused = refused.or(Some(error));
                }
            }
        }
        if found.shared.is_some() {
            return Ok(found);
        }
        if found.by_manager.is_empty() {
            return Err(match refused {
                Some(error @ CliError::Problem(_)) => error,
                _ => nobody(&found.silent),
            });
        }
        known.retain(|manager, _| !found.by_manager.contains_key(manager));
        let (reachable, hidden): (Vec<_>, Vec<_>) = known
            .into_iter()
            .take(MOST)
            .map(|(manager, api)| (manager, url_of(&api).ok_or(api)))
            .partition(|(_, url)| url.is_ok());
        let reachable = reachable.into_iter();
        let reachable = reachable.filter_map(|(manager, url)| Some((manager, url.ok()?)));
        for (manager, answered) in self.ask_all(reachable.collect(), path) {
            let why = match answered {
                Ok(value) if value["manager"] == manager.as_str() => {
                    found.by_manager.insert(manager, value);
                    continue;
                }
                Ok(value) => format!("{} answers where it listens", value["manager"]),
                Err(error) => why(&error),
            };
            found.silent.push(Silent { manager, why });
        }
        for (manager, api) in hidden {
            let api = api.err().unwrap_or_default();
            let why =
                format!("it listens at {api}, which is no address to ask: name it with --api");
            found.silent.push(Silent { manager, why });
        }
        Ok(found)
    }

    /// At once; each within the time that an answer has.
    fn ask_all(
        &self,
        whom: Vec<(String, String)>,
        path: &str,
    ) -> Vec<(String, Result<Value, CliError>)> {
        let asking = whom.into_iter().map(|(who, url)| {
            let (agent, path) = (self.agent.clone(), path.to_owned());
            let asking = std::thread::spawn(move || {
                let response = agent.get(format!("{url}/v1{path}")).call();
                match response {
                    Ok(response) => answer(&url, response),
                    Err(error) => Err(CliError::Unreachable {
                        tried: words(&error),
                    }),
                }
            });
            (who, asking)
        });
        let asking: Vec<_> = asking.collect();
        let answers = asking.into_iter().map(|(who, asking)| {
            let panicked = |_| {
                let tried = "asking it panicked".to_owned();
                Err(CliError::Unreachable { tried })
            };
            (who, asking.join().unwrap_or_else(panicked))
        });
        answers.collect()
    }
}

impl FromEach {
    fn take_in(&mut self, value: Value, known: &mut BTreeMap<String, String>) {
        let Some(manager) = value["manager"].as_str().map(str::to_owned) else {
            self.shared = Some(value);
            return;
        };
        for (other, api) in value["others"].as_object().into_iter().flatten() {
            known.insert(other.clone(), api.as_str().unwrap_or_default().to_owned());
        }
        self.by_manager.insert(manager, value);
    }
}

/// Where a manager says that it listens; none if that leads nowhere from here.
fn url_of(api: &str) -> Option<String> {
    let address: SocketAddr = api.parse().ok()?;
    (!address.ip().is_unspecified()).then(|| format!("http://{address}"))
}

fn why(error: &CliError) -> String {
    match error {
        CliError::Unreachable { tried } => tried.clone(),
        other => other.to_string(),
    }
}

fn nobody(silent: &[Silent]) -> CliError {
    let tried = silent.iter();
    let tried: Vec<String> = tried
        .map(|each| format!("  {}: {}", each.manager, each.why))
        .collect();
    CliError::Unreachable {
        tried: tried.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_lead_somewhere_are_asked() {
        for (api, url) in [
            ("192.0.2.11:7070", Some("http://192.0.2.11:7070")),
            ("[2001:db8::1]:80", Some("http://[2001:db8::1]:80")),
            ("0.0.0.0:7070", None),
            ("[::]:7070", None),
            ("m-a:7070", None),
            ("", None),
        ] {
            assert_eq!(url_of(api).as_deref(), url, "{api}");
        }
    }
}
