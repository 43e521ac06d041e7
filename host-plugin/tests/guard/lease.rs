//! The guard on a real lease volume, by direct I/O.

use super::bench::{Agent, Bench, DEADLINE_MS, Vm, life, names, peer, until};
use holdfast_core::guardian::deadline::Phase;
use holdfast_core::guardian::planes::PlaneState;
use holdfast_core::lease::mailbox::HELD_MS;
use holdfast_core::lease::observer::Finding;
use holdfast_host::guard::protocol::{Answer, Call};
use holdfast_lease::volume::Volume;
use holdfast_model::id::Revision;
use holdfast_model::lease::{
    Ask, Heartbeat, HostPhase, Layout, Mail, Record, StorageClass, Superblock,
};
use holdfast_store::clock::boottime;
use std::path::{Path, PathBuf};

/// A guard with a volume, and an agent's connection to it.
pub struct Leased {
    pub bench: Bench,
    pub path: PathBuf,
    pub volume: Volume,
}

/// A volume for 8 hosts and 8 VMs; over another one as well.
pub fn volume_of(cluster: &str, path: &Path) -> Volume {
    let superblock = Superblock {
        cluster: cluster.parse().expect("a name"),
        class: StorageClass::Quorum,
        layout: Layout {
            hosts_max: 8,
            vms_max: 8,
            ..Layout::default()
        },
        created_ms: 1,
    };
    Volume::create(path, &superblock, true).expect("a volume")
}

impl Leased {
    pub fn new() -> Self {
        Self::of("c1")
    }

    /// With the volume of that cluster; the guard's is `c1`.
    pub fn of(cluster: &str) -> Self {
        let bench = Bench::with("[lease]\nvolume = \"DIR/leases\"\n");
        let path = bench.path().join("leases");
        let volume = volume_of(cluster, &path);
        Self {
            bench,
            path,
            volume,
        }
    }

    fn slot(&self, slot: u32) -> Option<Heartbeat> {
        let number = self.volume.superblock().layout.heartbeat(slot);
        match self.volume.read(number.expect("a slot")) {
            Ok(sector) => match sector.record {
                Record::Heartbeat(found) => found,
                other => panic!("{other:?}"),
            },
            Err(error) => panic!("{error}"),
        }
    }

    pub fn beats(&self, slot: u32) -> Heartbeat {
        until("a heartbeat is on the volume", || self.slot(slot))
    }

    /// As a peer that has closed its session would.
    pub fn ask_to_release(&self, slot: u32, incarnation: &str) {
        let mail = Mail {
            to: "h1".parse().expect("a name"),
            incarnation: life(incarnation),
            message: 9,
            ask: Ask::Release,
            by: "h2".parse().expect("a name"),
        };
        let number = self.volume.superblock().layout.mailbox(slot);
        let record = Record::Mailbox(Some(mail));
        let written = self.volume.write(number.expect("a mailbox"), 1, record);
        written.expect("written");
    }

    pub fn write(&self, slot: u32, heartbeat: Heartbeat) {
        let number = self.volume.superblock().layout.heartbeat(slot);
        let record = Record::Heartbeat(Some(heartbeat));
        self.volume
            .write(number.expect("a slot"), 1, record)
            .expect("written");
    }
}

pub fn planes(agent: &mut Agent) -> (PlaneState, PlaneState, Option<String>) {
    match agent.call(Call::Volume) {
        Ok(Answer::Volume {
            problem, planes, ..
        }) => (planes.0, planes.1, problem),
        other => panic!("{other:?}"),
    }
}

pub fn valid_storage(agent: &mut Agent) {
    until("the storage plane is valid", || {
        (planes(agent).1 == PlaneState::Valid).then_some(())
    });
}

#[test]
fn a_storage_lease_keeps_a_vm_alive_without_a_session_and_its_loss_does_not() {
    let leased = Leased::new();
    let (mut plain, mut kept) = (Vm::start("a"), Vm::leased("bb"));
    let mut agent = leased.bench.connect();
    agent.arm_in("i1", DEADLINE_MS, Some(3)).expect("armed");
    let first = leased.beats(3);
    assert_eq!(first.host.as_str(), "h1");
    assert_eq!(first.phase, HostPhase::Holding);
    valid_storage(&mut agent);
    assert_eq!(agent.watch(&kept), Ok(Answer::Done));
    assert_eq!(agent.watch(&plain), Ok(Answer::Done));
    // The agent says nothing from here on: the session lapses, and the life goes on.
    let (over, killed) = agent.stopped();
    assert_eq!((over, names(&killed)), (None, vec!["a".to_owned()]));
    plain.assert_killed();
    assert!(kept.child.is_alive());
    assert!(matches!(agent.status().phase, Phase::Armed(_)));
    let late = Vm::start("ccc");
    assert!(agent.watch(&late).is_err(), "it has no storage lease");
    // Now the volume is gone as well.
    std::fs::rename(&leased.path, leased.path.with_extension("gone")).expect("renamed");
    let killed = loop {
        // Before that it tells of the one that came too late.
        if let (Some(over), killed) = agent.stopped() {
            assert_eq!(over, life("i1"));
            break killed;
        }
    };
    assert!(names(&killed).contains(&"bb".to_owned()), "{killed:?}");
    kept.assert_killed();
    let problem = planes(&mut agent).2.expect("it is told");
    assert!(problem.contains("leases"), "{problem}");
    // It is back, and says that nothing is left.
    std::fs::rename(leased.path.with_extension("gone"), &leased.path).expect("renamed");
    until("the heartbeat says so", || {
        let found = leased.slot(3).filter(|b| b.phase == HostPhase::Released);
        found.map(|beat| assert_eq!(beat.incarnation, life("i1")))
    });
}

