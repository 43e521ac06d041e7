//! Says how a GlusterFS volume stands on the host that mounts it.
//!
//! - reachable: something is mounted there, and it is GlusterFS
//! - usable: it is not read-only, has room, and a small file can be written and read in time
//! - synced: GlusterFS itself says so of each brick (the command `heal`), and this host's own client is connected to
//!   all of them (the command `client`, if there is one)
//!
//! Settings, all of them optional:
//!
//! - `max_read_ms` (2000): a read of 4 KiB past all caches that takes longer makes it not usable
//! - `file_system` (`fuse.glusterfs`): what the kernel calls what is mounted; `any` takes whatever it is
//!
//! What was not answered is unknown, and never a no: silence of a command says nothing about the storage.

mod client;
mod heal;
mod space;
#[cfg(test)]
mod tests;

use holdfast_extension::probe::{Error, Output, Space};
use holdfast_extension::storage_check::{Answer, Domain, Findings};

/// What is looked at: the host's probes, or those of a test.
pub trait Look {
    /// The file system of the storage.
    fn usage(&self) -> Result<Space, Error>;
    /// Of a read of the storage, in microseconds.
    fn read_latency(&self) -> Result<u64, Error>;
    /// What a status command says.
    fn command(&self, name: &str) -> Result<Output, Error>;
}

/// How it stands.
pub fn check(domain: &Domain, look: &impl Look) -> Findings {
    let (reachable, usable) = space::answers(domain, look);
    Findings {
        synced: synced(look),
        reachable,
        usable,
    }
}

fn synced(look: &impl Look) -> Answer {
    let of_bricks = match said(look.command("heal")) {
        Ok(text) => heal::answer(&text),
        Err(why) => Answer::Unknown(format!("heal: {why}")),
    };
    // The bricks' own word counts even where this host's client has not got any.
    match (of_bricks, look.command("client")) {
        (Answer::Yes, Err(Error::NoName(_))) => Answer::Yes,
        (Answer::Yes, client) => match said(client) {
            Ok(text) => client::answer(&text),
            Err(why) => Answer::Unknown(format!("client: {why}")),
        },
        (answer, _) => answer,
    }
}

/// The whole words of a command that ended well.
fn said(ended: Result<Output, Error>) -> Result<String, String> {
    let output = ended.map_err(|error| error.words())?;
    let last = |text: &str| {
        text.trim()
            .lines()
            .last()
            .unwrap_or("it said nothing")
            .to_owned()
    };
    match output.exit_code {
        Some(0) if output.cut => Err("it said more than is read".to_owned()),
        Some(0) => Ok(output.stdout),
        Some(code) => {
            let words = [output.stderr, output.stdout].concat();
            Err(format!("it ended with {code}: {}", last(&words)))
        }
        None => Err("a signal ended it".to_owned()),
    }
}

#[cfg(target_arch = "wasm32")]
mod component {
    use super::{Domain, Error, Findings, Look, Output, Space};
    use holdfast_extension::{probe, storage_check};

    /// What the manifest names.
    struct Host;

    impl Look for Host {
        fn usage(&self) -> Result<Space, Error> {
            probe::usage("storage")
        }

        fn read_latency(&self) -> Result<u64, Error> {
            probe::read_latency("storage")
        }

        fn command(&self, name: &str) -> Result<Output, Error> {
            probe::command(name)
        }
    }

    struct Gluster;

    impl storage_check::Check for Gluster {
        fn check(domain: &Domain) -> Findings {
            super::check(domain, &Host)
        }
    }

    holdfast_extension::export_check!(Gluster);
}
