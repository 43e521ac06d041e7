//! A component that is only tried (`ext install --dry-run`): this manager holds it in memory until it was looked at, and
//! the store never has it.

use axum::body::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// It is looked at right after it came, or not at all.
pub const HELD: Duration = Duration::from_secs(60);

/// The one that came last: there is room for no more than one.
#[derive(Default)]
pub struct OnTrial(Mutex<Option<(String, Bytes)>>);

impl OnTrial {
    fn held(&self) -> MutexGuard<'_, Option<(String, Bytes)>> {
        // Each change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds it, instead of the one before.
    pub fn hold(&self, digest: &str, bytes: Bytes) {
        *self.held() = Some((digest.to_owned(), bytes));
    }

    /// The one of this digest, which is not held any more then.
    pub fn take(&self, digest: &str) -> Option<Bytes> {
        let mut held = self.held();
        let (_, bytes) = held.take_if(|(known, _)| known == digest)?;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_held_until_it_is_looked_at() {
        let held = OnTrial::default();
        held.hold("one", Bytes::from_static(b"1"));
        held.hold("two", Bytes::from_static(b"2"));
        assert_eq!(held.take("one"), None, "there is room for one");
        assert_eq!(held.take("two").as_deref(), Some(&b"2"[..]));
        assert_eq!(held.take("two"), None);
    }
}
