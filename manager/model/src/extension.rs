//! Extensions: what one says of itself (its manifest), what it may, and what it may cost.
//!
//! Effective rights are three sets cut with each other: what the manifest asks for, what the operator
//! granted when it was installed, and what the component really imports. What is in only two of them is not
//! there.

mod rights;
mod stored;

pub use rights::{RECORD_BYTES_MAX, RECORDS, RECORDS_MAX, Rights, is_request};
pub use stored::Known;

use crate::advice::Fallback;
use crate::id::ExtensionName;
use crate::rollout::Rollout;
use crate::signature::Signed;
use crate::time::UnixMs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The file in an extension's folder that says what it is: [`Manifest`].
pub const MANIFEST: &str = "extension.toml";

/// What an extension is for. Each kind has a WIT package of its own.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ExtensionKind {
    /// Rules hosts out for a VM, or ranks them; in the managers.
    Placement,
    /// Switches hosts off and says how their power stands; in the leader.
    Fencing,
    /// Says how a host's storage stands; in the agents.
    StorageCheck,
    /// Hears of what happens; in the leader.
    Events,
}

impl ExtensionKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Placement,
        Self::Fencing,
        Self::StorageCheck,
        Self::Events,
    ];

    /// As manifests and commands spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Placement => "placement",
            Self::Fencing => "fencing",
            Self::StorageCheck => "storage-check",
            Self::Events => "events",
        }
    }

    /// The interfaces of the host that there are for it, by their names in the WIT.
    pub fn offered(self) -> &'static [&'static str] {
        match self {
            Self::Placement => &["log"],
            Self::Fencing => &["log", "http", "agent"],
            Self::StorageCheck => &["log", "probe"],
            Self::Events => &["log", "http", "state"],
        }
    }

    /// What one call may cost unless the manifest or the operator says otherwise.
    pub fn default_limits(self) -> Limits {
        let (cpu_ms, wall_ms) = match self {
            // It computes and waits for nothing, so CPU time is what it costs. The clock is for a machine that
            // gives it none: no fault of its own, and not to be taken for one too soon.
            Self::Placement => (20, 200),
            Self::Fencing => (200, 30_000),
            Self::StorageCheck => (200, 5_000),
            Self::Events => (200, 1_000),
        };
        Limits {
            cpu_ms,
            wall_ms,
            memory_mib: 32,
            answer_kib: 256,
            requests: 16,
        }
    }
}

impl fmt::Display for ExtensionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// `extension.toml`: what an extension says of itself. Unknown keys are refused; [`Known`] passes them over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Its name, unique in a cluster.
    pub name: ExtensionName,
    /// Its own version: three numbers with dots.
    pub version: String,
    /// What it is for.
    pub kind: ExtensionKind,
    /// What it does, in one sentence, for who decides whether to install it.
    pub summary: String,
    /// What a call may cost at the most.
    #[serde(default)]
    pub limits: LimitsAsked,
    /// What it needs.
    #[serde(default)]
    pub rights: Rights,
}

/// Longest summary, in characters: one line of a table.
const SUMMARY_MAX: usize = 200;

impl Manifest {
    /// The first thing in it that cannot work: the key, what is wrong, what to do.
    pub fn fault(&self) -> Option<(&'static str, String, String)> {
        let numbers: Vec<&str> = self.version.split('.').collect();
        let number = |text: &&str| text.parse::<u32>().is_ok_and(|n| n.to_string() == **text);
        if numbers.len() != 3 || !numbers.iter().all(number) {
            return Some((
                "version",
                format!("`{}` is not a version", self.version),
                "use three numbers, such as \"1.0.0\"".to_owned(),
            ));
        }
        let summary = self.summary.trim();
        if summary.is_empty()
            || summary.chars().count() > SUMMARY_MAX
            || summary.contains(char::is_control)
        {
            return Some((
                "summary",
                "it is empty, has several lines or is too long".to_owned(),
                format!("say in one sentence of at most {SUMMARY_MAX} characters what it does"),
            ));
        }
        if let Some((key, text)) = self.limits().fault() {
            return Some((
                key,
                text,
                "see `holdfast config schema extension`".to_owned(),
            ));
        }
        let (right, advice) = self.rights.fault(self.kind)?;
        Some(("rights", right, advice))
    }

