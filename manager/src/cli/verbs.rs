//! Commands that change something.

use super::args::{DryRun, Output, Sure};
use super::client::Verb;
use super::error::CliError;
use super::files::ReadVm;
use super::paint::{Line, Tone};
use super::{Session, confirm, files, hint, print, print_json};
use crate::api::write::Outcome;
use crate::schema::{SchemaOf, schema};
use holdfast_model::id::VmName;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// No body.
const NONE: Option<&Value> = None;

/// A path with a query.
fn with(path: &str, options: &[(&str, Option<String>)]) -> String {
    let mut out = path.to_owned();
    for (key, value) in options {
        if let Some(value) = value {
            out += if out.contains('?') { "&" } else { "?" };
            out += &format!("{key}={value}");
        }
    }
    out
}

fn trial(path: &str, dry: DryRun) -> String {
    with(path, &[("dry_run", dry.dry_run.then(|| "true".to_owned()))])
}

impl Session {
    pub(super) fn tell(&self, outcome: &Outcome) -> Result<(), CliError> {
        if self.output == Output::Json {
            return print_json(outcome);
        }
        let line = match (outcome.changed, outcome.dry_run) {
            (false, _) => Line::new()
                .add(Tone::Dim, "nothing to do: ")
                .text(&outcome.text),
            (true, true) => Line::new().add(Tone::Busy, "would ").text(&outcome.text),
            (true, false) => Line::new().add(Tone::Good, "ok: ").text(&outcome.text),
        };
        print(&(line.draw() + "\n"))?;
        if outcome.dry_run && outcome.changed {
            print(&steps("then, first of all:", &outcome.would))?;
            print(&steps("waits:", &outcome.waits))?;
        }
        for warning in &outcome.warnings {
            hint(&Line::new().add(Tone::Warn, "note: ").text(warning).draw());
        }
        Ok(())
    }

    /// Asks for a change without a body.
    pub(super) fn post(&self, path: &str, dry: DryRun) -> Result<(), CliError> {
        let outcome = self.client.change(Verb::Post, &trial(path, dry), NONE)?;
        self.tell(&outcome)
    }

    /// The same, if the operator means it.
    pub(super) fn post_if_sure(&self, path: &str, name: &str, sure: Sure) -> Result<(), CliError> {
        self.if_sure(Verb::Post, path, name, sure)
    }

    /// Removes a VM, if the operator means it.
    pub(super) fn delete_if_sure(&self, vm: &VmName, sure: Sure) -> Result<(), CliError> {
        self.if_sure(Verb::Delete, &format!("/vms/{vm}"), vm.as_str(), sure)
    }

    pub(super) fn if_sure(
        &self,
        verb: Verb,
        path: &str,
        name: &str,
        sure: Sure,
    ) -> Result<(), CliError> {
        let dry = DryRun { dry_run: true };
        if sure.dry.dry_run {
            let outcome = self.client.change(verb, &trial(path, dry), NONE)?;
            return self.tell(&outcome);
        }
        if !sure.yes {
            confirm::can_ask()?;
            let outcome: Outcome = self.client.change(verb, &trial(path, dry), NONE)?;
            if !outcome.changed {
                return self.tell(&outcome);
            }
            confirm::confirm(&outcome.text, &outcome.warnings, name)?;
        }
        let outcome = self.client.change(verb, path, NONE)?;
        self.tell(&outcome)
    }

    pub(super) fn config_apply(
        &self,
        file: &Path,
        revision: Option<i64>,
        replaces_unread: bool,
        dry: DryRun,
    ) -> Result<(), CliError> {
        let policy = files::policy(file)?;
        let options = [
            ("revision", revision.map(|r| r.to_string())),
            ("replace_unread", replaces_unread.then(|| "true".to_owned())),
        ];
        let path = with("/config", &options);
        let outcome = self
            .client
            .change(Verb::Put, &trial(&path, dry), Some(&policy))?;
        self.tell(&outcome)
    }

    pub(super) fn vm_apply(
        &self,
        files: &[PathBuf],
        revision: Option<i64>,
        dry: DryRun,
    ) -> Result<(), CliError> {
        if revision.is_some() && files.len() > 1 {
            let text = "--revision is that of one VM; give one file with it";
            return Err(CliError::Usage(text.to_owned()));
        }
        // All are read first, and tried if there are several: a mistake in the third leaves the
        // first two alone.
        let vms = files::vms(files)?;
        if let (false, [_, _, ..]) = (dry.dry_run, vms.as_slice()) {
            let trial = DryRun { dry_run: true };
            for vm in &vms {
                let none = || "; nothing was changed".to_owned();
                self.put_vm(vm, revision, trial, none)?;
            }
        }
        for (at, vm) in vms.iter().enumerate() {
            let so_far = || match at {
                0 => String::new(),
                _ => {
                    let names: Vec<&str> = vms[..at].iter().map(|vm| vm.name.as_str()).collect();
                    format!("; applied before it: {}", names.join(", "))
                }
            };
            let outcome = self.put_vm(vm, revision, dry, so_far)?;
            self.tell(&outcome)?;
        }
        Ok(())
    }

    fn put_vm(
        &self,
        vm: &ReadVm,
        revision: Option<i64>,
        dry: DryRun,
        so_far: impl Fn() -> String,
    ) -> Result<Outcome, CliError> {
        let path = with(
            &format!("/vms/{}", vm.name),
            &[("revision", revision.map(|r| r.to_string()))],
        );
        let answer = self
            .client
            .change(Verb::Put, &trial(&path, dry), Some(&vm.file));
        answer.map_err(|error| match error {
            CliError::Problem(problem) => CliError::FileRefused {
                path: vm.path.clone(),
                problem,
                so_far: so_far(),
            },
            other => other,
        })
    }

    /// What an editor or a check of one's own can hold a file against.
    pub(super) fn config_schema(&self, of: SchemaOf) -> Result<(), CliError> {
        print_json(&schema(of))
    }
}

fn steps(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut out = Line::new().add(Tone::Dim, title).draw() + "\n";
    for line in lines {
        out += &format!("  {line}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_added_to_a_path() {
        assert_eq!(with("/a", &[("x", None)]), "/a");
        assert_eq!(
            with("/a", &[("x", Some("1".into())), ("y", Some("2".into()))]),
            "/a?x=1&y=2"
        );
        assert_eq!(
            trial("/a?to=h", DryRun { dry_run: true }),
            "/a?to=h&dry_run=true"
        );
    }
}
