//! Extensions: installed in two steps, so that nothing is ever half installed.
//!
//! ```text
//! PUT /v1/components/DIGEST   the bytes; stored under their digest, used by nobody yet
//! PUT /v1/extensions/NAME     looked at here, compiled here; one transaction, and every manager has it
//! ```

use super::App;
use super::component_trial::HELD;
use super::extension_hosts::{on_hosts, removal};
use super::extension_log::others;
use super::extension_sites::{away, first_at, sited};
use super::extension_versions::{is_used, settle_shadow, shadow_shown, take_shadow_along};
use super::input::{Asker, Body, Name, Options, name};
use super::problem::Problem;
use super::vms::asking;
use super::write::{Change, Decided, Outcome, carry_out};
use crate::extensions::Shown;
use crate::requests::Requested;
use crate::required::required;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use holdfast_extension_signature::trusted;
use holdfast_model::advice::Fallback;
use holdfast_model::extension::{Installed, LimitsAsked, Manifest, Rights};
use holdfast_model::id::{ExtensionName, ManagerName};
use holdfast_model::policy::ExtensionPolicy;
use holdfast_model::signature::Signed;
use holdfast_store::clock::wall;
use holdfast_store::components::{self, Entry};
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Largest component that is taken without being asked for by name.
pub const COMPONENT_MAX: usize = 8 << 20;
/// Largest that is taken at all.
pub const COMPONENT_MAX_LARGE: usize = 32 << 20;
/// A component that nobody names is kept for so long, in milliseconds: its extension may be on its way.
const UNUSED_MS: u64 = 60 * 60 * 1000;

pub(super) type Answer = Result<Json<Outcome>, Problem>;

/// What is to be installed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its component, which was uploaded before.
    pub digest: String,
    /// What is granted of what it asks for.
    pub granted: Rights,
    /// Instead of the manifest's limits.
    #[serde(default)]
    pub limits: LimitsAsked,
    /// What happens when it gives no answer.
    pub then: Fallback,
    /// Who vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

/// All of them, by name.
pub async fn list(State(app): State<Arc<App>>) -> Result<Json<Vec<Shown>>, Problem> {
    app.look(|look| {
        let all = look.view.extensions.keys();
        Json(
            all.filter_map(|name| shown(&app, look.view, name))
                .collect(),
        )
    })
}

/// One of them.
pub async fn show(
    State(app): State<Arc<App>>,
    Name(name): Name<ExtensionName>,
) -> Result<Json<Shown>, Problem> {
    app.look(|look| shown(&app, look.view, &name))?
        .map(Json)
        .ok_or_else(|| unknown(&name))
}

/// What extensions have had this manager send.
#[derive(Debug, Serialize, Deserialize)]
pub struct RequestsHere {
    /// This manager.
    pub manager: ManagerName,
    /// Oldest first.
    pub requests: Vec<Requested>,
    /// Where the API of the other managers listens that are there: each has what was sent from it.
    #[serde(default)]
    pub others: BTreeMap<ManagerName, String>,
}

/// What extensions have had this manager send: the newest.
pub async fn requests(State(app): State<Arc<App>>) -> Json<RequestsHere> {
    let requests = app.own.requests.as_ref();
    Json(RequestsHere {
        manager: app.manager.clone(),
        requests: requests.map_or_else(Vec::new, |requests| requests.newest()),
        // What was sent from here is told without etcd as well.
        others: app.glance(|look| others(&app, look)).unwrap_or_default(),
    })
}

pub(super) fn unknown(name: &ExtensionName) -> Problem {
    let detail = format!("no extension `{name}` is installed; `holdfast ext list` lists them");
    Problem::new("not-found", detail)
}

