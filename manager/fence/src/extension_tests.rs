//! Real extensions against a board that a test plays.

#[path = "extension_runs_tests.rs"]
mod runs;

use super::*;
use crate::ALONE;
use crate::web::Recent;
use holdfast_extension_host::{EngineKind, Loaded, Runtime};
use holdfast_model::extension::{ExtensionKind, Installed, Limits, LimitsAsked, Manifest};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::time::UnixMs;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new(EngineKind::Native).expect("a runtime"));

/// A guest's folder as `cargo xtask extensions` built it.
fn folder(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    let target = test.ancestors().nth(3).expect("a target directory");
    target.join("extensions").join(name)
}

/// What a board does with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It is done at once.
    Obeys,
    /// It is off when it has been looked at so often.
    Takes(u32),
    /// It is acknowledged, and nothing happens.
    Pretends,
    /// It is done, and the answer is lost.
    Loses,
    /// Nobody is there.
    Dead,
}

struct Board {
    manner: Manner,
    on: Mutex<bool>,
    ordered: Mutex<Option<u32>>,
    asked: Mutex<Vec<(String, String)>>,
    abouts: Mutex<Vec<String>>,
}

impl Board {
    fn new(manner: Manner) -> Arc<Self> {
        Arc::new(Self {
            manner,
            on: Mutex::new(true),
            ordered: Mutex::default(),
            asked: Mutex::default(),
            abouts: Mutex::default(),
        })
    }

    fn state(&self) -> &'static str {
        let mut ordered = self.ordered.lock().expect("no panic");
        let mut on = self.on.lock().expect("no panic");
        if let (Manner::Takes(looks), Some(seen)) = (self.manner, ordered.as_mut()) {
            *seen += 1;
            *on &= *seen < looks;
            return if *on { "PoweringOff" } else { "Off" };
        }
        if *on { "On" } else { "Off" }
    }

    fn orders(&self) -> usize {
        let asked = self.asked.lock().expect("no panic");
        let posts = asked.iter();
        posts.filter(|(_, what)| what.starts_with("POST")).count()
    }
}

