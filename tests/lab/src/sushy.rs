//! A Redfish service that is not ours: OpenStack's emulator (sushy-tools), over TLS and with a password, as the boards
//! of the lab's hosts.
//!
//! ```text
//!  manager ─HTTPS, Basic─> sushy-emulator ─PUT: what has changed─> here ─> the machine's power
//! ```
//! Both listen where the observer does. The emulator's systems are made up; that one of them is off becomes true
//! before the emulator says so, for it waits for our answer and meanwhile answers nobody ([`RUN`]). Where we cannot
//! do as it says, the scenario fails.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::clock::now_ms;
use crate::error::{LabError, Result};
use crate::guest::linux::cache_dir;
use crate::lab::Lab;
use crate::layout::{NET_NAMESPACE, OBSERVER_ADDRESS};
use crate::machine::Power;
use crate::net::namespace_file;
use crate::outside::{Over, accept, listen, read, say};
use crate::programs::find;
use crate::run::{output, wait_until};
use crate::state;

/// From PyPI; Apache-2.0.
const VERSION: &str = "2.2.0";
/// Managers know it by this name.
pub(crate) const TARGET: &str = "sushy";
const PORT: u16 = 8_443;
const TOLD_PORT: u16 = 8_001;
const USER: &str = "holdfast";
const PASSWORD: &str = "only-in-the-lab";

/// The emulator, with two things changed. Switching takes as long as we say. And its made-up systems are read one at a
/// time: of two who ask at once the second would hear of the new state before we have heard of it.
const RUN: &str = "\
import random, threading
from sushy_tools.emulator.resources.systems.fakedriver import FakeDriver
from sushy_tools.emulator.main import main
random.randint = lambda low, high: TAKES_S
get, lock = FakeDriver._get, threading.RLock()
def one_at_a_time(self, identity):
    with lock:
        return get(self, identity)
FakeDriver._get = one_at_a_time
main()
";

/// How long the emulator pretends that switching takes, in seconds; by itself it takes 1 to 11, by chance.
const TAKES_S: u32 = 2;
/// A managed machine, a fetched package: generous.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where the emulator is, if [`fetch`] has got it.
pub fn cached() -> Option<PathBuf> {
    let dir = dir();
    dir.join(".complete").is_file().then_some(dir)
}

fn dir() -> PathBuf {
    cache_dir().join(format!("sushy-tools-{VERSION}"))
}

/// Gets it from PyPI, into an environment of its own.
pub fn fetch() -> Result<()> {
    let Some(python) = find("python3") else {
        let text = "there is no python3 (Debian: `apt-get install python3-venv`)";
        return Err(LabError::Refused(text.to_owned()));
    };
    let dir = dir();
    let mut venv = Command::new(python);
    output(venv.args(["-m", "venv"]).arg(&dir), b"", PATIENCE)?.ok("python3 -m venv")?;
    let mut pip = Command::new(dir.join("bin/pip"));
    pip.args([
        "install",
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
    ]);
    pip.arg(format!("sushy-tools=={VERSION}"));
    output(&mut pip, b"", PATIENCE)?.ok("pip install sushy-tools")?;
    state::write(&dir.join(".complete"), "")
}

/// The id of a host's system there.
pub(crate) fn system(lab: &Lab, host: &str) -> String {
    let mut hosts = lab.layout().hypervisors();
    let number = hosts.position(|each| each.name == host).unwrap_or_default();
    format!("00000000-0000-4000-8000-00000000b0{number:02x}")
}

/// The emulator, and what it told.
pub(crate) struct Sushy {
    told: Mutex<Told>,
    pin: String,
}

#[derive(Default)]
struct Told {
    /// Its word for each system's power, as of the last time.
    power: BTreeMap<String, String>,
    /// When it said off, of which host, and how that one's power stood just then.
    off: Vec<(u64, String, Power)>,
    /// What we could not do. The emulator writes that down and goes on as if it were done.
    failed: Vec<String>,
}

