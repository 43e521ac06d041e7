//! Leadership under everything that can go wrong on the line: pauses, lost and late calls, deaf
//! standbys. The ground truth is the store's own history.

mod simulated;

use holdfast_model::id::{ManagerName, Revision, SiteName};
use holdfast_model::leader::LeaderEpoch;
use holdfast_model::time::Instant;
use holdfast_store::api::{Change, Compare, Txn, TxnOp, TxnOutcome};
use holdfast_store::guarded::{Answer, Ask};
use holdfast_store::keyspace::{Key, LEADER};
use holdfast_store::leadership::{Leadership, Me, Pace, Seat, Turn};
use holdfast_store::view::View;
use proptest::prelude::*;
use simulated::{FATES, Fate, Line};
use std::collections::BTreeMap;
use std::str::FromStr;

const PACE: Pace = Pace {
    renew_ms: 250,
    wait_ms: 1_000,
};
const MANAGERS: usize = 3;

struct Manager {
    name: ManagerName,
    machine: Leadership,
    view: View,
    seen: Revision,
    view_since: Option<Instant>,
    call: Option<Ask>,
}

impl Manager {
    fn new(index: usize) -> Self {
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
        }
    }

    fn seat(&self) -> Seat {
        Seat::of(&self.view, self.view_since)
    }
}

struct World {
    line: Line,
    managers: Vec<Manager>,
}

impl World {
    fn new() -> Self {
        let managers = (0..MANAGERS).map(Manager::new).collect();
        Self {
            line: Line::default(),
            managers,
        }
    }

