//! Cluster policy: shown with its revision, applied whole after a check. One that cannot be read here is neither shown
//! as the built-in one nor replaced unless that is asked for.

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
    /// A newer one stands in etcd that this manager cannot read, or that is not safe: it goes on by the one above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
}

/// A policy that stands in etcd and cannot be read here, or is not safe.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unread {
    /// Its revision.
    pub revision: Revision,
    /// Why, and what to do.
    pub detail: String,
}

impl Unread {
    /// None if there is none.
    fn of(app: &App, view: &View) -> Option<Self> {
        let (revision, why) = view.unread_policy()?;
        if view.is_policy_unsafe() {
            let detail = format!(
                "the policy that stands in etcd ({}) is not followed: {why}. `holdfast config apply -f FILE \
                 --replace-unread` puts another one in its place",
                Key::Policy.path(),
            );
            return Some(Self { revision, detail });
        }
        let detail = format!(
            "the policy that stands in etcd ({}) cannot be read by manager {} (Holdfast {}): \
             {why}. Upgrade it, or ask a manager that can read it (--api); `holdfast config apply -f FILE \
             --replace-unread` puts another one in its place, unseen",
            Key::Policy.path(),
            app.manager,
            env!("CARGO_PKG_VERSION"),
        );
        Some(Self { revision, detail })
    }
}

/// The policy in force, for what is told of it; none if none was written.
///
/// # Errors
/// If it cannot be read here and never could be: what the built-in one says is not so.
pub(super) fn in_force<'a>(app: &App, view: &'a View) -> Result<Option<&'a Policy>, Problem> {
    view.policy_in_force().map_err(|why| {
        let detail = Unread::of(app, view).map_or_else(|| why.to_owned(), |unread| unread.detail);
        Problem::new("unreadable", detail)
    })
}

/// `GET /v1/config`.
pub async fn show(State(app): State<Arc<App>>) -> Result<Json<Config>, Problem> {
    app.look(|look| {
        let policy = in_force(&app, look.view)?.cloned().unwrap_or_default();
        let timing = policy.timing.resolve();
        Ok(Json(Config {
            policy,
            revision: look.view.policy.as_ref().map(|seen| seen.revision),
            timing,
            unread: Unread::of(&app, look.view),
        }))
    })?
}

/// `PUT /v1/config?revision=N&replace_unread`.
pub async fn apply(
    State(app): State<Arc<App>>,
    asker: Asker,
    options: Options,
    Body(policy): Body<Policy>,
) -> Result<Json<Outcome>, Problem> {
    let (asking, options) = asking(asker, options, &["revision", "replace_unread"])?;
    let replaces_unread = options.flag("replace_unread")?;
    policy
        .check()
        .map_err(|error| Problem::new("invalid", error.to_string()))?;
    carry_out(&app, &asking, |look| {
        let present = look.view.policy.as_ref();
        let unread = Unread::of(&app, look.view);
        if let Some(unread) = unread.as_ref().filter(|_| !replaces_unread) {
            let detail = format!("nothing was changed: {}", unread.detail);
            return Err(Problem::new("not-possible", detail));
        }
        // A record that cannot be read stands there too: its revision guards the write.
        let seen = look.view.seen(&Key::Policy).map(|(revision, _)| revision);
        asking.still("the policy", seen)?;
        if unread.is_none() && present.is_some_and(|present| *present.value == policy) {
            return Ok(Decided::Nothing("the policy is unchanged".to_owned()));
        }
        let mut change = Change::new("apply the policy").put(Key::Policy, &policy, seen);
        let before = present.map(|present| &*present.value);
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
