//! Did any VM run twice? Answered from what the guests themselves sent and wrote. No I/O.
//!
//! A *life* is one boot of a guest. A *stay* is a life in one QEMU process: a live migration makes
//! a second stay of the same life, a restart a new life. Two stays of one VM overlap if the earlier
//! one is heard again more than [`TOLERANCE_MS`] after the later one began, whether both beat in
//! turn or a frozen copy woke up after the other had gone.
//!
//! The tolerance is for datagrams overtaking each other: they pass a queue per processor, and one
//! of the old place may be handled after the first of the new one. Two beat periods (100 ms) are
//! much longer than that takes, and a real second copy beats in them at least once. It does not
//! hide a short overlap at a restart either: a guest needs longer than that from power-on to `H`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::journal::Journal;
use crate::observer::record::{Kind, Record};

/// See the module's introduction.
pub const TOLERANCE_MS: u64 = 100;
/// Silences from this length on are listed.
pub const GAP_MS: u64 = 1000;

/// How a stay began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Began {
    /// The first life that was heard of this VM.
    Started,
    /// A new boot.
    Restarted,
    /// The same boot in another QEMU: a live migration.
    Moved,
}

/// One life in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stay {
    /// The machine.
    pub host: String,
    /// Address and port of its QEMU.
    pub source: String,
    /// Which boot.
    pub life: String,
    /// How it began.
    pub began: Began,
    /// First and last sign (CLOCK_BOOTTIME).
    pub first_ms: u64,
    /// See `first_ms`.
    pub last_ms: u64,
    /// Wall-clock time of the first.
    pub first_unix_ms: u64,
    /// Signs heard.
    pub beats: u64,
}

/// Nothing was heard of a VM for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Last sign before.
    pub from_ms: u64,
    /// First sign after.
    pub to_ms: u64,
    /// Its length.
    pub length_ms: u64,
}

/// A VM ran twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// In words: where, how long.
    pub text: String,
    /// From when…
    pub from_ms: u64,
    /// …to when at least.
    pub to_ms: u64,
}

/// All that is known about one VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VmProof {
    /// The VM.
    pub vm: String,
    /// Its stays by time.
    pub stays: Vec<Stay>,
    /// Its silences.
    pub gaps: Vec<Gap>,
    /// Its overlaps.
    pub overlaps: Vec<Overlap>,
    /// Its disk, if it keeps a journal and the disk could be read.
    pub journal: Option<Journal>,
    /// Journal records that the guest said were durable and that are not on the disk.
    pub lost_writes: u64,
}

/// The answer for all VMs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// By name.
    pub vms: Vec<VmProof>,
    /// Overlaps of all of them.
    pub overlaps: usize,
    /// Lost writes of all of them.
    pub lost_writes: u64,
    /// [`TOLERANCE_MS`].
    pub tolerance_ms: u64,
}

impl Proof {
    /// Something was heard, nothing ran twice, nothing acknowledged was lost.
    pub fn holds(&self) -> bool {
        self.heard() && self.overlaps == 0 && self.lost_writes == 0
    }

    /// VMs that are known and of which no sign was ever heard.
    pub fn never_heard(&self) -> impl Iterator<Item = &str> {
        self.vms
            .iter()
            .filter(|vm| vm.stays.is_empty())
            .map(|vm| vm.vm.as_str())
    }

    /// Whether there is any data: silence proves nothing.
    pub fn heard(&self) -> bool {
        self.vms.iter().any(|vm| !vm.stays.is_empty())
    }
}

