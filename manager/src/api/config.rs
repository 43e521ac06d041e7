//! Cluster policy: shown with its revision, applied whole after a check.

use super::App;
use super::input::{Asker, Body, Options};
use super::problem::Problem;
use super::vms::asking;
use super::write::{Change, Decided, Outcome, carry_out};
use crate::required::gaps;
use crate::vm_file::check_site;
use axum::Json;
use axum::extract::State;
use holdfast_extension_signature::trusted;
use holdfast_model::id::Revision;
use holdfast_model::policy::Policy;
use holdfast_model::time::Instant;
use holdfast_model::timing::Timing;
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The policy in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// As applied; the built-in one if none was.
    pub policy: Policy,
    /// Its revision; none if none was applied.
    pub revision: Option<Revision>,
    /// The bounds that follow from it, in milliseconds.
    pub timing: Timing,
}

/// `GET /v1/config`.
pub async fn show(State(app): State<Arc<App>>) -> Result<Json<Config>, Problem> {
    app.look(|look| {
        let seen = look.view.policy.as_ref();
        let policy = seen.map(|seen| seen.value.clone()).unwrap_or_default();
        let timing = policy.timing.resolve();
        Json(Config {
            policy,
            revision: seen.map(|seen| seen.revision),
            timing,
        })
    })
}

/// `PUT /v1/config?revision=N`.
pub async fn apply(
    State(app): State<Arc<App>>,
    asker: Asker,
    options: Options,
    Body(policy): Body<Policy>,
) -> Result<Json<Outcome>, Problem> {
    let (asking, _) = asking(asker, options, &["revision"])?;
    policy
        .check()
        .map_err(|error| Problem::new("invalid", error.to_string()))?;
    carry_out(&app, &asking, |look| {
        let present = look.view.policy.as_ref();
        asking.still("the policy", present.map(|seen| seen.revision))?;
        if present.is_some_and(|present| present.value == policy) {
            return Ok(Decided::Nothing("the policy is unchanged".to_owned()));
        }
        // A record that cannot be read stands there too: its revision guards the write.
        let seen = look.view.seen(&Key::Policy).map(|(revision, _)| revision);
        let mut change = Change::new("apply the policy").put(Key::Policy, &policy, seen);
        let before = present.map(|present| &present.value);
        has_what_it_requires(look.view, look.asked.now, before, &policy)?;
        change.warnings = warnings(look.view, before, &policy);
        Ok(Decided::Write(change))
    })
    .await
}

/// What it requires from now on is ready wherever it is asked: if it is not, that is found out here.
fn has_what_it_requires(
    view: &View,
    now: Instant,
    before: Option<&Policy>,
    policy: &Policy,
) -> Result<(), Problem> {
    let so_far = |name| {
        let own = before.and_then(|before| before.extensions.get(name));
        own.is_some_and(|own| own.required)
    };
    let newly = policy.extensions.iter();
    let newly = newly.filter(|(name, own)| own.required && !so_far(name));
    for (name, _) in newly {
        let gaps = gaps(view, now, name);
        if !gaps.is_empty() {
            let detail = format!(
                "[extensions.{name}] required: extension {name} cannot be asked everywhere yet: {}. Require it once \
                 `holdfast ext show {name}` has it ready",
                gaps.join("; ")
            );
            return Err(Problem::new("not-possible", detail));
        }
    }
    Ok(())
}

/// What an operator should know before this policy is applied.
fn warnings(view: &View, before: Option<&Policy>, policy: &Policy) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, host) in &view.hosts {
        let Some(site) = host.spec.as_ref().map(|spec| &spec.value.site) else {
            continue;
        };
        if !policy.sites.iter().any(|known| known.name == *site) {
            warnings.push(format!("host {name} stands at site {site}, which it lacks"));
        }
    }
    for (name, vm) in &view.vms {
        let spec = vm.spec.as_ref().map(|spec| &spec.value);
        if let Some(Err(error)) = spec.map(|spec| check_site(spec, Some(policy))) {
            warnings.push(format!("VM {name}: {error}"));
        }
    }
    for (name, own) in &policy.extensions {
        let installed = view.extensions.get(name);
        let Some(installed) = installed.map(|seen| &seen.value) else {
            let text = format!("extension {name}, whose roles it binds, is not installed");
            warnings.push(text);
            continue;
        };
        for role in own.beyond(&installed.manifest.rights) {
            let text = format!("it binds role `{role}` of extension {name}, which has not that");
            warnings.push(text);
        }
    }
    for (name, seen) in &view.extensions {
        let trust = |policy: &Policy| trusted(&seen.value, &policy.extension_signers).map(drop);
        let so_far = before.map_or(Ok(()), trust);
        if let (Ok(()), Err(why)) = (so_far, trust(policy)) {
            let text = format!("extension {name} is not asked any more: {why}");
            warnings.push(text);
        }
    }
    warnings
}
