//! Fencing devices as the policy has them: what talks to each, what it is told, and who looks whether it was
//! done.

use crate::asking::AskerKind;
use crate::id::{DeviceName, ExtensionName, HostName, SiteName, TargetName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

/// Shortest and longest accepted time-out of one call to a device, in milliseconds. Below, no board
/// answers; above, one that hangs is not asked again for minutes.
const TIMEOUT_MS: RangeInclusive<u64> = 500..=120_000;

/// The places that devices of one host may have among each other.
const ORDER: RangeInclusive<u32> = 1..=9;

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
    /// The program that talks to it, by the name that `[fence_agents]` in manager.toml gives it. Either this
    /// or `extension`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<DeviceName>,
    /// The extension that talks to it. What it says is not believed alone: `read_back` or
    /// `read_back_program` has to say the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<ExtensionName>,
    /// What the names in the extension's manifest stand for here: a target of `[targets]`, a program of
    /// `[fence_agents]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bind: BTreeMap<TargetName, TargetName>,
    /// What the program or the extension is told, besides what to do: where the device is, who asks. A secret
    /// is named by the file that holds it (`passwd_file = "a1.ipmi"`), never written here.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// How the manager itself looks whether the host is off, by a request of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_back: Option<ReadBack>,
    /// The same by a program of `[fence_agents]`, which gets the options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_back_program: Option<DeviceName>,
    /// The sites from which it is reached; none named: from everywhere. A leader that stands elsewhere has somebody
    /// there ask it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<SiteName>,
    /// Who may ask it: `managers`, `agents` of other hosts, or both; none named: managers. Where agents may, whoever
    /// has asked in vain is asked after the others in the next attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub askers: Vec<AskerKind>,
    /// A call that takes longer has failed, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Where a host has several devices: those of the lowest order are asked first, all at once, and those of
    /// the next when each of these has answered or failed and none has proven the host off. 1 to 9.
    #[serde(default = "default_order", skip_serializing_if = "is_default_order")]
    pub order: u32,
    /// It switches only one of several supplies of its hosts: a host is off when all the devices of this order
    /// that have `all_of` say so, and not before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_of: bool,
}

/// What talks to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means<'d> {
    /// A program.
    Agent(&'d DeviceName),
    /// An extension.
    Extension(&'d ExtensionName),
}

impl fmt::Display for Means<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => name.fmt(f),
            Self::Extension(name) => write!(f, "extension {name}"),
        }
    }
}

/// A request by which a manager looks for itself whether a host is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadBack {
    /// Whom it is sent to: a name of `[targets]` in manager.toml.
    pub target: TargetName,
    /// What is read; `{host}` in it stands for the host's name.
    pub path: String,
    /// Where the power's state is in the JSON that comes back (RFC 6901), such as `/PowerState`.
    pub pointer: String,
    /// What stands there when the host is off.
    pub off: String,
    /// And when it is on. Anything else is neither.
    pub on: String,
}

fn default_timeout_ms() -> u64 {
    20_000
}

fn default_order() -> u32 {
    *ORDER.start()
}

