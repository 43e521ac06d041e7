//! Three managers on one line, and what must hold of them whatever happens.

use super::{Fate, Line};
use holdfast_model::id::{ManagerName, Revision, SiteName};
use holdfast_model::leader::LeaderEpoch;
use holdfast_model::time::Instant;
use holdfast_store::api::{Change, Compare, Txn, TxnOp};
use holdfast_store::guarded::{Answer, Ask};
use holdfast_store::keyspace::{Key, LEADER};
use holdfast_store::leadership::{Leadership, Me, Pace, Seat, Turn};
use holdfast_store::view::View;
use std::collections::BTreeMap;
use std::str::FromStr;

pub const PACE: Pace = Pace {
    renew_ms: 250,
    wait_ms: 1_000,
};
pub const MANAGERS: usize = 3;

pub struct Manager {
    pub name: ManagerName,
    pub machine: Leadership,
    pub view: View,
    pub seen: Revision,
    pub view_since: Option<Instant>,
    pub call: Option<Ask>,
    /// Another one is fitter.
    pub stand_back_ms: u64,
}

impl Manager {
    pub fn new(index: usize) -> Self {
        let name = ManagerName::from_str(&format!("m{index}")).expect("a name");
        let site = SiteName::from_str("a").expect("a name");
        let me = Me {
            name: name.clone(),
            site,
            life: format!("life-{index}"),
        };
        Self {
            name,
            machine: Leadership::new(me, PACE),
            view: View::default(),
            seen: Revision(0),
            view_since: None,
            call: None,
            stand_back_ms: 0,
        }
    }

    pub fn seat(&self) -> Seat {
        Seat::of(&self.view, self.view_since).behind(self.stand_back_ms)
    }
}

pub struct World {
    pub line: Line,
    pub managers: Vec<Manager>,
}

impl World {
    pub fn new() -> Self {
        let managers = (0..MANAGERS).map(Manager::new).collect();
        Self {
            line: Line::default(),
            managers,
        }
    }

    /// The manager's watch brings what happened.
    pub fn observe(&mut self, who: usize) {
        let manager = &mut self.managers[who];
        let batch = self
            .line
            .store
            .changes_after(LEADER, manager.seen)
            .expect("not compacted");
        manager.view.apply(&batch, self.line.now);
        manager.seen = batch.revision;
        manager.view_since.get_or_insert(self.line.now);
    }

    pub fn poll(&mut self, who: usize) {
        let now = self.line.now;
        let manager = &mut self.managers[who];
        if manager.call.is_some() {
            return;
        }
        let (seat, was_leading) = (manager.seat(), manager.machine.epoch().is_some());
        let ask = manager.machine.poll(now, &seat);
        if let (Ask::Txn(_), false) = (&ask, was_leading) {
            let last_word = [seat.epoch, seat.heartbeat]
                .into_iter()
                .flatten()
                .map(|(_, at)| at)
                .max();
            let silent_ms = last_word.map(|at| now.since(at));
            let since = seat.view_since.expect("a deaf standby does not act");
            assert!(
                seat.heartbeat.is_none()
                    || (silent_ms >= Some(PACE.wait_ms) && now.since(since) >= PACE.wait_ms),
                "took over after {silent_ms:?} ms of silence, deaf until {since}"
            );
        }
        if matches!(ask, Ask::Txn(_) | Ask::Read(_)) {
            manager.call = Some(ask);
        }
    }

    pub fn deliver(&mut self, who: usize, fate: Fate) {
        let Some(ask) = self.managers[who].call.take() else {
            return;
        };
        let answer = self.line.call(&ask, fate);
        self.answer(who, answer);
    }

    pub fn answer(&mut self, who: usize, answer: Answer) {
        let manager = &mut self.managers[who];
        match manager.machine.answer(self.line.now, answer) {
            Some(Turn::Elected { epoch }) => {
                // The sharpest moment: whoever led before must be powerless from here on.
                assert_eq!(
                    self.epoch_writer(epoch),
                    Some(self.managers[who].name.clone())
                );
            }
            Some(Turn::Renewed(ack)) => {
                let made_at = self.line.made_at[&ack.revision];
                assert!(
                    ack.sent_at <= made_at,
                    "{ack:?} was made at {made_at} already"
                );
            }
            Some(Turn::Deposed(_)) | None => {}
        }
    }

    /// Who wrote `leader/epoch` at this revision.
    pub fn epoch_writer(&self, epoch: Revision) -> Option<ManagerName> {
        let key = Key::LeaderEpoch.path();
        let history = self
            .line
            .store
            .changes_after(&key, Revision(0))
            .expect("not compacted");
        history.changes.into_iter().find_map(|change| match change {
            Change::Put(item) if item.revision == epoch => Some(
                serde_json::from_slice::<LeaderEpoch>(&item.value)
                    .expect("a record")
                    .manager,
            ),
            _ => None,
        })
    }

    /// A leader writes something, guarded by its epoch; the request may be late.
    pub fn work(&mut self, who: usize, late: bool) {
        let Some(epoch) = self.managers[who].machine.epoch() else {
            return;
        };
        let txn = Txn {
            compares: vec![Compare::Revision(Key::LeaderEpoch.path(), epoch)],
            ops: vec![TxnOp::Put("/work".into(), epoch.to_string().into_bytes())],
        };
        if late {
            self.line.late.push(txn);
        } else {
            self.line.apply(txn);
        }
    }

    /// From the history alone: every piece of work is of the epoch that was in force.
    pub fn check(&self) {
        let mut leading: BTreeMap<Revision, &ManagerName> = BTreeMap::new();
        for manager in &self.managers {
            if let Some(epoch) = manager.machine.epoch() {
                let other = leading.insert(epoch, &manager.name);
                assert_eq!(other, None, "two lead with epoch {epoch}");
                assert_eq!(self.epoch_writer(epoch).as_ref(), Some(&manager.name));
            }
        }
        let mut in_force = Revision(0);
        for change in self
            .line
            .store
            .changes_after("/", Revision(0))
            .expect("all")
            .changes
        {
            let Change::Put(item) = change else { continue };
            if item.key == Key::LeaderEpoch.path() {
                in_force = item.revision;
            } else if item.key == "/work" {
                let epoch = String::from_utf8_lossy(&item.value).into_owned();
                assert_eq!(
                    epoch,
                    in_force.to_string(),
                    "a deposed leader's write at {}",
                    item.revision
                );
            }
        }
    }

    /// Nothing goes wrong any more: soon exactly one leads, and is sure of it.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            self.line.now = self.line.now.plus(50);
            for who in 0..MANAGERS {
                self.observe(who);
                self.poll(who);
                self.deliver(who, Fate::Fine);
            }
        }
        let now = self.line.now;
        let sure: Vec<_> = self
            .managers
            .iter()
            .filter(|m| m.machine.is_sure(now))
            .map(|m| &m.name)
            .collect();
        assert_eq!(
            sure.len(),
            1,
            "exactly one leads once all is well: {sure:?}"
        );
        let leading = self
            .managers
            .iter()
            .filter(|m| m.machine.epoch().is_some())
            .count();
        assert_eq!(leading, 1, "and nobody else thinks so");
    }
}