    /// The manager's watch brings what happened.
    fn observe(&mut self, who: usize) {
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

    fn poll(&mut self, who: usize) {
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

    fn deliver(&mut self, who: usize, fate: Fate) {
        let Some(ask) = self.managers[who].call.take() else {
            return;
        };
        let answer = self.line.call(&ask, fate);
        self.answer(who, answer);
    }

    fn answer(&mut self, who: usize, answer: Answer) {
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
    fn epoch_writer(&self, epoch: Revision) -> Option<ManagerName> {
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
    fn work(&mut self, who: usize, late: bool) {
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
    fn check(&self) {
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
    fn settle(&mut self) {
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

fn step(world: &mut World, (kind, who, argument): (u8, usize, usize)) {
    match kind {
        0..=3 => world.line.now = world.line.now.plus(argument as u64 % 400),
        4..=8 => world.poll(who),
        9..=12 => world.deliver(who, Fate::Fine),
        13 => world.deliver(who, FATES[argument % FATES.len()]),
        14..=16 => world.observe(who),
        17 => world.managers[who].view_since = None,
        18 => world.work(who, argument % 2 == 0),
        19 => world.line.arrive(argument),
        // The caller gave the call up; whether it was carried out is open.
        20 => {
            if let Some(ask) = world.managers[who].call.take() {
                let _ = world.line.call(&ask, FATES[argument % FATES.len()]);
            }
        }
        // A shutdown and a new life.
        _ => {
            let now = world.line.now;
            if let Some(txn) = world.managers[who].machine.release(now) {
                world.line.apply(txn);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_deposed_leader_ever_writes(
        steps in prop::collection::vec((0_u8..22, 0..MANAGERS, 0_usize..10_000), 1..300)
    ) {
        let mut world = World::new();
        for one in steps {
            step(&mut world, one);
            world.check();
        }
        world.settle();
        world.check();
    }
}

/// A world in which manager 0 leads and all have seen it.
fn led() -> World {
    let mut world = World::new();
    world.observe(0);
    world.poll(0);
    world.deliver(0, Fate::Fine);
    (0..MANAGERS).for_each(|who| world.observe(who));
    assert!(world.managers[0].machine.is_sure(world.line.now));
    world
}

fn wait(world: &mut World, ms: u64) {
    world.line.now = world.line.now.plus(ms);
}

#[test]
fn a_paused_leader_finds_its_writes_refused() {
    let mut world = led();
    let old = world.managers[0].machine.epoch().expect("it leads");
    // It stands still; a standby's own clock says when.
    wait(&mut world, PACE.wait_ms - 1);
    world.poll(1);
    assert_eq!(world.managers[1].call, None, "a moment early");
    wait(&mut world, 1);
    world.poll(1);
    world.deliver(1, Fate::Fine);
    let new = world.managers[1].machine.epoch().expect("it took over");
    assert!(new > old);
    // It goes on where it was and has noticed nothing.
    assert_eq!(world.managers[0].machine.epoch(), Some(old));
    assert!(
        !world.managers[0].machine.is_sure(world.line.now),
        "but it knows that it was away"
    );
    let guarded = Txn {
        compares: vec![Compare::Revision(Key::LeaderEpoch.path(), old)],
        ops: vec![TxnOp::Put("/work".into(), vec![])],
    };
    assert!(matches!(world.line.apply(guarded), TxnOutcome::Refused(_)));
    world.poll(0);
    world.deliver(0, Fate::Fine);
    world.poll(0);
    world.deliver(0, Fate::Fine);
    assert_eq!(
        world.managers[0].machine.epoch(),
        None,
        "its renewal told it"
    );
}

#[test]
fn a_renewal_the_standby_has_not_seen_stops_its_takeover() {
    let mut world = led();
    wait(&mut world, PACE.wait_ms);
    world.poll(0);
    world.deliver(0, Fate::Fine);
    // Manager 1's watch is slow: to it the leader is silent.
    world.poll(1);
    assert!(matches!(world.managers[1].call, Some(Ask::Txn(_))));
    world.deliver(1, Fate::Fine);
    assert_eq!(world.managers[1].machine.epoch(), None);
    assert!(world.managers[0].machine.is_sure(world.line.now));
}

#[test]
fn a_takeover_without_an_answer_is_resolved_by_reading() {
    for (fate, taken) in [(Fate::ReplyLost, true), (Fate::RequestLost, false)] {
        let mut world = led();
        wait(&mut world, PACE.wait_ms);
        world.poll(1);
        world.deliver(1, fate);
        world.poll(1);
        assert!(
            matches!(world.managers[1].call, Some(Ask::Read(_))),
            "{fate:?}"
        );
        world.deliver(1, Fate::Fine);
        assert_eq!(
            world.managers[1].machine.epoch().is_some(),
            taken,
            "{fate:?}"
        );
        world.check();
    }
}

#[test]
fn an_outage_of_the_store_is_nobodys_silence() {
    let mut world = led();
    world.managers[1].view_since = None;
    wait(&mut world, 60_000);
    world.poll(1);
    assert_eq!(world.managers[1].call, None, "deaf");
    world.observe(1);
    world.poll(1);
    assert_eq!(
        world.managers[1].call, None,
        "it hears again, and waits from here"
    );
    wait(&mut world, PACE.wait_ms);
    world.poll(1);
    assert!(matches!(world.managers[1].call, Some(Ask::Txn(_))));
}

#[test]
fn a_lead_given_up_is_taken_without_waiting() {
    let mut world = led();
    wait(&mut world, 10);
    let now = world.line.now;
    let release = world.managers[0].machine.release(now).expect("it leads");
    assert!(matches!(
        world.line.apply(release),
        TxnOutcome::Committed(_)
    ));
    (0..MANAGERS).for_each(|who| world.observe(who));
    world.poll(0);
    assert_eq!(
        world.managers[0].call, None,
        "the one that gave it up stands back"
    );
    world.poll(1);
    world.deliver(1, Fate::Fine);
    assert!(world.managers[1].machine.is_sure(world.line.now));
    world.check();
}

#[test]
fn records_that_cannot_be_read_neither_block_nor_cause_a_takeover() {
    let mut world = World::new();
    let garbage = |key: Key| TxnOp::Put(key.path(), b"{\"from\": \"the future\"}".to_vec());
    let ops = vec![garbage(Key::LeaderEpoch), garbage(Key::LeaderHeartbeat)];
    world.line.apply(Txn {
        compares: vec![],
        ops,
    });
    world.observe(1);
    assert_eq!(world.managers[1].view.unreadable.len(), 2);
    wait(&mut world, PACE.wait_ms - 1);
    world.poll(1);
    assert_eq!(
        world.managers[1].call, None,
        "somebody renews it, for all we know"
    );
    wait(&mut world, 1);
    world.poll(1);
    world.deliver(1, Fate::Fine);
    assert!(world.managers[1].machine.epoch().is_some());
}

#[test]
fn an_epoch_that_is_not_its_own_any_more_ends_a_lead() {
    let mut world = led();
    // Not by a takeover, which writes both keys: somebody touched this one alone.
    let ops = vec![TxnOp::Put(Key::LeaderEpoch.path(), b"{}".to_vec())];
    world.line.apply(Txn {
        compares: vec![],
        ops,
    });
    wait(&mut world, PACE.renew_ms);
    for _ in 0..2 {
        world.poll(0);
        world.deliver(0, Fate::Fine);
    }
    assert_eq!(
        world.managers[0].machine.epoch(),
        None,
        "its writes are refused, so it must know"
    );
}
