//! `/etc/holdfast/manager.toml`: who this manager is, and where it finds etcd.
//!
//! ```toml
//! cluster = "prod"
//! name = "m-a"
//! site = "a"
//! listen = "192.0.2.11:7070"
//! [etcd]
//! endpoints = ["http://192.0.2.11:2379", "http://192.0.2.21:2379", "http://192.0.2.31:2379"]
//! ```
//! Everything that is not about this one daemon is cluster policy, kept in etcd.

use crate::strict::{Format, TextError, place_of, read};
use holdfast_model::id::{ClusterName, ManagerName, SiteName};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the file is looked for if `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/holdfast/manager.toml";

/// Shortest and longest accepted deadline of one call to etcd, in milliseconds. Below, a healthy
/// disk's slow write already fails; above, a failover would wait for a dead member.
const CALL_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=30_000;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The cluster; has to be the one whose name is kept in etcd.
    pub cluster: ClusterName,
    /// This manager, unique in the cluster.
    pub name: ManagerName,
    /// Where it stands.
    pub site: SiteName,
    /// Where its API listens.
    pub listen: SocketAddr,
    /// How etcd is reached.
    pub etcd: EtcdSection,
}

/// `[etcd]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdSection {
    /// Client addresses of the voters, the own site's first.
    pub endpoints: Vec<String>,
    /// Deadline of one call, in milliseconds.
    #[serde(default = "default_call_timeout_ms")]
    pub call_timeout_ms: u64,
}

fn default_call_timeout_ms() -> u64 {
    1_500
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}; give the file with --config FILE")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its contents are refused.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl Config {
    /// Reads and checks the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::parse(&text, &path.display().to_string())?)
    }

    /// Checks a text; `source` names it in errors.
    pub fn parse(text: &str, source: &str) -> Result<Self, TextError> {
        let config: Self = read(text, Format::Toml, source)?;
        config.etcd.check(text, source)?;
        if config.listen.port() == 0 {
            let advice = "give a port, such as 7070: managers and the command line look for it";
            return Err(at_key(
                text,
                source,
                "listen",
                "port 0 is no fixed port",
                advice,
            ));
        }
        Ok(config)
    }
}

impl EtcdSection {
    fn check(&self, text: &str, source: &str) -> Result<(), TextError> {
        if self.endpoints.is_empty() {
            let advice = "list the client address of each etcd member";
            return Err(at_key(
                text,
                source,
                "endpoints",
                "`endpoints` is empty",
                advice,
            ));
        }
        for endpoint in &self.endpoints {
            let rest = endpoint
                .strip_prefix("http://")
                .or_else(|| endpoint.strip_prefix("https://"));
            if rest.is_none_or(|rest| rest.trim_matches('/').is_empty() || rest.contains(' ')) {
                let what = format!("`{endpoint}` is not an etcd client address");
                let advice = "write it as http://ADDRESS:2379";
                return Err(at_key(text, source, "endpoints", &what, advice));
            }
        }
        if !CALL_TIMEOUT_MS.contains(&self.call_timeout_ms) {
            let what = format!("`call_timeout_ms` is {} milliseconds", self.call_timeout_ms);
            let advice = format!(
                "use {} to {} (it is in milliseconds, not seconds)",
                CALL_TIMEOUT_MS.start(),
                CALL_TIMEOUT_MS.end()
            );
            return Err(at_key(text, source, "call_timeout_ms", &what, &advice));
        }
        Ok(())
    }
}

/// An error at the line that sets `key`.
fn at_key(text: &str, source: &str, key: &str, what: &str, advice: &str) -> TextError {
    let place = text.find(key).map(|offset| place_of(text, offset));
    TextError {
        source: source.to_owned(),
        line: place.map(|(line, _)| line),
        column: place.map(|(_, column)| column),
        what: what.to_owned(),
        advice: Some(advice.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"cluster = "prod"
name = "m-a"
site = "a"
listen = "127.0.0.1:7070"
[etcd]
endpoints = ["http://127.0.0.1:2379"]
"#;

    #[test]
    fn a_good_file_has_defaults() {
        let config = Config::parse(GOOD, "manager.toml").expect("a good file");
        assert_eq!(config.etcd.call_timeout_ms, 1_500);
        assert_eq!(config.name.as_str(), "m-a");
    }

    #[test]
    fn a_bad_file_is_refused_with_what_where_and_what_to_do() {
        let cases = [
            (
                "listen =",
                "lisen =",
                "line 4, column 1: unknown key `lisen`; did you mean `listen`?",
            ),
            (
                "listen = \"127.0.0.1:7070\"\n",
                "",
                "missing field `listen`; add `listen = …`",
            ),
            ("127.0.0.1:7070", "localhost", "line 4"),
            ("127.0.0.1:7070", "127.0.0.1:0", "line 4, column 1: port 0"),
            ("\"m-a\"", "\"m a\"", "manager name `m a` has ' ' in it"),
            ("\"prod\"", "7", "`cluster` is integer `7`, but has to be"),
            (
                "endpoints = [\"http://127.0.0.1:2379\"]",
                "endpoints = []",
                "line 6, column 1: `endpoints` is empty",
            ),
            (
                "http://127.0.0.1:2379",
                "127.0.0.1:2379",
                "write it as http://ADDRESS:2379",
            ),
            (
                "[etcd]\n",
                "[etcd]\ncall_timeout_ms = \"2s\"\n",
                "write `call_timeout_ms = 2000`",
            ),
            (
                "[etcd]\n",
                "[etcd]\ncall_timeout_ms = 2\n",
                "it is in milliseconds, not seconds",
            ),
            (
                "[etcd]\n",
                "[etcd]\ncall_timeout = 2\n",
                "did you mean `call_timeout_ms`?",
            ),
            (
                "[etcd]\n",
                "[etdc]\n",
                "unknown key `etdc`; did you mean `etcd`?",
            ),
        ];
        for (part, instead, says) in cases {
            let text = GOOD.replace(part, instead);
            assert_ne!(text, GOOD, "the case `{part}` changes nothing");
            let error = Config::parse(&text, "manager.toml")
                .expect_err(instead)
                .to_string();
            assert!(error.starts_with("manager.toml"), "{error}");
            assert!(
                error.contains(says),
                "{instead}\n said {error}\n not  {says}"
            );
        }
    }

    #[test]
    fn a_missing_file_says_how_to_name_one() {
        let error = Config::load(Path::new("/nonexistent/manager.toml")).expect_err("no file");
        assert!(error.to_string().contains("--config FILE"), "{error}");
    }
}
