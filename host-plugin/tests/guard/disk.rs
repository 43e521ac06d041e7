//! Calls to the lease volume that hang, in the guard's own threads: what is behind them waits, up to a bound,
//! and nothing else does.

use super::bench::{WAIT, until};
use holdfast_host::guard::disk::{Disk, Lane, Stuck, WAITING_MAX};
use holdfast_lease::error::VolumeError;
use holdfast_lease::volume::Volume;
use holdfast_model::lease::{Layout, Record, StorageClass, Superblock};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// What a job says when it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// This one of that lane.
    Done(&'static str, usize),
    /// It could not be done.
    Failed(String),
}

/// Storage under a lease volume that can be made to hang.
struct Storage {
    _dir: TempDir,
    disk: Disk<Told>,
    /// Whoever holds it up, until it is dropped.
    hold: Option<Sender<()>>,
    held: Arc<Mutex<Receiver<()>>>,
}

impl Storage {
    fn new() -> Self {
        // Direct I/O needs a real file system.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let path = dir.path().join("leases");
        let cluster: holdfast_model::id::ClusterName = "c1".parse().expect("a name");
        let superblock = Superblock {
            cluster: cluster.clone(),
            class: StorageClass::Quorum,
            layout: Layout {
                hosts_max: 8,
                vms_max: 8,
                ..Layout::default()
            },
            created_ms: 1,
        };
        Volume::create(&path, &superblock, false).expect("a volume");
        let (hold, held) = channel();
        Self {
            disk: Disk::start(path, cluster).expect("threads"),
            _dir: dir,
            hold: Some(hold),
            held: Arc::new(Mutex::new(held)),
        }
    }

    /// A call that hangs; returns once it does.
    fn hang(&self, lane: Lane, name: &'static str) {
        let (begun, begins) = channel();
        let held = Arc::clone(&self.held);
        let work = move |_: &Volume| {
            begun.send(()).expect("the test waits for it");
            // It ends when nobody holds it up any more, and never in the middle of a test.
            let end = held.lock().expect("one at a time").recv_timeout(WAIT);
            match end {
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => Told::Done(name, 0),
                other => Told::Failed(format!("{name} was let go: {other:?}")),
            }
        };
        self.disk.submit(lane, failed, work).expect("taken");
        begins.recv_timeout(WAIT).expect("it has begun");
    }

    fn submit(&self, lane: Lane, name: &'static str, number: usize) -> Result<(), Stuck> {
        let work = move |volume: &Volume| {
            let sector = volume.superblock().layout.heartbeat(1);
            let record = Record::Heartbeat(None);
            match volume.write(sector.expect("a slot"), number as u64, record) {
                Ok(()) => Told::Done(name, number),
                Err(error) => Told::Failed(error.to_string()),
            }
        };
        self.disk.submit(lane, failed, work)
    }

    /// Everything that is told until there are so many.
    fn told(&self, count: usize) -> Vec<Told> {
        let mut told = Vec::new();
        until("the jobs are done", || {
            told.extend(self.disk.results());
            (told.len() >= count).then_some(())
        });
        told
    }
}

fn failed(error: VolumeError) -> Told {
    Told::Failed(error.to_string())
}

#[test]
fn a_call_that_hangs_holds_up_neither_heartbeats_nor_who_asks() {
    let mut storage = Storage::new();
    storage.hang(Lane::Rest, "rest");
    // Behind it as many as may wait, and no more: the guard is told at once.
    for number in 1..=WAITING_MAX {
        assert_eq!(storage.submit(Lane::Rest, "rest", number), Ok(()));
    }
    for _ in 0..3 {
        assert_eq!(storage.submit(Lane::Rest, "rest", 99), Err(Stuck));
    }
    // More heartbeats than could wait anywhere, each written to the volume meanwhile; and claims.
    for number in 0..2 * WAITING_MAX {
        assert_eq!(storage.submit(Lane::Heartbeats, "beat", number), Ok(()));
        assert_eq!(storage.told(1), [Told::Done("beat", number)]);
        assert_eq!(storage.submit(Lane::Claims, "claim", number), Ok(()));
        assert_eq!(storage.told(1), [Told::Done("claim", number)]);
    }
    assert_eq!(storage.submit(Lane::Rest, "rest", 99), Err(Stuck));
    // The storage answers again: nothing that was taken is lost, and it is done in its order.
    drop(storage.hold.take());
    let wanted = (0..=WAITING_MAX).map(|number| Told::Done("rest", number));
    assert_eq!(storage.told(1 + WAITING_MAX), wanted.collect::<Vec<_>>());
    assert_eq!(storage.submit(Lane::Rest, "rest", 99), Ok(()));
    assert_eq!(storage.told(1), [Told::Done("rest", 99)]);
}

#[test]
fn whichever_thread_hangs_has_a_bound_and_the_others_go_on() {
    let lanes = [
        (Lane::Heartbeats, "beat"),
        (Lane::Claims, "claim"),
        (Lane::Rest, "rest"),
    ];
    for (hangs, its_name) in lanes {
        let mut storage = Storage::new();
        storage.hang(hangs, its_name);
        let mut taken = 0;
        while storage.submit(hangs, its_name, 1 + taken).is_ok() {
            taken += 1;
            assert!(taken <= WAITING_MAX, "{its_name}: there is no bound");
        }
        assert_eq!(taken, WAITING_MAX, "{its_name}");
        // The two others go on.
        let others = lanes.into_iter().filter(|(lane, _)| *lane != hangs);
        for (lane, name) in others {
            assert_eq!(storage.submit(lane, name, 7), Ok(()));
            assert_eq!(storage.told(1), [Told::Done(name, 7)], "{its_name} hangs");
        }
        drop(storage.hold.take());
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for told in storage.told(1 + taken) {
            match told {
                Told::Done(name, _) => *count.entry(name).or_default() += 1,
                Told::Failed(why) => panic!("{its_name}: {why}"),
            }
        }
        assert_eq!(count, BTreeMap::from([(its_name, 1 + WAITING_MAX)]));
    }
}
