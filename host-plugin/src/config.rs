//! `/etc/holdfast/host.toml`: which host this is, and where it finds etcd, libvirt and the guard.
//! The agent and the guard read the same file.
//!
//! ```toml
//! cluster = "prod"
//! name = "a1"
//! site = "a"
//! [etcd]
//! endpoints = ["http://192.0.2.11:2379", "http://192.0.2.21:2379", "http://192.0.2.31:2379"]
//! [libvirt]
//! migrate_address = "192.0.2.11"
//! ```
//! Everything that is not about this one host is cluster policy, kept in etcd.

use crate::strict::{Format, TextError, place_of, read};
use holdfast_model::id::{ClusterName, HostName, SiteName};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where the file is looked for if `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/holdfast/host.toml";

/// Shortest and longest accepted deadline of one call to etcd, in milliseconds. Below, a healthy
/// disk's slow write already fails; above, one dead member would cost a heartbeat its deadline.
const CALL_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=10_000;

/// Longest path of a socket, in bytes (`sun_path` of `unix(7)`, less its end).
const SOCKET_PATH_MAX: usize = 107;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The cluster; has to be the one whose name is kept in etcd.
    pub cluster: ClusterName,
    /// This host, unique in the cluster.
    pub name: HostName,
    /// Where it stands.
    pub site: SiteName,
    /// Tells this machine from another with the same name.
    #[serde(default = "default_machine_id_file")]
    pub machine_id_file: PathBuf,
    /// Where agent and guard keep what must not outlive a boot.
    #[serde(default = "default_run_dir")]
    pub run_dir: PathBuf,
    /// How etcd is reached.
    pub etcd: EtcdSection,
    /// How libvirt is reached.
    pub libvirt: LibvirtSection,
    /// How the guard is reached.
    #[serde(default)]
    pub guard: GuardSection,
    /// What to count with instead of what the machine has.
    #[serde(default)]
    pub capacity: CapacitySection,
    /// How the storage under the VMs' disks is checked.
    #[serde(default)]
    pub storage: StorageSection,
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

/// `[libvirt]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibvirtSection {
    /// libvirt's connection URI.
    #[serde(default = "default_uri")]
    pub uri: String,
    /// Where peers reach this host for migrations: an address (libvirtd over plain TCP, for closed
    /// networks), or a libvirt URI with the transport (`qemu+tls://a1.example/system`).
    pub migrate_address: String,
    /// Where libvirtd keeps the state of its domains.
    #[serde(default = "default_libvirt_run_dir")]
    pub run_dir: PathBuf,
}

/// `[guard]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardSection {
    /// Where the guard listens.
    pub socket: PathBuf,
}

impl Default for GuardSection {
    fn default() -> Self {
        Self {
            socket: "/run/holdfast/guard.sock".into(),
        }
    }
}

/// `[capacity]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapacitySection {
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// CPUs.
    pub cpus: Option<u32>,
}

/// `[storage]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageSection {
    /// Where the storage is mounted.
    pub path: Option<PathBuf>,
    /// How it is checked.
    #[serde(default)]
    pub check: StorageCheck,
}

/// How storage is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageCheck {
    /// Not at all.
    #[default]
    None,
    /// The file system answers and a file can be written.
    Statvfs,
    /// The same, and GlusterFS says that no copy is behind.
    Gluster,
}

fn default_machine_id_file() -> PathBuf {
    "/etc/machine-id".into()
}

fn default_run_dir() -> PathBuf {
    "/run/holdfast".into()
}

fn default_libvirt_run_dir() -> PathBuf {
    "/run/libvirt/qemu".into()
}