fn is_default_order(order: &u32) -> bool {
    *order == default_order()
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
    /// One that a program talks to, for the host of its own name.
    pub fn by_agent(agent: DeviceName, options: BTreeMap<String, String>, timeout_ms: u64) -> Self {
        Self {
            hosts: Vec::new(),
            agent: Some(agent),
            extension: None,
            bind: BTreeMap::new(),
            options,
            read_back: None,
            read_back_program: None,
            from: Vec::new(),
            askers: Vec::new(),
            timeout_ms,
            order: default_order(),
            all_of: false,
        }
    }

    /// Those of this kind may ask it.
    pub fn lets(&self, kind: AskerKind) -> bool {
        match self.askers.is_empty() {
            true => kind == AskerKind::Managers,
            false => self.askers.contains(&kind),
        }
    }

    /// It is reached from this site.
    pub fn is_reached_from(&self, site: &SiteName) -> bool {
        self.from.is_empty() || self.from.contains(site)
    }

    /// The hosts it switches.
    pub fn switches(&self, own: &DeviceName, host: &HostName) -> bool {
        match self.hosts.is_empty() {
            true => own.as_str() == host.as_str(),
            false => self.hosts.contains(host),
        }
    }

    /// The same as a list. `own`: the device's name.
    pub fn hosts_of(&self, own: &DeviceName) -> Vec<HostName> {
        match self.hosts.is_empty() {
            true => own.as_str().parse().into_iter().collect(),
            false => self.hosts.clone(),
        }
    }

    /// The same is asked in the same way: it is one device under two names.
    pub fn asks_as(&self, other: &Self) -> bool {
        let way = |device: &Self| (device.agent.clone(), device.extension.clone());
        // Of several hosts each is named to it.
        way(self) == way(other)
            && self.bind == other.bind
            && self.options == other.options
            && (self.hosts.len() > 1) == (other.hosts.len() > 1)
    }

    /// What talks to it. None: its [`fault`](Self::fault) says so.
    pub fn means(&self) -> Option<Means<'_>> {
        let agent = self.agent.as_ref().map(Means::Agent);
        agent.or_else(|| self.extension.as_ref().map(Means::Extension))
    }

    fn means_fault(&self) -> Option<String> {
        let back = (&self.read_back, &self.read_back_program);
        let text = match (&self.agent, &self.extension, back) {
            (None, None, _) => "neither `agent` nor `extension` says what talks to it",
            (Some(_), Some(_), _) => "it has both `agent` and `extension`; remove one of them",
            (Some(_), None, (Some(_), _) | (_, Some(_))) => {
                "`read_back` is for an extension; an agent is asked for the status itself"
            }
            (Some(_), None, (None, None)) if !self.bind.is_empty() => {
                "`bind` is for an extension; a program has no names to bind"
            }
            (None, Some(_), (None, None)) => {
                "what its extension says is not believed alone; give it `read_back` or `read_back_program`"
            }
            (None, Some(_), (Some(_), Some(_))) => {
                "it has both `read_back` and `read_back_program`; remove one of them"
            }
            _ => return self.read_back.as_ref().and_then(ReadBack::fault),
        };
        Some(text.to_owned())
    }

    /// The first thing about it that cannot work, in words.
    pub fn fault(&self) -> Option<String> {
        if let Some(fault) = self.means_fault() {
            return Some(fault);
        }
        let again = |(at, host): &(usize, &HostName)| self.hosts[..*at].contains(host);
        if let Some((_, host)) = self.hosts.iter().enumerate().find(again) {
            return Some(format!("`hosts` names {host} twice; remove one of the two"));
        }
        if !ORDER.contains(&self.order) {
            return Some(format!(
                "`order` is {}; use {first} to {}, of which {first} is asked first",
                self.order,
                ORDER.end(),
                first = ORDER.start()
            ));
        }
        let twice = |(at, kind): &(usize, &AskerKind)| self.askers[..*at].contains(kind);
        if let Some((_, kind)) = self.askers.iter().enumerate().find(twice) {
            return Some(format!(
                "`askers` names {kind} twice; remove one of the two"
            ));
        }
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

impl ReadBack {
    /// The first thing about it that cannot work, in words.
    fn fault(&self) -> Option<String> {
        let odd = |c: char| !c.is_ascii_graphic();
        let text = match () {
            () if !self.path.starts_with('/') || self.path.contains(odd) => {
                "`path` in `read_back` is no path; it begins with a slash"
            }
            () if !self.pointer.starts_with('/') => {
                "`pointer` in `read_back` begins with a slash, such as \"/PowerState\""
            }
            () if self.off.is_empty() || self.on.is_empty() || self.off == self.on => {
                "`off` and `on` in `read_back` have to be two different words"
            }
            () => return None,
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(options: &[(&str, &str)]) -> FenceDevice {
        let options = options.iter();
        let options = options.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let agent = "fence_ipmilan".parse().expect("a name");
        FenceDevice::by_agent(agent, options.collect(), default_timeout_ms())
    }

    fn read_back() -> ReadBack {
        ReadBack {
            target: "a1-board".parse().expect("a name"),
            path: "/redfish/v1/Systems/{host}".to_owned(),
            pointer: "/PowerState".to_owned(),
            off: "Off".to_owned(),
            on: "On".to_owned(),
        }
    }

    #[test]
    fn one_thing_talks_to_it_and_an_extension_is_not_believed_alone() {
        assert_eq!(device(&[]).fault(), None);
        let mut extension = device(&[]);
        extension.agent = None;
        let says = |device: &FenceDevice, part: &str| {
            let fault = device.fault().unwrap_or_default();
            assert!(fault.contains(part), "{part}: {fault}");
        };
        says(&extension, "neither `agent` nor `extension`");
        extension.extension = Some("redfish".parse().expect("a name"));
        says(&extension, "not believed alone");
        extension.read_back = Some(read_back());
        assert_eq!(extension.fault(), None);
        type Change = (fn(&mut FenceDevice), &'static str);
        let changes: [Change; 7] = [
            (|d| d.agent = "fence_x".parse().ok(), "both `agent`"),
            (
                |d| d.read_back_program = "fence_x".parse().ok(),
                "both `read_back`",
            ),
            (|d| d.read_back().path = "Systems".to_owned(), "`path`"),
            (|d| d.read_back().path = "/a b".to_owned(), "`path`"),
            (
                |d| d.read_back().pointer = "PowerState".to_owned(),
                "`pointer`",
            ),
            (|d| d.read_back().off = "On".to_owned(), "different words"),
            (|d| d.read_back().on = String::new(), "different words"),
        ];
        for (change, part) in changes {
            let mut odd = extension.clone();
            change(&mut odd);
            says(&odd, part);
        }
        let mut agent = device(&[]);
        agent.read_back_program = "fence_y".parse().ok();
        says(&agent, "is for an extension");
        let mut agent = device(&[]);
        let name: TargetName = "x".parse().expect("a name");
        agent.bind = [(name.clone(), name)].into();
        says(&agent, "no names to bind");
    }

    impl FenceDevice {
        fn read_back(&mut self) -> &mut ReadBack {
            self.read_back.as_mut().expect("it has one")
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
    fn its_place_among_others_is_a_small_number_and_a_host_stands_once() {
        let mut pdu = device(&[]);
        for (order, good) in [(0, false), (1, true), (9, true), (10, false)] {
            pdu.order = order;
            assert_eq!(pdu.fault().is_none(), good, "{order}");
        }
        assert!(
            pdu.fault()
                .is_some_and(|fault| fault.starts_with("`order` is 10; use 1 to 9"))
        );
        pdu.order = 2;
        pdu.hosts = ["a1", "a2", "a1"]
            .map(|host| host.parse().expect("a name"))
            .into();
        assert!(
            pdu.fault()
                .is_some_and(|fault| fault.contains("names a1 twice"))
        );
    }

    #[test]
    fn what_is_new_is_not_written_where_it_is_not_used() {
        let text = serde_json::to_string(&device(&[])).expect("JSON");
        for new in ["order", "all_of", "askers"] {
            assert!(!text.contains(new), "an earlier version reads it: {text}");
        }
    }

    #[test]
    fn managers_ask_it_unless_others_are_named() {
        use AskerKind::{Agents, Managers};
        let mut board = device(&[]);
        let lets = |board: &FenceDevice| [Managers, Agents].map(|kind| board.lets(kind));
        assert_eq!(lets(&board), [true, false]);
        board.askers = vec![Agents];
        assert_eq!(lets(&board), [false, true]);
        board.askers.push(Managers);
        assert_eq!((lets(&board), board.fault()), ([true, true], None));
        board.askers.push(Agents);
        assert!(
            board
                .fault()
                .is_some_and(|fault| fault.contains("names agents twice"))
        );
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
