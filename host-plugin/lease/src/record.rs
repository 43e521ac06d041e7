//! The bytes of the four kinds of records. Texts are one byte of length and 63 bytes; numbers are
//! little-endian. An empty record says that the slot is free.

use crate::error::SectorError;
use holdfast_model::id::Generation;
use holdfast_model::lease::{
    AgentState, Ask, Claim, Heartbeat, Holder, HostPhase, Kind, Layout, Mail, Record, StorageClass,
    Superblock,
};
use std::fmt;
use std::str::FromStr;

/// The bytes of a record.
pub fn encode(record: &Record) -> Vec<u8> {
    let mut out = Writer::default();
    match record {
        Record::Heartbeat(None) | Record::Mailbox(None) | Record::Claim(None) => {}
        Record::Superblock(superblock) => superblock.write(&mut out),
        Record::Heartbeat(Some(heartbeat)) => heartbeat.write(&mut out),
        Record::Mailbox(Some(mail)) => mail.write(&mut out),
        Record::Claim(Some(claim)) => claim.write(&mut out),
    }
    out.bytes
}

/// Reads the bytes of a record of that kind.
///
/// # Errors
/// The first field that is not possible.
pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Record, SectorError> {
    let mut from = Reader { bytes };
    let record = match (kind, bytes.is_empty()) {
        (Kind::Superblock, _) => Record::Superblock(Superblock::read(&mut from)?),
        (Kind::Heartbeat, true) => Record::Heartbeat(None),
        (Kind::Mailbox, true) => Record::Mailbox(None),
        (Kind::Claim, true) => Record::Claim(None),
        (Kind::Heartbeat, false) => Record::Heartbeat(Some(Heartbeat::read(&mut from)?)),
        (Kind::Mailbox, false) => Record::Mailbox(Some(Mail::read(&mut from)?)),
        (Kind::Claim, false) => Record::Claim(Some(Claim::read(&mut from)?)),
    };
    match from.bytes.len() {
        0 => Ok(record),
        more => Err(wrong("record", format!("{more} bytes too long"))),
    }
}

/// How one kind is written and read.
trait Coded: Sized {
    fn write(&self, out: &mut Writer);
    fn read(from: &mut Reader) -> Result<Self, SectorError>;
}

impl Coded for Superblock {
    fn write(&self, out: &mut Writer) {
        out.text(self.cluster.as_str());
        out.u8(self.class as u8);
        out.u32(self.layout.sector_size);
        out.u32(self.layout.hosts_max);
        out.u32(self.layout.vms_max);
        out.u64(self.created_ms);
    }

    fn read(from: &mut Reader) -> Result<Self, SectorError> {
        let cluster = from.name("cluster")?;
        let class = match from.u8("storage class")? {
            1 => StorageClass::Quorum,
            2 => StorageClass::Plain,
            other => return Err(unknown("storage class", other)),
        };
        let layout = Layout {
            sector_size: from.u32("sector size")?,
            hosts_max: from.u32("number of hosts")?,
            vms_max: from.u32("number of VMs")?,
        };
        layout
            .check()
            .map_err(|problem| wrong("layout", problem.to_string()))?;
        Ok(Self {
            cluster,
            class,
            layout,
            created_ms: from.u64("creation date")?,
        })
    }
}

impl Coded for Heartbeat {
    fn write(&self, out: &mut Writer) {
        out.text(self.host.as_str());
        out.text(self.incarnation.as_str());
        out.text(self.boot_id.as_str());
        out.u64(self.counter);
        out.u8(self.phase as u8);
        out.u8(self.agent as u8);
        out.u64(self.answered);
        out.u32(self.period_ms);
        out.u32(self.runner_deadline_ms);
        out.u32(self.kill_bound_ms);
        out.u32(self.watchdog_bound_ms);
    }

