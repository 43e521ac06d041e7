//! What extensions cost: answers beside the same rule without a sandbox, getting ready, fencing calls beside the same
//! request without one, decisions beside those without extensions; in one run.

use std::process::Command;

use holdfast_lab::{LabError, Progress, Result};

use super::Figure;

/// Of figures that are not nanoseconds.
const UNITS: [&str; 4] = ["us", "ms", "KiB", "MiB"];

/// The rule that is there both ways.
const RULE: &str = "site-affinity";

pub(super) fn run(progress: &Progress) -> Result<Vec<Figure>> {
    crate::extensions::count(progress)?;
    let mut native = crate::extensions::cargo("run");
    native.args([
        "--release",
        "--quiet",
        "--package",
        RULE,
        "--example",
        "native",
    ]);
    let native = progress.step("the rule without a sandbox", || said(&mut native))?;
    let mut figures = Vec::new();
    for line in native.lines() {
        let odd = || LabError::Refused(format!("the rule printed `{line}`, which is no figure"));
        let (name, numbers) = line.split_once('\t').ok_or_else(odd)?;
        figures.push(of(name, numbers.split_whitespace())?);
    }
    let guests = progress.step("extensions", || {
        bench("holdfast-extension-host", "placement")
    })?;
    for line in guests.lines() {
        let mut words = line.split_whitespace();
        if let Some(name) = words.next() {
            figures.push(of(name, words)?);
        }
    }
    let base = figures.first().map_or(1, |first| first.median.max(1));
    for figure in &mut figures {
        let times = figure.median as f64 / base as f64;
        figure.name = format!(
            "{}: one candidate ({times:.1} times the first)",
            figure.name
        );
    }
    for (what, package, name) in [
        ("getting ready", "holdfast-extension-host", "lifecycle"),
        ("fencing calls", "holdfast-extension-host", "fence"),
        ("decisions", "holdfast-manager", "decision"),
    ] {
        let lines = progress.step(what, || bench(package, name))?;
        for line in lines.lines() {
            figures.push(of_line(line)?);
        }
    }
    Ok(figures)
}

/// What a benchmark prints.
fn bench(package: &str, name: &str) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut bench = Command::new(cargo);
    bench
        .args(["bench", "--quiet", "--package", package, "--bench", name])
        .current_dir(crate::root::root());
    said(&mut bench)
}

/// `NAME, UNIT`, a tab, numbers.
fn of_line(line: &str) -> Result<Figure> {
    let odd = || LabError::Refused(format!("a benchmark printed `{line}`, which is no figure"));
    let (head, numbers) = line.split_once('\t').ok_or_else(odd)?;
    let (name, unit) = head.rsplit_once(", ").ok_or_else(odd)?;
    let unit = UNITS.iter().find(|known| **known == unit);
    Ok(Figure {
        unit: unit.ok_or_else(odd)?,
        ..of(name, numbers.split_whitespace())?
    })
}

fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_owned();
    let output = command.output().map_err(LabError::io("start", &name))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(LabError::Refused(format!(
            "{} failed: {}",
            name.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

fn of<'w>(name: &str, words: impl Iterator<Item = &'w str>) -> Result<Figure> {
    let numbers: std::result::Result<Vec<u64>, _> = words.map(str::parse).collect();
    let numbers = numbers.map_err(|error| LabError::Refused(format!("{name}: {error}")))?;
    Ok(Figure {
        unit: "ns",
        ..Figure::of(name, numbers)
    })
}
