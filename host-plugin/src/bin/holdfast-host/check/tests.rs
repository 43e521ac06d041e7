//! A real extension, as `cargo xtask extensions` built it, on its way from the store to its answers.

use super::*;
use holdfast_extension_host::cache::Cache as Code;
use holdfast_extension_host::compile::{Caps, Compiler, here};
use holdfast_extension_host::{EngineKind, Runtime};
use holdfast_model::advice::Fallback;
use holdfast_model::component::digest;
use holdfast_model::extension::{LimitsAsked, Manifest, Rights};
use holdfast_model::shadow::ShadowStanding;
use holdfast_model::time::UnixMs;
use holdfast_store::api::{Txn, TxnOp};
use holdfast_store::clock::boottime;
use holdfast_store::components;
use holdfast_store::guards::encode;
use holdfast_store::keyspace::{Key, ROOT};
use holdfast_store::memory::MemoryStore;
use std::time::Instant;
use tempfile::TempDir;

const NAME: &str = "gluster-check";
const HEALTHY: &str = "Brick a:/b\nStatus: Connected\nTotal Number of entries: 0\n";
/// Every wait ends in a clear failure after this.
const WAIT: Duration = Duration::from_secs(60);

fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("a name: {text}"))
}

/// A host whose storage is a directory, and whose GlusterFS speaks from a file.
struct Rig {
    checker: Arc<Checker>,
    store: MemoryStore,
    stop: watch::Sender<bool>,
    dir: TempDir,
    wasm: Vec<u8>,
}

impl Rig {
    /// It is kept from now on.
    fn new() -> Self {
        // On a disk: a tmpfs may know no reads past caches.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory");
        let shown = dir.path().display();
        std::fs::create_dir(dir.path().join("storage")).expect("a directory");
        std::fs::write(dir.path().join("heal"), HEALTHY).expect("written");
        let text = format!(
            "cluster = \"c1\"\nname = \"h1\"\nsite = \"a\"\nextensions_dir = \"{shown}/code\"\n\
             [etcd]\nendpoints = [\"http://127.0.0.1:1\"]\n\
             [libvirt]\nmigrate_address = \"192.0.2.1\"\n\
             [storage]\ncheck = \"extension\"\nextension = \"{NAME}\"\npath = \"{shown}/storage\"\n\
             settings = {{ file_system = \"any\" }}\n\
             [storage.commands]\nheal = [\"/bin/cat\", \"{shown}/heal\"]\n"
        );
        let config = holdfast_host::config::parse(&text, "host.toml").expect("a good file");
        let checker = Arc::new(Checker::of(&config).expect("an extension is named"));
        let (stop, stopped) = watch::channel(false);
        let rig = Self {
            checker,
            store: MemoryStore::new(),
            stop,
            dir,
            wasm: component(NAME),
        };
        // What a cluster has from its first moment on.
        rig.put(&Key::Cluster, &"c1");
        rig.compile();
        let store = Arc::new(rig.store.clone());
        let watched = Cache::spawn(store.clone(), vec![ROOT.to_owned()], Arc::new(boottime));
        let checker = Arc::clone(&rig.checker);
        tokio::spawn(async move { checker.keep(&*store, watched, stopped).await });
        rig
    }

    fn put<T: serde::Serialize>(&self, key: &Key, value: &T) {
        let ops = vec![TxnOp::Put(key.path(), encode(value))];
        let compares = Vec::new();
        self.store.txn_now(Txn { compares, ops });
    }

    fn code(&self) -> PathBuf {
        self.dir.path().join("code")
    }

    fn compile(&self) {
        self.compile_this(&self.wasm);
    }

