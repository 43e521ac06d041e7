//! `cargo xtask lab …`: arguments in, library calls, tables or JSON out.

mod arguments;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use holdfast_lab::{Lab, LabError, Progress, Result, catch_interrupts, report};
use serde::Serialize;

pub(crate) use arguments::LabCommand;
use arguments::{Format, Process, UpArguments, View, Where};

/// Runs one verb.
pub(crate) fn run(command: LabCommand) -> Result<ExitCode> {
    // Asked for once and first, so that no verb fails half-way with the kernel's words. Logs are
    // only files.
    if !matches!(command, LabCommand::Logs { .. }) {
        Lab::require_root()?;
    }
    match command {
        LabCommand::Up(arguments) => up(*arguments)?,
        LabCommand::Status(view) => {
            let status = attach(&view.lab)?.status()?;
            show(&view, &status, || report::status(&status))?;
        }
        LabCommand::Down(lab) => {
            let progress = Progress::stderr();
            let existed = progress.step("take down the lab", || Lab::down_at(&lab.state))?;
            if !existed {
                progress.line("  there was none");
            }
        }
        LabCommand::Exec { lab, host, command } => {
            let argv: Vec<&str> = command.iter().map(String::as_str).collect();
            return pass_through(attach(&lab)?.command(&host, &argv)?);
        }
        LabCommand::Cli { lab, arguments } => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            return pass_through(attach(&lab)?.cli_command(&arguments));
        }
        LabCommand::Logs {
            lab,
            host,
            service,
            follow,
            lines,
        } => {
            return logs(&attach(&lab)?, &host, service.as_deref(), follow, lines);
        }
        LabCommand::PowerOff(target) => {
            let lab = attach(&target.view.lab)?;
            let proof = match &target.site {
                Some(site) => lab.power_off_site(site)?,
                None => lab.power_off(&words(&target.host))?,
            };
            show(&target.view, &proof, || {
                format!(
                    "{}: no power; {} processes gone {} ms after the cables ({} ms)\n",
                    proof.machines.join(" "),
                    proof.processes,
                    proof.gone_ms - proof.links_down_ms,
                    proof.links_down_ms - proof.at_ms,
                )
            })?;
        }
        LabCommand::PowerOn(target) => {
            let lab = attach(&target.view.lab)?;
            match &target.site {
                Some(site) => lab.power_on_site(site)?,
                None => lab.power_on(&words(&target.host))?,
            }
        }
        LabCommand::Cut {
            view,
            a,
            b,
            one_way,
        } => {
            let cutting = attach(&view.lab)?.cut(&a, &b, one_way)?;
            show(&view, &cutting, || cuts_text(&cutting.cuts))?;
        }
        LabCommand::Heal { view, a, b } => {
            let healed = attach(&view.lab)?.heal(&a, &b)?;
            show(&view, &healed, || match healed.is_empty() {
                true => "nothing was cut there\n".into(),
                false => format!("healed\n{}", cuts_text(&healed)),
            })?;
        }
        LabCommand::Freeze(process) => fault(&process, Lab::freeze)?,
        LabCommand::Thaw(process) => fault(&process, Lab::thaw)?,
        LabCommand::Kill(process) => fault(&process, Lab::kill)?,
        LabCommand::Proof(view) => {
            let proof = attach(&view.lab)?.proof()?;
            show(&view, &proof, || report::proof(&proof))?;
            if !proof.holds() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn attach(lab: &Where) -> Result<Lab> {
    Lab::attach(&lab.state)
}

fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

fn show<T: Serialize>(view: &View, value: &T, table: impl FnOnce() -> String) -> Result<()> {
    match view.output {
        Format::Table => anstream::print!("{}", table()),
        Format::Json => {
            let text = serde_json::to_string_pretty(value).map_err(|source| LabError::Parse {
                path: "output".into(),
                source,
            })?;
            anstream::println!("{text}");
        }
    }
    Ok(())
}

fn cuts_text(cuts: &[holdfast_lab::Cut]) -> String {
    let line = |cut: &holdfast_lab::Cut| {
        format!(
            "{} -> {}: {} packets dropped\n",
            cut.from, cut.to, cut.dropped
        )
    };
    cuts.iter().map(line).collect()
}

fn fault(
    process: &Process,
    inject: impl FnOnce(&Lab, &str, &str) -> Result<holdfast_lab::FaultProof>,
) -> Result<()> {
    let lab = attach(&process.view.lab)?;
    let proof = inject(&lab, &process.host, &process.process)?;
    show(&process.view, &proof, || {
        let took = proof.done_ms - proof.at_ms;
        format!(
            "{:?} {} on {}: pids {:?}, seen after {took} ms\n",
            proof.fault, proof.process, proof.machine, proof.pids
        )
    })
}

/// Runs a command with this one's input and output; its exit status becomes ours.
fn pass_through(mut command: Command) -> Result<ExitCode> {
    let status = command
        .stdin(Stdio::inherit())
        .status()
        .map_err(LabError::io("start", command.get_program()))?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(1),
    ))
}

fn up(arguments: UpArguments) -> Result<()> {
    catch_interrupts()?;
    let build = !arguments.no_daemons && !arguments.no_build && arguments.bin_dir.is_none();
    let options = arguments.options();
    let progress = Progress::stderr();
    if build {
        progress.step("build holdfast-manager and holdfast-host", build_daemons)?;
    }
    Lab::up(options, &progress)?;
    progress.line("  the lab is up: cargo xtask lab status | cli status | proof | down");
    Ok(())
}

/// Builds the daemons into the target directory this program is in.
pub(crate) fn build_daemons() -> Result<()> {
    build(&[
        "--package",
        "holdfast-manager",
        "--package",
        "holdfast-host",
    ])
}

/// The same as the tests build them: where those were built there is nothing left to do. Libraries that
/// only tests need switch features of others on, so that all would be built a second time without them.
pub(crate) fn build_daemons_with_tests() -> Result<()> {
    build(&["--workspace", "--bins", "--tests"])
}

fn build(what: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let own = holdfast_lab::programs::own_bin_dir();
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet"])
        .args(what)
        .args(own.ends_with("release").then_some("--release"))
        .args(
            own.parent()
                .map(|target| format!("--target-dir={}", target.display())),
        )
        .current_dir(crate::root::root());
    let status = command
        .status()
        .map_err(LabError::io("start", command.get_program()))?;
    if status.success() {
        return Ok(());
    }
    Err(LabError::Refused(
        "the build failed; `lab up --no-daemons` needs none".into(),
    ))
}

fn logs(
    lab: &Lab,
    host: &str,
    service: Option<&str>,
    follow: bool,
    lines: u32,
) -> Result<ExitCode> {
    let mut files = Vec::new();
    match service {
        Some(service) => files.push(lab.log_path(host, service)?),
        None => {
            let any = lab.log_path(host, "init")?;
            let dir = any.parent().unwrap_or(Path::new("/"));
            for entry in std::fs::read_dir(dir).map_err(LabError::io("list", dir))? {
                files.push(entry.map_err(LabError::io("list", dir))?.path());
            }
            files.sort();
        }
    }
    let mut tail = Command::new("tail");
    tail.args(["-n", &lines.to_string()])
        .args(follow.then_some("-F"))
        .args(files);
    pass_through(tail)
}
