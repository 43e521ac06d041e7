//! One host: its identity and its session records.

use holdfast_model::host::{GuardState, RunnerBounds, Session, SessionState};
use holdfast_model::id::{BootId, HostName, Incarnation, MachineId};
use holdfast_store::keyspace::Key;
use holdfast_store::session::Identity;
use std::str::FromStr;

pub const OBSERVE_MS: u64 = 2_500;

pub fn host() -> HostName {
    HostName::from_str("h1").expect("a name")
}

pub fn session(machine: &str, boot: &str, incarnation: &str) -> Session {
    Session {
        incarnation: Incarnation::from_str(incarnation).expect("a name"),
        boot_id: BootId::from_str(boot).expect("a name"),
        machine_id: MachineId::from_str(machine).expect("a name"),
        beat: 0,
        state: SessionState::Open,
        bounds: RunnerBounds {
            runner_deadline_ms: 4_000,
            kill_bound_ms: 1_000,
            watchdog_bound_ms: 0,
        },
        guard: GuardState::Working,
        storage: None,
        version: "test".into(),
    }
}

pub fn key() -> String {
    Key::HostSession(host()).path()
}

pub fn identity(saved: Option<&str>) -> Identity {
    let mine = session("machine", "boot", "unused");
    Identity {
        host: host(),
        boot_id: mine.boot_id,
        machine_id: mine.machine_id,
        earlier: vec![Incarnation::from_str("life-past").expect("a name")],
        saved: saved.map(|life| Incarnation::from_str(life).expect("a name")),
    }
}
