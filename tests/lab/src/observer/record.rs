//! What the observer writes down, and how bytes of a serial line become it. No I/O.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::guest::boot_sector::BOOT_BYTE;

/// A run of equal signs of life from one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The VM.
    pub vm: String,
    /// Address and port the datagrams came from: one QEMU process.
    pub source: String,
    /// What was seen.
    pub kind: Kind,
    /// Which boot of the guest: boot id (Linux) or mark (boot sector); empty where not told yet.
    pub life: String,
    /// Time of the first (CLOCK_BOOTTIME), exact.
    pub first_ms: u64,
    /// Time of the last, exact.
    pub last_ms: u64,
    /// Wall-clock time of the first.
    pub first_unix_ms: u64,
    /// How many.
    pub count: u64,
    /// Journal counters of the first and the last.
    pub counters: Option<(u64, u64)>,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The guest has just booted.
    Boot,
    /// A boot-sector guest ran at that moment.
    Beat,
    /// A Linux guest had just made a journal record durable.
    Journal,
}

/// One sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sign {
    pub(crate) kind: Kind,
    pub(crate) life: String,
    pub(crate) counter: Option<u64>,
}

/// Longest line that is kept: a guest that babbles must not fill the observer's memory.
const LINE_LIMIT: usize = 200;

/// Turns the bytes of one source into signs.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    line: Vec<u8>,
    speaks_lines: bool,
}

impl Decoder {
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<Sign> {
        bytes.iter().filter_map(|byte| self.byte(*byte)).collect()
    }

    fn byte(&mut self, byte: u8) -> Option<Sign> {
        match byte {
            0x80.. if self.line.is_empty() => {
                let life = format!("{byte:02x}");
                Some(Sign {
                    kind: Kind::Beat,
                    life,
                    counter: None,
                })
            }
            BOOT_BYTE if self.line.is_empty() && !self.speaks_lines => Some(Sign {
                kind: Kind::Boot,
                life: String::new(),
                counter: None,
            }),
            b'\n' => {
                self.speaks_lines = true;
                let line = std::mem::take(&mut self.line);
                parse_line(String::from_utf8_lossy(&line).trim())
            }
            _ => {
                if self.line.len() < LINE_LIMIT {
                    self.line.push(byte);
                }
                None
            }
        }
    }
}

fn parse_line(line: &str) -> Option<Sign> {
    let mut words = line.split(' ');
    let kind = match words.next()? {
        "J" => Kind::Journal,
        "B" => Kind::Boot,
        _ => return None,
    };
    let life = words.next().filter(|life| !life.is_empty())?.to_owned();
    let counter = words.next()?.parse().ok()?;
    Some(Sign {
        kind,
        life,
        counter: Some(counter),
    })
}

/// How long signs are gathered before they are written down.
const WINDOW_MS: u64 = 250;
/// After so long a silence the next sign is written at once, so that waiters see it.
const SILENCE_MS: u64 = 500;
/// After so long a source is forgotten.
const FORGET_MS: u64 = 60_000;

type Key = (String, String, Kind, String);

/// Gathers signs into records with exact first and last times.
#[derive(Debug, Default)]
pub(crate) struct Gatherer {
    open: BTreeMap<Key, (u64, Option<Record>)>,
}

impl Gatherer {
    /// Takes one sign; gives a record that is to be written at once.
    pub(crate) fn take(
        &mut self,
        vm: &str,
        source: &str,
        sign: Sign,
        now_ms: u64,
        unix_ms: u64,
    ) -> Option<Record> {
        let key = (
            vm.to_owned(),
            source.to_owned(),
            sign.kind,
            sign.life.clone(),
        );
        let counters = sign.counter.map(|counter| (counter, counter));
        let new = Record {
            vm: key.0.clone(),
            source: key.1.clone(),
            kind: sign.kind,
            life: sign.life,
            first_ms: now_ms,
            last_ms: now_ms,
            first_unix_ms: unix_ms,
            count: 1,
            counters,
        };
        let Some((seen_ms, window)) = self.open.get_mut(&key) else {
            self.open.insert(key, (now_ms, None));
            return Some(new);
        };
        let silent = now_ms.saturating_sub(*seen_ms) >= SILENCE_MS;
        *seen_ms = now_ms;
        match window {
            Some(record) => {
                record.last_ms = now_ms;
                record.count += 1;
                record.counters = match (record.counters, counters) {
                    (Some((first, _)), Some((_, last))) => Some((first, last)),
                    _ => None,
                };
                None
            }
            None if silent || sign.kind == Kind::Boot => Some(new),
            None => {
                *window = Some(new);
                None
            }
        }
    }

    /// Records whose window is over (all of them at the end).
    pub(crate) fn due(&mut self, now_ms: u64, all: bool) -> Vec<Record> {
        let mut due = Vec::new();
        for (_, window) in self.open.values_mut() {
            if window
                .as_ref()
                .is_some_and(|record| all || now_ms >= record.first_ms + WINDOW_MS)
            {
                due.extend(window.take());
            }
        }
        self.open.retain(|_, (seen_ms, window)| {
            window.is_some() || now_ms.saturating_sub(*seen_ms) < FORGET_MS
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_sector_bytes() {
        let mut decoder = Decoder::default();
        let signs = decoder.take(&[b'H', 0xb6, 0xb6]);
        let kinds: Vec<Kind> = signs.iter().map(|sign| sign.kind).collect();
        assert_eq!(kinds, [Kind::Boot, Kind::Beat, Kind::Beat]);
        assert_eq!(signs[1].life, "b6");
    }

    #[test]
    fn lines_come_in_pieces() {
        let mut decoder = Decoder::default();
        assert!(decoder.take(b"I x\r\nB abc 0").is_empty());
        let signs = decoder.take(b"\r\nJ abc 1\nH nonsense\nJ abc\nE abc 2\n");
        assert_eq!(signs.len(), 2);
        assert_eq!(signs[0].kind, Kind::Boot);
        assert_eq!(
            signs[1],
            Sign {
                kind: Kind::Journal,
                life: "abc".into(),
                counter: Some(1)
            }
        );
    }

    #[test]
    fn first_and_last_stay_exact() {
        let beat = || Sign {
            kind: Kind::Beat,
            life: "b6".into(),
            counter: None,
        };
        let mut gatherer = Gatherer::default();
        assert_eq!(
            gatherer.take("v", "s", beat(), 1000, 0).unwrap().first_ms,
            1000
        );
        assert!(gatherer.take("v", "s", beat(), 1050, 0).is_none());
        assert!(gatherer.take("v", "s", beat(), 1101, 0).is_none());
        assert!(gatherer.due(1150, false).is_empty());
        let record = &gatherer.due(1300, false)[0];
        assert_eq!(
            (record.first_ms, record.last_ms, record.count),
            (1050, 1101, 2)
        );
        // A silence, then the next one at once.
        assert!(gatherer.take("v", "s", beat(), 9000, 0).is_some());
        // Another source at once, too.
        assert!(gatherer.take("v", "t", beat(), 9001, 0).is_some());
    }
}
