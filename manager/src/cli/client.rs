//! Talking to managers: any one of them will do, so the first that is well is asked. What each has of its own is asked
//! of all of them ([`each`]).

mod each;

pub use each::{FromEach, Silent};

use super::error::CliError;
use crate::api::problem::Problem;
use crate::api::reads::Health;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use ureq::Agent;

/// A manager that does not take the connection within this is not there.
const CONNECT: Duration = Duration::from_secs(2);
/// Managers are asked how they are for this long.
const PROBE: Duration = Duration::from_millis(2_500);
/// An answer takes at most this long: etcd's deadline, a few attempts, and a margin.
const ANSWER: Duration = Duration::from_secs(20);
/// Where the API listens if an address names no port.
const PORT: u16 = 7070;

/// The managers.
pub struct Client {
    agent: Agent,
    /// The one that is well first.
    urls: Vec<String>,
    user: String,
}

/// A change to ask for.
#[derive(Debug, Clone, Copy)]
pub enum Verb {
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
}

impl Client {
    /// Finds a manager that is well among these.
    pub fn new(api: &[String]) -> Result<Self, CliError> {
        let urls = api
            .iter()
            .map(|text| address(text))
            .collect::<Result<Vec<_>, _>>()?;
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(ANSWER))
            .http_status_as_error(false)
            .build();
        let agent = Agent::new_with_config(config);
        let user = ["HOLDFAST_USER", "SUDO_USER", "USER", "LOGNAME"]
            .iter()
            .find_map(|key| std::env::var(key).ok().filter(|user| !user.is_empty()))
            .unwrap_or_else(|| "somebody".to_owned());
        let mut client = Self { agent, urls, user };
        if client.urls.len() > 1 {
            client.put_the_best_first();
        }
        Ok(client)
    }

    /// Asks all of them at once how they are. The first with a fresh view wins; otherwise the
    /// first that answers at all.
    fn put_the_best_first(&mut self) {
        let (tell, told) = mpsc::channel();
        for (index, url) in self.urls.iter().enumerate() {
            let (agent, url, tell) = (self.agent.clone(), url.clone(), tell.clone());
            std::thread::spawn(move || {
                let health = health(&agent, &url);
                // Nobody listens any more once one was found.
                tell.send((index, health)).ok();
            });
        }
        drop(tell);
        let end = Instant::now() + PROBE;
        let mut best = None;
        while let Ok((index, health)) =
            told.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            match health {
                Some(health) if health.fresh => {
                    best = Some(index);
                    break;
                }
                Some(_) => best = best.or(Some(index)),
                None => {}
            }
        }
        if let Some(best) = best {
            let url = self.urls.remove(best);
            self.urls.insert(0, url);
        }
    }

    /// Reads.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let (url, value) = self.get_value(path)?;
        serde_json::from_value(value).map_err(|error| CliError::Answer {
            url,
            reason: error.to_string(),
        })
    }

    /// Reads, and tells who answered.
    pub fn get_value(&self, path: &str) -> Result<(String, Value), CliError> {
        let mut tried = Vec::new();
        for url in &self.urls {
            let response = self.agent.get(format!("{url}/v1{path}")).call();
            match response {
                Ok(response) => return Ok((url.clone(), answer(url, response)?)),
                Err(error) => tried.push(format!("  {url}: {}", words(&error))),
            }
        }
        Err(CliError::Unreachable {
            tried: tried.join("\n"),
        })
    }

    /// Opens a stream that goes on until the manager ends it.
    pub fn stream(&self, path: &str) -> Result<impl std::io::Read + use<>, CliError> {
        let mut tried = Vec::new();
        for url in &self.urls {
            let request = self
                .agent
                .get(format!("{url}/v1{path}"))
                .config()
                .timeout_global(None)
                .build()
                .header("accept", "text/event-stream");
            match request.call() {
                Ok(response) if response.status().is_success() => {
                    return Ok(response.into_body().into_reader());
                }
                Ok(response) => {
                    answer(url, response)?;
                }
                Err(error) => tried.push(format!("  {url}: {}", words(&error))),
            }
        }
        Err(CliError::Unreachable {
            tried: tried.join("\n"),
        })
    }

    /// Changes something. Another manager is asked only if the first one was never reached.
    pub fn change<T: DeserializeOwned>(
        &self,
        verb: Verb,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, CliError> {
        let mut tried = Vec::new();
        for url in &self.urls {
            match self.send(verb, &format!("{url}/v1{path}"), body) {
                Ok(response) => {
                    let value = answer(url, response)?;
                    return serde_json::from_value(value).map_err(|error| CliError::Answer {
                        url: url.clone(),
                        reason: error.to_string(),
                    });
                }
                Err(error) if never_reached(&error) => {
                    tried.push(format!("  {url}: {}", words(&error)));
                }
                Err(error) => {
                    return Err(CliError::NoAnswer {
                        url: url.clone(),
                        reason: words(&error),
                    });
                }
            }
        }
        Err(CliError::Unreachable {
            tried: tried.join("\n"),
        })
    }

    /// The same managers, for what takes longer than answers usually do.
    pub fn patient(&self, answer: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(answer))
            .http_status_as_error(false)
            .build();
        Self {
            agent: Agent::new_with_config(config),
            urls: self.urls.clone(),
            user: self.user.clone(),
        }
    }

    /// Puts bytes. The same bytes twice are as good as once, so the next manager is asked whatever happened.
    pub fn upload(&self, path: &str, bytes: &[u8], answer: Duration) -> Result<(), CliError> {
        let mut tried = Vec::new();
        for url in &self.urls {
            let request = self.agent.put(format!("{url}/v1{path}"));
            let request = request.config().timeout_global(Some(answer)).build();
            let request = request.header("x-holdfast-user", self.user.as_str());
            match request.send(bytes) {
                Ok(response) => return self::answer(url, response).map(drop),
                Err(error) => tried.push(format!("  {url}: {}", words(&error))),
            }
        }
        Err(CliError::Unreachable {
            tried: tried.join("\n"),
        })
    }

    fn send(
        &self,
        verb: Verb,
        url: &str,
        body: Option<&impl Serialize>,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let user = ("x-holdfast-user", self.user.as_str());
        match (verb, body) {
            (Verb::Put, Some(body)) => self.agent.put(url).header(user.0, user.1).send_json(body),
            (Verb::Put, None) => self.agent.put(url).header(user.0, user.1).send_empty(),
            (Verb::Post, Some(body)) => self.agent.post(url).header(user.0, user.1).send_json(body),
            (Verb::Post, None) => self.agent.post(url).header(user.0, user.1).send_empty(),
            (Verb::Delete, _) => self.agent.delete(url).header(user.0, user.1).call(),
        }
    }
}