    /// This program does not become the child that compiles: its machine code is there already, as after a restart.
    fn compile_this(&self, wasm: &[u8]) {
        let runtime = Runtime::new(EngineKind::Native).expect("a runtime");
        let code = self.dir.path().join("native");
        std::fs::write(&code, here(&runtime, wasm).expect("machine code")).expect("written");
        let script = format!("cat > /dev/null; cat {}", code.display());
        let compiler = Compiler {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script],
            caps: Caps::default(),
        };
        let cache = Code::open(&self.code()).expect("a directory");
        let loaded = cache.load_or_compile(&runtime, &compiler, wasm);
        loaded.map(drop).expect("a component");
    }

    async fn install(&self, version: &str, wasm: &[u8]) {
        self.install_as(ExtensionKind::StorageCheck, version, wasm)
            .await;
    }

    async fn install_as(&self, kind: ExtensionKind, version: &str, wasm: &[u8]) {
        self.put_version(Key::Extension(name(NAME)), kind, version, wasm)
            .await;
    }

    /// Beside the installed one, and not heeded.
    async fn try_out(&self, version: &str, wasm: &[u8]) {
        let kind = ExtensionKind::StorageCheck;
        self.put_version(Key::Shadow(name(NAME)), kind, version, wasm)
            .await;
    }

    async fn put_version(&self, key: Key, kind: ExtensionKind, version: &str, wasm: &[u8]) {
        let manifest = Manifest {
            name: name(NAME),
            version: version.to_owned(),
            kind,
            summary: "For this test.".to_owned(),
            limits: LimitsAsked {
                // This machine may be busy with other tests.
                wall_ms: Some(60_000),
                ..LimitsAsked::default()
            },
            rights: Rights {
                log: true,
                paths: [name("storage")].into(),
                commands: ["heal", "client"].map(name).into(),
                ..Rights::default()
            },
        };
        let installed = Installed {
            granted: manifest.rights.clone(),
            manifest,
            digest: digest(wasm),
            bytes: wasm.len() as u64,
            limits: LimitsAsked::default(),
            then: Fallback::Closed,
            signed: None,
            by: "the test".to_owned(),
            at: UnixMs(1),
            before: None,
            rollout: None,
        };
        let stored = components::put(&self.store, &installed.digest, wasm, UnixMs(1)).await;
        stored.expect("it is stored");
        self.put(&key, &installed);
    }

    fn remove(&self) {
        let ops = vec![TxnOp::Delete(Key::Extension(name(NAME)).path())];
        let compares = Vec::new();
        self.store.txn_now(Txn { compares, ops });
    }

    /// Checks until it finds that.
    async fn storage(&self, what: &str, wanted: impl Fn(&StorageState) -> bool) {
        let begin = Instant::now();
        loop {
            let checker = Arc::clone(&self.checker);
            let found = tokio::task::spawn_blocking(move || checker.check()).await;
            let found = found.expect("no panic");
            if wanted(&found) {
                return;
            }
            assert!(
                begin.elapsed() < WAIT,
                "not within {WAIT:?}: {what}; {found:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn unknown(&self, says: &str) {
        let is_it = |state: &StorageState| match state {
            StorageState::Unknown { reason } => reason.contains(says),
            _ => false,
        };
        self.storage(says, is_it).await;
    }

    fn readiness(&self) -> Option<Readiness> {
        let told = self.checker.told(&name("life"));
        let told = told.expect("it is heard what is installed");
        let there = told.extensions.get(&name(NAME)).expect("it is wanted");
        there.readiness.clone()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// As it was built.
fn component(name: &str) -> Vec<u8> {
    let test = std::env::current_exe().expect("this test's own path");
    let target = test.ancestors().nth(3).expect("a target directory");
    let path: PathBuf = target.join("extensions").join(name).join("component.wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask extensions` builds it",
            path.display()
        )
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_is_as_an_extension_finds_it_and_unknown_without_it() {
    let rig = Rig::new();
    rig.unknown("extension gluster-check, which is to check it, is not installed")
        .await;
    assert_eq!(rig.readiness(), None);
    // What nothing that is installed is made of was removed.
    let begin = Instant::now();
    while std::fs::read_dir(rig.code()).expect("it is there").count() > 0 {
        assert!(begin.elapsed() < WAIT, "machine code of nothing is kept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.compile();
    rig.install("0.1.0", &rig.wasm).await;
    rig.storage("synced", |state| *state == StorageState::Synced)
        .await;
    let digest = digest(&rig.wasm);
    assert_eq!(rig.readiness(), Some(Readiness::Ready { digest }));
    // A copy is lost.
    let lost = HEALTHY.replace("Connected", "Transport endpoint is not connected");
    std::fs::write(rig.dir.path().join("heal"), lost).expect("written");
    let degraded = |state: &StorageState| match state {
        StorageState::Degraded { detail } => detail.contains("a:/b is not connected"),
        _ => false,
    };
    rig.storage("degraded", degraded).await;
    // All of it is.
    let (storage, away) = (rig.dir.path().join("storage"), rig.dir.path().join("away"));
    std::fs::rename(&storage, &away).expect("moved");
    let unusable = |state: &StorageState| matches!(state, StorageState::Unusable { .. });
    rig.storage("unusable", unusable).await;
    std::fs::rename(&away, &storage).expect("moved");
    rig.storage("degraded again", degraded).await;
    rig.remove();
    rig.unknown("is not installed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_run_here_leaves_the_one_before() {
    let rig = Rig::new();
    rig.unknown("is not installed").await;
    rig.compile();
    rig.install("0.1.0", &rig.wasm).await;
    rig.storage("synced", |state| *state == StorageState::Synced)
        .await;
    let first = digest(&rig.wasm);
    rig.install("0.2.0", b"no component").await;
    let begin = Instant::now();
    loop {
        match rig.readiness() {
            Some(Readiness::Failed { before, .. }) => break assert_eq!(before, Some(first)),
            other => assert!(begin.elapsed() < WAIT, "it has not failed: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    std::fs::write(rig.dir.path().join("heal"), "").expect("written");
    let degraded = |state: &StorageState| matches!(state, StorageState::Degraded { .. });
    rig.storage("the one before to be asked", degraded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_another_kind_is_not_asked() {
    let rig = Rig::new();
    rig.unknown("is not installed").await;
    rig.install_as(ExtensionKind::Placement, "0.1.0", &rig.wasm)
        .await;
    rig.unknown("it is for placement, and host.toml wants it as a storage check")
        .await;
}

/// Waits for what it tells of its shadow.
async fn shadow(rig: &Rig, what: &str, wanted: impl Fn(&ShadowStanding) -> bool) -> ShadowStanding {
    let begin = Instant::now();
    loop {
        let told = rig.checker.told(&name("life"));
        let told = told.expect("it is heard what is installed");
        let there = told.extensions.get(&name(NAME)).expect("it is wanted");
        match &there.shadow {
            Some(standing) if wanted(standing) => return *standing.clone(),
            other => assert!(begin.elapsed() < WAIT, "not {what}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        // Each check hands a question over.
        let checker = Arc::clone(&rig.checker);
        let checked = tokio::task::spawn_blocking(move || checker.check()).await;
        checked.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_compared_and_the_storage_is_as_the_installed_one_finds_it() {
    let rig = Rig::new();
    rig.unknown("is not installed").await;
    rig.compile();
    rig.install("0.1.0", &rig.wasm).await;
    rig.storage("synced", |state| *state == StorageState::Synced)
        .await;
    // The very same: it agrees, and reads another file than the installed one.
    rig.try_out("0.1.1", &rig.wasm).await;
    shadow(&rig, "agreed", |shadow| shadow.counts.agreed > 0).await;
    for file in [".holdfast-read-c1-h1", ".holdfast-read-c1-h1-shadow"] {
        let file = rig.dir.path().join("storage").join(file);
        assert!(file.is_file(), "{}", file.display());
    }
    // It says that all is well, whatever it finds.
    let says_yes = component("bad-says-yes");
    rig.compile_this(&says_yes);
    rig.try_out("0.2.0", &says_yes).await;
    let digest = digest(&says_yes);
    let ours = |shadow: &ShadowStanding| shadow.digest == digest && shadow.counts.agreed > 0;
    let standing = shadow(&rig, "agreed", ours).await;
    assert_eq!(standing.counts.differed, 0, "{standing:?}");
    assert!(matches!(standing.readiness, Readiness::Ready { .. }));
    let lost = HEALTHY.replace("Connected", "Transport endpoint is not connected");
    std::fs::write(rig.dir.path().join("heal"), lost).expect("written");
    let degraded = |state: &StorageState| matches!(state, StorageState::Degraded { .. });
    rig.storage("degraded", degraded).await;
    let standing = shadow(&rig, "different", |shadow| shadow.counts.differed > 0).await;
    let host = &standing.differences[0].hosts[0];
    assert_eq!(host.host.as_str(), "h1");
    let (installed, shadow) = (host.installed.to_string(), host.shadow.to_string());
    assert!(
        installed.starts_with("degraded: ") && installed.contains("is not connected"),
        "{installed}"
    );
    assert_eq!(shadow, "synced");
    let checker = Arc::clone(&rig.checker);
    let found = tokio::task::spawn_blocking(move || checker.check()).await;
    assert!(degraded(&found.expect("no panic")), "it is not heeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shadow_writes_is_told_apart() {
    let rig = Rig::new();
    rig.unknown("is not installed").await;
    rig.compile();
    rig.install("0.1.0", &rig.wasm).await;
    rig.storage("synced", |state| *state == StorageState::Synced)
        .await;
    let traps = component("bad-check-traps");
    rig.compile_this(&traps);
    rig.try_out("0.2.0", &traps).await;
    let ours = digest(&traps);
    let asked = |shadow: &ShadowStanding| shadow.digest == ours && shadow.counts.asked > 0;
    let standing = shadow(&rig, "asked", asked).await;
    assert!(standing.log.is_empty(), "nothing went wrong: {standing:?}");
    // Without the storage it panics, and says where.
    let storage = rig.dir.path().join("storage");
    std::fs::rename(&storage, rig.dir.path().join("away")).expect("renamed");
    let wrote = |shadow: &ShadowStanding| !shadow.log.is_empty();
    let standing = shadow(&rig, "in words", wrote).await;
    assert!(standing.counts.failed > 0, "{standing:?}");
    let line = &standing.log[0];
    assert_eq!(line.level, Level::Error);
    assert!(line.text.contains("lib.rs"), "{line:?}");
    // It is none of the installed one's.
    let told = rig.checker.told(&name("life")).expect("it is heard");
    let there = told.extensions.get(&name(NAME)).expect("it is wanted");
    let mixed = there.log.iter().any(|line| line.text.contains("lib.rs"));
    assert!(!mixed, "{there:?}");
}
