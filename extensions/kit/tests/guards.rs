//! What is wrong with an extension in JavaScript or Python is said in words when it is built. Where the tools of one are
//! not there, nothing of it is tested. Each case builds for real, and takes seconds: few of each sort.

use std::path::{Path, PathBuf};

use holdfast_extension_kit::{Built, Folder, Language, Options, Start, Tools, build, find, new};
use holdfast_model::extension::ExtensionKind;

/// A new extension, and where its source is; none if the tools are not there.
fn started(kind: ExtensionKind, language: Language) -> Option<(tempfile::TempDir, PathBuf)> {
    if let Some(why) = Tools::of_user().lacking(language) {
        eprintln!("skipped: {why}");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let start = Start {
        name: "made".parse().expect("a name"),
        kind,
        language,
    };
    let main = new(dir.path(), &start).expect("a new extension");
    Some((dir, main))
}

/// One in JavaScript with this in its source.
fn with(kind: ExtensionKind, source: &str) -> Option<tempfile::TempDir> {
    let (dir, main) = started(kind, Language::JavaScript)?;
    std::fs::write(main, source).expect("a source");
    Some(dir)
}

fn built(dir: &Path) -> Result<Built, String> {
    let folder = Folder::open(dir).map_err(|error| error.to_string())?;
    let built = build(&folder, &Options::default());
    built.map_err(|error| error.to_string().replace(&dir.display().to_string(), "DIR"))
}

/// What is said of a placement rule with this in its source.
fn refused(source: &str) -> Option<String> {
    let dir = with(ExtensionKind::Placement, source)?;
    Some(built(dir.path()).expect_err("refused"))
}

#[test]
fn what_a_new_one_imports_and_exports_is_what_its_world_says() {
    let types = "holdfast:placement/types@0.2.0";
    let (log, http) = ("holdfast:host/log@0.1.0", "holdfast:host/http@0.1.0");
    let (rule, handler) = (
        "holdfast:placement/rule@0.2.0",
        "holdfast:events/handler@0.1.0",
    );
    // `init` and `exports` are what the tools themselves leave there.
    for (kind, language, imports, exports) in [
        (
            ExtensionKind::Placement,
            Language::JavaScript,
            vec![log, types],
            vec!["init", rule],
        ),
        (
            ExtensionKind::Events,
            Language::JavaScript,
            vec![http, log],
            vec!["init", handler],
        ),
        (
            ExtensionKind::Placement,
            Language::Python,
            vec![log, types],
            vec!["exports", rule],
        ),
    ] {
        let Some((dir, _)) = started(kind, language) else {
            continue;
        };
        let built = built(dir.path()).unwrap_or_else(|error| panic!("{error}"));
        let mut surface = built.surface;
        surface.imports.sort();
        assert_eq!(surface.imports, imports, "{language}");
        assert_eq!(surface.exports, exports, "{language}");
    }
}

/// The guard writes to the log of whoever has one, and imports none for that.
#[test]
fn one_without_a_log_gets_none() {
    let Some(dir) = with(
        ExtensionKind::Placement,
        "export const rule = { prepare() {}, judge() {} };",
    ) else {
        return;
    };
    let world =
        "package local:extension;\nworld extension { export holdfast:placement/rule@0.2.0; }\n";
    std::fs::write(dir.path().join("wit/world.wit"), world).expect("a world");
    let surface = built(dir.path())
        .unwrap_or_else(|error| panic!("{error}"))
        .surface;
    assert_eq!(surface.imports, ["holdfast:placement/types@0.2.0"]);
}

#[test]
fn exports_that_are_not_there_are_named() {
    let write = "write `export const rule = { prepare, judge }`";
    for (source, wanted) in [
        ("export const rules = {};", format!("it exports `rules`, and no `rule`: {write}")),
        (
            "export const rule = { prepare() {}, jugde() {} };",
            format!("`rule.judge` is not there (`rule` has `prepare`, `jugde`): {write}"),
        ),
        (
            "export const rule = { prepare() {}, async judge() {} };",
            "`rule.judge` is an async function or a generator: there is nothing to wait for here, imports answer at \
             once. Write it without `async`, `await` and `*`".to_owned(),
        ),
    ] {
        let Some(said) = refused(source) else { return };
        assert_eq!(said, format!("DIR/placement.js: {wanted}"), "{source}");
    }
}

#[test]
fn imports_that_are_not_there_are_told_with_what_to_do() {
    for (import, wanted) in [
        (
            "holdfast:host/http@0.1.0",
            "this kind of extension does not get `holdfast:host/http@0.1.0`, which it imports; there are \
             `holdfast:host/log@0.1.0`",
        ),
        (
            "node:fs",
            "it imports `node:fs`, which is Node's: nothing of that is there, no file, socket or clock",
        ),
        (
            "leftpad",
            "there is no package `leftpad`, which it imports: `npm install leftpad` in the extension's folder, if it is \
             one",
        ),
    ] {
        let source = format!(
            "import * as it from \"{import}\";\nexport const rule = {{ prepare() {{}}, judge() {{}} }};"
        );
        let Some(said) = refused(&source) else { return };
        assert_eq!(said, format!("DIR/placement.js: {wanted}"), "{import}");
    }
}

/// Also if it would be found from where the build is run.
#[test]
fn what_is_outside_of_the_folder_is_not_bundled() {
    let source =
        "import { x } from \"../shared.js\";\nexport const handler = { handle() { return x; } };";
    let Some(dir) = with(ExtensionKind::Events, source) else {
        return;
    };
    let inner = dir.path().join("with space");
    std::fs::create_dir(&inner).expect("a directory");
    for name in ["extension.toml", "events.js", "wit"] {
        std::fs::rename(dir.path().join(name), inner.join(name)).expect("moved");
    }
    std::fs::write(dir.path().join("shared.js"), "export const x = 1;").expect("a file");
    assert_eq!(
        built(&inner).expect_err("refused"),
        "DIR/events.js: it imports a file that is not in the extension's folder: what goes into the component has to be \
         there"
    );
}

/// What the kind gets, and the world does not import.
#[test]
fn an_import_that_the_world_has_not_is_told_with_its_right() {
    let source =
        "import state from \"holdfast:host/state@0.1.0\";\nexport const handler = { handle() {} };";
    let Some(dir) = with(ExtensionKind::Events, source) else {
        return;
    };
    let said = built(dir.path()).expect_err("refused");
    assert_eq!(
        said,
        "DIR/events.js: it imports `holdfast:host/state@0.1.0`, which wit/world.wit does not: add `import \
         holdfast:host/state@0.1.0;` there, and to extension.toml the right to it (`state = [\"vms/\"]` under [rights])"
    );
}

#[test]
fn what_fails_when_it_is_loaded_is_told_with_its_place() {
    for (source, wanted) in [
        (
            "const odd = (x) => x.y;\nodd(null);",
            "TypeError: cannot read property 'y' of null\n  at odd, placement.js:1:20\n  at placement.js:2:5",
        ),
        (
            "\nconst = 1;",
            "SyntaxError: variable name expected\n  at placement.js:2:7",
        ),
    ] {
        let Some(said) = refused(source) else { return };
        assert_eq!(said, format!("DIR/placement.js: {wanted}"), "{source}");
    }
}

#[test]
fn what_python_has_not_is_told_in_words() {
    for (source, wanted) in [
        (
            "import leftpad\n".to_owned(),
            "ModuleNotFoundError: No module named 'leftpad'; packages have to be in the extension's folder: `pip install \
             --target . leftpad`\n  at placement.py:1".to_owned(),
        ),
        (
            "def odd(x):\n    return x[\"y\"]\nodd({})\n".to_owned(),
            "KeyError: 'y'\n  at odd, placement.py:2\n  at placement.py:3".to_owned(),
        ),
    ] {
        let Some((dir, main)) = started(ExtensionKind::Placement, Language::Python) else {
            return;
        };
        std::fs::write(main, &source).expect("a source");
        let said = built(dir.path()).expect_err("refused");
        assert_eq!(said, format!("DIR/placement.py: {wanted}"), "{source}");
    }
}

/// The compiler's own words are shown as they come; which function it is that is not there is told behind them.
#[test]
fn what_c_does_not_export_is_named() {
    // Its tools are none that the kit fetches.
    if find("clang-16").is_none() || find("wasm-ld-16").is_none() {
        eprintln!("skipped: there is no clang-16 with its linker");
        return;
    }
    let Some((dir, main)) = started(ExtensionKind::Placement, Language::C) else {
        return;
    };
    // Its names can be looked up before anything is built.
    assert!(dir.path().join("extension.h").is_file());
    let source = std::fs::read_to_string(&main).expect("a source");
    std::fs::write(&main, source.replace("rule_judge(", "rule_jugde(")).expect("a source");
    let said = built(dir.path()).expect_err("refused");
    assert_eq!(
        said,
        "DIR/placement.c: `exports_holdfast_placement_rule_judge` is not in it, which is what wit/world.wit exports; \
         extension.h has it as it has to be written"
    );
    // Two sources are one component, and where it was built is not in it.
    std::fs::write(&main, &source).expect("a source");
    std::fs::write(
        dir.path().join("more.c"),
        "int more_of_it(void);\nint more_of_it(void) { return 1; }\n",
    )
    .expect("a source");
    let made = built(dir.path()).unwrap_or_else(|error| panic!("{error}"));
    let bytes = std::fs::read(&made.path).expect("a component");
    let place = dir.path().display().to_string();
    assert!(
        !bytes
            .windows(place.len())
            .any(|window| window == place.as_bytes()),
        "{place} is in it"
    );
}
