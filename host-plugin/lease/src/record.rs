//! What the four kinds of sectors say. Texts are one byte of length and 63 bytes; numbers are
//! little-endian. An empty record says that the slot is free.

use crate::error::SectorError;
use crate::layout::Layout;
use holdfast_model::id::{BootId, ClusterName, Generation, HostName, Incarnation, VmName, VmUuid};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a sector is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Kind {
    /// The volume itself, at its beginning, twice.
    Superblock = 1,
    /// A host's sign of life. Only that host writes it.
    Heartbeat = 2,
    /// What others ask of a host that only the storage reaches. The leader's side writes it.
    Mailbox = 3,
    /// Who holds a VM. Its holder writes it.
    Claim = 4,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superblock => "superblock",
            Self::Heartbeat => "heartbeat",
            Self::Mailbox => "mailbox",
            Self::Claim => "claim",
        })
    }
}

/// What a storage domain promises when the sites are cut from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum StorageClass {
    /// Only one side can write (Gluster with an arbiter, Ceph in stretch mode, DRBD with quorum, an
    /// array with a mediator): a lease here lets a VM outlive a loss of the control plane.
    Quorum = 1,
    /// Copies may diverge: a lease here protects from mistakes only.
    Plain = 2,
}

impl fmt::Display for StorageClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quorum => "quorum",
            Self::Plain => "plain",
        })
    }
}

/// The volume itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    /// Whose volume it is.
    pub cluster: ClusterName,
    /// What the storage under it promises.
    pub class: StorageClass,
    /// Which sector is where.
    pub layout: Layout,
    /// When it was created, in milliseconds since 1970, by the clock of the machine that did.
    pub created_ms: u64,
}

/// Where a host stands with its VMs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum HostPhase {
    /// It runs VMs, or may.
    Holding = 1,
    /// Everything that this incarnation ran has stopped, confirmed by the kernel, and nothing of it
    /// will run again.
    Released = 2,
}

/// A host's sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whose.
    pub host: HostName,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// On which boot.
    pub boot_id: BootId,
    /// Up by one with each heartbeat of this incarnation; what observers compare.
    pub counter: u64,
    /// Where it stands.
    pub phase: HostPhase,
    /// The last message of its mailbox that it has done.
    pub answered: u64,
    /// Between two heartbeats, in milliseconds.
    pub period_ms: u32,
    /// From sending the last heartbeat that was written to the kill, in milliseconds.
    pub runner_deadline_ms: u32,
    /// From the kill to the last VM gone, in milliseconds.
    pub kill_bound_ms: u32,
    /// From there to the watchdog's reset, in milliseconds; 0 without one.
    pub watchdog_bound_ms: u32,
}

/// What is asked of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Ask {
    /// Stop everything of this incarnation, and say so: it will be started elsewhere.
    Release = 1,
}

/// A message to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// To whom.
    pub to: HostName,
    /// To which of its lives: another one does not heed it.
    pub incarnation: Incarnation,
    /// Up by one with each message.
    pub message: u64,
    /// What is asked.
    pub ask: Ask,
    /// Who wrote it.
    pub by: HostName,
}

/// One life of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The host.
    pub host: HostName,
    /// Its life.
    pub incarnation: Incarnation,
}

/// Who holds a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The VM.
    pub vm: VmName,
    /// Its UUID.
    pub uuid: VmUuid,
    /// The grant. A claim not above this one is refused.
    pub generation: Generation,
    /// Who holds it; nobody once it was released.
    pub holder: Option<Holder>,
    /// To whom it is being migrated.
    pub incoming: Option<Holder>,
}

/// What a sector says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Record {
    /// The volume itself.
    Superblock(Superblock),
    /// A host's slot; `None`: free.
    Heartbeat(Option<Heartbeat>),
    /// A host's mailbox; `None`: never written to.
    Mailbox(Option<Mail>),
    /// A VM's slot; `None`: free.
    Claim(Option<Claim>),
}

impl Record {
    /// What it is for.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Superblock(_) => Kind::Superblock,
            Self::Heartbeat(_) => Kind::Heartbeat,
            Self::Mailbox(_) => Kind::Mailbox,
            Self::Claim(_) => Kind::Claim,
        }
    }

    /// A free slot of that kind; none for the superblock, which is never free.
    pub fn free(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Superblock => None,
            Kind::Heartbeat => Some(Self::Heartbeat(None)),
            Kind::Mailbox => Some(Self::Mailbox(None)),
            Kind::Claim => Some(Self::Claim(None)),
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Heartbeat(None) | Self::Mailbox(None) | Self::Claim(None) => {}
            Self::Superblock(superblock) => superblock.write(&mut out),
            Self::Heartbeat(Some(heartbeat)) => heartbeat.write(&mut out),
            Self::Mailbox(Some(mail)) => mail.write(&mut out),
            Self::Claim(Some(claim)) => claim.write(&mut out),
        }
        out.bytes
    }

    /// Reads the bytes of a record of that kind.
    pub fn decode(kind: Kind, bytes: &[u8]) -> Result<Self, SectorError> {
        let mut from = Reader { bytes };
        let record = match (kind, bytes.is_empty()) {
            (Kind::Superblock, _) => Self::Superblock(Superblock::read(&mut from)?),
            (Kind::Heartbeat, true) => Self::Heartbeat(None),
            (Kind::Mailbox, true) => Self::Mailbox(None),
            (Kind::Claim, true) => Self::Claim(None),
            (Kind::Heartbeat, false) => Self::Heartbeat(Some(Heartbeat::read(&mut from)?)),
            (Kind::Mailbox, false) => Self::Mailbox(Some(Mail::read(&mut from)?)),
            (Kind::Claim, false) => Self::Claim(Some(Claim::read(&mut from)?)),
        };
        match from.bytes.len() {
            0 => Ok(record),
            more => Err(wrong("record", format!("{more} bytes too long"))),
        }
    }
}

impl Superblock {
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

impl Heartbeat {
    fn write(&self, out: &mut Writer) {
        out.text(self.host.as_str());
        out.text(self.incarnation.as_str());
        out.text(self.boot_id.as_str());
        out.u64(self.counter);
        out.u8(self.phase as u8);
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
            answered: from.u64("answered message")?,
            period_ms: from.u32("period")?,
            runner_deadline_ms: from.u32("runner's deadline")?,
            kill_bound_ms: from.u32("kill bound")?,
            watchdog_bound_ms: from.u32("watchdog bound")?,
        })
    }
}

impl Mail {
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

impl Claim {
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
            holder: Self::runner(from, "holder")?,
            incoming: Self::runner(from, "incoming host")?,
        })
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
