//! Fence agents as ClusterLabs has them: programs that get `name=value` lines on their standard input and
//! answer with their exit code (`FenceAgentAPI.md` of their project).
//!
//! ```text
//! action=off      0: done                      1: not, or not to be verified
//! action=status   0: on          2: off        1: the device could not be reached
//! ```

use super::{FILE, FenceDevices, Power, Target, secrets};
use async_trait::async_trait;
use holdfast_model::fence_device::{OptionKind, option_kind};
use holdfast_model::id::{DeviceName, HostName};
use holdfast_strict::trust::program_fault;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, Command};

/// So much of what a program says is kept.
const SAID_MAX: u64 = 4_096;
/// Characters of its last words that are told.
const WORDS_MAX: usize = 200;
/// Its last words come within this after its end, or not at all: something it started may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Where programs find others.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The programs that manager.toml, or the fence.toml of a host, names.
pub struct FenceAgents {
    programs: BTreeMap<DeviceName, PathBuf>,
    secrets: PathBuf,
}

/// What a program is run for.
pub(super) struct Order<'o> {
    /// Which, by its name in `[fence_agents]`.
    pub program: &'o DeviceName,
    /// About whose power it is.
    pub host: &'o HostName,
    /// The device has several hosts: the program is told which.
    pub names_plug: bool,
    /// What it is told besides.
    pub options: Vec<(&'o str, &'o str)>,
}

impl<'o> Order<'o> {
    /// For a device, with its own options.
    pub(super) fn of(target: &'o Target, program: Option<&'o DeviceName>) -> Result<Self, String> {
        let options = target.device.options.iter();
        Ok(Self {
            program: program.ok_or("its device names no program")?,
            host: &target.host,
            names_plug: target.device.hosts.len() > 1,
            options: options.map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        })
    }
}

/// Why a program did not run: nothing was done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotRun {
    /// There is none of that name that may be run.
    NoProgram(String),
    /// It would run or write something by this option.
    NotAllowed(String),
    /// It could not be started.
    NotStarted(String),
}

impl NotRun {
    fn words(self) -> String {
        match self {
            Self::NoProgram(why) | Self::NotAllowed(why) | Self::NotStarted(why) => why,
        }
    }
}

impl FenceAgents {
    /// These programs, with their secrets in the files of this directory.
    pub fn new(programs: BTreeMap<DeviceName, PathBuf>, secrets: PathBuf) -> Self {
        Self { programs, secrets }
    }

    /// What is wrong with the programs, as far as it can be told before one is needed.
    pub fn faults(&self) -> Vec<String> {
        let programs = self.programs.iter();
        programs
            .filter_map(|(name, path)| {
                Some(format!("[fence_agents] {name}: {}", program_fault(path)?))
            })
            .collect()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &DeviceName> {
        self.programs.keys()
    }

    fn program(&self, name: &DeviceName) -> Result<&Path, NotRun> {
        let path = self.programs.get(name).ok_or_else(|| {
            NotRun::NoProgram(format!(
                "[fence_agents] in {FILE} has no `{name}`; name it there"
            ))
        })?;
        match program_fault(path) {
            Some(fault) => Err(NotRun::NoProgram(fault)),
            None => Ok(path),
        }
    }

    /// What the program is told.
    async fn input(&self, order: &Order<'_>, action: &str) -> Result<String, NotRun> {
        let mut lines = vec![
            format!("action={action}"),
            format!("nodename={}", order.host),
        ];
        if order.names_plug {
            lines.push(format!("plug={}", order.host));
        }
        for (name, value) in &order.options {
            let kind = option_kind(name, value).map_err(NotRun::NotAllowed)?;
            lines.push(match kind {
                OptionKind::Plain => format!("{name}={value}"),
                OptionKind::Secret(name) => {
                    let secret = self.secret(value).await.map_err(NotRun::NotStarted)?;
                    format!("{name}={secret}")
                }
            });
        }
        Ok(lines.join("\n") + "\n")
    }

    async fn secret(&self, file: &str) -> Result<String, String> {
        let (dir, file) = (self.secrets.clone(), file.to_owned());
        let reading = tokio::task::spawn_blocking(move || secrets::read(&dir, &file));
        let secret = reading.await.map_err(|panic| panic.to_string())??;
        Ok(secret.reveal().to_owned())
    }

    /// All that can be found out before it is started. Nothing is done yet.
    pub(super) async fn prepare<'a>(
        &'a self,
        order: &Order<'_>,
        action: &str,
    ) -> Result<Prepared<'a>, NotRun> {
        let program = self.program(order.program)?;
        let input = self.input(order, action).await?;
        Ok(Prepared { program, input })
    }

    async fn run(&self, order: &Order<'_>, action: &str) -> Result<(Option<i32>, String), NotRun> {
        self.prepare(order, action).await?.run().await
    }
}

