//! Storage that is checked by an extension, as `cargo xtask extensions` built it: the whole way from host.toml and the
//! store to the host's report.

use super::bench::{Bench, name, until};
use crate::config::{StorageCheck, StorageSection};
use holdfast_extension_host::cache::Cache;
use holdfast_extension_host::compile::{Compiler, here};
use holdfast_extension_host::{EngineKind, Runtime};
use holdfast_model::advice::Fallback;
use holdfast_model::component::digest;
use holdfast_model::extension::{ExtensionKind, Installed, LimitsAsked, Manifest, Rights};
use holdfast_model::host::{HostReport, RunState, StorageState};
use holdfast_model::standing::{HostExtensions, Readiness};
use holdfast_model::time::UnixMs;
use holdfast_store::api::{Txn, TxnOp};
use holdfast_store::components;
use holdfast_store::keyspace::Key;
use std::path::PathBuf;
use tempfile::TempDir;

const NAME: &str = "gluster-check";
const HEALTHY: &str = "Brick a:/b\nStatus: Connected\nTotal Number of entries: 0\n";
/// Far beyond the test.
const LONG_MS: u64 = 600_000;

/// A host whose storage is a directory, and whose GlusterFS speaks from a file.
struct Rig {
    bench: Bench,
    dir: TempDir,
    wasm: Vec<u8>,
}

impl Rig {
    fn new() -> Self {
        // On a disk: a tmpfs may know no reads past caches.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory");
        let mut bench = Bench::new(LONG_MS);
        let (storage, heal) = (dir.path().join("storage"), dir.path().join("heal"));
        std::fs::create_dir(&storage).expect("a directory");
        std::fs::write(&heal, HEALTHY).expect("written");
        let setting = ("file_system".to_owned(), "any".to_owned());
        bench.config.storage = StorageSection {
            path: Some(storage),
            check: StorageCheck::Extension,
            extension: Some(name(NAME)),
            settings: [setting].into(),
            commands: [(
                name("heal"),
                vec!["/bin/cat".to_owned(), heal.display().to_string()],
            )]
            .into(),
            ..StorageSection::default()
        };
        bench.config.extensions_dir = dir.path().join("code");
        let rig = Self {
            bench,
            dir,
            wasm: component(),
        };
        rig.compile();
        rig
    }

    /// This program does not become the child that compiles: its machine code is there already, as after a restart.
    fn compile(&self) {
        let runtime = Runtime::new(EngineKind::Native).expect("a runtime");
        let code = self.dir.path().join("native");
        std::fs::write(&code, here(&runtime, &self.wasm).expect("machine code")).expect("written");
        let script = format!("cat > /dev/null; cat {}", code.display());
        let compiler = Compiler {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script],
        };
        let cache = Cache::open(&self.bench.config.extensions_dir).expect("a directory");
        let loaded = cache.load_or_compile(&runtime, &compiler, &self.wasm);
        loaded.map(drop).expect("a component");
    }

    async fn install(&self, version: &str, wasm: &[u8]) {
        let manifest = Manifest {
            name: name(NAME),
            version: version.to_owned(),
            kind: ExtensionKind::StorageCheck,
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
            by: "the test".to_owned(),
            at: UnixMs(1),
        };
        let store = &self.bench.wire.store;
        let stored = components::put(store, &installed.digest, wasm, UnixMs(1)).await;
        stored.expect("it is stored");
        self.bench.put(&Key::Extension(name(NAME)), &installed);
    }

    fn remove(&self) {
        let ops = vec![TxnOp::Delete(Key::Extension(name(NAME)).path())];
        let compares = Vec::new();
        self.bench.wire.store.txn_now(Txn { compares, ops });
    }

    async fn storage(&self, what: &str, wanted: impl Fn(&StorageState) -> bool) -> StorageState {
        until(what, || {
            let report: HostReport = self.bench.get(&Key::HostReport(name("h1")))?;
            wanted(&report.storage).then_some(report.storage)
        })
        .await
    }

    async fn unknown(&self, says: &str) {
        let is_it = |state: &StorageState| match state {
            StorageState::Unknown { reason } => reason.contains(says),
            _ => false,
        };
        self.storage(says, is_it).await;
    }

    async fn told(&self, what: &str, wanted: impl Fn(Option<&Readiness>) -> bool) {
        until(what, || {
            let told: HostExtensions = self.bench.get(&Key::HostExtensions(name("h1")))?;
            let there = told.extensions.get(&name(NAME))?;
            wanted(there.readiness.as_ref()).then_some(())
        })
        .await;
    }
}

/// As it was built.
fn component() -> Vec<u8> {
    let test = std::env::current_exe().expect("this test's own path");
    let target = test.ancestors().nth(3).expect("a target directory");
    let path: PathBuf = target.join("extensions").join(NAME).join("component.wasm");
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask extensions` builds it",
            path.display()
        )
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_is_as_an_extension_finds_it_and_unknown_without_it() {
    let mut rig = Rig::new();
    rig.bench.start();
    rig.unknown("extension gluster-check, which is to check it, is not installed")
        .await;
    rig.told("that it is wanted", |there| there.is_none()).await;
    // The agent has removed what nothing that is installed is made of.
    until("no machine code", || {
        let kept = std::fs::read_dir(&rig.bench.config.extensions_dir).ok()?;
        (kept.count() == 0).then_some(())
    })
    .await;
    rig.compile();
    rig.install("0.1.0", &rig.wasm).await;
    rig.storage("it to be synced", |state| *state == StorageState::Synced)
        .await;
    let first = digest(&rig.wasm);
    rig.told("that it is ready", |there| {
        there
            == Some(&Readiness::Ready {
                digest: first.clone(),
            })
    })
    .await;
    rig.bench.run_vm(1).await;
    // A copy is lost.
    let lost = HEALTHY.replace("Connected", "Transport endpoint is not connected");
    std::fs::write(rig.dir.path().join("heal"), lost).expect("written");
    let degraded = |state: &StorageState| match state {
        StorageState::Degraded { detail } => detail.contains("a:/b is not connected"),
        _ => false,
    };
    rig.storage("it to be degraded", degraded).await;
    // All of it is.
    let (storage, away) = (rig.dir.path().join("storage"), rig.dir.path().join("away"));
    std::fs::rename(&storage, &away).expect("moved");
    let unusable = |state: &StorageState| matches!(state, StorageState::Unusable { .. });
    rig.storage("it to be unusable", unusable).await;
    std::fs::rename(&away, &storage).expect("moved");
    rig.storage("it to be degraded again", degraded).await;
    // Without a check nobody knows, and nothing is stopped for that.
    rig.remove();
    rig.unknown("is not installed").await;
    let running = rig.bench.report().map(|report| report.state);
    assert_eq!(running, Some(RunState::Running));
    rig.bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_run_here_leaves_the_one_before() {
    let mut rig = Rig::new();
    rig.install("0.1.0", &rig.wasm).await;
    rig.bench.start();
    rig.storage("it to be synced", |state| *state == StorageState::Synced)
        .await;
    let before = digest(&rig.wasm);
    rig.install("0.2.0", b"no component").await;
    rig.told("that it failed", |there| match there {
        Some(Readiness::Failed { before: asked, .. }) => *asked == Some(before.clone()),
        _ => false,
    })
    .await;
    std::fs::write(rig.dir.path().join("heal"), "").expect("written");
    let degraded = |state: &StorageState| matches!(state, StorageState::Degraded { .. });
    rig.storage("the one before to be asked", degraded).await;
    rig.bench.stop().await;
}
