//! The lab tests: one lab for all of them, a new one after a failure.

use std::time::Instant;

use anstyle::{AnsiColor, Reset};
use holdfast_lab::scenarios::{ALL, Scenario};
use holdfast_lab::{Lab, LabError, LabOptions, Progress, Result};

use super::tally::Tally;

pub(super) fn all(progress: &Progress) -> Result<Tally> {
    if !is_root() {
        let count = ALL.len() as u32;
        println!("skipped: the lab needs root; run `sudo cargo xtask test --only lab`");
        return Ok(Tally {
            skipped: count,
            ..Tally::default()
        });
    }
    let build = crate::lab::build_daemons_with_tests;
    progress.step("build the daemons", build)?;
    crate::extensions::count(progress)?;
    run(ALL.iter().collect(), progress)
}

pub(super) fn one(name: &str, progress: &Progress) -> Result<Tally> {
    let found: Vec<&Scenario> = ALL.iter().filter(|each| each.name == name).collect();
    if found.is_empty() {
        return Err(LabError::Refused(format!(
            "there is no stage or lab test `{name}`; `cargo xtask test --only list` names them"
        )));
    }
    progress.step("build the daemons", crate::lab::build_daemons)?;
    crate::extensions::count(progress)?;
    run(found, progress)
}

fn is_root() -> bool {
    // The effective user id, as the kernel shows it.
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let line = status.lines().find(|line| line.starts_with("Uid:"));
        line.and_then(|line| line.split_whitespace().nth(2)) == Some("0")
    })
}

fn run(scenarios: Vec<&Scenario>, progress: &Progress) -> Result<Tally> {
    let mut lab: Option<Lab> = None;
    let mut tally = Tally::default();
    for scenario in scenarios {
        let start = Instant::now();
        let mut before = None;
        let result = match lab.take() {
            Some(lab) => Ok(lab),
            None => bring_up(progress),
        }
        .and_then(|up| {
            before = events(&up).pop();
            let result = (scenario.run)(&up);
            lab = Some(up);
            result
        });
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                let green = AnsiColor::Green.on_default();
                anstream::println!("  {green}ok{Reset}     {} ({seconds:.1} s)", scenario.name);
                tally.passed += 1;
            }
            Err(LabError::Interrupted) => {
                if let Some(lab) = lab.take() {
                    lab.down()?;
                }
                return Err(LabError::Interrupted);
            }
            Err(error) => {
                let red = AnsiColor::Red.on_default().bold();
                let (name, text) = (scenario.name, error.chain());
                anstream::println!("  {red}FAILED{Reset} {name} ({seconds:.1} s): {text}");
                tally.failed += 1;
                if let Some(lab) = lab.take() {
                    tell(&lab, before.as_deref());
                    lab.down()?;
                }
            }
        }
    }
    if let Some(lab) = lab {
        progress.step("take down the lab", || lab.down())?;
    }
    Ok(tally)
}

fn bring_up(progress: &Progress) -> Result<Lab> {
    Lab::up(
        LabOptions {
            vms: 0,
            linux_vms: 0,
            // The scenarios lose the same hosts again and again, and each waits for them to be back.
            hold_down_ms: 3_000,
            ..LabOptions::default()
        },
        progress,
    )
}

/// Every event so far, one line each, the latest last; none if nobody answers.
fn events(lab: &Lab) -> Vec<String> {
    let out = lab.cli(&["events"]).map(|out| out.stdout);
    let text = out.unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What came after a line; everything if it is not there.
fn after<'a>(lines: &'a [String], last: Option<&str>) -> &'a [String] {
    let found = lines
        .iter()
        .rposition(|line| Some(line.as_str()) == last)
        .map_or(0, |at| at + 1);
    &lines[found..]
}

/// What a reader of a failed run needs and cannot get afterwards. This scenario's own decisions come first,
/// and none of those before it: often only the beginning of a report is read.
fn tell(lab: &Lab, before: Option<&str>) {
    println!("{}", after(&events(lab), before).join("\n"));
    if let Ok(out) = lab.cli(&["status"]) {
        println!("{}{}", out.stdout, out.stderr);
    }
    for machine in &lab.layout().machines {
        for service in ["manager", "agent", "guard"] {
            let Ok(path) = lab.log_path(&machine.name, service) else {
                continue;
            };
            let Ok(text) = std::fs::read_to_string(path) else {
                continue;
            };
            let lines: Vec<&str> = text.lines().collect();
            println!("--- {} {service}", machine.name);
            println!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::after;

    #[test]
    fn a_report_tells_only_of_what_came_after() {
        let lines = ["one", "two", "three"].map(str::to_owned);
        assert_eq!(after(&lines, Some("two")), ["three"]);
        assert_eq!(after(&lines, Some("three")), [""; 0]);
        assert_eq!(after(&lines, None), lines);
        assert_eq!(after(&lines, Some("another")), lines);
    }
}
