//! What there is to look at, and what cannot be known from it.

use super::super::StorageSetup;
use crate::outside::{Output, ProbeError, Probes, Space};
use crate::storage_check::Domain;
use holdfast_model::files::OWN_PATH;
use holdfast_model::id::TargetName;
use std::time::Instant;

/// Storage that gives the same answers for as long as it is asked.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub usage: Result<Space, ProbeError>,
    pub read_us: Result<u64, ProbeError>,
    pub command: Result<Output, ProbeError>,
}

impl Probes for Storage {
    fn usage(&self, _: &TargetName, _: Instant) -> Result<Space, ProbeError> {
        self.usage.clone()
    }

    fn read_latency(&self, _: &TargetName, _: Instant) -> Result<u64, ProbeError> {
        self.read_us.clone()
    }

    fn command(&self, _: &TargetName, _: Instant) -> Result<Output, ProbeError> {
        self.command.clone()
    }
}

/// What may not be said of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Barred {
    /// That it can be reached.
    pub reachable: bool,
    /// That it can be used.
    pub usable: bool,
    /// That all copies are equal, by a check that has commands.
    pub synced: bool,
    /// That it cannot be reached or used: nothing was found out, and a no has VMs leave.
    pub no: bool,
}

/// Storage with what is special about it.
pub(super) struct Situation {
    /// In a few words.
    pub name: &'static str,
    pub storage: Storage,
    pub domain: Domain,
    pub barred: Barred,
}

/// What kinds of file systems a check may expect.
const KINDS: [&str; 5] = ["xfs", "ext4", "fuse.glusterfs", "nfs4", "ceph"];
/// What status commands of healthy storage say: nothing much, or GlusterFS of its bricks.
const WORDS: [&str; 2] = [
    "ok\n",
    "Brick a:/brick\nStatus: Connected\nTotal Number of entries: 0\n\n\
     Brick b:/brick\nStatus: Connected\nTotal Number of entries: 0\n",
];
/// As much as the agent hands over of one output, in bytes.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Storage that may be taken for healthy: what its author names, first.
pub(super) fn healthy(setup: Option<&StorageSetup>) -> Vec<Storage> {
    let each = |kind: &str, words: &str| Storage {
        usage: Ok(Space {
            total_bytes: 4 << 40,
            free_bytes: 2 << 40,
            read_only: false,
            kind: kind.to_owned(),
        }),
        read_us: Ok(400),
        command: ended(Some(0), words),
    };
    let of = |own: fn(&StorageSetup) -> &Vec<String>, known: &'static [&str]| {
        let own = setup.into_iter().flat_map(own).cloned();
        own.chain(known.iter().map(|text| (*text).to_owned()))
            .collect()
    };
    let kinds: Vec<String> = of(|setup| &setup.kinds, &KINDS);
    let says: Vec<String> = of(|setup| &setup.says, &WORDS);
    let kinds = kinds.iter();
    kinds
        .flat_map(|kind| says.iter().map(move |words| each(kind, words)))
        .collect()
}

fn ended(exit_code: Option<i32>, stdout: &str) -> Result<Output, ProbeError> {
    Ok(Output {
        exit_code,
        stdout: stdout.to_owned(),
        stderr: String::new(),
        cut: false,
    })
}

