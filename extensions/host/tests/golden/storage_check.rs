//! For storage checks.

use super::outside::Outside;
use super::{limits_of, log, name, written};
use holdfast_extension_host::journal::Level;
use holdfast_extension_host::outside::{Output, ProbeError, Probes, Space};
use holdfast_extension_host::storage_check::{Answer, Domain, Findings};
use holdfast_extension_host::{Loaded, Reach, StorageCheck};
use holdfast_model::extension::{ExtensionKind, Rights};
use holdfast_model::id::TargetName;
use std::time::Instant;

type Looks = (
    Result<Space, ProbeError>,
    Result<u64, ProbeError>,
    Result<Output, ProbeError>,
);

impl Probes for Outside<String, Looks> {
    fn usage(&self, path: &TargetName, _: Instant) -> Result<Space, ProbeError> {
        self.asked(format!("usage {path}"));
        self.answer.0.clone()
    }

    fn read_latency(&self, path: &TargetName, _: Instant) -> Result<u64, ProbeError> {
        self.asked(format!("read-latency {path}"));
        self.answer.1.clone()
    }

    fn command(&self, command: &TargetName, _: Instant) -> Result<Output, ProbeError> {
        self.asked(format!("command {command}"));
        self.answer.2.clone()
    }
}

pub fn storage_check_0_1_0(loaded: &Loaded) {
    let space = |read_only| {
        Ok(Space {
            total_bytes: 4 << 40,
            free_bytes: 2 << 40,
            read_only,
            kind: "fuse.glusterfs".to_owned(),
        })
    };
    let output = |exit_code, cut| {
        Ok(Output {
            exit_code,
            stdout: "3 entries".to_owned(),
            stderr: "no quorum".to_owned(),
            cut,
        })
    };
    let no = |words: &str| Answer::No(words.to_owned());
    let unknown = |words: &str| Answer::Unknown(words.to_owned());
    let yes = || Answer::Yes;
    let failed = || ProbeError::Failed("I/O error".to_owned());
    let late = || ProbeError::TimedOut("nothing in time".to_owned());
    let nothing = || ProbeError::NoName("there is none".to_owned());
    let cases: [(Looks, [Answer; 3]); 6] = [
        (
            (space(false), Ok(400), output(Some(0), false)),
            [yes(), yes(), yes()],
        ),
        (
            (space(false), Ok(1_000_001), output(Some(1), false)),
            [yes(), no("slow"), no("3 entries")],
        ),
        (
            (space(true), Ok(1_000_000), output(None, false)),
            [yes(), no("fuse.glusterfs"), unknown("no quorum")],
        ),
        (
            (Err(failed()), Err(failed()), Err(failed())),
            [unknown("I/O error"), no("I/O error"), unknown("I/O error")],
        ),
        (
            (Err(late()), Err(late()), output(Some(0), true)),
            [
                unknown("nothing in time"),
                unknown("nothing in time"),
                unknown("no quorum"),
            ],
        ),
        (
            (space(false), Ok(u64::MAX), Err(nothing())),
            [yes(), no("slow"), unknown("there is none")],
        ),
    ];
    let domain = Domain {
        name: "own".to_owned(),
        path: "/srv/holdfast".to_owned(),
        settings: vec![("max_read_ms".to_owned(), "1000".to_owned())],
    };
    for (looks, [reachable, usable, synced]) in cases {
        let storage = Outside::new(looks);
        let reach = Reach {
            rights: Rights {
                paths: [name("storage")].into(),
                commands: [name("heal")].into(),
                ..log()
            },
            probes: Some(storage.clone()),
            ..Reach::default()
        };
        let limits = limits_of(ExtensionKind::StorageCheck);
        let check = StorageCheck::new(loaded, limits, reach).expect("it fits");
        let findings = Findings {
            reachable,
            usable,
            synced,
        };
        assert_eq!(check.check(&domain).answer, Ok(findings));
        let looks = ["usage storage", "read-latency storage", "command heal"];
        assert_eq!(storage.taken(), looks);
        let path = (Level::Debug, "/srv/holdfast".to_owned());
        assert_eq!(written(check.journal()), [path]);
    }
}
