//! A host's session under everything that can go wrong on the line, with a leader that closes it
//! after silence and an agent that is restarted. The ground truth is the store's own history.

mod simulated;

use holdfast_model::host::{Session, SessionState};
use holdfast_model::id::Revision;
use holdfast_model::time::Instant;
use holdfast_store::api::{Change, Compare, Txn, TxnOp, TxnOutcome};
use holdfast_store::guarded::{Ack, Answer, Ask, Lost};
use holdfast_store::guards::encode;
use holdfast_store::session::{Opener, Opening, SessionHeartbeat, continued, heartbeat};
use proptest::prelude::*;
use simulated::host::{OBSERVE_MS, host, identity, key, session};
use simulated::{FATES, Fate, Line};

const PERIOD_MS: u64 = 1_000;
/// One life of an agent, and what it was told.
struct Agent {
    machine: SessionHeartbeat,
    incarnation: String,
    call: Option<Ask>,
    acks: Vec<Ack>,
}

struct World {
    line: Line,
    agent: Agent,
    lives: u32,
    /// Incarnations that a leader closed, and at which revision.
    closed: Vec<(String, Revision)>,
}

impl World {
    fn new() -> Self {
        let agent = Self::fresh(1, None);
        Self {
            line: Line::default(),
            agent,
            lives: 1,
            closed: Vec::new(),
        }
    }

    fn fresh(life: u32, base: Option<Revision>) -> Agent {
        let incarnation = format!("life-{life}");
        let machine = heartbeat(
            host(),
            session("machine", "boot", &incarnation),
            base,
            PERIOD_MS,
        );
        Agent {
            machine,
            incarnation,
            call: None,
            acks: Vec::new(),
        }
    }

    fn poll(&mut self) {
        if self.agent.call.is_none() {
            let ask = self.agent.machine.poll(self.line.now);
            if matches!(ask, Ask::Txn(_) | Ask::Read(_)) {
                self.agent.call = Some(ask);
            }
        }
    }

    fn deliver(&mut self, fate: Fate) {
        let Some(ask) = self.agent.call.take() else {
            return;
        };
        let answer = self.line.call(&ask, fate);
        let acked = self.agent.machine.answer(self.line.now, answer);
        self.agent.acks.extend(acked);
    }

    fn stored(&self) -> Option<(Revision, Session)> {
        let item = self.line.store.get_now(&key())?;
        Some((
            item.revision,
            serde_json::from_slice(&item.value).expect("a session"),
        ))
    }

    /// A leader closes the session on the heartbeat it saw last.
    fn close(&mut self) {
        let Some((revision, session)) = self.stored() else {
            return;
        };
        if session.state == SessionState::Closed {
            return;
        }
        let life = session.incarnation.to_string();
        let closed = Session {
            state: SessionState::Closed,
            ..session
        };
        let txn = Txn {
            compares: vec![Compare::Revision(key(), revision)],
            ops: vec![TxnOp::Put(key(), encode(&closed))],
        };
        let TxnOutcome::Committed(at) = self.line.apply(txn) else {
            panic!("nobody in between")
        };
        self.closed.push((life, at));
    }

    /// The agent is killed and started again. Its state file is there, so it goes on with its
    /// incarnation if the session is still open; a closed one is followed by a new incarnation.
    fn restart(&mut self) {
        // Starting a process takes a moment.
        self.line.now = self.line.now.plus(1);
        let saved = identity(Some(&self.agent.incarnation));
        let found = self.line.store.get_now(&key());
        // What was under way may still arrive.
        if let Some(Ask::Txn(txn)) = self.agent.call.take() {
            self.line.late.push(txn);
        }
        let incarnation = self.agent.incarnation.clone();
        let mut opener = Opener::new(saved, OBSERVE_MS);
        let mut opening = opener.decide(self.line.now, found.as_ref(), true);
        // A late write of a life before the last opened that one. Nobody renews it.
        if let Opening::Observe { until } = opening {
            self.line.now = until;
            opening = opener.decide(self.line.now, found.as_ref(), true);
        }
        self.agent = match opening {
            Opening::New { base } => {
                self.lives += 1;
                Self::fresh(self.lives, base)
            }
            Opening::Continue {
                base,
                session: found,
            } => {
                let mine = session("machine", "boot", &incarnation);
                let machine = continued(host(), mine, base, found.beat, PERIOD_MS);
                Agent {
                    machine,
                    incarnation,
                    call: None,
                    acks: Vec::new(),
                }
            }
            other => panic!("nobody else has this name: {other:?}"),
        };
    }