impl Web for Board {
    fn send(&self, request: &Request, _: Instant) -> Result<Response, WebError> {
        let what = format!("{} {}", request.method.word(), request.path);
        let target = request.target.to_string();
        let about = request.about.clone();
        self.abouts.lock().expect("no panic").push(about);
        self.asked
            .lock()
            .expect("no panic")
            .push((target, what.clone()));
        if self.manner == Manner::Dead {
            return Err(WebError::Unreachable("no route".to_owned()));
        }
        let answer = |status, body: String| Ok(Response { status, body });
        match what.as_str() {
            "GET /redfish/v1/Systems" => answer(
                200,
                r#"{"Members": [{"@odata.id": "/redfish/v1/Systems/1"}]}"#.to_owned(),
            ),
            "GET /redfish/v1/Systems/1" => {
                answer(200, format!(r#"{{"PowerState": "{}"}}"#, self.state()))
            }
            "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset" => {
                *self.ordered.lock().expect("no panic") = Some(0);
                let off = matches!(self.manner, Manner::Obeys | Manner::Loses);
                *self.on.lock().expect("no panic") &= !off;
                match self.manner {
                    Manner::Loses => Err(WebError::Unanswered("cut".to_owned())),
                    _ => answer(204, String::new()),
                }
            }
            _ => answer(404, String::new()),
        }
    }
}

fn installed(name: &str) -> (Installed, Loaded) {
    let at = folder(name);
    let wasm = fs::read(at.join("component.wasm"))
        .unwrap_or_else(|error| panic!("{name}: {error}; `cargo xtask extensions` builds it"));
    let text = fs::read_to_string(at.join("extension.toml")).expect("its manifest");
    let mut manifest: Manifest = toml::from_str(&text).expect("a manifest");
    let loaded = Loaded::compile(&RUNTIME, &wasm).expect("a component");
    // What it does not import it does not get, whatever it says.
    manifest.rights = holdfast_extension_host::contract::usable(loaded.surface(), &manifest.rights);
    let installed = Installed {
        granted: manifest.rights.clone(),
        manifest,
        digest: String::new(),
        bytes: 0,
        limits: LimitsAsked::default(),
        then: holdfast_model::advice::Fallback::Closed,
        signed: None,
        by: "test".to_owned(),
        at: UnixMs(0),
        before: None,
        rollout: None,
    };
    (installed, loaded)
}

/// The only one that is installed.
struct One {
    name: ExtensionName,
    fencing: Arc<Fencing>,
    rights: Rights,
    costs: Arc<Costs>,
}

impl FencingHere for One {
    fn fencing(&self, name: &ExtensionName) -> Result<ReadyFencing, String> {
        match *name == self.name {
            true => Ok(ReadyFencing {
                fencing: self.fencing.clone(),
                rights: self.rights.clone(),
                costs: self.costs.clone(),
            }),
            false => Err(format!(
                "extension {name} is not installed; `holdfast ext install` does it"
            )),
        }
    }

    fn ready(&self) -> BTreeSet<ExtensionName> {
        [self.name.clone()].into()
    }
}

/// One device that an extension talks to.
struct Rig {
    devices: FenceExtensions,
    costs: Arc<Costs>,
    target: Target,
}

impl Rig {
    fn new(extension: &str, board: &Arc<Board>, programs: &Path) -> Self {
        let book: Arc<dyn RequestBook> = Arc::new(Recent::default());
        // This machine may be busy with other tests.
        Self::with(extension, board, programs, (30_000, Some(book)))
    }

    /// With so much time for a call, in milliseconds, and this book.
    fn with(
        extension: &str,
        board: &Arc<Board>,
        programs: &Path,
        (wall_ms, book): (u64, Option<Arc<dyn RequestBook>>),
    ) -> Self {
        let (installed, loaded) = installed(extension);
        let limits = Limits {
            wall_ms,
            ..installed.limits()
        };
        let name = installed.manifest.name.clone();
        let fencing = Fencing::new(&loaded, limits).expect("one for fencing");
        let extensions = One {
            rights: installed.rights(),
            name: name.clone(),
            fencing: Arc::new(fencing),
            costs: Arc::default(),
        };
        let costs = extensions.costs.clone();
        let agents = FenceAgents::new(
            BTreeMap::from([("fence_x".parse().expect("a name"), programs.join("fence_x"))]),
            programs.to_owned(),
        );
        let web: Arc<dyn Web> = board.clone();
        let word = |text: &str| -> TargetName { text.parse().expect("a name") };
        Self {
            costs,
            devices: FenceExtensions::new(Arc::new(extensions), Arc::new(agents), Some(web), book),
            target: Target {
                host: "a1".parse().expect("a name"),
                name: "a1".parse().expect("a name"),
                incarnation: "l1".parse().expect("a name"),
                attempt: 1,
                device: FenceDevice {
                    agent: None,
                    extension: Some(name),
                    bind: [
                        (word("board"), word("a1-board")),
                        (word("agent"), word("fence_x")),
                    ]
                    .into(),
                    read_back: Some(ReadBack {
                        target: word("a1-board"),
                        path: "/redfish/v1/Systems/1".to_owned(),
                        pointer: "/PowerState".to_owned(),
                        off: "Off".to_owned(),
                        on: "On".to_owned(),
                    }),
                    ..FenceDevice::by_agent("none".parse().expect("a name"), BTreeMap::new(), 2_000)
                },
            },
        }
    }

    fn web(extension: &str, board: &Arc<Board>) -> Self {
        Self::new(extension, board, Path::new("/nonexistent"))
    }

    async fn off(&self) -> Result<(), String> {
        self.devices.switch_off(&self.target).await
    }

    async fn status(&self) -> Result<Power, String> {
        self.devices.status(&self.target).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redfish_switches_off_and_is_believed_with_the_read_back() {
    let board = Board::new(Manner::Obeys);
    let rig = Rig::web("redfish", &board);
    assert_eq!(rig.off().await, Ok(()));
    assert_eq!(rig.status().await, Ok(Power::Off));
    // Again for the same host: no second order.
    assert_eq!((rig.off().await, board.orders()), (Ok(()), 1));
    let asked = board.asked.lock().expect("no panic");
    assert!(asked.iter().all(|(target, _)| target == "a1-board"));
    let abouts = board.abouts.lock().expect("no panic");
    let about = "fencing of a1, life l1, attempt 1";
    assert!(abouts.iter().all(|found| found == about), "{abouts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_board_is_looked_at_until_it_is_off() {
    let board = Board::new(Manner::Takes(4));
    let rig = Rig::web("redfish", &board);
    assert_eq!(rig.off().await, Ok(()));
    assert_eq!(rig.status().await, Ok(Power::Off));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_answer_is_lost_is_found_out() {
    let board = Board::new(Manner::Loses);
    let rig = Rig::web("redfish", &board);
    let why = rig.off().await.expect_err("nobody answered");
    assert!(
        why.contains("extension redfish") && why.contains("cut"),
        "{why}"
    );
    assert_eq!(rig.status().await, Ok(Power::Off));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_happen_is_not_believed() {
    let board = Board::new(Manner::Pretends);
    let rig = Rig::web("redfish", &board);
    assert_eq!(rig.off().await, Ok(()));
    assert_eq!(rig.status().await, Ok(Power::On));
    // One that says off upon its word.
    let rig = Rig::web("bad-lies", &board);
    assert_eq!(rig.off().await, Ok(()));
    assert_eq!(rig.status().await, Ok(Power::On));
    let dead = Board::new(Manner::Dead);
    let rig = Rig::web("bad-lies", &dead);
    let why = rig.status().await.expect_err("only the extension says so");
    assert!(
        why.contains("not believed alone") && why.contains("no route"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_in_the_middle_has_ordered_all_the_same() {
    let board = Board::new(Manner::Obeys);
    let rig = Rig::web("bad-fence-loops", &board);
    let why = rig.off().await.expect_err("it never returns");
    assert!(why.contains("ms of CPU"), "{why}");
    assert_eq!(board.orders(), 1);
    assert_eq!(rig.status().await, Ok(Power::Off));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_what_was_granted_is_sent() {
    let board = Board::new(Manner::Obeys);
    let rig = Rig::web("bad-fence-strays", &board);
    let why = rig
        .off()
        .await
        .expect_err("it says what became of its tries");
    let words = "no-target no-target not-allowed not-allowed not-allowed not-allowed not-allowed \
                 not-allowed";
    assert!(why.ends_with(words), "{why}");
    assert!(board.asked.lock().expect("no panic").is_empty());
    let name = "bad-fence-strays".parse().expect("a name");
    let said = rig.devices.said(&rig.target, Why::Fence, &name);
    let why = said.await.expect_err("it asks until it may not");
    assert!(why.ends_with("16 too-many"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fence_agents_are_run_and_read_back_by_a_program() {
    let _alone = ALONE.lock().await;
    let dir = tempfile::tempdir().expect("a folder");
    let script = dir.path().join("fence_x");
    let text = "#!/bin/sh\ncat >\"${0%/*}/input\"\n\
                grep -q action=off \"${0%/*}/input\" && exec touch \"${0%/*}/off\"\n\
                [ -e \"${0%/*}/off\" ] && exit 2\nexit 0\n";
    fs::write(&script, text).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    fs::write(dir.path().join("secret"), "s3cret\n").expect("written");
    let board = Board::new(Manner::Dead);
    let mut rig = Rig::new("fence-agents", &board, dir.path());
    rig.target.device.read_back = None;
    rig.target.device.read_back_program = "fence_x".parse().ok();
    let options = [("ip", "192.0.2.1"), ("passwd_file", "secret")];
    rig.target.device.options = options.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(rig.off().await, Ok(()));
    let input = fs::read_to_string(dir.path().join("input")).expect("it was run");
    assert_eq!(
        input,
        "action=off\nnodename=a1\nip=192.0.2.1\npasswd=s3cret\n"
    );
    assert_eq!(rig.status().await, Ok(Power::Off));
    rig.target
        .device
        .options
        .insert("ssh_path".to_owned(), "/x".to_owned());
    let why = rig
        .off()
        .await
        .expect_err("it would have the program run something");
    assert!(why.contains("would have the program run"), "{why}");
    rig.target.device.bind.clear();
    let why = rig.off().await.expect_err("the role itself is no program");
    assert!(why.contains("has no `agent`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_there_says_so_at_once() {
    let board = Board::new(Manner::Obeys);
    let mut rig = Rig::web("redfish", &board);
    rig.target.device.extension = Some("ipmi".parse().expect("a name"));
    for why in [rig.off().await.err(), rig.status().await.err()] {
        let why = why.expect("nobody was asked");
        assert!(why.contains("`holdfast ext install`"), "{why}");
    }
    assert!(board.asked.lock().expect("no panic").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_is_one_look_and_orders_nothing() {
    let board = Board::new(Manner::Obeys);
    let rig = Rig::new("redfish", &board, Path::new("/nowhere"));
    assert_eq!(rig.devices.look(&rig.target).await, Ok(Power::On));
    let asked = board.asked.lock().expect("no panic").len();
    // The extension: which system, and its power; and the read-back. A status after an order looks for longer.
    assert!((2..=3).contains(&asked), "{asked}");
    assert_eq!(board.orders(), 0);
    let abouts = board.abouts.lock().expect("no panic").clone();
    let alike = abouts
        .iter()
        .all(|about| about == "power of a1, asked by an operator");
    assert!(alike, "{abouts:?}");
    // Whatever an extension does when it is asked for the power.
    let request = Request {
        about: String::new(),
        target: "a1-board".parse().expect("a name"),
        method: Method::Post,
        path: "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset".to_owned(),
        body: None,
    };
    let refused = OnlyLooks(board.clone()).send(&request, Instant::now());
    assert!(matches!(refused, Err(WebError::Unreachable(why)) if why == NOT_ORDERED));
    assert_eq!(board.orders(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_a_look_is_told_there_and_not_counted_against_fencing() {
    let board = Board::new(Manner::Obeys);
    let rig = Rig::web("bad-fence-loops", &board);
    let failed = || {
        rig.costs
            .shown(ExtensionKind::Fencing.default_limits())
            .failed
    };
    assert_eq!(rig.devices.look(&rig.target).await, Ok(Power::On));
    let name = "bad-fence-loops".parse().expect("a name");
    let why = rig.devices.said(&rig.target, Why::Look, &name).await;
    assert!(why.expect_err("it never returns").contains("ms of CPU"));
    assert_eq!(failed(), 0);
    // The same failure when it is to fence counts.
    rig.off().await.expect_err("it never returns");
    assert_eq!(failed(), 1);
}
