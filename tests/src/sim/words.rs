//! What fencing devices said, for the ground truth: which of them lied, and whether another one contradicted it in time.
//!
//! A device that says off of a host that is on is beyond what is assumed, and what follows proves nothing; unless
//! another device of that host, asked by the same leader, said on afterwards: then the lie must come to nothing.

use super::event::Client;
use holdfast_model::fence::TOGETHER;
use holdfast_model::id::{DeviceName, HostName, Incarnation};
use holdfast_model::power::PowerAsk;
use std::collections::BTreeMap;

/// Of which device, about which life of which host.
type About = (HostName, Incarnation, DeviceName);

/// See the module.
#[derive(Debug, Default)]
pub struct Words {
    /// When each was asked how the power stands, the last time that it lied.
    lies: BTreeMap<About, u64>,
    /// By whom it was last heard to say on, and when.
    on: BTreeMap<About, (Client, u64)>,
}

fn about(ask: &PowerAsk) -> About {
    (
        ask.host.clone(),
        ask.incarnation.clone(),
        ask.device.clone(),
    )
}

impl Words {
    /// It said off of a host that is on, to a question of that time.
    pub fn lied(&mut self, ask: &PowerAsk, read_at: u64) {
        self.lies.insert(about(ask), read_at);
    }

    /// A leader hears one say on.
    pub fn says_on(&mut self, ask: &PowerAsk, by: Client, now: u64) {
        self.on.insert(about(ask), (by, now));
    }

    /// One of the devices, in words as the evidence has them, that lied, and that this leader has not heard
    /// another one contradict.
    pub fn liar(
        &self,
        host: &HostName,
        life: &Incarnation,
        by: &str,
        leader: &Client,
    ) -> Option<&DeviceName> {
        let is_same = |about: &About| about.0 == *host && about.1 == *life;
        let contradicted = |(_, _, liar): &About, read_at: u64| {
            let mut on = self.on.iter().filter(|(about, _)| is_same(about));
            on.any(|(other, (heard_by, at))| {
                other.2 != *liar && heard_by == leader && *at >= read_at
            })
        };
        let named = |device: &DeviceName| by.split(TOGETHER).any(|name| name == device.as_str());
        let mut lies = self
            .lies
            .iter()
            .filter(|(about, _)| is_same(about) && named(&about.2));
        let lie = lies.find(|(about, read_at)| !contradicted(about, **read_at));
        lie.map(|(about, _)| &about.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::agent::name;
    use holdfast_model::id::Revision;
    use holdfast_model::plan::Step;

    fn ask(device: &str) -> PowerAsk {
        PowerAsk {
            host: name("a1"),
            incarnation: name("a1-1"),
            session_revision: Revision(1),
            device: name(device),
            attempt: 1,
            step: Step {
                writes: Vec::new(),
                events: Vec::new(),
                why: String::new(),
            },
        }
    }

    #[test]
    fn a_lie_is_contradicted_by_another_device_that_the_same_leader_heard_since() {
        let (leader, other) = (
            Client::Manager(name("m-a"), 1),
            Client::Manager(name("m-b"), 1),
        );
        let (host, life) = (name("a1"), name("a1-1"));
        let mut words = Words::default();
        assert_eq!(words.liar(&host, &life, "board", &leader), None);
        words.lied(&ask("board"), 1_000);
        words.says_on(&ask("board"), leader.clone(), 1_500);
        words.says_on(&ask("strip"), leader.clone(), 999);
        let liar: DeviceName = name("board");
        assert_eq!(
            words.liar(&host, &life, "strip and board", &leader),
            Some(&liar)
        );
        assert_eq!(
            words.liar(&host, &life, "strip", &leader),
            None,
            "not by that"
        );
        assert_eq!(words.liar(&host, &name("a1-2"), "board", &leader), None);
        words.says_on(&ask("strip"), leader.clone(), 1_000);
        assert_eq!(words.liar(&host, &life, "board", &leader), None);
        assert_eq!(words.liar(&host, &life, "board", &other), Some(&liar));
    }
}
