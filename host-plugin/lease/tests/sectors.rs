//! The format: what is written is read again, and nothing else is.
#![allow(clippy::unwrap_used)]

use holdfast_lease::error::SectorError;
use holdfast_lease::record;
use holdfast_lease::sector::*;
use holdfast_model::id::Generation;
use holdfast_model::lease::*;
use proptest::prelude::*;
use std::str::FromStr;

const SIZES: [usize; 2] = [512, 4096];

fn name<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

fn volume(number: u128) -> VolumeId {
    VolumeId(uuid::Uuid::from_u128(number))
}

fn place(kind: Kind, size: usize) -> Place {
    Place {
        volume: volume(7),
        number: 5,
        kind,
        size,
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}"
}

fn holder() -> impl Strategy<Value = Option<Holder>> {
    prop::option::of((text(), text()).prop_map(|(host, incarnation)| Holder {
        host: name(&host),
        incarnation: name(&incarnation),
    }))
}

fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    let numbers = (any::<u64>(), any::<bool>(), any::<u64>(), any::<[u32; 4]>());
    (text(), text(), text(), numbers).prop_map(|(host, incarnation, boot, numbers)| Heartbeat {
        host: name(&host),
        incarnation: name(&incarnation),
        boot_id: name(&boot),
        counter: numbers.0,
        phase: match numbers.1 {
            true => HostPhase::Holding,
            false => HostPhase::Released,
        },
        agent: [
            AgentState::Connected,
            AgentState::CutOff,
            AgentState::Silent,
        ][(numbers.2 % 3) as usize],
        answered: numbers.2,
        period_ms: numbers.3[0],
        runner_deadline_ms: numbers.3[1],
        kill_bound_ms: numbers.3[2],
        watchdog_bound_ms: numbers.3[3],
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    let mail = (text(), text(), any::<u64>(), text()).prop_map(|(to, life, message, by)| Mail {
        to: name(&to),
        incarnation: name(&life),
        message,
        ask: Ask::Release,
        by: name(&by),
    });
    let claim = (text(), text(), any::<u64>(), holder(), holder()).prop_map(
        |(vm, uuid, generation, holder, incoming)| Claim {
            vm: name(&vm),
            uuid: name(&uuid),
            generation: Generation(generation),
            holder,
            incoming,
        },
    );
    let superblock = (text(), 2..1024u32, 1..100_000u32, any::<u64>()).prop_map(
        |(cluster, hosts_max, vms_max, created_ms)| Superblock {
            cluster: name(&cluster),
            class: StorageClass::Quorum,
            layout: Layout {
                sector_size: 512,
                hosts_max,
                vms_max,
            },
            created_ms,
        },
    );
    prop_oneof![
        superblock.prop_map(Record::Superblock),
        prop::option::of(heartbeat()).prop_map(Record::Heartbeat),
        prop::option::of(mail).prop_map(Record::Mailbox),
        prop::option::of(claim).prop_map(Record::Claim),
    ]
}

fn sector(writes: u64, record: Record) -> Sector {
    Sector {
        number: 5,
        writes,
        record,
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(record in any_record(), writes in any::<u64>(), large in any::<bool>()) {
        let size = SIZES[usize::from(large)];
        let sector = sector(writes, record);
        let bytes = encode(&sector, volume(7), size);
        prop_assert_eq!(bytes.len(), size);
        prop_assert_eq!(decode(&bytes, &place(sector.record.kind(), size)), Ok(sector));
    }

    /// Any part of another write in it, at any 512-byte boundary or any byte.
    #[test]
    fn a_torn_write_is_noticed(old in heartbeat(), new in heartbeat(), cut in 1..4096usize) {
        let kind = Kind::Heartbeat;
        let old = encode(&sector(1, Record::Heartbeat(Some(old))), volume(7), 4096);
        let new = encode(&sector(2, Record::Heartbeat(Some(new))), volume(7), 4096);
        let torn = [&new[..cut], &old[cut..]].concat();
        let found = decode(&torn, &place(kind, 4096));
        prop_assert!(torn == new || torn == old || found.is_err(), "{found:?}");
    }

    #[test]
    fn a_flipped_bit_is_noticed(record in any_record(), at in 0..4096usize, bit in 0..8u32) {
        let kind = record.kind();
        let mut bytes = encode(&sector(1, record), volume(7), 4096);
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes, &place(kind, 4096)).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 512), fix in any::<bool>(), kind in 0..4usize) {
        let kind = [Kind::Superblock, Kind::Heartbeat, Kind::Mailbox, Kind::Claim][kind];
        if fix {
            // As deep as it goes: a right beginning and a right checksum.
            let right = encode(&sector(1, Record::Heartbeat(None)), volume(7), 512);
            bytes[..48].copy_from_slice(&right[..48]);
            bytes[10] = kind as u8;
            bytes[49] &= 1;
            bytes[50..64].fill(0);
            let mut digest = bytes.clone();
            digest[12..16].fill(0);
            let sum = crc32c(&digest);
            bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        }
        let _ = decode(&bytes, &place(kind, 512));
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = !0u32;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = match sum & 1 {
                1 => (sum >> 1) ^ 0x82f6_3b78,
                _ => sum >> 1,
            };
        }
    }
    !sum
}

