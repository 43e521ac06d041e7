//! What a guest may reach, looked at with every call.

use super::{Action, Ended, Method, Output, Request, Response, Space, pattern};
use super::{ProbeError, ProgramError, WebError};
use crate::instance::Guest;
use holdfast_model::id::TargetName;
use std::collections::BTreeSet;

/// Why a request was not sent, or not answered.
pub(super) enum Refused {
    /// Not even tried.
    NotAllowed(String),
    /// More than one call may make.
    TooMany(String),
    /// It was tried.
    Web(WebError),
}

impl Guest {
    /// One more request, program or look.
    fn counted(&mut self) -> Result<(), String> {
        match self.budget.request() {
            true => Ok(()),
            false => Err(format!(
                "more than {} in one call; `requests` in [limits] allows more",
                self.budget.requests_max()
            )),
        }
    }

    pub(super) fn send(
        &mut self,
        target: &str,
        method: Method,
        path: String,
        body: Option<String>,
    ) -> Result<Response, Refused> {
        self.budget.asks();
        let granted = self.may_send(target, method, &path);
        if granted.is_err() {
            self.budget.strays();
        }
        let role = granted?;
        self.counted().map_err(Refused::TooMany)?;
        let web = self.reach.web.clone();
        let web = web.ok_or_else(|| Refused::Web(WebError::NoTarget(nobody())))?;
        let request = Request {
            about: self.reach.about.clone(),
            target: self.reach.bound(&role),
            method,
            path,
            body,
        };
        web.send(&request, self.until()).map_err(Refused::Web)
    }

    /// The role, if such a request is granted for it.
    fn may_send(&self, target: &str, method: Method, path: &str) -> Result<TargetName, Refused> {
        let no_target = |why: String| Refused::Web(WebError::NoTarget(why));
        let role = named(target).map_err(no_target)?;
        let patterns = self.reach.rights.http.get(&role);
        let patterns = patterns.ok_or_else(|| {
            no_target(format!(
                "`{role}` is not granted; [rights.http] in the manifest names it"
            ))
        })?;
        if let Some(fault) = pattern::fault(path) {
            return Err(Refused::NotAllowed(format!("the path `{path}` {fault}")));
        }
        let is_granted = |each: &String| pattern::has(each, method, path);
        match patterns.iter().any(is_granted) {
            true => Ok(role),
            false => Err(Refused::NotAllowed(format!(
                "{} {path} is in no grant for `{role}`",
                method.word()
            ))),
        }
    }

    pub(super) fn run(
        &mut self,
        program: &str,
        action: Action,
        arguments: &[(String, String)],
    ) -> Result<Ended, ProgramError> {
        let role = named(program).map_err(ProgramError::NoProgram)?;
        granted(&self.reach.rights.programs, &role, "programs").map_err(ProgramError::NoProgram)?;
        self.counted().map_err(ProgramError::NotStarted)?;
        let programs = self.reach.programs.clone();
        let programs = programs.ok_or_else(|| ProgramError::NoProgram(nobody()))?;
        let program = self.reach.bound(&role);
        programs.run(&program, action, arguments, self.until())
    }

    pub(super) fn usage(&mut self, path: &str) -> Result<Space, ProbeError> {
        let (probes, path) = self.looks(path, Kind::Path)?;
        probes.usage(&path, self.until())
    }

    pub(super) fn read_latency(&mut self, path: &str) -> Result<u64, ProbeError> {
        let (probes, path) = self.looks(path, Kind::Path)?;
        probes.read_latency(&path, self.until())
    }

    pub(super) fn command(&mut self, command: &str) -> Result<Output, ProbeError> {
        let (probes, command) = self.looks(command, Kind::Command)?;
        probes.command(&command, self.until())
    }

    fn looks(
        &mut self,
        name: &str,
        kind: Kind,
    ) -> Result<(std::sync::Arc<dyn super::Probes>, TargetName), ProbeError> {
        let role = named(name).map_err(ProbeError::NoName)?;
        let rights = &self.reach.rights;
        let (names, key) = match kind {
            Kind::Path => (&rights.paths, "paths"),
            Kind::Command => (&rights.commands, "commands"),
        };
        granted(names, &role, key).map_err(ProbeError::NoName)?;
        // Nothing was tried, so it says nothing about the storage.
        self.counted().map_err(ProbeError::NoName)?;
        let probes = self.reach.probes.clone();
        let probes = probes.ok_or_else(|| ProbeError::NoName(nobody()))?;
        Ok((probes, self.reach.bound(&role)))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Path,
    Command,
}

fn nobody() -> String {
    "nobody does that here".to_owned()
}

fn named(text: &str) -> Result<TargetName, String> {
    text.parse()
        .map_err(|error| format!("`{text}` is no name: {error}"))
}

fn granted(names: &BTreeSet<TargetName>, role: &TargetName, key: &str) -> Result<(), String> {
    match names.contains(role) {
        true => Ok(()),
        false => Err(format!(
            "`{role}` is not granted; `{key}` in [rights] of the manifest names it"
        )),
    }
}