    fn check(&self) {
        for ack in &self.agent.acks {
            let made_at = self.line.made_at[&ack.revision];
            assert!(
                ack.sent_at <= made_at,
                "{ack:?} was made at {made_at} already"
            );
        }
        let in_order = |pair: &[Ack]| {
            pair[0].sent_at <= pair[1].sent_at && pair[0].revision < pair[1].revision
        };
        assert!(
            self.agent.acks.windows(2).all(in_order),
            "{:?}",
            self.agent.acks
        );
        // A closed incarnation never writes again.
        for change in self
            .line
            .store
            .changes_after(&key(), Revision(0))
            .expect("all")
            .changes
        {
            let Change::Put(item) = change else { continue };
            let session: Session = serde_json::from_slice(&item.value).expect("a session");
            let life = session.incarnation.to_string();
            let closed = self.closed.iter().find(|(closed, _)| *closed == life);
            if session.state == SessionState::Open {
                assert!(
                    closed.is_none_or(|(_, at)| item.revision < *at),
                    "{life} after its end"
                );
            }
        }
    }

    /// Nothing goes wrong any more: soon the agent is acknowledged, or knows that it is closed.
    fn settle(&mut self) {
        for _ in 0..40 {
            self.line.now = self.line.now.plus(100);
            self.poll();
            self.deliver(Fate::Fine);
        }
        let (revision, stored) = self.stored().expect("a session");
        let mine = stored.incarnation.to_string() == self.agent.incarnation;
        match self.agent.machine.lost() {
            None => {
                assert!(mine && stored.state == SessionState::Open);
                let ack = self.agent.machine.acknowledged().expect("acknowledged");
                assert_eq!(ack.revision, revision);
                assert!(self.line.now.since(ack.sent_at) <= PERIOD_MS + 200);
            }
            Some(Lost::Closed) => assert!(mine && stored.state == SessionState::Closed),
            Some(Lost::Taken(_)) => assert!(!mine),
            Some(other) => panic!("nobody does that: {other:?}"),
        }
    }
}

