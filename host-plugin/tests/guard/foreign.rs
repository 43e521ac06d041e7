//! What is not this guard's on a lease volume: another cluster's volume, a volume that two clusters of one
//! name share by mistake, sectors of another Holdfast. Never obeyed, never written over, always told.

use super::bench::{Bench, Vm, life, peer, until};
use super::claims::{SLOT, claim, wanted};
use super::lease::{Leased, planes, valid_storage, volume_of};
use holdfast_core::guardian::planes::PlaneState;
use holdfast_core::lease::observer::Finding;
use holdfast_host::guard::claims::ClaimState;
use holdfast_host::guard::protocol::{Answer, Call};
use holdfast_lease::fuzzing::sum;
use holdfast_lease::sector::{Sector, encode};
use holdfast_model::lease::{Ask, Heartbeat, HostPhase, Mail, Record};
use holdfast_store::clock::boottime;
use std::os::unix::fs::FileExt;

/// Format versions that this program does not know: an older and a newer one.
const VERSIONS: [u16; 2] = [0, 2];

impl Leased {
    /// Writes a sector as a Holdfast of that format version would; returns its bytes.
    fn write_as(&self, version: u16, number: u64, record: Record) -> Vec<u8> {
        let size = self.volume.superblock().layout.sector_bytes();
        let sector = Sector {
            number,
            writes: 1,
            record,
        };
        let mut bytes = encode(&sector, self.volume.id(), size);
        bytes[8..10].copy_from_slice(&version.to_le_bytes());
        sum(&mut bytes);
        let file = std::fs::OpenOptions::new().write(true).open(&self.path);
        let file = file.expect("the volume");
        file.write_all_at(&bytes, number * size as u64)
            .expect("written");
        file.sync_all().expect("written");
        bytes
    }

    /// What stands in a sector, whatever it is.
    fn raw(&self, number: u64) -> Vec<u8> {
        let size = self.volume.superblock().layout.sector_bytes();
        let mut bytes = vec![0; size];
        let file = std::fs::File::open(&self.path).expect("the volume");
        file.read_exact_at(&mut bytes, number * size as u64)
            .expect("read");
        bytes
    }

    /// Heartbeats of this guard in that slot for longer than it takes to read everything once more.
    fn beats_on(&self, slot: u32) {
        let before = self.beats(slot).counter;
        until(
            "it has written more heartbeats, and read between them",
            || (self.beats(slot).counter > before + 3_000).then_some(()),
        );
    }
}

#[test]
fn nothing_is_written_to_the_volume_of_another_cluster() {
    let leased = Leased::of("c2");
    let before = std::fs::read(&leased.path).expect("the volume");
    let mut agent = leased.bench.connect();
    agent.arm_in("i1", 60_000, Some(3)).expect("armed");
    let problem = until("it is told", || planes(&mut agent).2);
    assert!(
        problem.contains("is the lease volume of cluster c2, not of c1"),
        "{problem}"
    );
    assert_eq!(planes(&mut agent).1, PlaneState::Lapsed);
    let vm = Vm::leased("a");
    let state = claim(&mut agent, Some(SLOT), &wanted(&vm, 4, &[]));
    let ClaimState::Refused { reason, stands } = state else {
        panic!("{state:?}");
    };
    assert!(reason.contains("of cluster c2"), "{reason}");
    assert_eq!(stands, None);
    let after = std::fs::read(&leased.path).expect("the volume");
    assert!(before == after, "something was written to it");
    // It did try: with a volume of its own cluster in that very file it goes on by itself.
    volume_of("c1", &leased.path);
    valid_storage(&mut agent);
    // A look from before may have ended only now.
    until("nothing is wrong any more", || {
        planes(&mut agent).2.is_none().then_some(())
    });
}

/// By its superblock the volume is the other cluster's as well: the name is all that stands there. What is
/// told apart is every sector, by the life that wrote it.
#[test]
fn two_clusters_of_one_name_notice_in_the_sectors_that_they_share_a_volume() {
    let leased = Leased::new();
    let mut agent = leased.armed();
    let vm = Vm::leased("a");
    let ours = wanted(&vm, 4, &[]);
    assert_eq!(claim(&mut agent, Some(SLOT), &ours), ClaimState::Held);
    let stands = leased.claim_in(SLOT);
    // The other cluster's host; the worst case, with the same name.
    let shared = leased.path.display();
    let other = Bench::with(&format!("[lease]\nvolume = \"{shared}\"\n"));
    let mut theirs = other.connect();
    theirs.arm_in("j1", 60_000, Some(1)).expect("armed");
    valid_storage(&mut theirs);
    // Its VMs are others, or another cluster's copies of the same ones: their claims are not taken.
    let mut another = wanted(&Vm::leased("bb"), 9, &[]);
    let mut copy = wanted(&vm, 9, &[]);
    for (wanted, says) in [
        (&mut another, "is that of VM a"),
        (&mut copy, "an owner that the control plane does not"),
    ] {
        wanted.holder.incarnation = life("j1");
        let state = claim(&mut theirs, Some(SLOT), wanted);
        let ClaimState::Refused { reason, .. } = &state else {
            panic!("{state:?}");
        };
        assert!(reason.contains(says), "{reason}");
    }
    assert_eq!(leased.claim_in(SLOT), stands);
    // It takes the slot that has its name, by its own etcd: the one that was there notices, and gives it up.
    leased.beats_on(0);
    theirs.arm_in("j1", 60_000, Some(0)).expect("armed");
    let problem = until("it is told", || planes(&mut agent).2);
    assert!(
        problem.contains("two machines one name") && problem.contains("incarnation j1"),
        "{problem}"
    );
    valid_storage(&mut theirs);
    assert_eq!(leased.beats(0).incarnation, life("j1"));
}