/// Ends with it, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Sushy {
    /// Runs it, and does as it says, while the body runs.
    pub(crate) fn serve<T>(lab: &Lab, body: impl FnOnce(&Sushy) -> Result<T>) -> Result<T> {
        let Some(program) = cached() else {
            let text =
                format!("sushy-tools {VERSION} is not there; `cargo xtask setup` fetches it");
            return Err(LabError::Refused(text));
        };
        let place = lab.state().root().join("sushy");
        state::make_dir(&place)?;
        let pin = certificate(&place)?;
        write_files(lab, &place, &program)?;
        let (sushy, over) = (
            Sushy {
                told: Mutex::default(),
                pin,
            },
            AtomicBool::new(false),
        );
        let listener = listen(TOLD_PORT)?;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                accept(&listener, &over, || {
                    let (stream, _) = listener.accept()?;
                    // An emulator that went away has no use for an answer.
                    let _ = sushy.hear(lab, &stream);
                    Ok(())
                });
            });
            let _end = Over(&over);
            let _running = start(&place, &program)?;
            body(&sushy)
        })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What manager.toml needs to reach it; the password is in a file beside.
    pub(crate) fn target(&self) -> String {
        format!(
            "\n[targets.{TARGET}]\nurl = \"https://{OBSERVER_ADDRESS}:{PORT}\"\nuser = \"{USER}\"\n\
             password_file = \"{TARGET}.password\"\ncertificate_sha256 = \"{}\"\n",
            self.pin
        )
    }

    /// The password, for a file that only the manager can read.
    pub(crate) fn password() -> &'static str {
        PASSWORD
    }

    /// A system has changed: the machine does as well, before this is answered.
    fn hear(&self, lab: &Lab, stream: &TcpStream) -> std::io::Result<()> {
        let system: Value = serde_json::from_slice(&read(stream)?.body)?;
        let word = |key: &str| system[key].as_str().unwrap_or_default().to_owned();
        let (host, power) = (word("name"), word("power_state"));
        let before = self.told().power.insert(host.clone(), power.clone());
        let done = lab.power(&host).and_then(|present| {
            let due = due(before.as_deref(), &power);
            if due == Some(Power::Off) {
                self.told().off.push((now_ms(), host.clone(), present));
            }
            match due {
                Some(Power::Off) if present == Power::On => lab.power_off(&[&host]).map(drop),
                Some(Power::On) if present == Power::Off => lab.power_on(&[&host]),
                _ => Ok(()),
            }
        });
        match done {
            Ok(()) => say(stream, "204 No Content", ""),
            Err(error) => {
                let text = format!("{host} is not {power}: {}", error.chain());
                self.told().failed.push(text);
                say(stream, "500 Internal Server Error", "{}")
            }
        }
    }

    /// That the machines are as it says.
    pub(crate) fn expect_obeyed(&self) -> Result<()> {
        match self.told().failed.first() {
            None => Ok(()),
            Some(failed) => Err(LabError::Refused(failed.clone())),
        }
    }

    /// Waits until it said that a host is off: how its power stood just then.
    pub(crate) fn wait_off(&self, host: &str, after_ms: u64, limit: Duration) -> Result<Power> {
        wait_until(&format!("sushy to switch {host} off"), limit, "", || {
            let told = self.told();
            let mut off = told.off.iter();
            let found = off.find(|(at_ms, name, _)| name == host && *at_ms > after_ms);
            found
                .map(|(.., power)| *power)
                .ok_or_else(|| format!("so far {:?}", told.off))
        })
    }
}

/// What becomes of a machine when the emulator's word for its power changes.
fn due(before: Option<&str>, says: &str) -> Option<Power> {
    match (before, says) {
        (None | Some("On"), "Off") => Some(Power::Off),
        (Some("Off"), "On") => Some(Power::On),
        _ => None,
    }
}

/// A certificate for itself, as boards have; its SHA-256.
fn certificate(place: &Path) -> Result<String> {
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        let said = output(command.args(arguments).current_dir(place), b"", PATIENCE)?;
        said.ok("openssl")
    };
    let name = format!("subjectAltName=IP:{OBSERVER_ADDRESS}");
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
        "-days",
        "2",
        "-subj",
        "/CN=boards",
        "-addext",
        &name,
    ])?;
    let said = openssl(&[
        "x509",
        "-in",
        "cert.pem",
        "-noout",
        "-fingerprint",
        "-sha256",
    ])?;
    let pin = said.stdout.trim().rsplit('=').next().unwrap_or_default();
    Ok(pin.to_owned())
}

