//! Fencing devices: which there are, what is asked of them, and what they answered.
//!
//! A device switches a host's power and says how it stands. What it is told to do is one thing, what it
//! says afterwards another, and only the second is ever evidence.

use crate::id::{DeviceName, HostName, Incarnation, Revision};
use crate::plan::Step;
use crate::time::Instant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

/// Shortest and longest accepted time-out of one call to a device, in milliseconds. Below, no board
/// answers; above, one that hangs is not asked again for minutes.
const TIMEOUT_MS: RangeInclusive<u64> = 500..=120_000;

/// Endings of options whose value names a file with a secret: the manager reads it and hands on what is
/// in it, under the name without the ending.
const SECRET: &str = "_file";

/// What Holdfast says itself.
const RESERVED: [&str; 4] = ["action", "option", "nodename", "agent"];

/// Parts of the names of options by which an agent runs or writes what the option says. The policy comes
/// from etcd; what is executed on a manager is the business of who runs that machine.
const EXECUTES: [&str; 8] = [
    "script", "path", "debug", "verbose", "options", "command", "cmd", "sudo",
];

/// `[fencing.devices.NAME]`: one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FenceDevice {
    /// The hosts whose power it switches; none named: the host of the device's own name.
    #[serde(default)]
    pub hosts: Vec<HostName>,
    /// The program that talks to it, by the name that `[fence_agents]` in manager.toml gives it.
    pub agent: DeviceName,
    /// What the program is told, besides what to do: where the device is, who asks. A secret is named by
    /// the file that holds it (`passwd_file = "a1.ipmi"`), never written here.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// A call that takes longer has failed, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

fn default_timeout_ms() -> u64 {
    20_000
}

/// What one option of a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind<'a> {
    /// Handed on as it stands.
    Plain,
    /// Its value names a file with a secret, which is handed on under this name.
    Secret(&'a str),
}

/// What an option is, or why it is refused.
pub fn option_kind<'a>(name: &'a str, value: &str) -> Result<OptionKind<'a>, String> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if name.is_empty() || !name.chars().all(word) {
        return Err(format!(
            "`{name}` is no option: use a-z 0-9 _ - as the program's manual spells it"
        ));
    }
    if RESERVED.contains(&name) {
        return Err(format!("`{name}` is set by Holdfast; remove it"));
    }
    if value.contains(char::is_control) {
        return Err(format!(
            "`{name}` has a line break or a control character in it"
        ));
    }
    if let Some(secret) = name.strip_suffix(SECRET) {
        let plain = !value.is_empty() && !value.starts_with('.') && !value.contains('/');
        return match plain && !secret.is_empty() && !secret.contains("debug") {
            true => Ok(OptionKind::Secret(secret)),
            false => Err(format!(
                "`{name}`: give the name of a file in the directory that `fence_secrets` in \
                 manager.toml says, without a path"
            )),
        };
    }
    if let Some(part) = EXECUTES.into_iter().find(|part| name.contains(part)) {
        return Err(format!(
            "`{name}` would have the program run or write what the policy says (`{part}`); set it on \
             the managers, in a program of your own that [fence_agents] names"
        ));
    }
    Ok(OptionKind::Plain)
}

impl FenceDevice {
    /// The hosts it switches.
    pub fn switches(&self, own: &DeviceName, host: &HostName) -> bool {
        match self.hosts.is_empty() {
            true => own.as_str() == host.as_str(),
            false => self.hosts.contains(host),
        }
    }

    /// The first thing about it that cannot work, in words.
    pub fn fault(&self) -> Option<String> {
        let plug = |name: &&String| matches!(name.as_str(), "plug" | "port");
        let plug = self.options.keys().find(plug);
        if let Some(plug) = plug.filter(|_| self.hosts.len() > 1) {
            return Some(format!(
                "`{plug}` would be the same for all of its {} hosts; make it one device for each",
                self.hosts.len()
            ));
        }
        let mut options = self.options.iter();
        if let Some(fault) = options.find_map(|(name, value)| option_kind(name, value).err()) {
            return Some(fault);
        }
        (!TIMEOUT_MS.contains(&self.timeout_ms)).then(|| {
            format!(
                "`timeout_ms` is {}; use {} to {} (it is in milliseconds, not seconds)",
                self.timeout_ms,
                TIMEOUT_MS.start(),
                TIMEOUT_MS.end()
            )
        })
    }
}