#[test]
fn a_message_of_another_holdfast_is_not_obeyed_and_stays() {
    let leased = Leased::new();
    let mut vm = Vm::leased("a");
    let mut agent = leased.armed();
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    let number = leased.volume.superblock().layout.mailbox(0);
    let number = number.expect("a mailbox");
    for version in VERSIONS {
        let mail = Record::Mailbox(Some(Mail {
            to: "h1".parse().expect("a name"),
            incarnation: life("i1"),
            message: 9,
            ask: Ask::Release,
            by: "h2".parse().expect("a name"),
        }));
        let bytes = leased.write_as(version, number, mail);
        let says = format!("format version {version}");
        until("it is told", || {
            let problem = planes(&mut agent).2?;
            problem.contains(&says).then_some(())
        });
        leased.beats_on(0);
        assert!(vm.child.is_alive(), "it obeyed version {version}");
        assert_eq!(planes(&mut agent).1, PlaneState::Valid);
        assert!(leased.raw(number) == bytes, "it is gone: version {version}");
    }
    // One that can be read is obeyed at once.
    leased.ask_to_release(0, "i1");
    vm.assert_killed();
    until("nothing is wrong any more", || {
        planes(&mut agent).2.is_none().then_some(())
    });
}

#[test]
fn a_heartbeat_of_another_holdfast_proves_nothing_and_is_not_written_over() {
    let leased = Leased::new();
    let mut agent = leased.armed();
    let (theirs, own) = (2, 3);
    let layout = leased.volume.superblock().layout;
    let number = |slot: u32| layout.heartbeat(slot).expect("a slot");
    for version in VERSIONS {
        let counter = 10 * u64::from(version) + 7;
        leased.write(theirs, peer("h2", counter));
        let mut observe = |closed| {
            let answer = agent.call(Call::Observe {
                slot: theirs,
                incarnation: life("theirs"),
                closed,
            });
            match answer {
                Ok(Answer::Observed { finding, .. }) => finding,
                other => panic!("{other:?}"),
            }
        };
        let is_seen = |finding: &Finding| matches!(finding, Finding::Holding { counter: seen, .. } if *seen == counter);
        until("its heartbeat was seen", || {
            is_seen(&observe(boottime())).then_some(())
        });
        // It says that all has stopped, in words that this program may not know.
        let record = Record::Heartbeat(Some(Heartbeat {
            phase: HostPhase::Released,
            ..peer("h2", counter + 1)
        }));
        let bytes = leased.write_as(version, number(theirs), record.clone());
        // Clocks here have milliseconds: what was sent in this one may have been answered before the sector was written.
        let closed = boottime().plus(1);
        leased.beats_on(0);
        let finding = observe(closed);
        assert!(
            is_seen(&finding)
                && matches!(
                    finding,
                    Finding::Holding {
                        unchanged_ms: 0,
                        ..
                    }
                ),
            "version {version} was believed, or took something back: {finding:?}"
        );
        assert!(leased.raw(number(theirs)) == bytes, "version {version}");
        // In the slot that is to be its own: whose it is cannot be read.
        let bytes = leased.write_as(version, number(own), record);
        agent.arm_in("i1", 60_000, Some(own)).expect("armed");
        let says = format!("format version {version}");
        until("it is told", || {
            let problem = planes(&mut agent).2?;
            (problem.contains(&says) && problem.contains("--heartbeats")).then_some(())
        });
        assert!(leased.raw(number(own)) == bytes, "version {version}");
        // Emptied, it is its own.
        let free = leased.volume.write(number(own), 2, Record::Heartbeat(None));
        free.expect("written");
        assert_eq!(leased.beats(own).incarnation, life("i1"));
        until("nothing is wrong any more", || {
            planes(&mut agent).2.is_none().then_some(())
        });
        // Back into its first slot, for the next version.
        agent.arm_in("i1", 60_000, Some(0)).expect("armed");
        leased
            .volume
            .write(number(own), 3, Record::Heartbeat(None))
            .expect("written");
    }
}
