//! Versions of an extension beside the installed one: its shadow, and the one before it.
//!
//! ```text
//! PUT, DELETE /v1/extensions/NAME/shadow   a version that is asked the same and not heeded
//! POST        /v1/extensions/NAME/promote  the shadow is the installed one from now on
//! POST        /v1/extensions/NAME/rollback the version before is
//! ```
//! Each is one transaction, guarded by all records that it was decided on.

use super::extension_hosts::on_hosts;
use super::extension_sites::away;
use super::extensions::{Answer, Wanted, bindings, checked, fit, unknown, vouched};
use super::input::{Asker, Body, Name, Options};
use super::problem::Problem;
use super::vms::asking;
use super::write::{Asking, Change, Decided, carry_out};
use super::{App, Look};
use crate::extensions::ShadowShown;
use axum::extract::State;
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::id::{ExtensionName, Revision};
use holdfast_model::shadow::ShadowStanding;
use holdfast_model::world::Seen;
use holdfast_store::clock::wall;
use holdfast_store::guards::expect;
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether an extension, the version before it or a shadow is made of this component.
pub(super) fn is_used(view: &View, digest: &str) -> bool {
    let mut all = view.extensions.values().chain(view.shadows.values());
    all.any(|seen| seen.value.digests().any(|used| used == digest))
}

/// The shadow of one, and how it does wherever it is asked.
pub(super) fn shadow_shown(app: &App, view: &View, name: &ExtensionName) -> Option<ShadowShown> {
    let candidate = &view.shadows.get(name)?.value;
    // What was told of another one does not count.
    let ours = |standing: &&ShadowStanding| standing.digest == candidate.digest;
    let on_managers = view.managers.iter().filter_map(|(manager, seen)| {
        let there = seen.value.shadows.get(name).filter(ours)?;
        Some((manager.to_string(), there.clone()))
    });
    let mut managers: BTreeMap<_, _> = on_managers.collect();
    // What this one knows of itself is newer than what it last told.
    let own = app.own.extensions.shadows.standings();
    if let Some(here) = own.get(name).filter(ours) {
        managers.insert(app.manager.to_string(), here.clone());
    }
    let on_hosts = view.host_extensions.iter().filter_map(|(host, seen)| {
        let there = seen.value.extensions.get(name)?;
        let there = there.shadow.as_deref().filter(ours)?;
        Some((host.clone(), there.clone()))
    });
    let installed = view.extensions.get(name).map(|seen| seen.value.rights());
    let rights = candidate.rights();
    Some(ShadowShown {
        candidate: candidate.clone(),
        rights: rights.lines(),
        newly: rights.beyond(&installed.unwrap_or_default()),
        managers,
        hosts: on_hosts.collect(),
    })
}

/// With what is being installed: a shadow of the very same version has nothing left to show, one of another kind is
/// not asked the same, and one without anything beside it was left behind.
pub(super) fn settle_shadow(view: &View, change: Change, installed: &Installed) -> Change {
    let name = &installed.manifest.name;
    let is_left = !view.extensions.contains_key(name);
    let shadow = view.shadows.get(name);
    let is_over = |shadow: &Installed| {
        is_left || shadow.is_same(installed) || shadow.manifest.kind != installed.manifest.kind
    };
    match shadow.filter(|shadow| is_over(&shadow.value)) {
        Some(_) => take_shadow_along(view, change, name),
        None => change,
    }
}

/// The shadow goes with what it stands beside.
pub(super) fn take_shadow_along(view: &View, change: Change, name: &ExtensionName) -> Change {
    let key = Key::Shadow(name.clone());
    // One that this version cannot read goes as well.
    match view.seen(&key) {
        Some((revision, _)) => change.remove(key, revision),
        None => change,
    }
}

/// What is installed under this name, as the caller has seen it.
fn installed<'v>(
    view: &'v View,
    named: &ExtensionName,
    asking: &Asking,
) -> Result<&'v Seen<Installed>, Problem> {
    let present = view.extensions.get(named).ok_or_else(|| unknown(named))?;
    asking.still(&format!("extension {named}"), Some(present.revision))?;
    Ok(present)
}

/// Why one of this kind cannot have a shadow.
fn no_shadow(kind: ExtensionKind) -> Option<&'static str> {
    match kind {
        ExtensionKind::Placement | ExtensionKind::StorageCheck => None,
        ExtensionKind::Fencing => Some(
            "an extension for fencing cannot be tried as a shadow: it would ask the devices a second time, and \
             switching a host off twice is harmful; try it with `holdfast ext test`",
        ),
        ExtensionKind::Events => Some(
            "an event handler cannot be tried as a shadow: it would tell everything twice; try it with `holdfast ext \
             test`, or install it under another name and bind it to another target",
        ),
    }
}

