//! The watchdog against a device that only writes down what is done to it; and the real code for
//! devices against things that are none.

use super::device::Support;
use super::*;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex};

const DEVICE: &str = "/dev/watchdog7";
const START: Instant = Instant(1_000_000);

/// What was done to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Done {
    Timeout(u32),
    Pet,
    MagicClose,
    /// Without a word, as by a process that dies.
    Close,
}

/// How a device behaves, and what was done to it.
#[derive(Clone)]
struct Fake {
    /// Answers to an open.
    open: Option<Errno>,
    support: Support,
    /// Answers to a time-out that is asked for: what it is set to.
    set: fn(u32) -> Result<u32, Errno>,
    own_s: u32,
    /// Answers to a pet.
    pet: Arc<Mutex<Option<Errno>>>,
    done: Arc<Mutex<Vec<Done>>>,
}

struct FakeDevice {
    fake: Fake,
    closed: bool,
}

impl Fake {
    fn new() -> Self {
        Self {
            open: None,
            support: Support {
                identity: "fake board".to_owned(),
                survives_close: true,
                alarm_only: false,
            },
            set: Ok,
            own_s: 30,
            pet: Arc::default(),
            done: Arc::default(),
        }
    }

    fn start(&self, timeout_s: u32) -> Result<Watchdog, WatchdogError> {
        let fake = self.clone();
        let open = move |path: &Path| -> io::Result<Box<dyn Device>> {
            assert_eq!(path, Path::new(DEVICE));
            match fake.open {
                Some(errno) => Err(errno.into()),
                None => Ok(Box::new(FakeDevice {
                    fake,
                    closed: false,
                })),
            }
        };
        Watchdog::own(Path::new(DEVICE), timeout_s, START, open)
    }

    fn error(&self, timeout_s: u32) -> String {
        match self.start(timeout_s) {
            Ok(_) => panic!("it started"),
            Err(error) => error.to_string(),
        }
    }

    /// What was done since it was last asked.
    fn done(&self) -> Vec<Done> {
        std::mem::take(&mut self.done.lock().expect("the list"))
    }

    fn note(&self, done: Done) {
        self.done.lock().expect("the list").push(done);
    }
}

impl Device for FakeDevice {
    fn support(&self) -> io::Result<Support> {
        Ok(self.fake.support.clone())
    }

    fn set_timeout(&mut self, timeout_s: u32) -> io::Result<()> {
        self.fake.note(Done::Timeout(timeout_s));
        self.fake.own_s = (self.fake.set)(timeout_s)?;
        Ok(())
    }

    fn timeout_s(&self) -> io::Result<u32> {
        Ok(self.fake.own_s)
    }

    fn pet(&mut self) -> io::Result<()> {
        self.fake.note(Done::Pet);
        match *self.fake.pet.lock().expect("the answer") {
            Some(errno) => Err(errno.into()),
            None => Ok(()),
        }
    }

    fn magic_close(mut self: Box<Self>) -> io::Result<()> {
        self.closed = true;
        self.fake.note(Done::MagicClose);
        Ok(())
    }
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        if !self.closed {
            self.fake.note(Done::Close);
        }
    }
}

#[test]
fn it_is_petted_each_third_of_the_time_out_and_no_oftener() {
    let fake = Fake::new();
    let mut watchdog = fake.start(9).expect("a watchdog");
    assert_eq!(fake.done(), [Done::Timeout(9), Done::Pet]);
    assert_eq!(watchdog.identity(), "fake board");
    assert_eq!((watchdog.bound_ms(), watchdog.resets_host()), (9_000, true));
    for due in [3_000, 6_000, 9_000] {
        assert_eq!(watchdog.next_pet(), Some(START.plus(due)));
        watchdog.pet(START.plus(due - 1)).expect("nothing to do");
        assert_eq!(fake.done(), []);
        watchdog.pet(START.plus(due)).expect("a pet");
        assert_eq!(fake.done(), [Done::Pet]);
    }
    watchdog.pet(START.plus(11_500)).expect("nothing to do");
    watchdog.pet(START.plus(14_000)).expect("a late pet");
    assert_eq!(fake.done(), [Done::Pet]);
    assert_eq!(watchdog.next_pet(), Some(START.plus(17_000)));
}

