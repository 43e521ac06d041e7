//! The leader's heartbeat, as a record.

use crate::guarded::{Beat, Whose};
use crate::guards::encode;
use crate::keyspace::Key;
use holdfast_model::id::ManagerName;
use holdfast_model::leader::LeaderHeartbeat;

/// What the leader's heartbeat writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaderBeat {
    pub(super) manager: ManagerName,
    pub(super) life: String,
}

impl Beat for LeaderBeat {
    fn key(&self) -> Key {
        Key::LeaderHeartbeat
    }

    fn value(&self, beat: u64) -> Vec<u8> {
        let (manager, life) = (self.manager.clone(), self.life.clone());
        encode(&LeaderHeartbeat {
            manager,
            life,
            beat,
        })
    }

    fn recognise(&self, value: &[u8]) -> Whose {
        match serde_json::from_slice::<LeaderHeartbeat>(value) {
            Ok(found) if found.manager == self.manager && found.life == self.life => {
                Whose::Mine(found.beat)
            }
            Ok(found) => Whose::Other(format!("manager {} leads", found.manager)),
            Err(_) => Whose::Other("a record that this version cannot read".into()),
        }
    }
}