fn default_uri() -> String {
    "qemu:///system".into()
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
        match config.fault() {
            None => Ok(config),
            Some((key, what, advice)) => {
                let place = text.find(key).map(|offset| place_of(text, offset));
                Err(TextError {
                    source: source.to_owned(),
                    line: place.map(|(line, _)| line),
                    column: place.map(|(_, column)| column),
                    what,
                    advice: Some(advice.to_owned()),
                })
            }
        }
    }

    /// The first thing that cannot work: the key, what is wrong, what to do.
    fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        let bad_endpoint = |endpoint: &&String| {
            let rest = endpoint
                .strip_prefix("http://")
                .or_else(|| endpoint.strip_prefix("https://"));
            rest.is_none_or(|rest| rest.trim_matches('/').is_empty() || rest.contains(' '))
        };
        let address = &self.libvirt.migrate_address;
        let timeout_ms = self.etcd.call_timeout_ms;
        if self.etcd.endpoints.is_empty() {
            let advice = "list the client address of each etcd member, this site's first";
            Some(("endpoints", "`endpoints` is empty".into(), advice))
        } else if let Some(endpoint) = self.etcd.endpoints.iter().find(bad_endpoint) {
            let what = format!("`{endpoint}` is not an etcd client address");
            Some(("endpoints", what, "write it as http://ADDRESS:2379"))
        } else if !CALL_TIMEOUT_MS.contains(&timeout_ms) {
            let what = format!("`call_timeout_ms` is {timeout_ms} milliseconds");
            let advice = "use 100 to 10000 (it is in milliseconds, not seconds)";
            Some(("call_timeout_ms", what, advice))
        } else if address.is_empty() || address.contains([' ', '\0']) {
            let what = format!("`{address}` is no address");
            let advice = "give the address at which other hosts reach this one's libvirtd";
            Some(("migrate_address", what, advice))
        } else if self.guard.socket.as_os_str().len() > SOCKET_PATH_MAX {
            let what = format!("`{}` is too long", self.guard.socket.display());
            let advice = "the system allows 107 bytes for the path of a socket";
            Some(("socket", what, advice))
        } else if self.storage.check != StorageCheck::None && self.storage.path.is_none() {
            let advice = "add `path = \"/where/the/storage/is/mounted\"` under [storage]";
            Some(("check", "there is no path to check".into(), advice))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"cluster = "prod"
name = "a1"
site = "a"
[etcd]
endpoints = ["http://127.0.0.1:2379"]
[libvirt]
migrate_address = "192.0.2.1"
"#;

    #[test]
    fn a_good_file_has_defaults() {
        let config = Config::parse(GOOD, "host.toml").expect("a good file");
        assert_eq!(config.libvirt.uri, "qemu:///system");
        assert_eq!(config.run_dir, Path::new("/run/holdfast"));
        assert_eq!(config.storage.check, StorageCheck::None);
        assert_eq!(config.etcd.call_timeout_ms, 1_500);
    }

    #[test]
    fn a_bad_file_is_refused_with_what_where_and_what_to_do() {
        for (part, instead, says) in [
            (
                "site",
                "sit",
                "line 3, column 1: unknown key `sit`; did you mean `site`?",
            ),
            ("[libvirt]", "[libvrt]", "did you mean `libvirt`?"),
            ("\"a1\"", "\"a 1\"", "host name `a 1` has ' ' in it"),
            (
                "[\"http://127.0.0.1:2379\"]",
                "[]",
                "line 5, column 1: `endpoints` is empty",
            ),
            ("http://127", "127", "write it as http://ADDRESS:2379"),
            ("[libvirt]", "call_timeout_ms = 2\n[libvirt]", "not seconds"),
            ("\"192.0.2.1\"", "\"\"", "line 7, column 1"),
            (
                "migrate_address = \"192.0.2.1\"\n",
                "",
                "add `migrate_address = …`",
            ),
            (
                "[libvirt]",
                "[storage]\ncheck = \"statvfs\"\n[libvirt]",
                "there is no path to check",
            ),
            (
                "[libvirt]",
                "[storage]\ncheck = \"glustre\"\n[libvirt]",
                "did you mean `gluster`?",
            ),
            (
                "[libvirt]",
                "[capacity]\nmemory_mib = \"2GiB\"\n[libvirt]",
                "write `memory_mib = 2048`",
            ),
        ] {
            let text = GOOD.replacen(part, instead, 1);
            assert_ne!(text, GOOD, "the case `{part}` changes nothing");
            let error = Config::parse(&text, "host.toml")
                .expect_err(instead)
                .to_string();
            assert!(error.starts_with("host.toml"), "{error}");
            assert!(
                error.contains(says),
                "{instead}\n said {error}\n not  {says}"
            );
        }
    }
}
