//! Volumes on a real file system.
#![allow(clippy::unwrap_used)]

use holdfast_lease::error::{SectorError, VolumeError};
use holdfast_lease::sector::{Sector, VolumeId, encode};
use holdfast_lease::survey::survey;
use holdfast_lease::volume::{Access, Volume};
use holdfast_model::id::Generation;
use holdfast_model::lease::*;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn superblock(cluster: &str, sector_size: u32) -> Superblock {
    Superblock {
        cluster: cluster.parse().unwrap(),
        class: StorageClass::Quorum,
        layout: Layout {
            sector_size,
            hosts_max: 4,
            vms_max: 300,
        },
        created_ms: 1,
    }
}

/// On the disk that the build is on: `/tmp` may be in memory.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("leases");
    (dir, path)
}

fn claim(generation: u64) -> Record {
    Record::Claim(Some(Claim {
        vm: "web".parse().unwrap(),
        uuid: "uuid".parse().unwrap(),
        generation: Generation(generation),
        holder: Some(Holder {
            host: "a1".parse().unwrap(),
            incarnation: "life".parse().unwrap(),
        }),
        incoming: None,
    }))
}

fn scribble(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_volume_is_made_opened_and_written_to() {
    for sector_size in [512, 4096] {
        let (_dir, path) = place();
        let wanted = superblock("c1", sector_size);
        let made = Volume::create(&path, &wanted, false);
        let made = match made {
            // A disk with blocks of 4 KiB has no smaller sectors; the other size is tried there.
            Err(VolumeError::Io { source, .. })
                if sector_size == 512 && source.kind() == std::io::ErrorKind::InvalidInput =>
            {
                continue;
            }
            other => other.unwrap(),
        };
        let slot = wanted.layout.claim(299).unwrap();
        made.write_and_check(slot, 1, claim(7)).unwrap();
        let opened = Volume::open(&path, Access::Read).unwrap();
        assert_eq!(opened.superblock(), &wanted);
        assert_eq!(opened.id(), made.id());
        assert_eq!(opened.damage(), None);
        assert_eq!(opened.read(slot).unwrap().record, claim(7));
        let all = survey(&opened).unwrap();
        assert_eq!((all.hosts.len(), all.mail.len()), (0, 0));
        assert_eq!((all.claims[0].slot, all.claims[0].writes), (299, 1));
        assert_eq!(all.damaged.len(), 0, "{:?}", all.damaged);
        let error = opened.write(slot, 2, claim(8)).unwrap_err().to_string();
        assert!(error.contains("Bad file descriptor"), "{error}");
        let error = made.write(slot, 2, Record::Mailbox(None)).unwrap_err();
        assert!(error.to_string().contains("does not belong"), "{error}");
        let error = made.read(10_000).unwrap_err().to_string();
        assert!(error.contains("there is no sector 10000"), "{error}");
    }
}

#[test]
fn what_is_there_is_not_lost_by_mistake() {
    let (_dir, path) = place();
    let first = Volume::create(&path, &superblock("c1", 4096), false).unwrap();
    let error = Volume::create(&path, &superblock("c2", 4096), false).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("of cluster c1") && text.contains("--force"),
        "{text}"
    );
    let error = Volume::open(&path, Access::Write)
        .unwrap()
        .of_cluster(&"c2".parse().unwrap())
        .unwrap_err();
    assert!(
        error.to_string().contains("two clusters never share"),
        "{error}"
    );
    let second = Volume::create(&path, &superblock("c2", 4096), true).unwrap();
    assert_ne!(first.id(), second.id());
    std::fs::write(&path, vec![7; 100_000]).unwrap();
    let error = Volume::create(&path, &superblock("c1", 4096), false).unwrap_err();
    assert!(error.to_string().contains("other data"), "{error}");
    let error = Volume::open(&path, Access::Read).unwrap_err();
    assert!(error.to_string().contains("no lease volume"), "{error}");
    let error = Volume::open(&path.with_extension("gone"), Access::Read).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[test]
fn damage_is_named_and_nothing_damaged_is_free() {
    let (_dir, path) = place();
    let wanted = superblock("c1", 4096);
    let volume = Volume::create(&path, &wanted, false).unwrap();
    let layout = wanted.layout;
    for slot in 0..4 {
        let number = layout.claim(slot).unwrap();
        volume
            .write_and_check(number, 1, claim(u64::from(slot)))
            .unwrap();
    }
    let at = |slot: u32| layout.claim(slot).unwrap() * 4096;
    scribble(&path, at(0), &[0; 4096]);
    scribble(&path, at(1) + 100, b"x");
    let other = {
        let (_other_dir, other) = place();
        let foreign = Volume::create(&other, &wanted, false).unwrap();
        let number = layout.claim(2).unwrap();
        foreign.write(number, 1, claim(2)).unwrap();
        std::fs::read(&other).unwrap()
    };
    scribble(&path, at(2), &other[at(2) as usize..][..4096]);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(at(298)).unwrap();
    drop(file);
    let opened = Volume::open(&path, Access::Read).unwrap();
    let found = survey(&opened).unwrap();
    assert_eq!(found.claims.len(), 1, "only the fourth is whole");
    let problem = |slot: u64| {
        let damage = found
            .damaged
            .iter()
            .find(|d| d.slot == slot && d.kind == Kind::Claim);
        damage.unwrap().problem.clone()
    };
    assert!(problem(0).contains("nothing but zeros"));
    assert!(problem(1).contains("torn or damaged"));
    assert!(problem(2).contains("belongs to volume"));
    assert!(problem(298).contains("cut short") && problem(299).contains("cut short"));
    assert_eq!(found.damaged.len(), 5);
    assert!(matches!(
        opened.read(layout.claim(0).unwrap()),
        Err(VolumeError::Sector {
            source: SectorError::Zeroed,
            ..
        })
    ));
}

#[test]
fn one_lost_superblock_is_repaired_from_the_other() {
    for lost in [0, 4096] {
        let (_dir, path) = place();
        let wanted = superblock("c1", 4096);
        let id = Volume::create(&path, &wanted, false).unwrap().id();
        scribble(&path, lost, &[0; 4096]);
        let mut volume = Volume::open(&path, Access::Write).unwrap();
        assert_eq!(volume.damage(), Some(&SectorError::Zeroed));
        assert_eq!((volume.id(), volume.superblock()), (id, &wanted));
        volume.repair_superblocks().unwrap();
        assert_eq!(Volume::open(&path, Access::Read).unwrap().damage(), None);
        scribble(&path, 0, &[0; 8192]);
        assert!(matches!(
            Volume::open(&path, Access::Read),
            Err(VolumeError::NotAVolume { .. })
        ));
    }
}

/// The copy's place depends on the sector size, and both are of one volume.
#[test]
fn a_copy_that_stands_elsewhere_or_is_of_another_volume_is_not_believed() {
    let (_dir, path) = place();
    let wanted = superblock("c1", 4096);
    let id = Volume::create(&path, &wanted, false).unwrap().id();
    let copy = |sector_size: u32, volume: VolumeId| {
        let sector = Sector {
            number: 1,
            writes: 1,
            record: Record::Superblock(superblock("c2", sector_size)),
        };
        encode(&sector, volume, sector_size as usize)
    };
    let foreign = copy(4096, VolumeId(uuid::Uuid::from_u128(!id.0.as_u128())));
    scribble(&path, 4096, &foreign);
    let opened = Volume::open(&path, Access::Read).unwrap();
    assert_eq!(opened.superblock(), &wanted);
    let damage = opened.damage();
    assert!(
        matches!(damage, Some(SectorError::Volume { .. })),
        "{damage:?}"
    );
    let misplaced = [copy(512, id), vec![0; 4096 - 512]].concat();
    scribble(&path, 4096, &misplaced);
    scribble(&path, 0, &[0; 4096]);
    let error = Volume::open(&path, Access::Read).unwrap_err().to_string();
    assert!(error.contains("does not stand here"), "{error}");
}

/// It is in use: nobody is told to make one over it.
#[test]
fn a_volume_of_another_version_is_left_alone() {
    for version in [0, 2] {
        let (_dir, path) = place();
        Volume::create(&path, &superblock("c1", 4096), false).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        for sector in bytes.chunks_mut(4096).take(2) {
            sector[8] = version;
            holdfast_lease::fuzzing::sum(sector);
        }
        std::fs::write(&path, &bytes).unwrap();
        let error = Volume::open(&path, Access::Write).unwrap_err().to_string();
        let says = format!("format version {version}");
        assert!(
            error.contains(&says) && error.contains("It is left alone"),
            "{error}"
        );
        assert!(!error.contains("create"), "{error}");
        let error = Volume::create(&path, &superblock("c1", 4096), false).unwrap_err();
        assert!(matches!(error, VolumeError::Exists { .. }), "{error}");
        assert!(std::fs::read(&path).unwrap() == bytes, "it was changed");
    }
}

/// They meet sooner or later; each looks at what it wrote.
#[test]
fn two_writers_of_one_slot_notice() {
    let (_dir, path) = place();
    let wanted = superblock("c1", 4096);
    let ours = Volume::create(&path, &wanted, false).unwrap();
    let number = wanted.layout.heartbeat(0).unwrap();
    let theirs = Volume::open(&path, Access::Write).unwrap();
    let (stop, stopped) = channel::<()>();
    let other = std::thread::spawn(move || {
        let mut writes = 1_000_000;
        while stopped.try_recv().is_err() {
            writes += 1;
            theirs
                .write(number, writes, Record::Heartbeat(None))
                .unwrap();
        }
    });
    let begin = std::time::Instant::now();
    let noticed = (1..).find_map(|writes| {
        assert!(
            begin.elapsed() < LONG,
            "{writes} writes, and nobody noticed"
        );
        ours.write_and_check(number, writes, Record::Heartbeat(None))
            .err()
    });
    stop.send(()).unwrap();
    other.join().unwrap();
    assert!(
        matches!(noticed, Some(VolumeError::Overwritten { .. })),
        "{noticed:?}"
    );
}

#[test]
fn what_another_host_wrote_is_read_at_once() {
    let (_dir, path) = place();
    let wanted = superblock("c1", 4096);
    let ours = Volume::create(&path, &wanted, false).unwrap();
    let number = wanted.layout.heartbeat(0).unwrap();
    ours.write(number, 5, Record::Heartbeat(None)).unwrap();
    let theirs = Volume::open(&path, Access::Write).unwrap();
    theirs.write(number, 9, Record::Heartbeat(None)).unwrap();
    assert_eq!(
        ours.read(number).unwrap().writes,
        9,
        "never from this host's memory"
    );
}

/// Files of the kernel's own refuse direct I/O wherever this runs.
#[test]
fn without_direct_io_it_is_refused() {
    let error = Volume::open(Path::new("/proc/self/status"), Access::Read).unwrap_err();
    assert!(matches!(error, VolumeError::NoDirectIo { .. }), "{error}");
}