/// `PUT /v1/extensions/{NAME}/shadow?revision=N&dry_run`: `revision` is that of the shadow.
pub async fn install_shadow(
    State(app): State<Arc<App>>,
    Name(named): Name<ExtensionName>,
    asker: Asker,
    options: Options,
    Body(wanted): Body<Wanted>,
) -> Answer {
    let (asking, _) = asking(asker, options, &["revision"])?;
    let candidate = checked(&named, wanted, &asking.by)?;
    if let Some(why) = no_shadow(candidate.manifest.kind) {
        return Err(Problem::new("invalid", why));
    }
    vouched(&app, &candidate)?;
    let bytes = fit(&app, &candidate, asking.dry_run).await?;
    let candidate = Installed { bytes, ..candidate };
    carry_out(&app, &asking, |look| {
        shadow_change(look.view, &named, &candidate, &asking)
    })
    .await
}

fn shadow_change(
    view: &View,
    named: &ExtensionName,
    candidate: &Installed,
    asking: &Asking,
) -> Result<Decided, Problem> {
    let key = Key::Shadow(named.clone());
    let seen = view.seen(&key).map(|(revision, _)| revision);
    asking.still(&format!("the shadow of {named}"), seen)?;
    let impossible = |detail: String| Err(Problem::new("not-possible", detail));
    let Some(present) = view.extensions.get(named) else {
        return impossible(format!(
            "extension {named} is not installed: there is nothing that a shadow could be compared with; install it \
             without --shadow first"
        ));
    };
    let (kind, there) = (candidate.manifest.kind, present.value.manifest.kind);
    if kind != there {
        return impossible(format!(
            "the installed {named} is for {there}, and this one for {kind}: they are not asked the same; install it \
             under another name"
        ));
    }
    let version = &candidate.manifest.version;
    if candidate.is_same(&present.value) {
        return impossible(format!(
            "extension {named} {version} is installed as it is: its shadow would say the same"
        ));
    }
    let shadow = view.shadows.get(named).map(|seen| &seen.value);
    if shadow.is_some_and(|shadow| shadow.is_same(candidate)) {
        let text = format!("{named} {version} is a shadow already");
        return Ok(Decided::Nothing(text));
    }
    let text = match shadow {
        Some(shadow) => format!(
            "try extension {named} {version} beside {}, in place of {}",
            present.value.manifest.version, shadow.manifest.version
        ),
        None => format!(
            "try extension {named} {version} beside {}",
            present.value.manifest.version
        ),
    };
    let mut change = Change::new(text)
        .put(key, candidate, seen)
        .guard(at_revision(named, present.revision));
    change.warnings = rights_changed(candidate, Some(&present.value));
    if kind == ExtensionKind::StorageCheck {
        let twice =
            "each host looks at its storage twice: its status commands run for both".to_owned();
        change.warnings.push(twice);
    }
    Ok(Decided::Write(change))
}

fn at_revision(named: &ExtensionName, revision: Revision) -> holdfast_store::api::Compare {
    expect(&Key::Extension(named.clone()), Some(revision))
}

/// Rights that one has and the other has not, and those that it asks for and has not.
fn rights_changed(candidate: &Installed, present: Option<&Installed>) -> Vec<String> {
    let before = present.map(Installed::rights).unwrap_or_default();
    let now = candidate.rights();
    let all = [
        ("it may newly", now.beyond(&before)),
        ("it may no longer", before.beyond(&now)),
        ("not granted", candidate.refused()),
    ];
    let lines = all.into_iter().flat_map(|(what, rights)| {
        let rights = rights.into_iter();
        rights.map(move |right| format!("{what}: {right}"))
    });
    lines.collect()
}

/// `DELETE /v1/extensions/{NAME}/shadow?revision=N&dry_run`.
pub async fn remove_shadow(
    State(app): State<Arc<App>>,
    Name(named): Name<ExtensionName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &["revision"])?;
    carry_out(&app, &asking, |look| {
        let key = Key::Shadow(named.clone());
        let there = look.view.seen(&key);
        let (revision, _) = there.ok_or_else(|| no_shadow_of(&named))?;
        asking.still(&format!("the shadow of {named}"), Some(revision))?;
        let mut change =
            Change::new(format!("drop the shadow of extension {named}")).remove(key, revision);
        let told = "what it was compared by is forgotten; the installed version is not touched";
        change.warnings.push(told.to_owned());
        Ok(Decided::Write(change))
    })
    .await
}

pub(super) fn no_shadow_of(named: &ExtensionName) -> Problem {
    let detail = format!(
        "extension {named} has no shadow; `holdfast ext install DIR --shadow` tries a version beside it"
    );
    Problem::new("not-found", detail)
}