fn write_files(lab: &Lab, place: &Path, program: &Path) -> Result<()> {
    let hosts = lab.layout().hypervisors();
    let systems: Vec<String> = hosts
        .map(|host| {
            let (name, id) = (&host.name, system(lab, &host.name));
            format!(
                "{{'uuid': '{id}', 'name': '{name}', 'power_state': 'On', 'external_notifier': True, 'nics': []}}"
            )
        })
        .collect();
    let shown = place.display();
    let config = format!(
        "SUSHY_EMULATOR_LISTEN_IP = '{OBSERVER_ADDRESS}'\nSUSHY_EMULATOR_LISTEN_PORT = {PORT}\n\
         SUSHY_EMULATOR_SSL_CERT = '{shown}/cert.pem'\nSUSHY_EMULATOR_SSL_KEY = '{shown}/key.pem'\n\
         SUSHY_EMULATOR_AUTH_FILE = '{shown}/users'\nSUSHY_EMULATOR_FAKE_DRIVER = True\n\
         SUSHY_EMULATOR_STATE_DIR = '{shown}'\nSUSHY_EMULATOR_FAKE_SYSTEMS = [{}]\n\
         EXTERNAL_NOTIFICATION_URL = 'http://{OBSERVER_ADDRESS}:{TOLD_PORT}/'\n",
        systems.join(", ")
    );
    state::write(&place.join("config.py"), config)?;
    // State of an earlier run would be another power than the machines have.
    let _ = std::fs::remove_file(place.join("fakedriver.sqlite"));
    let run = RUN.replace("TAKES_S", &TAKES_S.to_string());
    state::write(&place.join("run.py"), run)?;
    let hash =
        format!("import bcrypt; print(bcrypt.hashpw(b'{PASSWORD}', bcrypt.gensalt(4)).decode())");
    let mut python = Command::new(program.join("bin/python"));
    let said = output(python.args(["-c", &hash]), b"", PATIENCE)?.ok("bcrypt")?;
    state::write(
        &place.join("users"),
        format!("{USER}:{}\n", said.stdout.trim()),
    )
}

/// In the machines' network: what is left of the lab there ends with it.
fn start(place: &Path, program: &Path) -> Result<Running> {
    let log = place.join("log");
    let file = File::create(&log).map_err(LabError::io("create", &log))?;
    let errors = file.try_clone().map_err(LabError::io("open", &log))?;
    let child = Command::new("nsenter")
        .arg(format!("--net={}", namespace_file(NET_NAMESPACE).display()))
        .arg("--")
        .arg(program.join("bin/python"))
        .arg(place.join("run.py"))
        .arg("--config")
        .arg(place.join("config.py"))
        .arg("--fake")
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn();
    let running = Running(child.map_err(LabError::io("start", "nsenter"))?);
    wait_until("sushy-emulator to listen", PATIENCE, "", || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        match said.contains("Running on") {
            true => Ok(()),
            false => Err(said.lines().last().unwrap_or("nothing said").to_owned()),
        }
    })?;
    Ok(running)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::options::LabOptions;
    use crate::state::{LabRecord, StateDir};
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A lab of which nothing runs.
    fn lab(root: &Path) -> Lab {
        let record = LabRecord {
            options: LabOptions::default(),
            layout: Layout::new(2).unwrap(),
            real_boot_id: String::new(),
            made_dirs: Vec::new(),
            domain_type: "qemu".to_owned(),
            complete: true,
        };
        let state = StateDir::new(root).unwrap();
        Lab {
            state,
            record,
            hits: Mutex::default(),
        }
    }

    #[test]
    fn a_machine_whose_power_cannot_be_read_is_not_off() {
        let lab = lab(Path::new("/nonexistent/holdfast-lab"));
        let sushy = Sushy {
            told: Mutex::default(),
            pin: String::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let answer = |host: &str| {
            let mut told = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let body = format!("{{\"name\": \"{host}\", \"power_state\": \"Off\"}}");
            let length = body.len();
            write!(
                told,
                "PUT / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
            let (stream, _) = listener.accept().unwrap();
            sushy.hear(&lab, &stream).unwrap();
            drop(stream);
            let mut said = String::new();
            told.read_to_string(&mut said).unwrap();
            said
        };
        assert!(answer("a1").starts_with("HTTP/1.1 204 "), "it is off");
        assert_eq!(sushy.told().off.len(), 1);
        sushy.expect_obeyed().unwrap();
        assert!(answer("nobody").starts_with("HTTP/1.1 500 "), "who knows");
        assert_eq!(sushy.told().off.len(), 1, "nothing was seen of it");
        let failed = sushy.expect_obeyed().unwrap_err().to_string();
        assert!(failed.contains("nobody is not Off"), "{failed}");
    }
}