#[test]
fn a_pet_that_fails_is_said_and_tried_again_soon() {
    let fake = Fake::new();
    let mut watchdog = fake.start(9).expect("a watchdog");
    *fake.pet.lock().expect("the answer") = Some(Errno::IO);
    let error = watchdog.pet(START.plus(3_000)).expect_err("no pet");
    assert!(
        error
            .to_string()
            .starts_with("cannot pet the watchdog /dev/watchdog7: "),
        "{error}"
    );
    assert_eq!(watchdog.next_pet(), Some(START.plus(3_200)));
    *fake.pet.lock().expect("the answer") = None;
    watchdog.pet(START.plus(3_200)).expect("a pet");
    assert_eq!(watchdog.next_pet(), Some(START.plus(6_200)));
    // And from the start it has to work.
    *fake.pet.lock().expect("the answer") = Some(Errno::IO);
    assert!(fake.error(9).starts_with("cannot pet"));
    assert!(fake.done().ends_with(&[Done::Pet, Done::MagicClose]));
}

#[test]
fn a_rounded_time_out_is_the_one_that_counts() {
    for (set, real_ms) in [
        ((|_| Ok(8)) as fn(u32) -> Result<u32, Errno>, 8_000),
        (|_| Ok(16), 16_000),
    ] {
        let fake = Fake { set, ..Fake::new() };
        let watchdog = fake.start(10).expect("a watchdog");
        assert_eq!(watchdog.bound_ms(), real_ms);
        assert_eq!(watchdog.next_pet(), Some(START.plus(real_ms / 3)));
    }
}

#[test]
fn a_refused_time_out_is_an_error_only_if_the_devices_own_is_longer() {
    let refusing = |own_s| Fake {
        set: |_| Err(Errno::OPNOTSUPP),
        own_s,
        ..Fake::new()
    };
    for own_s in [4, 10] {
        let watchdog = refusing(own_s).start(10).expect("a watchdog");
        assert_eq!(watchdog.bound_ms(), u64::from(own_s) * 1_000);
    }
    let fake = refusing(11);
    let error = fake.error(10);
    for says in [
        "/dev/watchdog7 (fake board) refuses a time-out of 10 s",
        "keeps its own of 11 s, which is longer",
        "set timeout_s = 11 under [guard.watchdog]",
    ] {
        assert!(error.contains(says), "{error}");
    }
    let done = fake.done();
    assert_eq!(done, [Done::Timeout(10), Done::MagicClose], "stopped again");
    let fake = refusing(0);
    assert!(fake.error(10).contains("its time-out is 0 s"));
}

#[test]
fn a_device_that_is_busy_or_missing_says_who_and_what_to_do() {
    for (errno, says) in [
        (
            Errno::BUSY,
            [
                "another program holds /dev/watchdog7",
                "RuntimeWatchdogSec=0",
            ],
        ),
        (
            Errno::NOENT,
            [
                "there is no watchdog /dev/watchdog7",
                "load the board's driver",
            ],
        ),
        (
            Errno::NODEV,
            ["there is no watchdog /dev/watchdog7", "kind = \"none\""],
        ),
        (
            Errno::ACCESS,
            [
                "cannot open the watchdog /dev/watchdog7",
                "ermission denied",
            ],
        ),
    ] {
        let fake = Fake {
            open: Some(errno),
            ..Fake::new()
        };
        let error = fake.error(10);
        assert!(says.iter().all(|says| error.contains(says)), "{error}");
        assert_eq!(fake.done(), []);
    }
}

#[test]
fn a_device_that_would_not_reset_the_host_is_refused() {
    let mut fake = Fake::new();
    fake.support.alarm_only = true;
    assert!(
        fake.error(10)
            .contains("raises an alarm and resets nothing")
    );
    assert_eq!(fake.done(), [Done::MagicClose]);
    let mut fake = Fake::new();
    fake.support.survives_close = false;
    assert!(fake.error(10).contains("nowayout=1"));
    assert_eq!(fake.done(), [Done::MagicClose]);
}