/// `POST /v1/extensions/{NAME}/promote?revision=N&dry_run`.
pub async fn promote(
    State(app): State<Arc<App>>,
    Name(named): Name<ExtensionName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &["revision"])?;
    let candidate = app.look(|look| {
        let shadow = look.view.shadows.get(&named);
        shadow
            .map(|seen| seen.value.clone())
            .ok_or_else(|| no_shadow_of(&named))
    })??;
    // As if it were installed now: its component is still there, and fits this version of Holdfast.
    let vouched = vouched(&app, &candidate)?;
    fit(&app, &candidate, false).await?;
    carry_out(&app, &asking, |look| {
        let view = look.view;
        let present = installed(view, &named, &asking)?;
        let shadow = view.shadows.get(&named);
        let shadow = shadow.ok_or_else(|| no_shadow_of(&named))?;
        if shadow.value != candidate {
            return Err(changed_meanwhile(&format!("the shadow of {named}")));
        }
        let promoted = Installed {
            by: asking.by.clone(),
            at: wall(),
            ..candidate.clone()
        };
        let text = format!(
            "promote the shadow of extension {named}: change it from {} to {}{vouched}",
            present.value.manifest.version, candidate.manifest.version
        );
        let key = Key::Extension(named.clone());
        let record = promoted.over(Some(&present.value));
        let mut change = Change::new(text)
            .put(key, &record, Some(present.revision))
            .remove(Key::Shadow(named.clone()), shadow.revision);
        change.warnings = told_of_change(look, &record, Some(&present.value));
        let shown = shadow_shown(&app, view, &named);
        change.warnings.extend(shown.iter().flat_map(on_trial));
        Ok(Decided::Write(change))
    })
    .await
}

fn changed_meanwhile(what: &str) -> Problem {
    let detail = format!("{what} was changed while this was looked at; look again, and try again");
    Problem::new("contended", detail)
}

/// What to know before one is used, in another's place if there is one.
pub(super) fn told_of_change(
    look: &Look<'_>,
    installed: &Installed,
    present: Option<&Installed>,
) -> Vec<String> {
    let view = look.view;
    let mut told = rights_changed(installed, present);
    told.extend(
        present
            .iter()
            .flat_map(|present| installed.beside_rights(present)),
    );
    let policy = view.policy.as_ref().map(|seen| &seen.value);
    let bound = policy.and_then(|policy| policy.extensions.get(&installed.manifest.name));
    told.extend(bindings(installed, bound));
    told.extend(on_hosts(view, installed));
    told.extend(away(look, installed));
    told
}

/// How it did so far, as far as that is a reason to wait.
fn on_trial(shown: &ShadowShown) -> Vec<String> {
    let managers = shown.managers.iter();
    let managers = managers.map(|(name, there)| (format!("manager {name}"), there));
    let hosts = shown.hosts.iter();
    let hosts = hosts.map(|(name, there)| (format!("host {name}"), there));
    let all: Vec<_> = managers.chain(hosts).collect();
    let mut told = Vec::new();
    if all.iter().all(|(_, there)| there.counts.asked == 0) {
        told.push("as a shadow it was not asked anything yet".to_owned());
    }
    for (place, there) in all {
        let counts = there.counts;
        if counts.differed > 0 || counts.failed > 0 {
            told.push(format!(
                "on {place} it was asked {} times as a shadow: {} answers were others than those of the installed \
                 version, {} were none",
                counts.asked, counts.differed, counts.failed
            ));
        }
        match &there.readiness {
            holdfast_model::standing::Readiness::Ready { .. } => {}
            holdfast_model::standing::Readiness::Loading => {
                told.push(format!("on {place} it is still being loaded"));
            }
            holdfast_model::standing::Readiness::Resting { why, .. } => {
                told.push(format!("on {place} it failed too often: {why}"));
            }
            holdfast_model::standing::Readiness::Failed { why, .. } => {
                told.push(format!("on {place} it cannot run: {why}"));
            }
        }
    }
    told
}

/// `POST /v1/extensions/{NAME}/rollback?revision=N&dry_run`.
pub async fn rollback(
    State(app): State<Arc<App>>,
    Name(named): Name<ExtensionName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &["revision"])?;
    let before = app.look(|look| before(look.view, &named))??;
    // Whoever signed it may be trusted no more.
    let vouched = vouched(&app, &before)?;
    fit(&app, &before, false).await?;
    carry_out(&app, &asking, |look| {
        let present = installed(look.view, &named, &asking)?;
        let back = present.value.back(&asking.by, wall());
        let Some(back) = back.filter(|back| back.is_same(&before)) else {
            return Err(changed_meanwhile(&format!("extension {named}")));
        };
        let text = format!(
            "go back with extension {named} from {} to {}{vouched}",
            present.value.manifest.version, back.manifest.version
        );
        let key = Key::Extension(named.clone());
        let mut change = Change::new(text).put(key, &back, Some(present.revision));
        change = settle_shadow(look.view, change, &back);
        change.warnings = told_of_change(look, &back, Some(&present.value));
        Ok(Decided::Write(change))
    })
    .await
}

/// The version to go back to.
fn before(view: &View, named: &ExtensionName) -> Result<Installed, Problem> {
    let present = view.extensions.get(named).ok_or_else(|| unknown(named))?;
    let before = present.value.before.as_deref().cloned();
    before.ok_or_else(|| {
        let detail = format!(
            "which version of extension {named} there was before {} is not known: it is the first, or was installed \
             by an older Holdfast; install the one that you want with `holdfast ext install`",
            present.value.manifest.version
        );
        Problem::new("not-possible", detail)
    })
}
