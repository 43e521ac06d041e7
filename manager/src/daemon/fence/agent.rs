//! Fence agents as ClusterLabs has them: programs that get `name=value` lines on their standard input and
//! answer with their exit code (`FenceAgentAPI.md` of their project).
//!
//! ```text
//! action=off      0: done                      1: not, or not to be verified
//! action=status   0: on          2: off        1: the device could not be reached
//! ```

use super::{FenceDevices, Power, Target};
use async_trait::async_trait;
use holdfast_model::id::DeviceName;
use holdfast_model::power::{OptionKind, option_kind};
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

/// The programs that manager.toml names.
pub struct FenceAgents {
    programs: BTreeMap<DeviceName, PathBuf>,
    secrets: PathBuf,
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

    fn program(&self, target: &Target) -> Result<&Path, String> {
        let agent = &target.device.agent;
        let path = self.programs.get(agent).ok_or_else(|| {
            format!("[fence_agents] in this manager's manager.toml has no `{agent}`; name it there")
        })?;
        match program_fault(path) {
            Some(fault) => Err(fault),
            None => Ok(path),
        }
    }

    /// What the program is told.
    async fn input(&self, target: &Target, action: &str) -> Result<String, String> {
        let mut lines = vec![
            format!("action={action}"),
            format!("nodename={}", target.host),
        ];
        if target.device.hosts.len() > 1 {
            lines.push(format!("plug={}", target.host));
        }
        for (name, value) in &target.device.options {
            lines.push(match option_kind(name, value)? {
                OptionKind::Plain => format!("{name}={value}"),
                OptionKind::Secret(name) => format!("{name}={}", self.secret(value).await?),
            });
        }
        Ok(lines.join("\n") + "\n")
    }

    async fn secret(&self, file: &str) -> Result<String, String> {
        let path = self.secrets.join(file);
        let text = tokio::fs::read_to_string(&path).await.map_err(|error| {
            format!(
                "cannot read the secret {}: {error}; put it there for the manager's user, or correct \
                 `fence_secrets` in manager.toml",
                path.display()
            )
        })?;
        let secret = text.trim_end_matches(['\n', '\r']);
        match secret.contains(char::is_control) {
            true => Err(format!(
                "the secret {} has more than one line",
                path.display()
            )),
            false => Ok(secret.to_owned()),
        }
    }

    /// Its exit code, and its last words.
    async fn run(&self, target: &Target, action: &str) -> Result<(Option<i32>, String), String> {
        let program = self.program(target)?;
        let input = self.input(target, action).await?;
        let failed = |error: std::io::Error| format!("cannot run {}: {error}", program.display());
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
        match self.run(target, "off").await? {
            (Some(0), _) => Ok(()),
            (code, said) => Err(refusal(target, "off", code, &said)),
        }
    }

    async fn status(&self, target: &Target) -> Result<Power, String> {
        match self.run(target, "status").await? {
            (Some(0), _) => Ok(Power::On),
            (Some(2), _) => Ok(Power::Off),
            (code, said) => Err(refusal(target, "status", code, &said)),
        }
    }
}

fn refusal(target: &Target, action: &str, code: Option<i32>, said: &str) -> String {
    let code = code.map_or("a signal".to_owned(), |code| format!("exit code {code}"));
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    let last = last.map_or(String::new(), |line| {
        format!(
            ": {}",
            line.trim().chars().take(WORDS_MAX).collect::<String>()
        )
    });
    format!("{} ended {action} with {code}{last}", target.device.agent)
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