pub(super) fn domain(setup: Option<&StorageSetup>) -> Domain {
    let settings = setup.into_iter().flat_map(|setup| &setup.settings);
    Domain {
        name: OWN_PATH.to_owned(),
        path: "/srv/holdfast".to_owned(),
        settings: settings
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

/// The name of the one in which nothing is wrong.
pub(super) const WELL: &str = "all is well";

/// All of them, each of this healthy storage with something changed.
pub(super) fn all(healthy: &Storage, setup: Option<&StorageSetup>) -> Vec<Situation> {
    let mut all = vec![situation(WELL, healthy.clone(), Barred::default())];
    all.extend(silent());
    all.extend(spoilt(healthy));
    all.extend(commands(healthy));
    all.extend(odd(healthy));
    for each in &mut all {
        each.domain = domain(setup);
    }
    all.push(senseless(healthy, setup));
    all
}

fn situation(name: &'static str, storage: Storage, barred: Barred) -> Situation {
    Situation {
        name,
        storage,
        domain: domain(None),
        barred,
    }
}

/// No look finds anything.
fn silent() -> [Situation; 3] {
    let all = |error: ProbeError| Storage {
        usage: Err(error.clone()),
        read_us: Err(error.clone()),
        command: Err(error),
    };
    let nothing = Barred {
        reachable: true,
        usable: true,
        synced: true,
        no: true,
    };
    [
        situation(
            "nothing has that name",
            all(ProbeError::NoName("there is none".to_owned())),
            nothing,
        ),
        situation(
            "everything hangs",
            all(ProbeError::TimedOut("nothing within 4.5 s".to_owned())),
            nothing,
        ),
        situation(
            "everything fails",
            all(ProbeError::Failed("Input/output error".to_owned())),
            Barred {
                no: false,
                ..nothing
            },
        ),
    ]
}

/// It answers, and is not good.
fn spoilt(healthy: &Storage) -> Vec<Situation> {
    let not_usable = Barred {
        usable: true,
        ..Barred::default()
    };
    let with = |change: fn(&mut Space)| {
        let mut storage = healthy.clone();
        if let Ok(space) = &mut storage.usage {
            change(space);
        }
        storage
    };
    vec![
        situation(
            "it is read-only",
            with(|space| space.read_only = true),
            not_usable,
        ),
        situation("it is full", with(|space| space.free_bytes = 0), not_usable),
        situation(
            "reads hang",
            Storage {
                read_us: Err(ProbeError::TimedOut("nothing within 4.5 s".to_owned())),
                ..healthy.clone()
            },
            Barred::default(),
        ),
    ]
}

/// The storage is well as far as it can be seen, and what status commands say is worth nothing.
fn commands(healthy: &Storage) -> Vec<Situation> {
    let not_synced = Barred {
        synced: true,
        ..Barred::default()
    };
    let with = |name, command| {
        let storage = Storage {
            command,
            ..healthy.clone()
        };
        situation(name, storage, not_synced)
    };
    vec![
        with("commands end with 1", ended(Some(1), "out of sync")),
        with("commands end with 127", ended(Some(127), "not found")),
        with("commands are killed", ended(None, "")),
        with(
            "commands hang",
            Err(ProbeError::TimedOut("it was killed".to_owned())),
        ),
        with(
            "commands have no such name",
            Err(ProbeError::NoName("there is none".to_owned())),
        ),
        with(
            "commands cannot be started",
            Err(ProbeError::Failed("Exec format error".to_owned())),
        ),
    ]
}

/// What may be said of these is the check's own; it only must not break.
fn odd(healthy: &Storage) -> Vec<Situation> {
    let with = |name, command| {
        let storage = Storage {
            command,
            ..healthy.clone()
        };
        situation(name, storage, Barred::default())
    };
    let giant = Output {
        exit_code: Some(0),
        stdout: "x".repeat(OUTPUT_BYTES),
        stderr: "y\n".repeat(OUTPUT_BYTES / 2),
        cut: true,
    };
    let numbers = Storage {
        usage: Ok(Space {
            total_bytes: 0,
            free_bytes: u64::MAX,
            read_only: false,
            kind: String::new(),
        }),
        read_us: Ok(u64::MAX),
        command: ended(Some(i32::MIN), ""),
    };
    vec![
        with("commands say nothing", ended(Some(0), "")),
        with(
            "commands say what is no text",
            ended(Some(0), "\u{fffd}\0\u{1b}[31m\r\n:::\n\n= = =\n"),
        ),
        with("commands say more than is read", Ok(giant)),
        situation("numbers make no sense", numbers, Barred::default()),
    ]
}

/// An operator's mistakes, in settings that checks have, and in those that its author names.
fn senseless(healthy: &Storage, setup: Option<&StorageSetup>) -> Situation {
    let settings = ["path", "max_read_ms", "min_free_mib", "sync_command", ""];
    let own = setup.into_iter().flat_map(|setup| setup.settings.keys());
    let names = settings.into_iter().chain(own.map(String::as_str));
    let mut senseless = situation("settings make no sense", healthy.clone(), Barred::default());
    senseless.domain.settings = names
        .map(|name| (name.to_owned(), "-1 \u{fffd}".to_owned()))
        .collect();
    senseless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_its_author_names_is_there_to_be_content_with() {
        let setup = StorageSetup {
            settings: [("volume".to_owned(), "gv0".to_owned())].into(),
            kinds: vec!["zfs".to_owned()],
            says: vec!["all replicas in sync\n".to_owned()],
        };
        let own = healthy(Some(&setup));
        assert_eq!(own.len(), (KINDS.len() + 1) * (WORDS.len() + 1));
        let first = own.first().expect("some");
        assert!(first.usage.as_ref().is_ok_and(|space| space.kind == "zfs"));
        let said = first.command.as_ref().map(|output| output.stdout.as_str());
        assert_eq!(said, Ok("all replicas in sync\n"));
        for each in all(first, Some(&setup)) {
            let mut settings = each.domain.settings.iter();
            let volume = settings.find(|(name, _)| name == "volume");
            let (_, value) = volume.expect(each.name);
            let is_own = value == "gv0";
            assert_eq!(
                is_own,
                each.name != "settings make no sense",
                "{}",
                each.name
            );
        }
    }
}
