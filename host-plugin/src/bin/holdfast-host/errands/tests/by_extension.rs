//! The same by an extension, as `cargo xtask extensions` built it, over HTTP to a board on loopback.

use super::*;
use holdfast_extension_host::{EngineKind, Loaded, Runtime};
use holdfast_extension_ready::{Prepares, Users};
use holdfast_model::advice::Fallback;
use holdfast_model::extension::{Installed, LimitsAsked, Manifest};
use holdfast_model::fence_device::ReadBack;
use holdfast_model::time::UnixMs;
use std::io::Read;
use std::path::PathBuf;

/// Answers one request a connection, as a Redfish service does.
fn serve(listener: TcpListener, asked: &Mutex<Vec<String>>) {
    for mut socket in listener.incoming().map_while(Result::ok) {
        let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
        let mut request = String::new();
        reader.read_line(&mut request).expect("a request");
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).expect("a header");
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(bytes) = header.strip_prefix("content-length:") {
                length = bytes.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let words: Vec<&str> = request.split_whitespace().take(2).collect();
        let what = words.join(" ");
        let mut asked = asked.lock().expect("no panic");
        asked.push(what.clone());
        let off = asked.iter().any(|each| each.starts_with("POST"));
        let power = if off { "Off" } else { "On" };
        let (status, text) = match what.as_str() {
            "GET /redfish/v1/Systems" => (
                "200 OK",
                r#"{"Members": [{"@odata.id": "/redfish/v1/Systems/1"}]}"#.to_owned(),
            ),
            "GET /redfish/v1/Systems/1" => ("200 OK", format!(r#"{{"PowerState": "{power}"}}"#)),
            "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset" => {
                ("200 OK", "{}".to_owned())
            }
            _ => ("404 Not Found", "{}".to_owned()),
        };
        let length = text.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{text}"
        );
        socket.write_all(answer.as_bytes()).expect("written");
    }
}

fn installed() -> (Installed, Loaded) {
    let test = std::env::current_exe().expect("this test's own path");
    let target = test.ancestors().nth(3).expect("a target directory");
    let folder: PathBuf = target.join("extensions/redfish");
    let wasm = fs::read(folder.join("component.wasm"));
    let wasm = wasm.unwrap_or_else(|error| {
        panic!("redfish: {error}; `cargo xtask extensions` builds it");
    });
    let text = fs::read_to_string(folder.join("extension.toml")).expect("its manifest");
    let read = holdfast_strict::read::<Manifest>(&text, holdfast_strict::Format::Toml, "it");
    let manifest = read.expect("a manifest");
    let runtime = Runtime::new(EngineKind::Native).expect("a runtime");
    let loaded = Loaded::compile(&runtime, &wasm).expect("a component");
    let installed = Installed {
        granted: manifest.rights.clone(),
        manifest,
        digest: String::new(),
        bytes: 0,
        limits: LimitsAsked::default(),
        then: Fallback::Closed,
        signed: None,
        by: "test".to_owned(),
        at: UnixMs(0),
        before: None,
        rollout: None,
    };
    (installed, loaded)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_is_asked_by_an_extension_on_this_host_and_read_back() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = asked.clone();
    std::thread::spawn(move || serve(listener, &told));
    let dir = tempfile::tempdir().expect("a directory");
    let shown = dir.path().display();
    let text = format!(
        "requests_file = \"{shown}/requests.jsonl\"\nextensions_dir = \"{shown}/code\"\n\
         [targets.board]\nurl = \"{url}\"\n"
    );
    fs::write(dir.path().join(file::NAME), text).expect("written");
    let file = file::load_beside(&dir.path().join("host.toml")).expect("a good file");
    let text = "cluster = \"c1\"\nname = \"b1\"\nsite = \"b\"\n\
                [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\n\
                [libvirt]\nmigrate_address = \"192.0.2.1\"\n";
    let config = holdfast_host::config::parse(text, "host.toml").expect("a good file");
    let asking = Asking::of(&config, file.expect("it is there")).expect("it names a target");
    let mut device = FenceDevice::by_agent(name("none"), Default::default(), 60_000);
    device.agent = None;
    device.extension = Some(name("redfish"));
    device.bind = [(name("board"), name("board"))].into();
    device.read_back = Some(ReadBack {
        target: name("board"),
        path: "/redfish/v1/Systems/1".to_owned(),
        pointer: "/PowerState".to_owned(),
        off: "Off".to_owned(),
        on: "On".to_owned(),
    });
    let lack = asking.means().lacks(&device);
    assert_eq!(lack.as_deref(), Some("extension redfish is not ready"));
    let (installed, loaded) = installed();
    let to_load = asking.extensions.take_in(vec![installed.clone()]);
    assert_eq!(to_load, std::slice::from_ref(&installed));
    let prepared = asking.extensions.prepare(&installed, &loaded);
    prepared.expect("one for fencing");
    assert_eq!(asking.means().lacks(&device), None);
    let desk = Desk::new(asking.devices.clone(), Arc::new(boottime));
    let target = holdfast_fence::Target {
        host: name("a1"),
        name: name("a1"),
        device,
        incarnation: name("i1"),
        attempt: 1,
    };
    assert_eq!(desk.ask(&target).await.state, PowerState::Off);
    let asked = asked.lock().expect("no panic").clone();
    let order = "POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset";
    let orders = asked.iter().filter(|what| *what == order).count();
    assert_eq!(orders, 1, "{asked:?}");
    // Each is written down, for whom it was.
    let journal = fs::read_to_string(dir.path().join("requests.jsonl")).expect("a journal");
    let about = "fencing of a1, life i1, attempt 1";
    assert!(journal.matches(about).count() >= asked.len(), "{journal}");
    let told = asking.newest().requests;
    let orders = told.iter().filter(|each| each.method == "POST");
    assert_eq!(orders.count(), 1, "{told:?}");
    // Nobody vouches for it any more: it is not asked.
    asking
        .extensions
        .distrust(&installed, "not signed".to_owned());
    let unknown = desk.ask(&target).await.state;
    let PowerState::Unknown { reason } = &unknown else {
        panic!("{unknown:?}");
    };
    assert!(
        reason.contains("cannot run on this host: not signed"),
        "{reason}"
    );
}