    /// What a call may cost: the kind's limits, and what the manifest says instead.
    pub fn limits(&self) -> Limits {
        self.limits.over(self.kind.default_limits())
    }
}

/// What one call may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// CPU time, in milliseconds.
    pub cpu_ms: u64,
    /// Time by the clock, waiting included, in milliseconds.
    pub wall_ms: u64,
    /// Its memory, in MiB, tables included.
    pub memory_mib: u64,
    /// What it may hand over in one call, answer and words together, in KiB.
    pub answer_kib: u64,
    /// HTTP requests, programs and probes.
    pub requests: u64,
}

/// Largest accepted limits: an extension that needs more does not belong into a failover.
pub const LIMITS_MAX: Limits = Limits {
    cpu_ms: 5_000,
    wall_ms: 120_000,
    memory_mib: 512,
    answer_kib: 4_096,
    requests: 64,
};

/// Largest component that is taken without being asked, in bytes: compiling larger ones takes long and much.
pub const COMPONENT_BYTES_MAX: u64 = 8 << 20;
/// Largest one that is taken at all, in bytes.
pub const COMPONENT_BYTES_LARGE_MAX: u64 = 32 << 20;

/// That a component of so many bytes is too large, in words; none if it is not. `large`: large ones were allowed.
pub fn component_fault(bytes: u64, large: bool) -> Option<String> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (usual, most) = (mib(COMPONENT_BYTES_MAX), mib(COMPONENT_BYTES_LARGE_MAX));
    let size = mib(bytes);
    match (
        bytes > COMPONENT_BYTES_MAX,
        bytes > COMPONENT_BYTES_LARGE_MAX,
    ) {
        (_, true) => Some(format!(
            "the component has {size:.1} MiB, and no cluster takes more than {most} MiB; leave out what it does not use"
        )),
        (true, _) if !large => Some(format!(
            "the component has {size:.1} MiB, and more than {usual} MiB are not taken unasked; make it smaller, or allow \
             up to {most} MiB with --allow-large (?large=true)"
        )),
        _ => None,
    }
}

impl Limits {
    /// Each limit by its key.
    pub fn all(&self) -> [(&'static str, u64); 5] {
        [
            ("cpu_ms", self.cpu_ms),
            ("wall_ms", self.wall_ms),
            ("memory_mib", self.memory_mib),
            ("answer_kib", self.answer_kib),
            ("requests", self.requests),
        ]
    }

    /// The first that is out of range, in words.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let mut pairs = self.all().into_iter().zip(LIMITS_MAX.all());
        pairs.find_map(|((key, value), (_, most))| {
            let good = (1..=most).contains(&value);
            (!good).then(|| (key, format!("`{key}` is {value}; it can be 1 to {most}")))
        })
    }
}

/// What a manifest, or an operator, sets instead of the kind's limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsAsked {
    /// CPU time of one call, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMITS_MAX.cpu_ms))]
    pub cpu_ms: Option<u64>,
    /// Time of one call by the clock, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMITS_MAX.wall_ms))]
    pub wall_ms: Option<u64>,
    /// Memory, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMITS_MAX.memory_mib))]
    pub memory_mib: Option<u64>,
    /// What one call may hand over, in KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMITS_MAX.answer_kib))]
    pub answer_kib: Option<u64>,
    /// HTTP requests, programs and probes of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LIMITS_MAX.requests))]
    pub requests: Option<u64>,
}

impl LimitsAsked {
    /// These, and the base's where nothing is said.
    pub fn over(&self, base: Limits) -> Limits {
        Limits {
            cpu_ms: self.cpu_ms.unwrap_or(base.cpu_ms),
            wall_ms: self.wall_ms.unwrap_or(base.wall_ms),
            memory_mib: self.memory_mib.unwrap_or(base.memory_mib),
            answer_kib: self.answer_kib.unwrap_or(base.answer_kib),
            requests: self.requests.unwrap_or(base.requests),
        }
    }
}

