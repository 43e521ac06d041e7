//! Processes of the real machine, found by the namespaces they are in.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id on the real machine.
    pub pid: i32,
    /// Field 22 of `stat`.
    pub start_time: u64,
    /// `R`, `S`, `D`, `T` (stopped), `Z` …
    pub state: char,
    /// File name of its program as it was called.
    pub program: String,
    /// Its arguments, the first being the program.
    pub args: Vec<String>,
}

/// Fields 3 (state) and 22 (start time) of `/proc/PID/stat`; the name before them may contain
/// spaces and brackets.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn stat(pid: i32) -> Option<(char, u64)> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// When a process started, or none if it does not exist.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    stat(pid).map(|(_, start_time)| start_time)
}

/// Whether this very process is there and has not ended.
pub(crate) fn lives(pid: i32, start_time: u64) -> bool {
    stat(pid).is_some_and(|(state, time)| time == start_time && state != 'Z')
}

/// State letter of a process, or none if it does not exist (any more).
pub(crate) fn state(process: &Process) -> Option<char> {
    stat(process.pid)
        .filter(|(_, time)| *time == process.start_time)
        .map(|(state, _)| state)
}

/// Identity of a namespace, to compare with others of its kind.
pub(crate) fn namespace_of(pid: i32, kind: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()
}

fn read(pid: i32) -> Option<Process> {
    let (state, start_time) = stat(pid)?;
    let args: Vec<String> = std::fs::read(format!("/proc/{pid}/cmdline"))
        .ok()?
        .split(|byte| *byte == 0)
        .filter(|arg| !arg.is_empty())
        .map(|arg| String::from_utf8_lossy(arg).into_owned())
        .collect();
    let program = args.first()?.rsplit('/').next()?.to_owned();
    Some(Process {
        pid,
        start_time,
        state,
        program,
        args,
    })
}

fn all_pids() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// All processes in a namespace of a kind (`pid`, `net`), zombies left out.
pub(crate) fn in_namespace(kind: &str, namespace: &PathBuf) -> Vec<Process> {
    all_pids()
        .filter(|pid| namespace_of(*pid, kind).as_ref() == Some(namespace))
        .filter_map(read)
        .filter(|process| process.state != 'Z')
        .collect()
}

/// Sends a signal if this is still the same process; whether it was.
pub(crate) fn signal(process: &Process, signal: Signal) -> bool {
    state(process).is_some()
        && Pid::from_raw(process.pid).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

#[cfg(test)]
mod tests {
    #[test]
    fn stat_with_a_nasty_name() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(super::parse_stat(stat), Some(('S', 4711)));
        assert_eq!(super::parse_stat("12 (x"), None);
    }

    #[test]
    fn own_process_is_found() {
        let own = std::process::id() as i32;
        let start_time = super::start_time(own).unwrap();
        assert!(super::lives(own, start_time) && !super::lives(own, start_time + 1));
        let namespace = super::namespace_of(own, "pid").unwrap();
        assert!(
            super::in_namespace("pid", &namespace)
                .iter()
                .any(|each| each.pid == own)
        );
    }
}