/// An extension, as it is told of.
pub(super) fn shown(app: &App, view: &View, name: &ExtensionName) -> Option<Shown> {
    let installed = &view.extensions.get(name)?.value;
    let on_managers = view.managers.iter().filter_map(|(manager, seen)| {
        let there = seen.value.extensions.get(name)?;
        Some((manager.to_string(), there.clone()))
    });
    let mut managers: BTreeMap<_, _> = on_managers.collect();
    // What this one knows of itself is newer than what it last told.
    if let Some(here) = app.own.extensions.readiness().get(name) {
        managers.insert(app.manager.to_string(), here.clone());
    }
    let on_hosts = view.host_extensions.iter().filter_map(|(host, seen)| {
        let there = seen.value.extensions.get(name)?;
        Some((host.clone(), there.clone()))
    });
    let signers = view.extension_signers().unwrap_or_default();
    Some(Shown {
        installed: installed.clone(),
        rights: installed.rights().lines(),
        managers,
        hosts: on_hosts.collect(),
        costs: app.own.extensions.costs(name),
        bound: view
            .policy
            .as_ref()
            .and_then(|seen| seen.value.extensions.get(name))
            .map(|own| own.bind.clone())
            .unwrap_or_default(),
        told: view.told.get(name).map(|seen| seen.value.clone()),
        shadow: shadow_shown(app, view, name),
        signer: trusted(installed, &signers).ok().flatten().cloned(),
    })
}

/// `PUT /v1/components/{DIGEST}?large=true&dry_run=true`.
pub async fn upload(
    State(app): State<Arc<App>>,
    Path(digest): Path<String>,
    options: Options,
    bytes: Bytes,
) -> Answer {
    let options = options.only(&["large", "dry_run"])?;
    let (large, dry_run) = (options.flag("large")?, options.flag("dry_run")?);
    let most = match large {
        true => COMPONENT_MAX_LARGE,
        false => COMPONENT_MAX,
    };
    if bytes.len() > most {
        let advice = match large {
            true => "make it smaller",
            false => "make it smaller, or allow it with --allow-large (?large=true)",
        };
        let detail = format!(
            "the component has {} bytes; at most {most} are taken; {advice}",
            bytes.len()
        );
        return Err(Problem::new("invalid", detail));
    }
    let found = crate::extensions::digest(&bytes);
    if found != digest {
        let detail = format!(
            "the body's SHA-256 is {found}, not {digest}: it was damaged on its way, or named wrongly; \
             send it again"
        );
        return Err(Problem::new("invalid", detail));
    }
    if dry_run {
        hold(&app, &digest, bytes);
        let text = format!("look at component {}", short(&digest));
        return Ok(Json(uploaded(text, true, true)));
    }
    let known = components::entry(&*app.store, &digest).await;
    let known = known.map_err(|error| Problem::store(&error))?.is_some();
    if !known {
        forget_unused(&app).await?;
        let stored = components::put(&*app.store, &digest, &bytes, wall()).await;
        stored.map_err(|error| Problem::store(&error))?;
    }
    let text = format!("store component {}", short(&digest));
    Ok(Json(uploaded(text, !known, false)))
}

fn uploaded(text: String, changed: bool, dry_run: bool) -> Outcome {
    Outcome {
        changed,
        dry_run,
        revision: None,
        text,
        warnings: Vec::new(),
        would: Vec::new(),
        waits: Vec::new(),
    }
}

/// For the trial that follows at once; not for longer.
fn hold(app: &Arc<App>, digest: &str, bytes: Bytes) {
    app.on_trial.hold(digest, bytes);
    let (app, digest) = (app.clone(), digest.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(HELD).await;
        app.on_trial.take(&digest);
    });
}

/// Components that nobody uses and nobody is about to.
async fn forget_unused(app: &App) -> Result<(), Problem> {
    let entries = components::entries(&*app.store).await;
    let entries = entries.map_err(|error| Problem::store(&error))?;
    let now = wall().0;
    let unused = |entry: &&Entry| now.saturating_sub(entry.at.0) > UNUSED_MS;
    for entry in entries.iter().filter(unused) {
        let used = app.look(|look| is_used(look.view, &entry.digest))?;
        if !used {
            let removed = components::remove(&*app.store, entry).await;
            removed.map_err(|error| Problem::store(&error))?;
        }
    }
    Ok(())
}

