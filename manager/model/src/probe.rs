//! Probes: managers ask hosts directly, several times a second, whether they are there, and tell each
//! other of those that have fallen silent.
//!
//! What comes of it is suspicion, and never evidence: it lets the ladder begin sooner, and shortens none of
//! its waits.

use crate::id::{HostName, Incarnation, SiteName};
use crate::time::Instant;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// `managers/M/probes`: which hosts a manager finds silent. Written when that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    /// Where that manager stands.
    pub site: SiteName,
    /// Hosts that answered it before, in the same life, and have not for the time at which that counts.
    #[serde(default)]
    pub silent: BTreeMap<HostName, SilentFor>,
}

/// A host that has fallen silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilentFor {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// For how long it had been silent when this was written, by the manager's own clock and without the
    /// time in which that manager itself was not awake, in milliseconds.
    pub silent_ms: u64,
}

/// What one manager finds, by the clock of the manager that reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vantage {
    /// Where it stands.
    pub site: SiteName,
    /// Hosts that answered it before, in the same life, and do not now.
    #[serde(default)]
    pub silent: BTreeMap<HostName, Silence>,
    /// Hosts that answered, and when. Known of the reader's own probes only: the others tell of silences.
    #[serde(default)]
    pub heard: BTreeMap<HostName, Heard>,
}

/// A host that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Since when; where another manager says so, at the latest.
    pub since: Instant,
    /// For how long that is known, in milliseconds: up to the last time at which the manager looked.
    pub for_ms: u64,
}

/// A host that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Which life of it.
    pub incarnation: Incarnation,
    /// When the probe was sent that was answered last: the host was there at some time after it.
    pub asked_at: Instant,
    /// When the answer came.
    pub at: Instant,
}

/// `probe-key`: what probes and their answers are signed with. Made once by a leader, of random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct ProbeKey([u8; ProbeKey::BYTES]);

impl ProbeKey {
    /// Its length.
    pub const BYTES: usize = 32;

    /// Of random bytes.
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// Without the key: debug output goes into logs.
impl fmt::Debug for ProbeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeKey(…)")
    }
}

/// Text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a probe key: it has to be {} hexadecimal digits", 2 * ProbeKey::BYTES)]
pub struct ProbeKeyError;

impl FromStr for ProbeKey {
    type Err = ProbeKeyError;

    fn from_str(text: &str) -> Result<Self, ProbeKeyError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::BYTES {
            return Err(ProbeKeyError);
        }
        let mut bytes = [0; Self::BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16).ok_or(ProbeKeyError)?;
                // A digit is less than 16.
                *byte = (*byte << 4) | value as u8;
            }
        }
        Ok(Self(bytes))
    }
}

impl Serialize for ProbeKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        to.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for ProbeKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_text_in_the_store_and_nothing_in_a_log() {
        let key = ProbeKey::new(std::array::from_fn(|n| n as u8 * 8));
        let text = serde_json::to_string(&key).expect("text");
        assert!(text.starts_with("\"000810"), "{text}");
        assert_eq!(serde_json::from_str::<ProbeKey>(&text).expect("a key"), key);
        assert_eq!(format!("{key:?}"), "ProbeKey(…)");
        for wrong in ["", "00", &"x".repeat(64), &"0".repeat(65)] {
            assert_eq!(wrong.parse::<ProbeKey>(), Err(ProbeKeyError), "{wrong}");
        }
    }
}
