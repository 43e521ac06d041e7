//! The guard with a device that writes down what is done to it, and with processes that do not heed the
//! signal, as one does that is stuck in the kernel.

use super::protocol::{Answer, Call, Process};
use super::reset::{LeftToReset, Reset};
use super::state::Guard;
use super::table::{Found, TableFile};
use super::watchdog::device::{Device, Support};
use super::watchdog::{Watchdog, WatchdogChoice};
use crate::process::verified;
use holdfast_core::guardian::deadline::Renewal;
use holdfast_model::host::RunnerBounds;
use holdfast_model::id::{Generation, Incarnation, Revision};
use holdfast_model::lease::StorageClass;
use holdfast_model::time::Instant;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const BOOT: &str = "b1";
const UUID: &str = "11111111-2222-3333-4444-555555555555";
/// The device's time-out.
const BOUND_MS: u64 = 9_000;
/// The runner's deadline after the start, and what a kill may take.
const DEADLINE: Instant = Instant(4_000);
const KILL_MS: u64 = 1_000;

type Log = Arc<Mutex<Vec<&'static str>>>;

struct FakeDevice(Log);

impl Device for FakeDevice {
    fn support(&self) -> io::Result<Support> {
        Ok(Support {
            identity: "fake board".to_owned(),
            survives_close: true,
            alarm_only: false,
        })
    }

    fn set_timeout(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn timeout_s(&self) -> io::Result<u32> {
        Ok(9)
    }

    fn pet(&mut self) -> io::Result<()> {
        self.0.lock().expect("the list").push("pet");
        Ok(())
    }

    fn magic_close(self: Box<Self>) -> io::Result<()> {
        self.0.lock().expect("the list").push("stop");
        Ok(())
    }
}

/// A watchdog of nine seconds that resets nothing.
pub(crate) fn fake_board() -> Reset {
    board(Log::default())
}

fn board(log: Log) -> Reset {
    Reset::with(Box::new(move |now| {
        let log = Arc::clone(&log);
        let open = move |_: &Path| -> io::Result<Box<dyn Device>> { Ok(Box::new(FakeDevice(log))) };
        Watchdog::own(Path::new("/dev/watchdog7"), 9, now, open)
    }))
}

/// A VM's process that does not outlive the test.
struct Vm(Child);

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Host {
    dir: tempfile::TempDir,
    log: Log,
    vm: Vm,
}

impl Host {
    fn new() -> Self {
        let child = Command::new("tail")
            .args(["-f", "/dev/null", UUID])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            log: Log::default(),
            vm: Vm(child.expect("a process")),
        }
    }

    /// What was done to the device since it was last asked.
    fn done(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.log.lock().expect("the list"))
    }

    /// A guard with a device, as it is started at that time.
    fn guard(&self, now: Instant) -> Guard {
        self.guard_with(now, board(Arc::clone(&self.log)))
    }

    fn guard_with(&self, now: Instant, reset: Reset) -> Guard {
        let table = TableFile::new(self.dir.path());
        let name = "h1".parse().expect("a name");
        Guard::restore(table, BOOT.to_owned(), name, None, reset, now)
    }

    fn process(&self) -> Process {
        let uuid = UUID.parse().expect("a UUID");
        let begin = std::time::Instant::now();
        let process = loop {
            match verified(self.vm.0.id(), &uuid) {
                Some(process) => break process,
                None if begin.elapsed().as_secs() < 60 => std::thread::yield_now(),
                None => panic!("its command line does not come"),
            }
        };
        Process {
            vm: "web".parse().expect("a name"),
            generation: Generation(1),
            uuid,
            process,
            lease: StorageClass::Plain,
            slot: None,
        }
    }

    /// Its VM is watched under life i1, armed at time 0.
    fn watching(&self, guard: &mut Guard) {
        guard.pet(Instant(0));
        arm(guard, "i1", Instant(0)).expect("armed");
        let watch = Call::Watch {
            incarnation: life("i1"),
            process: self.process(),
        };
        assert_eq!(guard.call(watch, Instant(0)), Ok(Answer::Done));
    }

    fn end_vm(&mut self) {
        self.vm.0.kill().expect("a child");
        self.vm.0.wait().expect("a child");
    }

    fn left(&self) -> Option<LeftToReset> {
        match TableFile::new(self.dir.path()).read(BOOT) {
            Found::Table(table) => table.left_to_reset,
            other => panic!("{other:?}"),
        }
    }
}

fn life(name: &str) -> Incarnation {
    name.parse().expect("a name")
}

