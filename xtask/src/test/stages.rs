//! The stages that need no lab.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use holdfast_lab::{LabError, Progress, Result};

use super::tally::Tally;
use crate::root::root;

/// No Rust file is longer; aim for less than 400.
const LONGEST_FILE: usize = 500;

fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root());
    command
}

/// Passes a program's output on and keeps it.
fn run(command: &mut Command) -> Result<(bool, String)> {
    let name = command.get_program().to_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(LabError::io("start", &name))?;
    let mut kept = String::new();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out)
            .lines()
            .map_while(std::result::Result::ok)
        {
            println!("{line}");
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    let status = child.wait().map_err(LabError::io("wait for", &name))?;
    Ok((status.success(), kept))
}

/// A command that is one test.
fn one(command: &mut Command) -> Result<Tally> {
    let (good, _) = run(command)?;
    Ok(if good {
        Tally::passed(1)
    } else {
        Tally::failed(1)
    })
}

/// A command that counts its tests itself; if it fails without having counted, that is one more.
fn counted(command: &mut Command) -> Result<Tally> {
    let (good, output) = run(command)?;
    let mut tally = Tally::read(&output);
    if !good && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

pub(super) fn formatting(_: &Progress) -> Result<Tally> {
    one(cargo().args(["fmt", "--all", "--check"]))
}

pub(super) fn clippy(_: &Progress) -> Result<Tally> {
    let lint = |what: &[&str]| {
        let mut clippy = cargo();
        clippy.args(["clippy", "--quiet"]).args(what);
        one(clippy.args(["--", "-D", "warnings"]))
    };
    let mut all = lint(&["--workspace", "--all-targets"])?;
    // Who wants the command line alone, or an agent with built-in checks, is not to build the sandbox of extensions.
    for package in ["holdfast-manager", "holdfast-host"] {
        let bare = ["--package", package, "--no-default-features"];
        all.add(lint(&[&bare[..], &["--lib", "--bins"]].concat())?);
    }
    Ok(all)
}

/// Most of the tests of the daemons wait: for etcd, for a deadline, for a process. More of them at a time
/// than there are cores.
const THREADS: &str = "6";

pub(super) fn units(progress: &Progress) -> Result<Tally> {
    // Those of the extension host ask real ones.
    crate::extensions::count(progress)?;
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--no-fail-fast"]);
    counted(tests.env("RUST_TEST_THREADS", THREADS))
}

/// Seeds of the simulation; about a minute on two cores.
const SEEDS: u32 = 2_000;
/// Seeds of a quick run, without optimisation: built for the other tests already, and too few for every
/// state to come up.
const QUICK_SEEDS: u32 = 20;

pub(super) fn simulation(_: &Progress) -> Result<Tally> {
    simulate(SEEDS, &["--release"], &["--verbose", "--all-states"])
}

pub(super) fn short_simulation(_: &Progress) -> Result<Tally> {
    simulate(QUICK_SEEDS, &[], &[])
}

/// One test each.
pub(super) fn mutants(progress: &Progress) -> Result<Tally> {
    let count = crate::mutants::quick(progress)?;
    Ok(Tally {
        failed: count.missed,
        ..Tally::passed(count.found)
    })
}

/// Two tests: every seed has to end well, and every fault and state to come up if that is asked for; and so
/// have histories in which the store is set back. A failure leaves a scenario file behind.
fn simulate(seeds: u32, profile: &[&str], demands: &[&str]) -> Result<Tally> {
    let sim = || {
        let mut sim = cargo();
        sim.args(["run", "--quiet", "--package", "holdfast-tests"]);
        sim.args(profile).args(["--bin", "holdfast-sim", "--"]);
        sim
    };
    let mut all = one(sim().args(demands).args(["--seeds", &seeds.to_string()]))?;
    let restores = (seeds / 10).to_string();
    all.add(one(sim().args(["--set-back", "--seeds", &restores]))?);
    Ok(all)
}

/// Each that is built is a test, and so are their formatting and their lints; their own tests count themselves.
pub(super) fn extensions(progress: &Progress) -> Result<Tally> {
    use crate::extensions::{cargo, count};
    let mut all = one(cargo("fmt").args(["--all", "--check"]))?;
    let lints = [
        "--quiet",
        "--target",
        "wasm32-unknown-unknown",
        "--",
        "-D",
        "warnings",
    ];
    let (built, skipped) = count(progress)?;
    all.add(Tally {
        skipped,
        ..Tally::passed(built)
    });
    all.add(one(cargo("clippy").args(lints))?);
    all.add(counted(
        cargo("test").args(["--workspace", "--no-fail-fast"]),
    )?);
    // Too slow for the units. With the features of those, so that nothing is built a second time.
    let python = ["test", "--workspace", "--test", "python", "--no-fail-fast"];
    all.add(counted(self::cargo().args(python))?);
    Ok(all)
}

/// With the programs of this very tree: the script asks them about its files.
pub(super) fn install(_: &Progress) -> Result<Tally> {
    crate::lab::build_daemons_with_tests()?;
    counted(
        Command::new("bash")
            .arg("manager/packaging/test-install.sh")
            .env("HOLDFAST_BIN_DIR", holdfast_lab::programs::own_bin_dir())
            .current_dir(root()),
    )
}

pub(super) fn vagrant(_: &Progress) -> Result<Tally> {
    counted(
        Command::new("bash")
            .arg("vagrant/test-vagrant.sh")
            .current_dir(root()),
    )
}

/// Long files and leftovers, in everything git tracks.
pub(super) fn tidy(_: &Progress) -> Result<Tally> {
    let mut wrong = Vec::new();
    for file in tracked()?.iter().filter(|file| file.ends_with(".rs")) {
        let path = root().join(file);
        let text = std::fs::read_to_string(&path).map_err(LabError::io("read", &path))?;
        let lines = text.lines().count();
        if lines > LONGEST_FILE {
            wrong.push(format!(
                "{file}: {lines} lines, at most {LONGEST_FILE}: split it by concern"
            ));
        }
        for (number, line) in text.lines().enumerate() {
            // Spelled in two parts, so that this file passes.
            let leftovers = [
                concat!("FIX", "ME"),
                concat!("TO", "DO"),
                concat!("X", "XX"),
            ];
            let words = || line.split(|c: char| !c.is_ascii_alphanumeric());
            if let Some(word) = words().find(|word| leftovers.contains(word)) {
                wrong.push(format!("{file}:{}: {word}", number + 1));
            }
        }
        let spelled = concat!("\"/hold", "fast/v1");
        let test = file.contains("/tests/") || file.ends_with("tests.rs");
        if text.contains(spelled) && !file.ends_with("keyspace.rs") && !test {
            wrong.push(format!(
                "{file}: spells a store key; that is keyspace.rs's alone"
            ));
        }
    }
    for text in &wrong {
        println!("{text}");
    }
    Ok(if wrong.is_empty() {
        Tally::passed(1)
    } else {
        Tally::failed(1)
    })
}

fn tracked() -> Result<Vec<String>> {
    let out = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .map_err(LabError::io("start", "git"))?;
    if !out.status.success() {
        return Err(LabError::Refused(
            "`git ls-files` failed: is this a git checkout?".into(),
        ));
    }
    Ok(String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}