#[test]
fn only_release_stops_it() {
    let fake = Fake::new();
    drop(fake.start(10).expect("a watchdog"));
    assert_eq!(fake.done(), [Done::Timeout(10), Done::Pet, Done::Close]);
    let guard = fake.start(10).expect("a watchdog");
    let died = std::thread::spawn(move || {
        let _guard = guard;
        std::panic::resume_unwind(Box::new("as a guard that panics"));
    });
    assert!(died.join().is_err());
    assert_eq!(fake.done(), [Done::Timeout(10), Done::Pet, Done::Close]);
    let mut watchdog = fake.start(10).expect("a watchdog");
    watchdog.release().expect("stopped");
    assert_eq!(
        fake.done(),
        [Done::Timeout(10), Done::Pet, Done::MagicClose]
    );
    assert_eq!((watchdog.next_pet(), watchdog.bound_ms()), (None, 0));
    watchdog.pet(START.plus(60_000)).expect("nothing to do");
    watchdog.release().expect("nothing to do");
    drop(watchdog);
    assert_eq!(fake.done(), []);
}

#[test]
fn once_left_alone_it_is_never_petted_or_stopped_again() {
    let fake = Fake::new();
    let mut watchdog = fake.start(10).expect("a watchdog");
    fake.done();
    watchdog.stop_petting("web1 is stuck in its storage");
    watchdog.stop_petting("another reason");
    assert_eq!(watchdog.latched(), Some("web1 is stuck in its storage"));
    assert_eq!((watchdog.next_pet(), watchdog.bound_ms()), (None, 10_000));
    for after in [0, 3_334, 10_000, 1_000_000] {
        watchdog.pet(START.plus(after)).expect("nothing to do");
    }
    let error = watchdog.release().expect_err("latched").to_string();
    assert!(error.contains("web1 is stuck in its storage"), "{error}");
    assert_eq!(fake.done(), [], "and it is still open");
    drop(watchdog);
    assert_eq!(fake.done(), [Done::Close]);
}

#[test]
fn without_one_nothing_is_done() {
    let mut watchdog = Watchdog::start(&WatchdogChoice::None, START).expect("none");
    assert_eq!((watchdog.next_pet(), watchdog.bound_ms()), (None, 0));
    assert!(!watchdog.resets_host());
    watchdog.pet(START).expect("nothing to do");
    watchdog.release().expect("nothing to do");
    watchdog.stop_petting("a reason");
    assert_eq!(watchdog.latched(), Some("a reason"));
}

#[test]
fn the_files_section_says_who_it_is() {
    let mut section = WatchdogSection::default();
    assert_eq!(WatchdogChoice::from(&section), WatchdogChoice::None);
    section.kind = WatchdogKind::Systemd;
    assert_eq!(WatchdogChoice::from(&section), WatchdogChoice::Systemd);
    section.kind = WatchdogKind::Own;
    let own = WatchdogChoice::Own {
        device: "/dev/watchdog".into(),
        timeout_s: 10,
    };
    assert_eq!(WatchdogChoice::from(&section), own);
}

fn own(path: &Path) -> WatchdogChoice {
    WatchdogChoice::Own {
        device: path.to_owned(),
        timeout_s: 10,
    }
}

#[test]
fn what_is_no_watchdog_is_told_from_one_and_not_written_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let gone = dir.path().join("watchdog");
    let error = Watchdog::start(&own(&gone), START).err();
    assert!(
        matches!(error, Some(WatchdogError::Missing { .. })),
        "{error:?}"
    );
    let disk = dir.path().join("disk");
    std::fs::write(&disk, "data").expect("a file");
    for path in [disk.as_path(), Path::new("/dev/null")] {
        let error = Watchdog::start(&own(path), START).err();
        assert!(
            matches!(error, Some(WatchdogError::NoWatchdog { .. })),
            "{error:?}"
        );
    }
    assert_eq!(std::fs::read(&disk).expect("the file"), b"data");
}