fn arm(guard: &mut Guard, name: &str, now: Instant) -> Result<Answer, String> {
    let arm = Call::Arm {
        incarnation: life(name),
        bounds: RunnerBounds {
            runner_deadline_ms: DEADLINE.0,
            kill_bound_ms: KILL_MS,
            watchdog_bound_ms: BOUND_MS,
        },
        slot: None,
    };
    guard.call(arm, now)
}

/// As the server's loop does.
fn turn(guard: &mut Guard, now: u64) {
    guard.step(Instant(now));
    guard.pet(Instant(now));
}

#[test]
fn it_is_petted_until_a_killed_vm_outlives_its_bound_and_never_again() {
    let mut host = Host::new();
    let mut guard = host.guard(Instant(0));
    assert_eq!(
        host.done(),
        Vec::<&str>::new(),
        "not opened before the first step"
    );
    host.watching(&mut guard);
    let armed = arm(&mut guard, "i1", Instant(0));
    let deadline = DEADLINE;
    let watchdog_bound_ms = BOUND_MS;
    assert_eq!(
        armed,
        Ok(Answer::Armed {
            deadline,
            watchdog_bound_ms
        })
    );
    assert_eq!(host.done(), ["pet"], "its start");
    guard.make_deaf();
    turn(&mut guard, 3_000);
    assert_eq!(host.done(), ["pet"], "each third");
    turn(&mut guard, 4_000);
    turn(&mut guard, 4_999);
    assert_eq!(host.left(), None);
    turn(&mut guard, 5_000);
    let left = host.left().expect("written down");
    assert_eq!(
        (left.incarnation, left.since),
        (Some(life("i1")), Instant(5_000))
    );
    for now in [6_000, 9_000, 14_000, 60_000] {
        turn(&mut guard, now);
        assert!(
            guard.wake_at(Instant(now)) > Some(Instant(now)),
            "no busy loop"
        );
    }
    assert_eq!(host.done(), Vec::<&str>::new());
    // Gone after all: the device is left alone, and nothing new begins.
    host.end_vm();
    turn(&mut guard, 61_000);
    let refused = arm(&mut guard, "i2", Instant(61_000)).expect_err("left to the watchdog");
    assert!(refused.contains("VM web could not be killed"), "{refused}");
    assert!(guard.end().contains("the watchdog goes on"));
    assert_eq!(host.done(), Vec::<&str>::new());
}

#[test]
fn a_guard_that_is_restarted_then_leaves_the_device_closed() {
    let mut host = Host::new();
    let mut guard = host.guard(Instant(0));
    host.watching(&mut guard);
    guard.make_deaf();
    turn(&mut guard, 4_000);
    turn(&mut guard, 5_000);
    drop(guard);
    host.done();
    host.end_vm();
    let mut guard = host.guard(Instant(5_100));
    for now in [5_100, 5_200, 9_000] {
        turn(&mut guard, now);
    }
    assert!(arm(&mut guard, "i2", Instant(9_000)).is_err());
    assert_eq!(host.done(), Vec::<&str>::new());
}

#[test]
fn one_that_is_restarted_between_kill_and_bound_does_not_begin_the_bound_anew() {
    let mut host = Host::new();
    let mut guard = host.guard(Instant(0));
    host.watching(&mut guard);
    guard.make_deaf();
    turn(&mut guard, 4_000);
    drop(guard);
    host.done();
    // It was away until after the bound: starting the device would put the reset off.
    let mut guard = host.guard(Instant(5_500));
    guard.make_deaf();
    turn(&mut guard, 5_500);
    turn(&mut guard, 5_600);
    assert_eq!(host.done(), Vec::<&str>::new());
    assert_eq!(host.left(), None, "no device that it has open");
    host.end_vm();
    turn(&mut guard, 5_700);
    assert_eq!(
        host.done(),
        ["pet"],
        "nothing is left, so nothing has to be reset"
    );
    arm(&mut guard, "i2", Instant(5_800)).expect("a new life");
}

#[test]
fn a_late_guard_gives_the_signal_its_time_and_does_not_pet_meanwhile() {
    let host = Host::new();
    let mut guard = host.guard(Instant(0));
    host.watching(&mut guard);
    guard.make_deaf();
    host.done();
    // It stood still for seconds; the deadline has passed between step and pet.
    guard.step(Instant(3_999));
    guard.pet(Instant(8_000));
    assert_eq!(host.done(), Vec::<&str>::new(), "the kill comes first");
    turn(&mut guard, 8_000);
    turn(&mut guard, 8_900);
    assert_eq!((host.done(), host.left()), (Vec::new(), None));
    turn(&mut guard, 9_000);
    assert!(host.left().is_some());
}