/// `extensions/NAME`: an extension that operators have installed. Its component stands elsewhere, under the
/// digest. Keys of a newer version are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// What it says of itself.
    #[serde(deserialize_with = "stored::StoredManifest::deserialize")]
    pub manifest: Manifest,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The component's size.
    pub bytes: u64,
    /// What the operator granted of what it asked for.
    #[serde(deserialize_with = "stored::StoredRights::deserialize")]
    pub granted: Rights,
    /// What the operator set instead of the manifest's limits.
    #[serde(default, deserialize_with = "stored::StoredLimits::deserialize")]
    pub limits: LimitsAsked,
    /// What happens when it gives no answer.
    pub then: Fallback,
    /// Who vouches for it, if anybody does.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "stored::signed"
    )]
    pub signed: Option<Signed>,
    /// Who installed it.
    pub by: String,
    /// When, for people.
    pub at: UnixMs,
    /// The version before, to go back to ([`crate::versions`]); itself without one before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<Installed>>,
    /// One site has it first; the others keep the version before meanwhile ([`crate::rollout`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

impl Installed {
    /// What one call may cost here.
    pub fn limits(&self) -> Limits {
        self.limits.over(self.manifest.limits())
    }

    /// What it may do here.
    pub fn rights(&self) -> Rights {
        self.manifest.rights.and(&self.granted)
    }

    /// What it asks for and was not granted, each right in one line of words.
    pub fn refused(&self) -> Vec<String> {
        self.manifest.rights.beyond(&self.granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(rights: Rights) -> Manifest {
        Manifest {
            name: "rack-spread".parse().expect("a name"),
            version: "1.2.0".to_owned(),
            kind: ExtensionKind::Fencing,
            summary: "Keeps groups apart.".to_owned(),
            limits: LimitsAsked::default(),
            rights,
        }
    }

    fn http(requests: &[&str]) -> Rights {
        let requests = requests.iter().map(|each| (*each).to_owned()).collect();
        Rights {
            log: true,
            http: [("bmc".parse().expect("a name"), requests)].into(),
            ..Rights::default()
        }
    }

    #[test]
    fn faults_say_the_key_and_what_to_do() {
        assert_eq!(manifest(http(&["GET /redfish/v1/*"])).fault(), None);
        let mut cases = Vec::new();
        for version in ["1.0", "1.0.0-beta", "01.0.0", "", "1.0.0.0"] {
            let mut bad = manifest(Rights::default());
            bad.version = version.to_owned();
            cases.push((bad, "version"));
        }
        for summary in ["", "  ", "two\nlines", &"x".repeat(201)] {
            let mut bad = manifest(Rights::default());
            bad.summary = summary.to_owned();
            cases.push((bad, "summary"));
        }
        for requests in ["/redfish", "GET redfish", "get /x", "GET /a b", "TRACE /"] {
            cases.push((manifest(http(&[requests])), "rights"));
        }
        let mut bad = manifest(Rights::default());
        bad.limits.cpu_ms = Some(0);
        cases.push((bad.clone(), "cpu_ms"));
        bad.limits = LimitsAsked {
            memory_mib: Some(100_000),
            ..LimitsAsked::default()
        };
        cases.push((bad, "memory_mib"));
        let mut bad = manifest(http(&["GET /"]));
        bad.kind = ExtensionKind::Placement;
        cases.push((bad, "rights"));
        let reads = |key: &str, kind| Manifest {
            kind,
            ..manifest(Rights {
                state: [key.to_owned()].into(),
                ..Rights::default()
            })
        };
        assert_eq!(reads("vms/web", ExtensionKind::Events).fault(), None);
        cases.push((reads("vms/", ExtensionKind::Placement), "rights"));
        for none in ["", "probe-key", "policy", "vms", "/vms/"] {
            cases.push((reads(none, ExtensionKind::Events), "rights"));
        }
        for (bad, key) in cases {
            assert_eq!(bad.fault().map(|fault| fault.0), Some(key), "{bad:?}");
        }
    }
}