/// The bytes that a device gets, in a file.
#[test]
fn only_the_magic_close_writes_a_v() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("watchdog");
    let written = |act: fn(Box<dyn Device>)| {
        std::fs::write(&path, "").expect("a file");
        act(Hardware::open(&path).expect("a file to write to"));
        std::fs::read(&path).expect("the file")
    };
    assert_eq!(written(drop), b"");
    let pet = |mut device: Box<dyn Device>| device.pet().expect("a byte");
    assert!(!written(pet).contains(&b'V'));
    assert_eq!(written(pet).len(), 1);
    assert_eq!(
        written(|device| device.magic_close().expect("a byte")),
        b"V"
    );
}

/// systemd's end of the socket, and the variables it gives to a process.
struct Systemd {
    socket: UnixDatagram,
    name: String,
}

impl Systemd {
    /// In the abstract name space: nothing is left behind.
    fn new(test: &str) -> Self {
        let name = format!("holdfast-{test}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        socket.set_nonblocking(true).expect("a mode");
        let name = format!("@{name}");
        Self { socket, name }
    }

    fn variables(&self) -> [(&str, &str); 3] {
        let socket = ("NOTIFY_SOCKET", self.name.as_str());
        [
            socket,
            ("WATCHDOG_USEC", "9000000"),
            ("WATCHDOG_PID", "4711"),
        ]
    }

    fn read(&self) -> Option<String> {
        let mut bytes = [0; 100];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

fn notifier(variables: &[(&str, &str)]) -> Result<Notifier, SystemdError> {
    let value = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    Notifier::new(value, 4711)
}

#[test]
fn systemd_is_told_that_the_guard_lives_until_it_stops() {
    let systemd = Systemd::new("told");
    let notifier = notifier(&systemd.variables()).expect("a way");
    let mut watchdog = Watchdog::systemd(notifier, START).expect("a watchdog");
    assert_eq!(systemd.read().as_deref(), Some("WATCHDOG=1"));
    assert_eq!(
        (watchdog.bound_ms(), watchdog.resets_host()),
        (9_000, false)
    );
    watchdog.pet(START.plus(2_999)).expect("nothing to do");
    assert_eq!(systemd.read(), None);
    watchdog.pet(START.plus(3_000)).expect("a pet");
    assert_eq!(systemd.read().as_deref(), Some("WATCHDOG=1"));
    watchdog.stop_petting("a reason");
    watchdog.pet(START.plus(60_000)).expect("nothing to do");
    assert_eq!(systemd.read(), None);
}

#[test]
fn a_systemd_that_does_not_read_does_not_hold_the_guard_up() {
    let systemd = Systemd::new("silent");
    let notifier = notifier(&systemd.variables()).expect("a way");
    let full = (0..100_000).find_map(|_| notifier.pet().err());
    let kind = full.map(|error| error.kind());
    assert_eq!(kind, Some(io::ErrorKind::WouldBlock));
}

#[test]
fn a_process_that_systemd_does_not_watch_over_says_why() {
    let systemd = Systemd::new("absent");
    for (at, value, says) in [
        (0, None, "NOTIFY_SOCKET is not set"),
        (1, None, "WATCHDOG_USEC is not set"),
        (1, Some("0"), "WATCHDOG_USEC is \"0\""),
        (1, Some("soon"), "WATCHDOG_USEC is \"soon\""),
        (2, Some("4712"), "WATCHDOG_PID is \"4712\""),
        (
            0,
            Some("@holdfast-nobody-listens"),
            "NOTIFY_SOCKET cannot be used",
        ),
    ] {
        let mut variables = systemd.variables().to_vec();
        match value {
            Some(value) => variables[at].1 = value,
            None => drop(variables.remove(at)),
        }
        let error = notifier(&variables).expect_err(says);
        let error = WatchdogError::Systemd(error).to_string();
        assert!(
            error.contains(says) && error.contains("WatchdogSec="),
            "{error}"
        );
    }
    // Old ones do not say for whom it is meant.
    notifier(&systemd.variables()[..2]).expect("a way");
}