/// Builds the proof. `records` must have been read before the disks in `journals`; `guests` are the
/// VMs to be listed even if they were never heard.
pub fn build(
    records: &[Record],
    journals: BTreeMap<String, Journal>,
    guests: &[String],
    host_of: impl Fn(&str) -> String,
) -> Proof {
    let mut by_vm: BTreeMap<String, Vec<Record>> = guests
        .iter()
        .chain(journals.keys())
        .map(|vm| (vm.clone(), Vec::new()))
        .collect();
    for record in records {
        by_vm
            .entry(record.vm.clone())
            .or_default()
            .push(record.clone());
    }
    let mut journals = journals;
    let vms: Vec<VmProof> = by_vm
        .into_iter()
        .map(|(vm, mut records)| {
            records.sort_by_key(|record| (record.first_ms, record.last_ms));
            let stays = stays(&records, &host_of);
            let journal = journals.remove(&vm);
            let mut overlaps = overlaps(&stays);
            overlaps.extend(journal.iter().flat_map(journal_overlaps));
            let lost_writes = journal
                .as_ref()
                .map_or(0, |disk| lost_writes(&records, disk));
            VmProof {
                gaps: gaps(&records),
                vm,
                stays,
                overlaps,
                journal,
                lost_writes,
            }
        })
        .collect();
    Proof {
        overlaps: vms.iter().map(|vm| vm.overlaps.len()).sum(),
        lost_writes: vms.iter().map(|vm| vm.lost_writes).sum(),
        vms,
        tolerance_ms: TOLERANCE_MS,
    }
}

/// `records` are sorted by their first time.
fn stays(records: &[Record], host_of: &impl Fn(&str) -> String) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    for record in records {
        let current = stays
            .iter_mut()
            .rev()
            .find(|stay| stay.source == record.source);
        let boots_again = record.kind == Kind::Boot && record.life.is_empty();
        match current {
            Some(stay) if !boots_again && (stay.life == record.life || stay.life.is_empty()) => {
                stay.life = record.life.clone();
                stay.last_ms = stay.last_ms.max(record.last_ms);
                stay.beats += record.count;
            }
            _ => stays.push(Stay {
                host: host_of(&record.source),
                source: record.source.clone(),
                life: record.life.clone(),
                began: if boots_again {
                    Began::Restarted
                } else {
                    Began::Moved
                },
                first_ms: record.first_ms,
                last_ms: record.last_ms,
                first_unix_ms: record.first_unix_ms,
                beats: record.count,
            }),
        }
    }
    for index in 0..stays.len() {
        let (before, rest) = stays.split_at_mut(index);
        let known = before.iter().any(|stay| stay.life == rest[0].life);
        rest[0].began = match rest[0].began {
            _ if index == 0 => Began::Started,
            Began::Moved if known => Began::Moved,
            _ => Began::Restarted,
        };
    }
    stays
}

fn overlaps(stays: &[Stay]) -> Vec<Overlap> {
    let mut found = Vec::new();
    for (index, later) in stays.iter().enumerate() {
        for earlier in &stays[..index] {
            let same_process = earlier.source == later.source;
            if same_process || earlier.last_ms <= later.first_ms + TOLERANCE_MS {
                continue;
            }
            found.push(Overlap {
                text: format!(
                    "on {} (boot {}) still heard {} ms after it began on {} (boot {})",
                    earlier.host,
                    short(&earlier.life),
                    earlier.last_ms - later.first_ms,
                    later.host,
                    short(&later.life)
                ),
                from_ms: later.first_ms,
                to_ms: earlier.last_ms,
            });
        }
    }
    found
}

fn journal_overlaps(journal: &Journal) -> Vec<Overlap> {
    let text = |life: String| format!("boot {} wrote to the disk between others", short(&life));
    let lives = journal.interleaved().into_iter();
    lives
        .map(|life| Overlap {
            text: text(life),
            from_ms: 0,
            to_ms: 0,
        })
        .collect()
}

fn lost_writes(records: &[Record], disk: &Journal) -> u64 {
    let said = records
        .iter()
        .filter(|record| record.kind == Kind::Journal)
        .filter_map(|record| record.counters.map(|(_, last)| last))
        .max()
        .unwrap_or(0);
    said.saturating_sub(disk.last_counter()) + disk.missing
}

fn gaps(records: &[Record]) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut heard_ms = None;
    for record in records {
        if let Some(from_ms) = heard_ms
            && record.first_ms >= from_ms + GAP_MS
        {
            let (to_ms, length_ms) = (record.first_ms, record.first_ms - from_ms);
            gaps.push(Gap {
                from_ms,
                to_ms,
                length_ms,
            });
        }
        heard_ms = heard_ms.max(Some(record.last_ms));
    }
    gaps
}

/// Enough of a boot id to tell it from others.
pub(crate) fn short(life: &str) -> &str {
    life.get(..8).unwrap_or(life)
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
