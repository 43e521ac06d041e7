//! The seeds: a sector of every kind, and every way in which one can be wrong.

use holdfast_lease::fuzzing::{SIZES, sum};
use holdfast_lease::record;
use holdfast_lease::sector::{HEADER, Sector, VolumeId, encode};
use holdfast_model::id::Generation;
use holdfast_model::lease::*;
use std::str::FromStr;

/// The sector that the seeds say they are.
pub const NUMBER: u64 = 5;

/// One file of the corpus.
#[derive(Debug, Clone)]
pub struct Seed<S> {
    /// Of the file.
    pub name: String,
    /// In it.
    pub bytes: Vec<u8>,
    /// What must be said of it.
    pub says: S,
}

/// For a sector that is wrong: as which kind it is read, and what is then said of it.
pub type Refusal = Option<(Kind, &'static str)>;

pub fn volume(number: u128) -> VolumeId {
    VolumeId(uuid::Uuid::from_u128(number))
}

fn name<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

fn holder(host: &str, incarnation: &str) -> Option<Holder> {
    Some(Holder {
        host: name(host),
        incarnation: name(incarnation),
    })
}

fn superblock(size: usize) -> Record {
    Record::Superblock(Superblock {
        cluster: name("prod"),
        class: StorageClass::Quorum,
        layout: Layout {
            sector_size: size as u32,
            ..Layout::default()
        },
        created_ms: 1_767_225_600_000,
    })
}

fn heartbeat() -> Record {
    Record::Heartbeat(Some(Heartbeat {
        host: name("a1"),
        incarnation: name("4b0c0c5e-7d7c-4d59-9a3b-0f1c5a1e2d3f"),
        boot_id: name("c1a3e6f2-52b7-4d0c-8a55-3b7a5d9e8f10"),
        counter: 4711,
        phase: HostPhase::Holding,
        agent: AgentState::Connected,
        answered: 3,
        period_ms: 1_000,
        runner_deadline_ms: 4_000,
        kill_bound_ms: 2_000,
        watchdog_bound_ms: 10_000,
    }))
}

fn mail() -> Record {
    Record::Mailbox(Some(Mail {
        to: name("a1"),
        incarnation: name("4b0c0c5e-7d7c-4d59-9a3b-0f1c5a1e2d3f"),
        message: 4,
        ask: Ask::Release,
        by: name("b2"),
    }))
}

fn claim(holder: Option<Holder>, incoming: Option<Holder>) -> Record {
    Record::Claim(Some(Claim {
        vm: name("web1"),
        uuid: name("0a5ee5d6-3a0e-4b0e-9f5e-6f2b6c1d7e80"),
        generation: Generation(12),
        holder,
        incoming,
    }))
}

/// Every text as long as it may be.
fn longest() -> Record {
    let long = |letter: &str| letter.repeat(63);
    Record::Claim(Some(Claim {
        vm: name(&long("v")),
        uuid: name(&long("u")),
        generation: Generation(u64::MAX),
        holder: holder(&long("h"), &long("i")),
        incoming: holder(&long("g"), &long("j")),
    }))
}

fn encoded(record: Record, size: usize) -> Vec<u8> {
    at_number(record, size, NUMBER, volume(7))
}

fn at_number(record: Record, size: usize, number: u64, volume: VolumeId) -> Vec<u8> {
    let writes = 3;
    let sector = Sector {
        number,
        writes,
        record,
    };
    encode(&sector, volume, size)
}

/// With other bytes at these places, and the checksum right again.
fn but(record: Record, changes: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = encoded(record, 512);
    for (at, value) in changes {
        bytes[*at] = *value;
    }
    sum(&mut bytes);
    bytes
}

/// The seeds of the target `sector`.
pub fn sectors() -> Vec<Seed<Refusal>> {
    let mut seeds = Vec::new();
    for size in SIZES {
        for (name, record) in [
            ("superblock", superblock(size)),
            ("heartbeat", heartbeat()),
            ("heartbeat-free", Record::Heartbeat(None)),
            ("mailbox", mail()),
            ("mailbox-free", Record::Mailbox(None)),
            ("claim-held", claim(holder("a1", "life-1"), None)),
            (
                "claim-migrating",
                claim(holder("a1", "life-1"), holder("b2", "life-2")),
            ),
            ("claim-released", claim(None, None)),
            ("claim-longest", longest()),
            ("claim-free", Record::Claim(None)),
        ] {
            seeds.push(Seed {
                name: format!("good-{name}-{size}"),
                bytes: encoded(record, size),
                says: None,
            });
        }
    }
    seeds.extend(no_sectors());
    seeds.extend(wrong_headers());
    seeds.extend(wrong_fields());
    seeds
}

/// One that is wrong, read as a heartbeat.
fn wrong(name: &str, bytes: Vec<u8>, says: &'static str) -> Seed<Refusal> {
    Seed {
        name: format!("bad-{name}"),
        bytes,
        says: Some((Kind::Heartbeat, says)),
    }
}

/// What is no sector at all.
fn no_sectors() -> Vec<Seed<Refusal>> {
    let good = encoded(heartbeat(), 512);
    let large = encoded(heartbeat(), 4096);
    let other_write = but(heartbeat(), &[(40, 4), (HEADER + 3 * 64, 0)]);
    let torn = [&other_write[..256], &good[256..]].concat();
    let mut flipped = good.clone();
    flipped[200] ^= 1;
    let mut other_mark = good.clone();
    other_mark[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    vec![
        wrong("empty", Vec::new(), "cut short"),
        wrong("half-a-sector", good[..256].to_vec(), "cut short"),
        wrong("a-byte-too-long", [&good[..], &[0]].concat(), "cut short"),
        wrong("zeroed-512", vec![0; 512], "nothing but zeros"),
        wrong("zeroed-4096", vec![0; 4096], "nothing but zeros"),
        wrong("512-of-4096", large[..512].to_vec(), "torn or damaged"),
        wrong("other-mark", other_mark, "something else was written"),
        wrong("flipped-bit", flipped, "torn or damaged"),
        wrong("torn", torn, "torn or damaged"),
    ]
}

/// What has the right checksum, and a header that cannot be.
fn wrong_headers() -> Vec<Seed<Refusal>> {
    let case = |name, changes: &[(usize, u8)], says| wrong(name, but(heartbeat(), changes), says);
    // A request of another Holdfast, which must not be obeyed.
    let letter = |name: &str, version, says| Seed {
        name: format!("bad-{name}"),
        bytes: but(mail(), &[(8, version)]),
        says: Some((Kind::Mailbox, says)),
    };
    let cut = but(Record::Heartbeat(None), &[(48, 3)]);
    vec![
        case("version-0", &[(8, 0)], "upgrade the one that wrote it"),
        case("version-2", &[(8, 2)], "format version 2"),
        case(
            "version-256",
            &[(8, 0), (9, 1)],
            "format version 256; this program reads version 1: upgrade it",
        ),
        letter("mailbox-version-0", 0, "format version 0"),
        letter("mailbox-version-2", 2, "format version 2"),
        case("kind-0", &[(10, 0)], "of kind 0"),
        case("kind-99", &[(10, 99)], "of kind 99"),
        case("byte-11", &[(11, 1)], "padding"),
        case("byte-60", &[(60, 1)], "padding"),
        case("after-the-record", &[(511, 1)], "padding"),
        case(
            "length-beyond-the-end",
            &[(48, 0xc1), (49, 1)],
            "do not fit",
        ),
        wrong("length-of-a-cut-record", cut, "ends before it"),
    ]
}

/// What is wrong inside a record.
fn wrong_fields() -> Vec<Seed<Refusal>> {
    // Where the texts of a record are, from the beginning of the sector, and what is behind two.
    let (first, second, behind) = (HEADER, HEADER + 64, HEADER + 2 * 64);
    let phase = HEADER + 3 * 64 + 8;
    let longer = record::encode(&heartbeat()).len() as u8 + 1;
    let nameless = [(first, 0), (first + 1, 0), (first + 2, 0)];
    let blank: Vec<(usize, u8)> = (48..50).chain(HEADER..512).map(|at| (at, 0)).collect();
    let case = |name: &str, record: Record, changes: &[(usize, u8)], says| Seed {
        name: format!("bad-{name}"),
        says: Some((record.kind(), says)),
        bytes: but(record, changes),
    };
    let beat = |name, changes: &[(usize, u8)], says| case(name, heartbeat(), changes, says);
    let block = |name, changes: &[(usize, u8)], says| case(name, superblock(512), changes, says);
    let held = || claim(holder("a1", "life-1"), None);
    vec![
        beat("text-of-64", &[(first, 64)], "its length is wrong"),
        beat("text-of-255", &[(second, 255)], "its length is wrong"),
        beat("text-too-short", &[(first, 1)], "its length is wrong"),
        beat("text-empty", &nameless, "name is empty"),
        beat("text-not-utf8", &[(first + 1, 0xff)], "utf-8"),
        beat("text-with-a-space", &[(first + 1, b' ')], "host name"),
        beat("record-a-byte-longer", &[(48, longer)], "1 bytes too long"),
        beat("phase-0", &[(phase, 0)], "0 means nothing"),
        beat("phase-3", &[(phase, 3)], "3 means nothing"),
        case("request-2", mail(), &[(behind + 8, 2)], "2 means nothing"),
        case("holder-2", held(), &[(behind + 8, 2)], "2 means nothing"),
        case(
            "holder-0-and-a-name",
            held(),
            &[(behind + 8, 0)],
            "2 means nothing",
        ),
        block("class-0", &[(second, 0)], "0 means nothing"),
        block(
            "sector-size-513",
            &[(second + 1, 1)],
            "513 bytes per sector",
        ),
        block("hosts-0", &[(second + 5, 0)], "0 slots for hosts"),
        block("vms-too-many", &[(second + 11, 0xff)], "slots for VMs"),
        block("superblock-free", &blank, "ends before it"),
    ]
}

/// The seeds of the target `head`; whether the superblock and its copy are to be believed.
pub fn heads() -> Vec<Seed<[bool; 2]>> {
    let sector = |size, number| at_number(superblock(size), size, number, volume(7));
    let zeros = |size| vec![0; size];
    let mut seeds = Vec::new();
    let mut seed = |name: &str, parts: &[Vec<u8>], says| {
        seeds.push(Seed {
            name: name.to_owned(),
            bytes: parts.concat(),
            says,
        });
    };
    for size in SIZES {
        let both = [sector(size, 0), sector(size, 1)];
        seed(&format!("good-both-{size}"), &both, [true, true]);
        let first = [sector(size, 0), zeros(size)];
        seed(&format!("good-without-copy-{size}"), &first, [true, false]);
        let copy = [zeros(size), sector(size, 1)];
        seed(&format!("good-copy-only-{size}"), &copy, [false, true]);
    }
    let foreign = at_number(superblock(512), 512, 1, volume(8));
    seed(
        "good-foreign-copy",
        &[sector(512, 0), foreign],
        [true, false],
    );
    let swapped = [sector(512, 1), sector(512, 0)];
    seed("bad-swapped", &swapped, [false, false]);
    let misplaced = [zeros(4096), sector(512, 1)];
    seed("bad-copy-of-512-at-4096", &misplaced, [false, false]);
    let misplaced = [zeros(512), sector(4096, 1)];
    seed("bad-copy-of-4096-at-512", &misplaced, [false, false]);
    let misplaced = [sector(4096, 0), sector(512, 1)];
    seed("good-copy-of-another-size", &misplaced, [true, false]);
    let wrong = at_number(superblock(4096), 512, 0, volume(7));
    seed("bad-4096-in-512", &[wrong], [false, false]);
    let cut = sector(4096, 0)[..1000].to_vec();
    seed("bad-cut-short", &[cut], [false, false]);
    seed("bad-empty", &[], [false, false]);
    seed("bad-zeroed", &[zeros(8192)], [false, false]);
    let heartbeat = encoded(heartbeat(), 512);
    seed("bad-heartbeat", &[heartbeat], [false, false]);
    seeds
}