fn step(world: &mut World, (kind, argument): (u8, usize)) {
    match kind {
        0..=3 => world.line.now = world.line.now.plus(argument as u64 % 900),
        4..=7 => world.poll(),
        8..=10 => world.deliver(Fate::Fine),
        11..=12 => world.deliver(FATES[argument % FATES.len()]),
        13 => world.line.arrive(argument),
        14 => {
            // The caller gave the call up; whether it was carried out is open.
            if let Some(ask) = world.agent.call.take() {
                let _ = world.line.call(&ask, FATES[argument % FATES.len()]);
            }
        }
        15 if argument % 4 == 0 => world.close(),
        16 if argument % 3 == 0 => world.restart(),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_means_seen_later_and_closed_means_silent(
        steps in prop::collection::vec((0_u8..17, 0_usize..10_000), 1..200)
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

#[test]
fn the_deadline_counts_from_the_send_time() {
    let mut world = World::new();
    world.line.now = Instant(10_000);
    world.poll();
    world.line.now = Instant(10_700);
    world.deliver(Fate::Fine);
    let ack = world.agent.machine.acknowledged().expect("acknowledged");
    assert_eq!(ack.sent_at, Instant(10_000));
    assert_eq!(
        world.agent.machine.poll(world.line.now),
        Ask::Wait(Instant(11_000))
    );
}

#[test]
fn a_lost_reply_is_found_by_reading_and_counts_from_its_own_send_time() {
    let mut world = World::new();
    world.line.now = Instant(1_000);
    world.poll();
    world.deliver(Fate::ReplyLost);
    world.line.now = Instant(2_500);
    world.poll();
    assert!(matches!(world.agent.call, Some(Ask::Read(_))));
    world.deliver(Fate::Fine);
    assert_eq!(
        world.agent.acks.last().map(|ack| ack.sent_at),
        Some(Instant(1_000))
    );
    // And the next one is guarded by it.
    world.poll();
    world.deliver(Fate::Fine);
    assert_eq!(
        world.agent.acks.last().map(|ack| ack.sent_at),
        Some(Instant(2_500))
    );
}

#[test]
fn a_late_copy_and_its_successor_do_not_both_happen() {
    let mut world = World::new();
    world.poll();
    world.deliver(Fate::Fine);
    world.line.now = Instant(1_000);
    world.poll();
    world.deliver(Fate::Late);
    world.poll();
    world.deliver(Fate::Fine);
    assert!(
        matches!(world.agent.machine.poll(world.line.now), Ask::Txn(_)),
        "not there: again"
    );
    // The successor is under way when the late copy arrives first.
    let successor = world.agent.machine.poll(world.line.now);
    assert!(matches!(successor, Ask::Read(_)), "given up: read first");
    let nothing = world.line.call(&successor, Fate::Fine);
    world.agent.machine.answer(world.line.now, nothing);
    world.line.now = Instant(1_500);
    world.poll();
    world.line.arrive(0);
    world.deliver(Fate::Fine);
    world.poll();
    world.deliver(Fate::Fine);
    let ack = world.agent.acks.last().expect("resolved");
    assert_eq!(
        ack.sent_at,
        Instant(1_000),
        "the late one happened, and counts from its own time"
    );
    world.check();
}

#[test]
fn a_closed_session_is_told_as_such() {
    let mut world = World::new();
    world.poll();
    world.deliver(Fate::Fine);
    world.close();
    world.line.now = Instant(PERIOD_MS);
    for _ in 0..2 {
        world.poll();
        world.deliver(Fate::Fine);
    }
    assert_eq!(world.agent.machine.lost(), Some(&Lost::Closed));
    assert_eq!(
        world.agent.machine.poll(world.line.now),
        Ask::Over(Lost::Closed)
    );
}

#[test]
fn an_answer_nobody_waits_for_changes_nothing() {
    let mut world = World::new();
    world.poll();
    let call = world.agent.call.clone().expect("a write");
    let answer = world.line.call(&call, Fate::Fine);
    // The caller gave up, and asked again: the machine reads.
    let Ask::Read(_) = world.agent.machine.poll(world.line.now) else {
        panic!("a read")
    };
    assert_eq!(world.agent.machine.answer(world.line.now, answer), None);
    world.agent.call = Some(world.agent.machine.poll(world.line.now));
    world.deliver(Fate::Fine);
    assert_eq!(world.agent.acks.len(), 1);
    assert_eq!(
        world.agent.machine.answer(
            world.line.now,
            Answer::Txn(Ok(TxnOutcome::Refused(Revision(0))))
        ),
        None
    );
}

#[test]
fn of_two_agents_that_open_at_once_one_finds_out() {
    let mut world = World::new();
    let mut second = World::fresh(2, None);
    world.poll();
    world.deliver(Fate::Fine);
    // The second decided on the same absent record.
    for _ in 0..2 {
        let ask = second.machine.poll(world.line.now);
        let answer = world.line.call(&ask, Fate::Fine);
        second.machine.answer(world.line.now, answer);
    }
    assert!(matches!(second.machine.lost(), Some(Lost::Taken(who)) if who.contains("life-1")));
    assert_eq!(world.agent.acks.len(), 1);
}