#[test]
fn a_pause_between_step_and_pet_costs_nobody_anything() {
    let mut host = Host::new();
    let mut guard = host.guard(Instant(0));
    host.watching(&mut guard);
    guard.step(Instant(3_999));
    guard.pet(Instant(8_000));
    // The acknowledgement had waited in the socket.
    let renewed = guard.call(
        Call::Renewed {
            incarnation: life("i1"),
            sent_at: Instant(7_000),
            revision: Revision(1),
        },
        Instant(8_000),
    );
    let until = Renewal::Until {
        deadline: Instant(11_000),
    };
    assert_eq!(renewed, Ok(Answer::Renewed { renewal: until }));
    guard.step(Instant(11_000));
    host.vm.0.wait().expect("killed");
    guard.pet(Instant(30_000));
    assert_eq!(host.left(), None, "it has gone meanwhile");
}

#[test]
fn a_vm_that_dies_in_time_costs_nothing() {
    let mut host = Host::new();
    let mut guard = host.guard(Instant(0));
    host.watching(&mut guard);
    turn(&mut guard, 4_000);
    host.vm.0.wait().expect("killed");
    turn(&mut guard, 4_100);
    turn(&mut guard, 20_000);
    assert_eq!(host.left(), None);
    assert_eq!(host.done(), ["pet", "pet", "pet"]);
    arm(&mut guard, "i2", Instant(20_001)).expect("a new life");
}

#[test]
fn an_orderly_end_stops_the_device_only_if_nothing_can_be_left() {
    let mut host = Host::new();
    let mut guard = host.guard(Instant(0));
    guard.pet(Instant(0));
    assert!(guard.end().contains("it is not known"), "no scan yet");
    guard.found(Vec::new(), Instant(0));
    host.watching(&mut guard);
    let words = guard.end();
    assert!(
        words.contains("1 VMs are watched. It resets this host in 9000 ms"),
        "{words}"
    );
    assert_eq!(host.done(), ["pet"]);
    host.end_vm();
    assert!(guard.end().contains("the watchdog was told to stop"));
    assert_eq!(host.done(), ["stop"]);
}

#[test]
fn after_a_deadline_it_ends_in_order_only_if_a_scan_has_found_nothing_since() {
    let mut host = Host::new();
    let mut guard = host.guard(Instant(0));
    guard.found(Vec::new(), Instant(0));
    host.watching(&mut guard);
    turn(&mut guard, 4_000);
    host.vm.0.wait().expect("killed");
    assert!(guard.end().contains("the watchdog goes on"));
    guard.found(Vec::new(), Instant(4_100));
    assert!(guard.end().contains("the watchdog was told to stop"));
    assert!(host.done().ends_with(&["stop"]));
}

#[test]
fn a_host_without_a_watchdog_says_so_and_goes_on_when_everything_is_gone() {
    let mut host = Host::new();
    let mut guard = host.guard_with(Instant(0), Reset::by(WatchdogChoice::None));
    host.watching(&mut guard);
    guard.make_deaf();
    for now in [4_000, 5_000, 6_000] {
        turn(&mut guard, now);
    }
    assert_eq!(host.left(), None);
    host.end_vm();
    let armed = arm(&mut guard, "i2", Instant(6_100));
    assert!(
        matches!(
            armed,
            Ok(Answer::Armed {
                watchdog_bound_ms: 0,
                ..
            })
        ),
        "{armed:?}"
    );
}

#[test]
fn a_device_that_is_not_there_yet_is_tried_again_and_said_to_be_missing() {
    let host = Host::new();
    let log = Arc::clone(&host.log);
    let mut missing = true;
    let reset = Reset::with(Box::new(move |now| {
        let log = Arc::clone(&log);
        let absent = std::mem::replace(&mut missing, false);
        let open = move |_: &Path| -> io::Result<Box<dyn Device>> {
            match absent {
                true => Err(rustix::io::Errno::NOENT.into()),
                false => Ok(Box::new(FakeDevice(log))),
            }
        };
        Watchdog::own(Path::new("/dev/watchdog7"), 9, now, open)
    }));
    let mut guard = host.guard_with(Instant(0), reset);
    let status = |guard: &mut Guard| match guard.call(Call::Status, Instant(0)) {
        Ok(Answer::Status(status)) => (status.watchdog_bound_ms, status.warnings),
        other => panic!("{other:?}"),
    };
    turn(&mut guard, 0);
    let (bound_ms, warnings) = status(&mut guard);
    assert_eq!(bound_ms, 0);
    assert!(warnings[0].contains("there is no watchdog"), "{warnings:?}");
    turn(&mut guard, 4_999);
    assert_eq!(guard.wake_at(Instant(4_999)), Some(Instant(5_000)));
    turn(&mut guard, 5_000);
    assert_eq!(status(&mut guard), (BOUND_MS, Vec::new()));
}