/// A program that can be started.
pub(super) struct Prepared<'a> {
    program: &'a Path,
    /// With its secrets.
    input: String,
}

impl Prepared<'_> {
    /// Its exit code, and its last words.
    pub(super) async fn run(self) -> Result<(Option<i32>, String), NotRun> {
        let Self { program, input } = self;
        let failed = |error: std::io::Error| {
            NotRun::NotStarted(format!("cannot run {}: {error}", program.display()))
        };
        let mut child = Command::new(program)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let mut group = Group::of(child.id());
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read it says by its exit code what it makes of that.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let words = child
            .stderr
            .take()
            .map(|stderr| tokio::spawn(listen(stderr)));
        let status = child.wait().await.map_err(failed)?;
        group.ended();
        let said = match words {
            Some(mut words) => match tokio::time::timeout(LAST_WORDS, &mut words).await {
                Ok(said) => said.unwrap_or_default(),
                Err(_) => {
                    words.abort();
                    String::new()
                }
            },
            None => String::new(),
        };
        Ok((status.code(), said))
    }
}

#[async_trait]
impl FenceDevices for FenceAgents {
    async fn switch_off(&self, target: &Target) -> Result<(), String> {
        let order = Order::of(target, target.device.agent.as_ref())?;
        match self.run(&order, "off").await.map_err(NotRun::words)? {
            (Some(0), _) => Ok(()),
            (code, said) => Err(refusal(&order, "off", code, &said)),
        }
    }

    async fn status(&self, target: &Target) -> Result<Power, String> {
        let order = Order::of(target, target.device.agent.as_ref())?;
        self.power(&order).await
    }
}

impl FenceAgents {
    /// How the power stands, by this program.
    async fn power(&self, order: &Order<'_>) -> Result<Power, String> {
        let ended = self.run(order, "status").await.map_err(NotRun::words)?;
        power_in(order, ended)
    }
}

/// What a status that has ended says.
pub(super) fn power_in(order: &Order<'_>, ended: (Option<i32>, String)) -> Result<Power, String> {
    match ended {
        (Some(0), _) => Ok(Power::On),
        (Some(2), _) => Ok(Power::Off),
        (code, said) => Err(refusal(order, "status", code, &said)),
    }
}

fn refusal(order: &Order<'_>, action: &str, code: Option<i32>, said: &str) -> String {
    let code = code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    let last = last.map_or(String::new(), |line| {
        format!(
            ": {}",
            line.trim().chars().take(WORDS_MAX).collect::<String>()
        )
    });
    format!("{} ended {action} with {code}{last}", order.program)
}

/// Its first words, read to their end so that it does not wait for a reader.
async fn listen(mut stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    // What cannot be read is not needed.
    let _ = (&mut stderr).take(SAID_MAX).read_to_end(&mut said).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&said).into_owned()
}

/// A program and all that it has started: killed if it is given up before its end.
struct Group(Option<Pid>);

impl Group {
    fn of(id: Option<u32>) -> Self {
        let id = id.and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// Its number may be another's from now on.
    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::warn!(%error, "a fence agent that was given up could not be killed");
        }
    }
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
