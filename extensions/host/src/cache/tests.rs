//! Machine code that somebody else could have written, or that is not whole, is never run: it is made anew, and told.

use super::*;
use crate::compile::{Caps, here};
use crate::engine::EngineKind;
use rustix::fs::{Uid, chown};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tracing::field::{Field, Visit};
use tracing::span;

/// Someone who is neither root nor this user.
const FOREIGN: u32 = 65_534;

/// A component, and a child that hands over its machine code and writes down that it was asked.
struct Bench {
    dir: TempDir,
    wasm: Vec<u8>,
    runtime: Runtime,
    compiler: Compiler,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let wasm = wat::parse_file(golden.join("placement-0.2.0.wat")).expect("a component");
        let runtime = Runtime::new(EngineKind::Native).expect("a runtime");
        let code = dir.path().join("code-of-the-child");
        fs::write(&code, here(&runtime, &wasm).expect("machine code")).expect("written");
        let asked = dir.path().join("asked");
        let script = format!(
            "cat > /dev/null; echo >> {}; cat {}",
            asked.display(),
            code.display()
        );
        let compiler = Compiler {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script],
            caps: Caps::default(),
        };
        Self {
            dir,
            wasm,
            runtime,
            compiler,
        }
    }

    fn cache(&self) -> Cache {
        Cache::open(&self.dir.path().join("cache")).expect("a directory of its own")
    }

    fn load(&self) -> Option<Loaded> {
        self.cache().load(&self.runtime, &digest(&self.wasm))
    }

    fn load_or_compile(&self) {
        let cache = self.cache();
        let loaded = cache.load_or_compile(&self.runtime, &self.compiler, &self.wasm);
        loaded.map(drop).expect("a component");
    }

    /// Its file.
    fn path(&self) -> PathBuf {
        self.cache().path(&self.runtime, &digest(&self.wasm))
    }

    /// So often it was compiled.
    fn compiled(&self) -> usize {
        let asked = fs::read_to_string(self.dir.path().join("asked"));
        asked.map_or(0, |lines| lines.lines().count())
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("cache")).expect("it is there");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.to_string_lossy().into()).collect()
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Gives it to somebody else; false: this user cannot.
fn give_away(path: &Path) -> bool {
    let is_root = geteuid().is_root();
    if is_root {
        chown(path, Some(Uid::from_raw(FOREIGN)), None).expect("root may");
    } else {
        eprintln!("not tried, because only root can: a foreign owner");
    }
    is_root
}

/// What is told while something is done.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<String>>);

impl Told {
    fn by<T>(work: impl FnOnce() -> T) -> (T, String) {
        let told = Self::default();
        let done = tracing::subscriber::with_default(told.clone(), work);
        let words = told.0.lock().expect("no panic").clone();
        (done, words)
    }
}

impl tracing::Subscriber for Told {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Words<'w>(&'w mut String);
        impl Visit for Words<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                *self.0 += &format!("{field}={value:?} ");
            }
        }
        event.record(&mut Words(&mut self.0.lock().expect("no panic")));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let refused = |path: &Path| {
        let error = Cache::open(path).expect_err("others can change it");
        let words = error.to_string();
        assert!(words.contains(&path.display().to_string()), "{words}");
        words
    };
    let own = dir.path().join("own");
    Cache::open(&own).expect("made for this user alone");
    let found = fs::metadata(&own).expect("it is there");
    assert_eq!(found.mode() & 0o777, 0o700);
    for open in [0o770, 0o702, 0o722, 0o777] {
        mode(&own, open);
        assert!(refused(&own).contains("`chmod 700` it"), "{open:o}");
    }
    mode(&own, 0o755);
    Cache::open(&own).expect("others may read");
    // Where that leads, somebody else may decide.
    let link = dir.path().join("link");
    symlink(&own, &link).expect("a link");
    assert!(refused(&link).contains("`chmod 700` it"));
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    assert!(refused(&file).contains("correct `extensions_dir`"));
    if give_away(&own) {
        assert!(refused(&own).contains("`chown` it to the daemon's user"));
    }
}

#[test]
fn what_is_kept_is_not_compiled_again() {
    let bench = Bench::new();
    let (loaded, told) = Told::by(|| bench.load());
    assert!(loaded.is_none() && told.is_empty(), "{told}");
    for _ in 0..2 {
        bench.load_or_compile();
        assert_eq!(bench.compiled(), 1);
    }
    let found = fs::metadata(bench.path()).expect("it is kept");
    assert_eq!(found.mode() & 0o777, 0o600);
    assert_eq!(bench.files().len(), 1, "{:?}", bench.files());
}

