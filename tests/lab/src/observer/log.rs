//! Reading the observer's log, also while it grows.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::record::{Kind, Record};
use crate::error::{LabError, Result};
use crate::run::wait_until;

/// A sign of life at a known time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Beat {
    /// When (CLOCK_BOOTTIME).
    pub at_ms: u64,
    /// The machine it came from.
    pub host: String,
    /// The QEMU process it came from, as address and port.
    pub source: String,
    /// Which boot of the guest; empty where not told yet.
    pub life: String,
}

/// The log as read so far.
#[derive(Debug)]
pub struct ObserverLog {
    path: PathBuf,
    offset: u64,
    hosts: BTreeMap<String, String>,
    records: Vec<Record>,
}

impl ObserverLog {
    /// A log that is read with [`ObserverLog::refresh`]; `hosts` maps addresses to names.
    pub(crate) fn new(path: PathBuf, hosts: BTreeMap<String, String>) -> ObserverLog {
        ObserverLog {
            path,
            offset: 0,
            hosts,
            records: Vec::new(),
        }
    }

    /// Reads what was written since the last time.
    pub fn refresh(&mut self) -> Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(LabError::io("open", &self.path)(error)),
        };
        let mut text = String::new();
        file.seek(SeekFrom::Start(self.offset))
            .and_then(|_| file.read_to_string(&mut text))
            .map_err(LabError::io("read", &self.path))?;
        // A line still being written is left for the next time.
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        self.offset += complete as u64;
        for line in text[..complete].lines() {
            let record = serde_json::from_str(line).map_err(|source| LabError::Parse {
                path: self.path.clone(),
                source,
            })?;
            self.records.push(record);
        }
        Ok(())
    }

    /// Everything read so far, in order of writing.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The machine that sends from an address and port.
    pub fn host_of(&self, source: &str) -> String {
        let address = source
            .rsplit_once(':')
            .map_or(source, |(address, _)| address);
        self.hosts
            .get(address)
            .cloned()
            .unwrap_or_else(|| address.to_owned())
    }

    fn beat(&self, record: &Record, at_ms: u64) -> Beat {
        Beat {
            at_ms,
            host: self.host_of(&record.source),
            source: record.source.clone(),
            life: record.life.clone(),
        }
    }

    /// The first sign that the guest itself worked after `t_ms`: a beat, the `H` of a boot
    /// sector, a journal record of a Linux guest (not the mere boot of one). Exact where the
    /// guest was silent before; within a run of beats it may be up to 250 ms late.
    pub fn first_beat_after(&self, vm: &str, t_ms: u64) -> Option<Beat> {
        self.records
            .iter()
            .filter(|record| record.vm == vm && record.last_ms > t_ms)
            .filter(|record| record.kind != Kind::Boot || record.life.is_empty())
            .map(|record| {
                let at = if record.first_ms > t_ms {
                    record.first_ms
                } else {
                    record.last_ms
                };
                (at, record)
            })
            .min_by_key(|(at, _)| *at)
            .map(|(at, record)| self.beat(record, at))
    }

    /// The last sign of life so far.
    pub fn last_beat(&self, vm: &str) -> Option<Beat> {
        self.records
            .iter()
            .filter(|record| record.vm == vm)
            .max_by_key(|record| record.last_ms)
            .map(|record| self.beat(record, record.last_ms))
    }

    /// The last sign of life at or before `t_ms` (within a run of beats up to 250 ms early).
    pub fn last_beat_before(&self, vm: &str, t_ms: u64) -> Option<Beat> {
        self.records
            .iter()
            .filter(|record| record.vm == vm && record.first_ms <= t_ms)
            .map(|r| {
                (
                    if r.last_ms <= t_ms {
                        r.last_ms
                    } else {
                        r.first_ms
                    },
                    r,
                )
            })
            .max_by_key(|(at, _)| *at)
            .map(|(at, record)| self.beat(record, at))
    }

    /// Waits for [`ObserverLog::first_beat_after`].
    pub fn wait_for_beat(&mut self, vm: &str, after_ms: u64, limit: Duration) -> Result<Beat> {
        let hint = format!("log: {}", self.path.display());
        wait_until(&format!("a beat of {vm}"), limit, &hint, || {
            self.refresh().map_err(|error| error.chain())?;
            self.first_beat_after(vm, after_ms)
                .ok_or_else(|| match self.last_beat(vm) {
                    Some(beat) => format!("the last was on {} at {} ms", beat.host, beat.at_ms),
                    None => "never seen".into(),
                })
        })
    }

    /// Waits until a VM beats on a certain host.
    pub fn wait_for_beat_on(
        &mut self,
        vm: &str,
        host: &str,
        after_ms: u64,
        limit: Duration,
    ) -> Result<Beat> {
        let hint = format!("log: {}", self.path.display());
        wait_until(&format!("a beat of {vm} on {host}"), limit, &hint, || {
            self.refresh().map_err(|error| error.chain())?;
            let mut there: Vec<&Record> = self
                .records
                .iter()
                .filter(|r| r.vm == vm && r.first_ms > after_ms)
                .collect();
            there.retain(|record| self.host_of(&record.source) == host);
            let first = there.into_iter().min_by_key(|record| record.first_ms);
            first
                .map(|record| self.beat(record, record.first_ms))
                .ok_or("not seen there".into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(kind: &str, life: &str, first: u64, last: u64) -> String {
        format!(
            "{{\"vm\":\"v\",\"source\":\"10.77.1.11:5\",\"kind\":\"{kind}\",\"life\":\"{life}\",\
             \"first_ms\":{first},\"last_ms\":{last},\"first_unix_ms\":0,\"count\":1,\
             \"counters\":null}}\n"
        )
    }

    #[test]
    fn queries_on_a_growing_log() {
        let dir = std::env::temp_dir().join(format!("holdfast-log-{}", std::process::id()));
        let mut file = File::create(&dir).unwrap();
        let hosts = BTreeMap::from([("10.77.1.11".to_owned(), "a1".to_owned())]);
        let mut log = ObserverLog::new(dir.clone(), hosts);
        file.write_all(line("boot", "", 100, 100).as_bytes())
            .unwrap();
        file.write_all(line("beat", "b6", 150, 400).as_bytes())
            .unwrap();
        let half = line("beat", "b6", 450, 700);
        file.write_all(&half.as_bytes()[..20]).unwrap();
        log.refresh().unwrap();
        assert_eq!(log.last_beat("v").unwrap().at_ms, 400);
        file.write_all(&half.as_bytes()[20..]).unwrap();
        log.refresh().unwrap();
        assert_eq!(log.last_beat("v").unwrap().at_ms, 700);
        assert_eq!(log.first_beat_after("v", 0).unwrap().at_ms, 100);
        assert_eq!(log.first_beat_after("v", 401).unwrap().at_ms, 450);
        assert_eq!(log.last_beat_before("v", 420).unwrap().at_ms, 400);
        assert_eq!(log.last_beat("v").unwrap().host, "a1");
        assert!(log.first_beat_after("v", 700).is_none() && log.last_beat("w").is_none());
        std::fs::remove_file(dir).unwrap();
    }
}