#[test]
fn the_format_is_what_the_document_says() {
    let record = Record::Heartbeat(None);
    let bytes = encode(&sector(9, record), volume(7), 512);
    assert_eq!(&bytes[..8], b"HOLDFAST");
    assert_eq!(&bytes[8..12], [1, 0, 2, 0]);
    assert_eq!(&bytes[16..32], 7u128.to_be_bytes());
    assert_eq!(&bytes[32..40], 5u64.to_le_bytes());
    assert_eq!(&bytes[40..48], 9u64.to_le_bytes());
    assert_eq!(&bytes[48..50], [0, 0]);
    let mut unsummed = bytes.clone();
    unsummed[12..16].fill(0);
    assert_eq!(&bytes[12..16], crc32c(&unsummed).to_le_bytes());
    let longest = Claim {
        vm: name(&"v".repeat(63)),
        uuid: name(&"u".repeat(63)),
        generation: Generation(u64::MAX),
        holder: Some(Holder {
            host: name(&"h".repeat(63)),
            incarnation: name(&"i".repeat(63)),
        }),
        incoming: Some(Holder {
            host: name(&"g".repeat(63)),
            incarnation: name(&"j".repeat(63)),
        }),
    };
    let claim = Record::Claim(Some(longest));
    assert_eq!(
        record::encode(&claim).len(),
        394,
        "the longest record fits into 448"
    );
}

#[test]
fn every_malformed_sector_says_what_it_is() {
    let good = |record: Record| encode(&sector(3, record), volume(7), 4096);
    let heartbeat = || good(Record::Heartbeat(None));
    let resummed = |mut bytes: Vec<u8>, at: usize, value: u8| {
        bytes[at] = value;
        bytes[12..16].fill(0);
        let sum = crc32c(&bytes);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        bytes
    };
    let at = place(Kind::Heartbeat, 4096);
    let mut damaged = heartbeat();
    damaged[200] = 1;
    let mut other_data = heartbeat();
    other_data[..8].copy_from_slice(b"\x7fELF\0\0\0\0");
    let foreign = encode(&sector(3, Record::Heartbeat(None)), volume(8), 4096);
    let mut elsewhere = sector(3, Record::Heartbeat(None));
    elsewhere.number = 6;
    let cases = [
        (vec![0; 4096], "nothing but zeros"),
        (heartbeat()[..512].to_vec(), "cut short"),
        (Vec::new(), "cut short"),
        (damaged, "torn or damaged"),
        (other_data, "something else was written"),
        (foreign, "belongs to volume"),
        (encode(&elsewhere, volume(7), 4096), "says it is sector 6"),
        (good(Record::Claim(None)), "of kind 4, and heartbeat"),
        (resummed(heartbeat(), 8, 2), "format version 2"),
        (resummed(heartbeat(), 10, 99), "of kind 99"),
        (resummed(heartbeat(), 48, 3), "ends before it"),
        (resummed(heartbeat(), 49, 0xff), "do not fit"),
        (resummed(heartbeat(), 60, 1), "padding"),
        (resummed(heartbeat(), 4000, 1), "padding"),
    ];
    for (bytes, says) in cases {
        let error = decode(&bytes, &at).expect_err(says);
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
    assert_eq!(
        decode(&heartbeat(), &at),
        Ok(sector(3, Record::Heartbeat(None)))
    );
    assert_eq!(decode(&[0; 4096], &at), Err(SectorError::Zeroed));
}
