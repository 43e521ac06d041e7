//! This host's mailbox, as its guard reads it: which messages are heeded.
//!
//! A request to release follows a closing of this life's session, and carries the revision of the last
//! heartbeat before it. Once the life has opened its session again, a later heartbeat is acknowledged and
//! the request is obsolete, also if it is read, or written, only afterwards. While the session is being
//! opened again nobody knows which of the two came first, so it is left for a moment. A guard that is
//! started again goes on from what the last one knew: messages stay where they are.

use holdfast_model::id::{Incarnation, Revision};
use holdfast_model::lease::{Ask, Mail};
use holdfast_model::time::Instant;

/// How long a message is left while the session is being opened again, in milliseconds: longer than a
/// call to the store takes, with its repetition.
pub const HELD_MS: u64 = 3_000;

/// What is known about messages to one life.
#[derive(Debug, Clone, Default)]
pub struct Mailbox {
    /// The last heartbeat of the session that is known to have happened.
    acknowledged: Revision,
    held_until: Instant,
}

impl Mailbox {
    /// Of a guard that goes on where another one ended, which knew of a heartbeat at that revision. It may
    /// not have heard of a later one yet.
    pub fn go_on(acknowledged: Revision, now: Instant) -> Self {
        Self {
            acknowledged,
            held_until: now.plus(HELD_MS),
        }
    }

    /// The last heartbeat of the session that is known to have happened: what the next guard needs.
    pub fn known(&self) -> Revision {
        self.acknowledged
    }

    /// A heartbeat of the session was acknowledged, at that revision.
    pub fn acknowledged(&mut self, revision: Revision) {
        self.acknowledged = self.acknowledged.max(revision);
        self.held_until = Instant(0);
    }

    /// The session is about to be opened again.
    pub fn hold(&mut self, now: Instant) {
        self.held_until = now.plus(HELD_MS);
    }

    /// The number of the message if it is to be heeded now.
    pub fn heeds(&self, mail: &Mail, life: &Incarnation, now: Instant) -> Option<u64> {
        let obsolete = i64::try_from(mail.message).is_ok_and(|n| n < self.acknowledged.0);
        let heeded = mail.incarnation == *life
            && mail.ask == Ask::Release
            && !obsolete
            && now >= self.held_until;
        heeded.then_some(mail.message)
    }
}