/// `PUT /v1/extensions/{NAME}?revision=N&all_at_once&dry_run`.
pub async fn install(
    State(app): State<Arc<App>>,
    Name(named): Name<ExtensionName>,
    asker: Asker,
    options: Options,
    Body(wanted): Body<Wanted>,
) -> Answer {
    let (asking, options) = asking(asker, options, &["revision", "all_at_once"])?;
    let all_at_once = options.flag("all_at_once")?;
    let installed = checked(&named, wanted, &asking.by)?;
    let vouched = vouched(&app, &installed)?;
    // Looked at before it is there for anybody; in a trial as well.
    let bytes = fit(&app, &installed, asking.dry_run).await?;
    let installed = Installed { bytes, ..installed };
    carry_out(&app, &asking, |look| {
        let present = look.view.extensions.get(&named);
        let current = present.map(|seen| seen.revision);
        asking.still(&format!("extension {named}"), current)?;
        let version = &installed.manifest.version;
        let same = |there: &Installed| {
            Installed {
                by: installed.by.clone(),
                at: installed.at,
                before: None,
                rollout: None,
                ..there.clone()
            } == installed
        };
        let follows = |there: &Installed| all_at_once && there.rollout.is_some();
        if present.is_some_and(|seen| same(&seen.value) && !follows(&seen.value)) {
            let text = format!("extension {named} {version} is installed already");
            return Ok(Decided::Nothing(text));
        }
        let text = match present {
            Some(seen) if same(&seen.value) => {
                format!("have all sites use extension {named} {version}")
            }
            Some(seen) => {
                let before = &seen.value.manifest.version;
                format!("change extension {named} from {before} to {version}{vouched}")
            }
            None => format!("install extension {named} {version}{vouched}"),
        };
        let key = Key::Extension(named.clone());
        let seen = look.view.seen(&key).map(|(revision, _)| revision);
        let record = installed.clone().over(present.map(|seen| &seen.value));
        let record = sited(look, record, all_at_once);
        let mut change = Change::new(text).put(key, &record, seen);
        change = settle_shadow(look.view, change, &record);
        change.warnings.extend(first_at(&record));
        change.warnings.extend(away(look, &record));
        let before = present.map(|seen| seen.value.rights()).unwrap_or_default();
        for right in installed.rights().beyond(&before) {
            change.warnings.push(format!("it may newly: {right}"));
        }
        let policy = look.view.policy.as_ref().map(|seen| &seen.value);
        let bound = policy.and_then(|policy| policy.extensions.get(&named));
        change.warnings.extend(bindings(&installed, bound));
        let refused = installed.manifest.rights.beyond(&installed.granted);
        for right in refused {
            change.warnings.push(format!("not granted: {right}"));
        }
        change.warnings.extend(on_hosts(look.view, &installed));
        Ok(Decided::Write(change))
    })
    .await
}

/// Who vouches for it, in words; nothing where nobody has to. Every machine looks again before it asks it.
pub(super) fn vouched(app: &App, installed: &Installed) -> Result<String, Problem> {
    let signers = app.look(|look| look.view.extension_signers())?;
    let name = &installed.manifest.name;
    let signers = signers.map_err(|why| {
        let detail = format!("extension {name} is not installed: {why}");
        Problem::new("not-possible", detail)
    })?;
    let by = trusted(installed, &signers).map_err(|why| {
        let detail = format!("extension {name} is not installed: {why}");
        Problem::new("invalid", detail)
    })?;
    Ok(by.map_or(String::new(), |name| format!(", signed by {name}")))
}

/// Roles that the policy binds and it has not.
pub(super) fn bindings(installed: &Installed, bound: Option<&ExtensionPolicy>) -> Vec<String> {
    let roles = bound.map_or_else(Vec::new, |bound| bound.beyond(&installed.manifest.rights));
    let roles = roles.into_iter();
    roles
        .map(|role| format!("the policy binds its role `{role}`, which it has not"))
        .collect()
}

pub(super) fn checked(
    named: &ExtensionName,
    wanted: Wanted,
    by: &str,
) -> Result<Installed, Problem> {
    let invalid = |detail: String| Err(Problem::new("invalid", detail));
    let Wanted {
        manifest,
        digest,
        granted,
        limits,
        then,
        signed,
    } = wanted;
    if manifest.name != *named {
        return invalid(format!(
            "the manifest names it `{}`, the request `{named}`; use one name",
            manifest.name
        ));
    }
    if let Some((key, what, advice)) = manifest.fault() {
        return invalid(format!("the manifest's `{key}`: {what}; {advice}"));
    }
    if let Some((key, text)) = limits.over(manifest.limits()).fault() {
        return invalid(format!("`limits.{key}`: {text}"));
    }
    let beyond = granted.beyond(&manifest.rights);
    if !beyond.is_empty() {
        return invalid(format!(
            "granted is what it does not ask for: {}; leave that out",
            beyond.join(", ")
        ));
    }
    Ok(Installed {
        manifest,
        digest,
        bytes: 0,
        granted,
        limits,
        then,
        signed,
        by: by.to_owned(),
        at: wall(),
        before: None,
        rollout: None,
    })
}

