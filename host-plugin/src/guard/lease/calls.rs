//! The calls to the volume, on the threads that may hang: one heartbeat, one message, one look.

use holdfast_lease::error::{SectorError, VolumeError};
use holdfast_lease::volume::Volume;
use holdfast_model::lease::{Heartbeat, Layout, Mail, Record, StorageClass};
use holdfast_model::time::Instant;
use holdfast_store::clock::boottime;

/// Why a heartbeat was not written.
pub(super) enum Refusal {
    /// The storage did not take it; the next one may be taken.
    Failed(String),
    /// The slot is another host's.
    Foreign(String),
}

/// What was read of the volume.
pub(super) struct Look {
    pub began: Instant,
    pub ended: Instant,
    /// The own heartbeat that the volume was known to have when it was begun.
    pub acknowledged: u64,
    pub id: String,
    pub class: StorageClass,
    /// What stands in each slot that was read; none if it cannot be believed.
    pub slots: Vec<(u32, Option<Option<Heartbeat>>)>,
    /// The own mailbox, or why it cannot be read.
    pub mail: Result<Option<Mail>, String>,
}

/// Writes a heartbeat, after a look at whose slot it is: read right before the write, because a read
/// after it shows nothing but that write. `written`: one of this life stands there. A damaged sector is
/// written anew; one of another version is whole, and somebody's.
pub(super) fn beat(
    volume: &Volume,
    slot: u32,
    heartbeat: Heartbeat,
    written: bool,
) -> Result<(), Refusal> {
    let failed = |error: VolumeError| Refusal::Failed(error.to_string());
    let Some(number) = volume.superblock().layout.heartbeat(slot) else {
        return Err(Refusal::Foreign(format!(
            "the lease volume has no slot {slot} for hosts"
        )));
    };
    match volume.read(number).map(|sector| sector.record) {
        Ok(Record::Heartbeat(Some(found))) => {
            let ours = found.host == heartbeat.host;
            if written && !(ours && found.incarnation == heartbeat.incarnation) {
                return Err(Refusal::Foreign(format!(
                    "slot {slot} of the lease volume is also written by host {} (incarnation {}): two \
                     hosts have one slot, or two machines one name; this host gives it up",
                    found.host, found.incarnation
                )));
            }
            if !ours {
                return Err(Refusal::Foreign(format!(
                    "slot {slot} of the lease volume is host {}'s; `holdfast lease show` tells which \
                     are free",
                    found.host
                )));
            }
        }
        Err(VolumeError::Sector { source, .. })
            if matches!(source, SectorError::Version { .. }) =>
        {
            return Err(Refusal::Failed(format!(
                "slot {slot} of the lease volume has a heartbeat of another Holdfast, and whose it is \
                 cannot be read ({source}); it is left alone. If this host was downgraded, upgrade it \
                 again, or empty the slot: `holdfast lease repair VOLUME --heartbeats`"
            )));
        }
        Err(VolumeError::Sector { source, .. }) => {
            tracing::warn!(slot, why = %source, "its slot is damaged; it is written anew");
        }
        Ok(_) => {}
        Err(error) => return Err(failed(error)),
    }
    let counter = heartbeat.counter;
    let record = Record::Heartbeat(Some(heartbeat));
    volume.write(number, counter, record).map_err(failed)
}

pub(super) fn write_mail(volume: &Volume, slot: u32, mail: Mail) -> Result<(), VolumeError> {
    let Some(number) = volume.superblock().layout.mailbox(slot) else {
        return Err(VolumeError::Layout(format!(
            "the lease volume has no slot {slot} for hosts"
        )));
    };
    volume.write(number, mail.message, Record::Mailbox(Some(mail)))
}

pub(super) fn look(
    volume: &Volume,
    slots: u32,
    own: Option<u32>,
    began: Instant,
) -> Result<Look, VolumeError> {
    let superblock = volume.superblock();
    let layout: Layout = superblock.layout;
    let first = layout.heartbeat(0).unwrap_or(0);
    let end = first + u64::from(slots.min(layout.hosts_max));
    let mut found = Vec::new();
    volume.read_some(first..end, |number, _, sector| {
        let slot = u32::try_from(number - first).unwrap_or(u32::MAX);
        let record = sector.map(|sector| sector.record);
        found.push(match record {
            Ok(Record::Heartbeat(heartbeat)) => (slot, Some(heartbeat)),
            Ok(_) | Err(_) => (slot, None),
        });
    })?;
    let mailbox = own.and_then(|slot| layout.mailbox(slot));
    let mail = match mailbox.map(|number| volume.read(number)) {
        Some(Ok(sector)) => match sector.record {
            Record::Mailbox(mail) => Ok(mail),
            _ => Ok(None),
        },
        Some(Err(error)) => Err(error.to_string()),
        None => Ok(None),
    };
    Ok(Look {
        began,
        ended: boottime(),
        acknowledged: 0,
        id: volume.id().to_string(),
        class: superblock.class,
        slots: found,
        mail,
    })
}