/// What the leader wants asked of a device: to switch a host off, and then to say how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerAsk {
    /// The host.
    pub host: HostName,
    /// The life of it that is to end.
    pub incarnation: Incarnation,
    /// The host's session as it was decided on: a later one is a sign of life.
    pub session_revision: Revision,
    /// The device.
    pub device: DeviceName,
    /// The how-manieth time for this life, from 1.
    pub attempt: u32,
    /// Written first, and only if it is accepted is the device asked: the transaction proves that the
    /// leader leads and that the host has not renewed its session.
    pub step: Step,
}

/// What came of one ask. The leader's own memory, never stored: a new leader asks again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerReading {
    /// The life it is about.
    pub incarnation: Incarnation,
    /// The host's session when it was asked.
    pub session_revision: Revision,
    /// The device.
    pub device: DeviceName,
    /// The how-manieth time for this life.
    pub attempt: u32,
    /// When the device was told to switch off, at the earliest.
    pub asked_at: Instant,
    /// When it was asked how the power stands, after that; `asked_at` until then.
    pub read_at: Instant,
    /// When the answer was there; `asked_at` until then.
    pub answered_at: Instant,
    /// The answer.
    pub state: PowerState,
}

/// How a host's power stands, as its device says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum PowerState {
    /// The device is being asked.
    Asked,
    /// It says off, after it was told to switch off.
    Off,
    /// It says on.
    On,
    /// It says nothing that could be believed: never evidence.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("is being asked"),
            Self::Off => f.write_str("says off"),
            Self::On => f.write_str("says on"),
            Self::Unknown { reason } => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(options: &[(&str, &str)]) -> FenceDevice {
        let options = options.iter();
        FenceDevice {
            hosts: Vec::new(),
            agent: "fence_ipmilan".parse().expect("a name"),
            options: options
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            timeout_ms: default_timeout_ms(),
        }
    }

    #[test]
    fn options_that_execute_or_write_are_refused() {
        for name in [
            "passwd_script",
            "password-script",
            "ipmitool_path",
            "debug",
            "debug_file",
            "debug-file",
            "ssh_options",
            "verbose",
            "sudo",
            "action",
            "nodename",
            "",
            "_file",
            "ip=10.0.0.1\naction",
            "IP",
        ] {
            let fault = device(&[(name, "x")]).fault();
            assert!(fault.is_some(), "`{name}` is let through");
        }
        let fault = device(&[("ip", "10.0.0.1\naction=on")]).fault();
        assert!(fault.is_some_and(|fault| fault.contains("line break")));
        let good = [
            ("ip", "192.0.2.1"),
            ("lanplus", "1"),
            ("power_timeout", "5"),
        ];
        assert_eq!(device(&good).fault(), None);
    }

    #[test]
    fn a_secret_is_the_name_of_a_file_and_no_path() {
        let kind = |value| option_kind("passwd_file", value);
        assert_eq!(kind("a1.ipmi"), Ok(OptionKind::Secret("passwd")));
        for value in ["/etc/shadow", "../shadow", "", ".", "a/b"] {
            assert!(kind(value).is_err(), "`{value}`");
        }
    }

    #[test]
    fn one_plug_is_not_for_several_hosts_and_times_are_milliseconds() {
        let mut pdu = device(&[("plug", "3")]);
        pdu.hosts = vec!["a1".parse().expect("a name")];
        assert_eq!(pdu.fault(), None);
        pdu.hosts.push("a2".parse().expect("a name"));
        assert!(pdu.fault().is_some_and(|fault| fault.contains("`plug`")));
        let mut short = device(&[]);
        short.timeout_ms = 20;
        assert!(
            short
                .fault()
                .is_some_and(|fault| fault.contains("milliseconds"))
        );
    }
}
