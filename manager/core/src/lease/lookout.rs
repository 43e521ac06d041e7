//! What an agent with a session does about lives whose session was closed and whose storage plane was
//! not: it looks into their heartbeat slots, tells what it finds, and writes the leader's request to
//! release into their mailboxes.
//!
//! ```text
//! fence records at ControlClosed ─> cases ─> (the guard reads the slot) ─> finding ─> sighting, told
//!                                     └────> release asked ─> mail
//! ```

use super::observer::Finding;
use holdfast_model::fence::{FenceRecord, FenceStage};
use holdfast_model::id::{HostName, Incarnation, Revision};
use holdfast_model::lease::{Ask, Found, Mail, Sighting};
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;
use std::collections::BTreeMap;

/// A message that nobody has answered is written again after this, in milliseconds: another host's may
/// have been lost with its storage.
const MAIL_AGAIN_MS: u64 = 3_000;
/// A sighting is told again when the time without a change has grown by this, in milliseconds: a wait
/// may have been made longer meanwhile.
const TELL_AGAIN_MS: u64 = 2_000;

/// Which closing of which host's control plane.
type Closing = (HostName, Revision);

/// A life to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The host.
    pub host: HostName,
    /// Its life.
    pub incarnation: Incarnation,
    /// Which closing of its control plane this is.
    pub session_revision: Revision,
    /// Its slot on the lease volume.
    pub slot: u32,
    /// When this process learned that the control plane was closed, by its own clock.
    pub closed: Instant,
    /// The leader wants it asked to release.
    pub release_asked: bool,
}

/// What this process remembers of them.
#[derive(Debug, Clone, Default)]
pub struct Lookout {
    learned: BTreeMap<Closing, Instant>,
    mailed: BTreeMap<Closing, Instant>,
}

impl Lookout {
    /// The lives to look at now. `volume`: the one this host has a slot on.
    pub fn cases(
        &mut self,
        own: &HostName,
        volume: &str,
        fences: &BTreeMap<(HostName, Incarnation), Seen<FenceRecord>>,
    ) -> Vec<Case> {
        let mut cases = Vec::new();
        for ((host, incarnation), fence) in fences {
            let record = &fence.value;
            let (Some(plane), Some(session_revision)) = (&record.plane, record.session_revision)
            else {
                continue;
            };
            if host == own || record.stage != FenceStage::ControlClosed || plane.volume != volume {
                continue;
            }
            let key = (host.clone(), session_revision);
            let closed = *self.learned.entry(key).or_insert(fence.seen_at);
            cases.push(Case {
                host: host.clone(),
                incarnation: incarnation.clone(),
                session_revision,
                slot: plane.slot,
                closed,
                release_asked: record.release_asked,
            });
        }
        let open = |(host, revision): &Closing| {
            let is_it = |case: &Case| case.host == *host && case.session_revision == *revision;
            cases.iter().any(is_it)
        };
        self.learned.retain(|key, _| open(key));
        self.mailed.retain(|key, _| open(key));
        cases
    }

    /// The message to write into its mailbox now, if one is due.
    pub fn mail(&mut self, case: &Case, own: &HostName, now: Instant) -> Option<Mail> {
        let key = (case.host.clone(), case.session_revision);
        let last = self.mailed.get(&key);
        if !case.release_asked || last.is_some_and(|last| now.since(*last) < MAIL_AGAIN_MS) {
            return None;
        }
        self.mailed.insert(key, now);
        Some(Mail {
            to: case.host.clone(),
            incarnation: case.incarnation.clone(),
            // Each closing of one host's session is on a later revision than the one before.
            message: u64::try_from(case.session_revision.0).unwrap_or(0),
            ask: Ask::Release,
            by: own.clone(),
        })
    }
}

/// What a finding says to the leader; nothing while there is nothing to say. `wait_ms`: the silence
/// after which the plane of that life has ended, by policy and by what its heartbeat declares.
/// `quiet_ms`: the silence that makes it suspect, where its host has a fencing device.
pub fn sighting(
    case: &Case,
    finding: Finding,
    wait_ms: u64,
    quiet_ms: Option<u64>,
) -> Option<Sighting> {
    let found = match finding {
        Finding::Released => Found::Released,
        Finding::Holding {
            counter,
            unchanged_ms,
            ..
        } if unchanged_ms >= wait_ms => Found::Unchanged {
            counter,
            for_ms: unchanged_ms,
        },
        Finding::Holding {
            counter,
            unchanged_ms,
            ..
        } if quiet_ms.is_some_and(|quiet_ms| unchanged_ms >= quiet_ms) => Found::Quiet { counter },
        Finding::Holding {
            is_new: true,
            agent,
            ..
        } => Found::Beating { agent },
        Finding::Holding { .. } | Finding::Nothing => return None,
    };
    Some(Sighting {
        incarnation: case.incarnation.clone(),
        session_revision: case.session_revision,
        found,
    })
}

/// Whether a sighting says more than the one that was told last.
pub fn is_news(told: Option<&Sighting>, next: &Sighting) -> bool {
    let Some(told) = told else { return true };
    if (&told.incarnation, told.session_revision) != (&next.incarnation, next.session_revision) {
        return true;
    }
    match (&told.found, &next.found) {
        (Found::Released, _) => false,
        (
            Found::Unchanged { counter, for_ms },
            Found::Unchanged {
                counter: now,
                for_ms: longer_ms,
            },
        ) => counter != now || *longer_ms >= for_ms + TELL_AGAIN_MS,
        // It stood still for the whole wait: that stays true, whatever is written later.
        (Found::Unchanged { .. }, Found::Beating { .. } | Found::Quiet { .. }) => false,
        (told, next) => told != next,
    }
}