/// The component is there, is what it is said to be, fits its contract and compiles: its size. In a trial it may be one
/// that was only handed over for that: nothing of it is kept then.
#[cfg(feature = "extensions")]
pub(super) async fn fit(app: &App, installed: &Installed, dry_run: bool) -> Result<u64, Problem> {
    use holdfast_extension_host::contract::mismatches;
    let invalid = |detail: String| Problem::new("invalid", detail);
    let Some(workshop) = &app.workshop else {
        let detail = "this manager cannot run extensions (its log says why); ask another one";
        return Err(Problem::new("not-possible", detail));
    };
    let held = dry_run.then(|| app.on_trial.take(&installed.digest));
    let held = held.flatten();
    let only_tried = held.is_some();
    let wasm = match held {
        Some(held) => held.to_vec(),
        None => {
            let found = components::get(&*app.store, &installed.digest).await;
            found.map_err(|error| Problem::store(&error))?.ok_or_else(|| {
                let digest = short(&installed.digest);
                invalid(format!(
                    "component {digest} is not there; upload it first (PUT /v1/components/DIGEST)"
                ))
            })?
        }
    };
    if crate::extensions::digest(&wasm) != installed.digest {
        let detail = "what is stored as this component is another one; remove it from the store and upload it again";
        return Err(Problem::new("not-possible", detail));
    }
    let bytes = wasm.len() as u64;
    let parsed = wasm.clone();
    let loaded = match only_tried {
        true => workshop.try_out(wasm).await,
        false => workshop.load(wasm).await,
    };
    let loaded = loaded.map_err(|error| invalid(error.to_string()))?;
    let wrong = mismatches(loaded.surface(), &installed.manifest);
    if !wrong.is_empty() {
        return Err(invalid(wrong.join("; ")));
    }
    let place = std::path::PathBuf::from(format!("{}.wasm", installed.manifest.name));
    let kind = installed.manifest.kind;
    // Types and all, which are otherwise compared with the first call only.
    let fits = move || {
        holdfast_extension_kit::fits(&parsed, kind, &place).map_err(|error| error.to_string())
    };
    let fits = tokio::task::spawn_blocking(fits).await;
    fits.unwrap_or_else(|panic| Err(panic.to_string()))
        .map_err(invalid)?;
    loaded
        .fits_here(installed.limits())
        .map_err(|error| invalid(error.to_string()))?;
    Ok(bytes)
}

#[cfg(not(feature = "extensions"))]
pub(super) async fn fit(_: &App, _: &Installed, _: bool) -> Result<u64, Problem> {
    let detail = "this manager was built without extensions; ask another one";
    Err(Problem::new("not-possible", detail))
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// `DELETE /v1/extensions/{NAME}`: it is not asked any more. Its component is kept for an hour.
pub async fn remove(
    State(app): State<Arc<App>>,
    Path(text): Path<String>,
    asker: Asker,
    options: Options,
) -> Answer {
    let named: ExtensionName = name(&text)?;
    let (asking, _) = asking(asker, options, &["revision"])?;
    carry_out(&app, &asking, |look| {
        let key = Key::Extension(named.clone());
        // One that this version cannot read can be removed as well.
        let (revision, _) = look.view.seen(&key).ok_or_else(|| unknown(&named))?;
        asking.still(&format!("extension {named}"), Some(revision))?;
        let required = required(look.view).map_err(|why| {
            let detail = format!(
                "whether the policy requires extension {named} is not known, for this manager cannot read it ({why}); \
                 ask one that can (--api)"
            );
            Problem::new("not-possible", detail)
        })?;
        if required.contains(&&named) {
            let detail = format!(
                "the policy requires extension {named}; take `required` out of [extensions.{named}] first \
                 (`holdfast config apply`)"
            );
            return Err(Problem::new("not-possible", detail));
        }
        let mut change = Change::new(format!("remove extension {named}")).remove(key, revision);
        change = take_shadow_along(look.view, change, &named);
        change.warnings.push(removal(look.view, &named));
        Ok(Decided::Write(change))
    })
    .await
}