    fn read(from: &mut Reader) -> Result<Self, SectorError> {
        Ok(Self {
            host: from.name("host")?,
            incarnation: from.name("incarnation")?,
            boot_id: from.name("boot id")?,
            counter: from.u64("counter")?,
            phase: match from.u8("phase")? {
                1 => HostPhase::Holding,
                2 => HostPhase::Released,
                other => return Err(unknown("phase", other)),
            },
            agent: match from.u8("agent's state")? {
                1 => AgentState::Connected,
                2 => AgentState::CutOff,
                3 => AgentState::Silent,
                other => return Err(unknown("agent's state", other)),
            },
            answered: from.u64("answered message")?,
            period_ms: from.u32("period")?,
            runner_deadline_ms: from.u32("runner's deadline")?,
            kill_bound_ms: from.u32("kill bound")?,
            watchdog_bound_ms: from.u32("watchdog bound")?,
        })
    }
}

impl Coded for Mail {
    fn write(&self, out: &mut Writer) {
        out.text(self.to.as_str());
        out.text(self.incarnation.as_str());
        out.u64(self.message);
        out.u8(self.ask as u8);
        out.text(self.by.as_str());
    }

    fn read(from: &mut Reader) -> Result<Self, SectorError> {
        Ok(Self {
            to: from.name("addressee")?,
            incarnation: from.name("incarnation")?,
            message: from.u64("message number")?,
            ask: match from.u8("request")? {
                1 => Ask::Release,
                other => return Err(unknown("request", other)),
            },
            by: from.name("sender")?,
        })
    }
}

impl Coded for Claim {
    fn write(&self, out: &mut Writer) {
        out.text(self.vm.as_str());
        out.text(self.uuid.as_str());
        out.u64(self.generation.0);
        for runner in [&self.holder, &self.incoming] {
            out.u8(u8::from(runner.is_some()));
            if let Some(runner) = runner {
                out.text(runner.host.as_str());
                out.text(runner.incarnation.as_str());
            }
        }
    }

    fn read(from: &mut Reader) -> Result<Self, SectorError> {
        Ok(Self {
            vm: from.name("VM")?,
            uuid: from.name("UUID")?,
            generation: Generation(from.u64("generation")?),
            holder: runner(from, "holder")?,
            incoming: runner(from, "incoming host")?,
        })
    }
}

fn runner(from: &mut Reader, field: &'static str) -> Result<Option<Holder>, SectorError> {
    match from.u8(field)? {
        0 => Ok(None),
        1 => Ok(Some(Holder {
            host: from.name(field)?,
            incarnation: from.name(field)?,
        })),
        other => Err(unknown(field, other)),
    }
}

fn wrong(field: &'static str, problem: String) -> SectorError {
    SectorError::Field { field, problem }
}

fn unknown(field: &'static str, number: u8) -> SectorError {
    wrong(field, format!("{number} means nothing"))
}

/// Bytes a text takes.
const TEXT: usize = 64;

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes.extend(value.to_le_bytes());
    }

    /// Names have 63 bytes at the most, by their type.
    fn text(&mut self, text: &str) {
        let mut field = [0; TEXT];
        let length = text.len().min(TEXT - 1);
        field[0] = length as u8;
        field[1..=length].copy_from_slice(&text.as_bytes()[..length]);
        self.bytes.extend(field);
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], SectorError> {
        let Some((taken, rest)) = self.bytes.split_first_chunk::<N>() else {
            return Err(wrong(field, "the record ends before it".to_owned()));
        };
        self.bytes = rest;
        Ok(*taken)
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, SectorError> {
        self.take::<1>(field).map(|[byte]| byte)
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, SectorError> {
        self.take(field).map(u32::from_le_bytes)
    }

    fn u64(&mut self, field: &'static str) -> Result<u64, SectorError> {
        self.take(field).map(u64::from_le_bytes)
    }

    fn name<T: FromStr>(&mut self, field: &'static str) -> Result<T, SectorError>
    where
        T::Err: fmt::Display,
    {
        let bytes = self.take::<TEXT>(field)?;
        let length = usize::from(bytes[0]);
        if length >= TEXT || bytes[1 + length..].iter().any(|byte| *byte != 0) {
            return Err(wrong(field, "its length is wrong".to_owned()));
        }
        let text = std::str::from_utf8(&bytes[1..=length]).map_err(|e| wrong(field, e.to_string()));
        text?
            .parse()
            .map_err(|e: T::Err| wrong(field, e.to_string()))
    }
}