fn health(agent: &Agent, url: &str) -> Option<Health> {
    let request = agent
        .get(format!("{url}/v1/health"))
        .config()
        .timeout_global(Some(PROBE));
    let mut response = request.build().call().ok()?;
    response.body_mut().read_json().ok()
}

fn answer(url: &str, mut response: ureq::http::Response<ureq::Body>) -> Result<Value, CliError> {
    let well = response.status().is_success();
    let wrong = |reason: String| CliError::Answer {
        url: url.to_owned(),
        reason,
    };
    let text = response
        .body_mut()
        .read_to_string()
        .map_err(|error| wrong(words(&error)))?;
    if well {
        return serde_json::from_str(&text).map_err(|error| wrong(error.to_string()));
    }
    match serde_json::from_str::<Problem>(&text) {
        Ok(problem) => Err(CliError::Problem(problem)),
        Err(_) => Err(wrong(format!("HTTP status {}", response.status()))),
    }
}

/// The request was certainly not handled: it never got there.
fn never_reached(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        ureq::Error::Timeout(timeout) => matches!(timeout, ureq::Timeout::Connect),
        ureq::Error::Io(error) => matches!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused
                | std::io::ErrorKind::HostUnreachable
                | std::io::ErrorKind::NetworkUnreachable
        ),
        _ => false,
    }
}

fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(timeout) => format!("no answer in time ({timeout})"),
        other => other.to_string(),
    }
}

/// An address as people give it, as a URL without a path.
fn address(text: &str) -> Result<String, CliError> {
    let text = text.trim().trim_end_matches('/');
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let bad = |why: &str| {
        Err(CliError::Usage(format!(
            "--api `{text}`: {why}; write http://ADDRESS:{PORT}"
        )))
    };
    match scheme {
        "http" => {}
        "https" => return bad("this version speaks plain http only"),
        _ => return bad("this is no http address"),
    }
    if rest.is_empty() || rest.contains(['/', ' ', '?', '#']) {
        return bad("only a host and a port can stand there");
    }
    let bracket = rest.rfind(']');
    let port = rest
        .rfind(':')
        .filter(|colon| bracket.is_none_or(|bracket| *colon > bracket));
    match port {
        Some(colon) if rest[colon + 1..].parse::<u16>().is_err() => bad("its port is no number"),
        Some(_) => Ok(format!("http://{rest}")),
        None => Ok(format!("http://{rest}:{PORT}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_give_them() {
        for (text, url) in [
            ("10.0.0.1", "http://10.0.0.1:7070"),
            ("m-a:80", "http://m-a:80"),
            (" http://m-a:7070/ ", "http://m-a:7070"),
            ("[::1]", "http://[::1]:7070"),
            ("http://[::1]:81", "http://[::1]:81"),
        ] {
            assert_eq!(address(text).expect(text), url);
        }
        for bad in ["", "https://m-a", "ftp://x", "m-a:port", "m-a/v1"] {
            let error = address(bad).expect_err(bad);
            assert!(
                error.to_string().contains("write http://ADDRESS:7070"),
                "{error}"
            );
        }
    }
}
