//! What a Linux guest's own disk says about who wrote to it. No I/O.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::guest::linux::RECORD_BYTES;

/// The records of one boot, as the disk has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalLife {
    /// Boot id of the guest.
    pub life: String,
    /// Its first record that is still on the disk.
    pub first_counter: u64,
    /// Its last.
    pub last_counter: u64,
    /// How many there are.
    pub records: u64,
}

/// A disk's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Journal {
    /// Runs of records of one boot, in the order of their counters. A boot that appears twice has
    /// written while another did.
    pub lives: Vec<JournalLife>,
    /// Counters that should be there and are not: writes acknowledged to the guest and lost.
    pub missing: u64,
}

impl Journal {
    /// Reads a disk image; none if there is no record on it.
    pub fn parse(image: &[u8]) -> Option<Journal> {
        let mut records: Vec<(u64, String)> = image
            .chunks(RECORD_BYTES)
            .filter_map(parse_record)
            .collect();
        records.sort();
        let first = records.first()?.0;
        let last = records.last()?.0;
        let distinct = records
            .iter()
            .map(|record| record.0)
            .collect::<BTreeSet<u64>>()
            .len();
        let mut lives: Vec<JournalLife> = Vec::new();
        for (counter, life) in records {
            match lives.last_mut() {
                Some(current) if current.life == life => {
                    current.last_counter = counter;
                    current.records += 1;
                }
                _ => lives.push(JournalLife {
                    life,
                    first_counter: counter,
                    last_counter: counter,
                    records: 1,
                }),
            }
        }
        Some(Journal {
            lives,
            missing: last - first + 1 - distinct as u64,
        })
    }

    /// Boots whose records lie between those of another.
    pub fn interleaved(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let again = self
            .lives
            .iter()
            .filter(|life| !seen.insert(life.life.clone()));
        again
            .map(|life| life.life.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// The highest counter on the disk.
    pub fn last_counter(&self) -> u64 {
        self.lives
            .iter()
            .map(|life| life.last_counter)
            .max()
            .unwrap_or(0)
    }
}

fn parse_record(block: &[u8]) -> Option<(u64, String)> {
    let text = block.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    if words.next()? != "J" {
        return None;
    }
    let life = words.next()?.to_owned();
    Some((words.next()?.parse().ok()?, life))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A disk with these records, each where the guest would put it.
    pub(crate) fn disk(records: &[(&str, u64)], slots: usize) -> Vec<u8> {
        let mut image = vec![0; slots * RECORD_BYTES];
        for (life, counter) in records {
            let text = format!("J {life} {counter} 1.00\n");
            let at = (*counter as usize % slots) * RECORD_BYTES;
            image[at..at + RECORD_BYTES].fill(0);
            image[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        image
    }

    #[test]
    fn lives_follow_each_other() {
        let journal = Journal::parse(&disk(&[("x", 1), ("x", 2), ("y", 3), ("y", 4)], 16)).unwrap();
        assert_eq!(journal.lives.len(), 2);
        assert_eq!((journal.missing, journal.last_counter()), (0, 4));
        assert!(journal.interleaved().is_empty());
        assert!(Journal::parse(&[0; 4096]).is_none());
    }

    #[test]
    fn the_journal_starts_over() {
        let records: Vec<(&str, u64)> = (1..=21).map(|counter| ("x", counter)).collect();
        let journal = Journal::parse(&disk(&records, 8)).unwrap();
        assert_eq!(journal.lives[0].first_counter, 14);
        assert_eq!(journal.missing, 0);
    }

    #[test]
    fn two_writers_show() {
        let journal = Journal::parse(&disk(&[("x", 1), ("y", 2), ("x", 3)], 16)).unwrap();
        assert_eq!(journal.interleaved(), ["x"]);
    }

    #[test]
    fn a_lost_write_shows() {
        assert_eq!(
            Journal::parse(&disk(&[("x", 1), ("x", 4)], 16))
                .unwrap()
                .missing,
            2
        );
    }
}
