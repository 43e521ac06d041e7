//! Wall clocks that jump: what Holdfast's own daemons on one machine take for the time of day.
//!
//! The kernel has one wall clock for all machines, so the daemons are shown another one by `libfaketime`.
//! It reads a file at each look at the clock; the steady clocks stay what they are. A daemon gets it when
//! it is started while the file is there.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::layout::Role;
use crate::run::wait_until;
use crate::state;

/// How far ahead the wall clock of a machine's daemons is, in seconds, if it is there.
pub(crate) const FILE: &str = "/etc/holdfast/wall-clock";

/// Where distributions put the library, its form for programs with threads.
const PLACES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
];
const LIBRARY: &str = "libfaketimeMT.so.1";

fn library() -> Option<PathBuf> {
    let mut places = PLACES
        .iter()
        .map(|place| PathBuf::from(place).join(LIBRARY));
    places.find(|file| file.is_file())
}

/// What a daemon is started with while [`FILE`] is there.
pub(crate) fn environment() -> Vec<(&'static str, String)> {
    let Some(library) = library() else {
        return Vec::new();
    };
    let on = || "1".to_owned();
    vec![
        ("LD_PRELOAD", library.to_string_lossy().into_owned()),
        ("FAKETIME_TIMESTAMP_FILE", FILE.to_owned()),
        ("FAKETIME_NO_CACHE", on()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", on()),
        // Its name is the process id, which machines do not share while they share `/dev/shm`.
        ("FAKETIME_DISABLE_SHM", on()),
        ("NO_FAKE_STAT", on()),
    ]
}

impl Lab {
    /// Sets the wall clock of a machine's daemons so many seconds ahead of the real one. The first time
    /// they are started again for that; from then on the clock jumps under their feet.
    pub fn set_wall_clock(&self, machine: &str, ahead_s: i64) -> Result<()> {
        if library().is_none() {
            let text = format!("{LIBRARY} is not there: `cargo xtask setup` installs libfaketime");
            return Err(LabError::Refused(text));
        }
        // In place: the daemons' directory is a mount of this one.
        state::write(&self.wall_file(machine), format!("{ahead_s:+}\n"))?;
        let late = self.without_own_clock(machine)?;
        self.start_again(machine, &late)
    }

    /// The daemons of a machine see the real wall clock again.
    pub fn real_wall_clock(&self, machine: &str) -> Result<()> {
        let file = self.wall_file(machine);
        std::fs::remove_file(&file).map_err(LabError::io("remove", &file))?;
        self.start_again(machine, self.daemons_of(machine)?)
    }

    fn wall_file(&self, machine: &str) -> PathBuf {
        self.state().private(machine, FILE)
    }

    fn daemons_of(&self, machine: &str) -> Result<&'static [&'static str]> {
        Ok(match self.layout().machine(machine)?.role {
            Role::Control => &["manager"],
            Role::Hypervisor => &["guard", "agent"],
        })
    }

    /// Those of a machine's daemons that were not started with the library.
    fn without_own_clock(&self, machine: &str) -> Result<Vec<&'static str>> {
        let mut late = Vec::new();
        for daemon in self.daemons_of(machine)? {
            for pid in self.pids(machine, daemon)? {
                let file = format!("/proc/{pid}/maps");
                let maps = std::fs::read_to_string(&file).map_err(LabError::io("read", &file))?;
                if !maps.contains(LIBRARY) {
                    late.push(*daemon);
                }
            }
        }
        Ok(late)
    }

    fn start_again(&self, machine: &str, daemons: &[&str]) -> Result<()> {
        for daemon in daemons {
            self.kill(machine, daemon)?;
            let what = format!("{daemon} of {machine} to be started again");
            wait_until(&what, Duration::from_secs(10), "", || {
                match self.pids(machine, daemon) {
                    Ok(pids) if pids.is_empty() => Err("not there".into()),
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.to_string()),
                }
            })?;
        }
        Ok(())
    }
}