#[test]
fn it_releases_everything_when_its_mailbox_says_so() {
    let leased = Leased::new();
    let mut vm = Vm::leased("a");
    let mut agent = leased.bench.connect();
    agent.arm_in("i1", 60_000, Some(0)).expect("armed");
    valid_storage(&mut agent);
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    leased.ask_to_release(0, "another-life");
    let before = leased.beats(0).counter;
    until("it has read its mailbox again", || {
        (leased.beats(0).counter > before + 5_000).then_some(())
    });
    assert!(vm.child.is_alive(), "it was for another life");
    leased.ask_to_release(0, "i1");
    vm.assert_killed();
    until("the heartbeat says so", || {
        let found = leased.slot(0).filter(|b| b.phase == HostPhase::Released);
        found.map(|beat| assert_eq!(beat.answered, 9))
    });
}

#[test]
fn what_was_obsolete_in_its_mailbox_stays_so_for_the_next_guard() {
    let mut leased = Leased::new();
    let mut vm = Vm::leased("a");
    let mut agent = leased.bench.connect();
    agent.arm_in("i1", 60_000, Some(0)).expect("armed");
    valid_storage(&mut agent);
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    // The session was closed after the heartbeat of revision 9, and opened again with one of 20.
    let renewed = Call::Renewed {
        incarnation: life("i1"),
        sent_at: boottime(),
        revision: Revision(20),
    };
    agent.call(renewed).expect("renewed");
    let number = leased.volume.superblock().layout.mailbox(0);
    let mail = |message| {
        Record::Mailbox(Some(Mail {
            to: "h1".parse().expect("a name"),
            incarnation: life("i1"),
            message,
            ask: Ask::Release,
            by: "h2".parse().expect("a name"),
        }))
    };
    let number = number.expect("a mailbox");
    leased.volume.write(number, 1, mail(9)).expect("written");
    drop(agent);
    leased.bench.crash_guard();
    // A heartbeat's number is its time: mail is left alone for a moment, and looked at after that.
    let before = leased.beats(0).counter;
    until("it has read its mailbox for longer than mail waits", || {
        (leased.beats(0).counter > before + 2 * HELD_MS).then_some(())
    });
    assert!(
        vm.child.is_alive(),
        "it was asked before the session was opened again"
    );
    leased.volume.write(number, 2, mail(30)).expect("written");
    vm.assert_killed();
}

#[test]
fn a_slot_of_another_host_is_left_alone() {
    let leased = Leased::new();
    let mut agent = leased.bench.connect();
    let other = peer("h2", 7);
    leased.write(2, other.clone());
    agent.arm_in("i1", 60_000, Some(2)).expect("armed");
    let problem = until("it is told", || planes(&mut agent).2);
    assert!(problem.contains("is host h2's"), "{problem}");
    assert_eq!(leased.slot(2), Some(other.clone()));
    // In a slot of its own it sees that the other one does not change.
    agent.arm_in("i1", 60_000, Some(1)).expect("armed");
    valid_storage(&mut agent);
    let observe = || Call::Observe {
        slot: 2,
        incarnation: life("theirs"),
        closed: boottime(),
    };
    let closed = observe();
    until("it was unchanged for a while", || {
        match agent.call(closed.clone()) {
            Ok(Answer::Observed {
                finding: Finding::Holding { unchanged_ms, .. },
                wait_ms,
            }) => {
                assert_eq!(wait_ms, Some(5_011));
                (unchanged_ms > 300).then_some(())
            }
            other => panic!("{other:?}"),
        }
    });
    // And somebody who writes into its own slot is noticed.
    let problem = until("it is told", || {
        leased.write(1, other.clone()); // one of its own heartbeats may just be on its way
        planes(&mut agent).2
    });
    assert!(problem.contains("two hosts have one slot"), "{problem}");
}

#[test]
fn a_peer_that_joins_in_a_higher_slot_is_watched_before_anybody_asks() {
    let leased = Leased::new();
    let mut agent = leased.bench.connect();
    agent.arm_in("i1", 60_000, Some(0)).expect("armed");
    valid_storage(&mut agent);
    let beats_later = || {
        let before = leased.beats(0).counter;
        until("it has written more heartbeats", || {
            (leased.beats(0).counter > before + 2_000).then_some(())
        });
    };
    beats_later();
    leased.write(5, peer("h2", 7));
    beats_later();
    let answer = agent.call(Call::Observe {
        slot: 5,
        incarnation: life("theirs"),
        closed: boottime(),
    });
    let Ok(Answer::Observed { finding, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert!(
        matches!(finding, Finding::Holding { counter: 7, .. }),
        "{finding:?}: its wait would begin only now"
    );
}

#[test]
fn a_restarted_guard_goes_on_with_the_heartbeat_without_an_agent() {
    let mut leased = Leased::new();
    let mut vm = Vm::leased("a");
    let mut agent = leased.bench.connect();
    agent.arm_in("i1", 8_000, Some(5)).expect("armed");
    valid_storage(&mut agent);
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    drop(agent);
    leased.bench.crash_guard();
    let before = leased.beats(5).counter;
    until("it writes on", || {
        (leased.beats(5).counter > before).then_some(())
    });
    assert!(vm.child.is_alive());
    let mut agent = leased.bench.connect();
    assert!(matches!(agent.status().phase, Phase::Armed(_)));
    assert_eq!(agent.status().watched.len(), 1);
}
