//! Somebody who knows JavaScript, and of Holdfast what the guide for authors says: the commands that stand there, word for
//! word, from an empty folder to a rule that is seen at work. What the guide shows has to be what comes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::extension::{ready, runs_since, shown};
use super::{PATIENCE, expect, small, with_vms};
use crate::clock;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::needless::Hit;
use crate::run::{output, wait_until};
use crate::trial::Cluster;

const GUIDE: &str = include_str!("../../../../docs/extensions-authoring.md");

/// As the guide calls them, and where its author has the folder.
const VM: &str = "vm02";
const RULE: &str = "rack-rule";
const FOLDER: &str = "/home/me/rack-rule";
/// What it writes to its log begins with the machine's name.
const LOGGED: &str = "vm02: ";

/// A build that fetches its tools first, on a slow machine.
const BUILD: Duration = Duration::from_secs(600);

/// A command of the guide, and what it is shown to print.
#[derive(Debug, PartialEq, Eq)]
struct Step<'a> {
    command: &'a str,
    shows: Vec<&'a str>,
}

pub(super) fn in_javascript(lab: &Lab) -> Result<()> {
    let home = lab.state().root().join("author");
    let io = |what| LabError::io(what, &home);
    if home.exists() {
        std::fs::remove_dir_all(&home).map_err(io("remove"))?;
    }
    std::fs::create_dir_all(&home).map_err(io("create"))?;
    written(lab, &home)?;
    with_vms(lab, &[small(VM, "a")], |cluster| {
        at_work(cluster, &home.join(RULE))
    })
}

/// As it is written it is built, and passes.
fn written(lab: &Lab, home: &Path) -> Result<()> {
    let steps = steps("The first one, in 15 minutes", "sh")?;
    // It is installed in the lab, which is told of further below in the guide.
    let steps = steps
        .iter()
        .filter(|step| !step.command.contains("install"));
    let lines = steps.map(|step| step.command.replace("--lang rust", "--lang js"));
    let lines: Vec<String> = lines.collect();
    for part in ["--lang js", "ext build", "ext check", "ext test"] {
        expect(lines.iter().any(|line| line.contains(part)), || {
            format!("the guide's first commands are without `{part}`: {lines:?}")
        })?;
    }
    shell(lab, home, &lines.join("\n"))
}

/// It is changed, installed, asked, explained, and removed.
fn at_work(cluster: &Cluster, folder: &Path) -> Result<()> {
    let lab = cluster.lab;
    let mut done = Vec::new();
    for step in steps("See it at work", "console")? {
        let Some(words) = step.command.strip_prefix("cargo xtask lab ") else {
            shell(lab, folder, step.command)?;
            continue;
        };
        // This lab is up, and stays so.
        let Some(words) = words.strip_prefix("cli ") else {
            continue;
        };
        let words = words.replace(FOLDER, &folder.to_string_lossy());
        let words: Vec<&str> = words.split_whitespace().collect();
        let verb = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let since_ms = clock::now_ms();
        match &*verb {
            "ext install" => {
                cli(lab, folder, &[&words[..], &["--yes"]].concat())?;
                ready(cluster, RULE)?;
            }
            "ext remove" => {
                cli(lab, folder, &[&words[..], &["--yes"]].concat())?;
                runs_since(cluster, VM, since_ms)?;
            }
            "why vm" => {
                expect(step.shows.len() > 1, || {
                    format!("nothing is shown: {step:?}")
                })?;
                wait_shown(lab, folder, &words, &step.shows)?;
            }
            "ext logs" => wait_shown(lab, folder, &words, &[LOGGED])?,
            "ext show" => {
                cli(lab, folder, &words)?;
                let told = shown(cluster, RULE)?;
                expect(told["costs"]["failed"] == 0, || {
                    format!("{RULE} failed: {told:#}")
                })?;
            }
            "vm restart" => {
                lab.hit(Hit::vm(VM));
                cli(lab, folder, &words)?;
            }
            _ => cli(lab, folder, &words).map(drop)?,
        }
        done.push(verb);
    }
    let all = [
        "ext install",
        "vm apply",
        "vm restart",
        "why vm",
        "ext show",
        "ext logs",
        "ext remove",
    ];
    expect(done == all, || {
        format!("the guide has other commands than this looks at: {done:?}")
    })
}

/// The commands of a section of the guide, in blocks of this sort.
fn steps(heading: &str, fence: &str) -> Result<Vec<Step<'static>>> {
    let section = GUIDE
        .split_once(&format!("\n## {heading}\n"))
        .map(|(_, rest)| rest.split("\n## ").next().unwrap_or(rest));
    let section = section.ok_or_else(|| {
        LabError::Refused(format!("the guide for authors has no section `{heading}`"))
    })?;
    let mut steps: Vec<Step> = Vec::new();
    let blocks = section.split("\n```").skip(1).step_by(2);
    for block in blocks.filter_map(|block| block.strip_prefix(fence)?.strip_prefix('\n')) {
        for line in block.lines() {
            let command = match fence {
                "console" => line.strip_prefix("$ "),
                _ => Some(line),
            };
            match (command, steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.split(" #").next().unwrap_or(command).trim_end(),
                    shows: Vec::new(),
                }),
                (None, Some(step)) if line.trim() != "…" => step.shows.push(line.trim()),
                (None, _) => {}
            }
        }
    }
    Ok(steps)
}

/// Runs what stands there as a person would, with our own `holdfast`.
fn shell(lab: &Lab, dir: &Path, script: &str) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", lab.options().bin_dir.display());
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(dir);
    output(command.env("PATH", path), b"", BUILD)?
        .ok(script)
        .map(drop)
}

/// What a command of the lab's command line prints, in the author's folder.
fn cli(lab: &Lab, dir: &Path, words: &[&str]) -> Result<String> {
    let mut command = lab.cli_command(words);
    let out = output(command.current_dir(dir), b"", PATIENCE)?;
    Ok(out.ok(&format!("holdfast {}", words.join(" ")))?.stdout)
}

/// Asks until all of it is there.
fn wait_shown(lab: &Lab, dir: &Path, words: &[&str], shows: &[&str]) -> Result<()> {
    let what = format!("`{}` to show {shows:?}", words.join(" "));
    wait_until(&what, PATIENCE, "", || {
        let said = cli(lab, dir, words).map_err(|error| error.to_string())?;
        match shows.iter().all(|line| said.contains(line)) {
            true => Ok(()),
            false => Err(said),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_commands_are_found_with_what_they_print() {
        let first = steps("The first one, in 15 minutes", "sh").expect("a section");
        assert_eq!(
            first.first().map(|step| step.command),
            Some("holdfast ext new rack-rule --kind placement --lang rust")
        );
        let work = steps("See it at work", "console").expect("a section");
        let why = work.iter().find(|step| step.command.contains("why vm"));
        let shows = &why.expect("a command").shows;
        assert_eq!(shows.first(), Some(&"vm02 is waiting"));
        assert!(
            shows
                .iter()
                .any(|line| line.contains("extension rack-rule: ")),
            "{shows:?}"
        );
        assert!(steps("None such", "sh").is_err());
    }
}
