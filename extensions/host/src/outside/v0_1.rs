//! The WIT of the host 0.1: what guests import, from what the host has.

use super::rights::Refused;
use super::{Action, Entry, Method, ProbeError, ProgramError, WebError};
use crate::instance::Guest;
use crate::journal::Level;
use holdfast_model::extension::ExtensionKind;
use wasmtime::component::{HasSelf, Linker};

#[allow(missing_docs, reason = "the WIT is the documentation")]
#[allow(unsafe_code, reason = "wasmtime's own, in what it generates")]
#[allow(unused_variables, reason = "generated")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/host/0.1.0"],
        inline: "
            package holdfast:offered;
            world offered {
                import holdfast:host/log@0.1.0;
                import holdfast:host/http@0.1.0;
                import holdfast:host/agent@0.1.0;
                import holdfast:host/probe@0.1.0;
                import holdfast:host/state@0.1.0;
            }
        ",
        world: "holdfast:offered/offered",
    });
}

use bindings::holdfast::host::{agent, http, log, probe, state};

/// Gives guests of a kind what there is for it.
pub(crate) fn add_to(linker: &mut Linker<Guest>, kind: ExtensionKind) -> wasmtime::Result<()> {
    for name in kind.offered() {
        match *name {
            "log" => log::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?,
            "http" => http::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?,
            "agent" => agent::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?,
            "probe" => probe::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?,
            "state" => state::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?,
            other => return Err(wasmtime::Error::msg(format!("no interface `{other}`"))),
        }
    }
    Ok(())
}

impl log::Host for Guest {
    fn write(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.log(level, &message);
    }
}

impl http::Host for Guest {
    fn send(
        &mut self,
        target: String,
        method: http::Method,
        path: String,
        body: Option<String>,
    ) -> Result<http::Response, http::Error> {
        let method = match method {
            http::Method::Get => Method::Get,
            http::Method::Post => Method::Post,
            http::Method::Put => Method::Put,
            http::Method::Patch => Method::Patch,
            http::Method::Delete => Method::Delete,
        };
        let answer = Guest::send(self, &target, method, path, body);
        answer
            .map(|response| http::Response {
                status: response.status,
                body: response.body,
            })
            .map_err(|refused| match refused {
                Refused::NotAllowed(why) => http::Error::NotAllowed(why),
                Refused::TooMany(why) => http::Error::TooMany(why),
                Refused::Web(WebError::NoTarget(why)) => http::Error::NoTarget(why),
                Refused::Web(WebError::Unreachable(why)) => http::Error::Unreachable(why),
                Refused::Web(WebError::Unanswered(why)) => http::Error::Unanswered(why),
            })
    }
}

impl agent::Host for Guest {
    fn run(
        &mut self,
        program: String,
        action: agent::Action,
        arguments: Vec<agent::Argument>,
    ) -> Result<agent::Ended, agent::Error> {
        let action = match action {
            agent::Action::Off => Action::Off,
            agent::Action::On => Action::On,
            agent::Action::Status => Action::Status,
        };
        let arguments: Vec<(String, String)> = arguments
            .into_iter()
            .map(|each| (each.name, each.value))
            .collect();
        let ended = Guest::run(self, &program, action, &arguments);
        ended
            .map(|ended| agent::Ended {
                exit_code: ended.exit_code,
                said: ended.said,
            })
            .map_err(|error| match error {
                ProgramError::NoProgram(why) => agent::Error::NoProgram(why),
                ProgramError::NotAllowed(why) => agent::Error::NotAllowed(why),
                ProgramError::NotStarted(why) => agent::Error::NotStarted(why),
                ProgramError::Unanswered(why) => agent::Error::Unanswered(why),
            })
    }
}

impl probe::Host for Guest {
    fn usage(&mut self, path: String) -> Result<probe::Space, probe::Error> {
        let space = Guest::usage(self, &path)?;
        Ok(probe::Space {
            total_bytes: space.total_bytes,
            free_bytes: space.free_bytes,
            read_only: space.read_only,
            kind: space.kind,
        })
    }

    fn read_latency(&mut self, path: String) -> Result<u64, probe::Error> {
        Ok(Guest::read_latency(self, &path)?)
    }

    fn command(&mut self, command: String) -> Result<probe::Output, probe::Error> {
        let output = Guest::command(self, &command)?;
        Ok(probe::Output {
            exit_code: output.exit_code,
            stdout: output.stdout,
            stderr: output.stderr,
            cut: output.cut,
        })
    }
}

impl state::Host for Guest {
    fn get(&mut self, key: String) -> Option<state::Entry> {
        self.record(&key).map(state::Entry::from)
    }

    fn entries(&mut self, prefix: String) -> Vec<state::Entry> {
        let found = self.records(&prefix);
        found.into_iter().map(state::Entry::from).collect()
    }
}

impl From<Entry> for state::Entry {
    fn from(entry: Entry) -> Self {
        Self {
            key: entry.key,
            value: entry.value,
            revision: entry.revision,
            age_ms: entry.age_ms,
        }
    }
}

impl From<ProbeError> for probe::Error {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::NoName(why) => Self::NoName(why),
            ProbeError::Failed(why) => Self::Failed(why),
            ProbeError::TimedOut(why) => Self::TimedOut(why),
        }
    }
}