#[test]
fn what_is_only_tried_is_not_kept() {
    let bench = Bench::new();
    let cache = bench.cache();
    let loaded = cache.load_or_try(&bench.runtime, &bench.compiler, &bench.wasm);
    loaded.map(drop).expect("a component");
    assert_eq!((bench.compiled(), bench.files().len()), (1, 0));
}

/// How a file is spoilt, whether that was possible, and what is told of it.
type Spoilt = (&'static str, fn(&Bench, &Path) -> bool, &'static str);

const SPOILT: [Spoilt; 10] = [
    ("a byte of the code", |_, path| flip(path, 1_000), DAMAGED),
    ("a byte of the sum", |_, path| flip(path, 3), DAMAGED),
    ("half of it", |_, path| cut(path, 2), DAMAGED),
    ("less than a sum", |_, path| cut(path, 1_000_000), DAMAGED),
    (
        "a group that may write",
        |_, path| open(path, 0o620),
        CHANGED,
    ),
    ("all may write", |_, path| open(path, 0o602), CHANGED),
    ("somebody else's", |_, path| give_away(path), CHANGED),
    ("a link to it", |bench, path| linked(bench, path), CHANGED),
    ("of a runtime that counts", counting, "made anew"),
    (
        "nothing that was compiled",
        |_, path| put(path, b"ELF"),
        "made anew",
    ),
];
const DAMAGED: &str = "damaged machine code";
const CHANGED: &str = "others can change this machine code";

fn flip(path: &Path, at: usize) -> bool {
    let mut bytes = fs::read(path).expect("it is kept");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("written");
    true
}

/// To its so-manieth part.
fn cut(path: &Path, parts: usize) -> bool {
    let bytes = fs::read(path).expect("it is kept");
    fs::write(path, &bytes[..bytes.len() / parts]).expect("written");
    true
}

fn open(path: &Path, how: u32) -> bool {
    mode(path, how);
    true
}

fn linked(bench: &Bench, path: &Path) -> bool {
    let elsewhere = bench.dir.path().join("elsewhere");
    fs::rename(path, &elsewhere).expect("moved");
    symlink(elsewhere, path).expect("a link");
    true
}

/// Whole by its sum, and not what the runtime of this name has compiled.
fn put(path: &Path, code: &[u8]) -> bool {
    let whole = [&Sha256::digest(code)[..], code].concat();
    fs::write(path, whole).expect("written");
    true
}

fn counting(bench: &Bench, path: &Path) -> bool {
    let other = Runtime::metered(EngineKind::Native).expect("a runtime");
    assert_ne!(other.fingerprint(), bench.runtime.fingerprint());
    put(path, &here(&other, &bench.wasm).expect("machine code"))
}

#[test]
fn what_is_spoilt_is_not_loaded_but_made_anew_and_told() {
    let bench = Bench::new();
    bench.load_or_compile();
    let good = fs::read(bench.path()).expect("it is kept");
    let mut compiled = 1;
    for (what, spoil, says) in SPOILT {
        if !spoil(&bench, &bench.path()) {
            continue;
        }
        let (loaded, told) = Told::by(|| bench.load());
        assert!(loaded.is_none(), "{what}: it is run");
        let path = bench.path().display().to_string();
        assert!(
            told.contains(says) && told.contains(&path),
            "{what}: {told}"
        );
        bench.load_or_compile();
        compiled += 1;
        assert_eq!(bench.compiled(), compiled, "{what}");
        let found = fs::symlink_metadata(bench.path()).expect("it is kept");
        assert!(
            found.is_file() && found.uid() == geteuid().as_raw(),
            "{what}"
        );
        assert_eq!(found.mode() & 0o777, 0o600, "{what}");
        assert!(
            fs::read(bench.path()).expect("it is kept") == good,
            "{what}"
        );
        let (loaded, told) = Told::by(|| bench.load());
        assert!(loaded.is_some() && told.is_empty(), "{what}: {told}");
    }
    assert_eq!(bench.files().len(), 1, "{:?}", bench.files());
}

#[test]
fn what_another_build_has_kept_is_not_looked_at() {
    let bench = Bench::new();
    let digest = digest(&bench.wasm);
    let foreign = format!("{digest}.0123456789abcdef.native");
    bench.load_or_compile();
    let other = bench.cache().dir.join(&foreign);
    fs::rename(bench.path(), &other).expect("moved");
    let (loaded, told) = Told::by(|| bench.load());
    assert!(loaded.is_none() && told.is_empty(), "{told}");
    bench.load_or_compile();
    assert_eq!((bench.compiled(), bench.files().len()), (2, 2));
    // Both are of a component that is wanted; then neither is.
    bench.cache().keep_only(&[digest]);
    assert_eq!(bench.files().len(), 2);
    bench.cache().keep_only(&["another".to_owned()]);
    assert_eq!(bench.files(), [""; 0]);
}
