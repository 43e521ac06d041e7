//! Which site has a new version of an extension first, who is not there to have it, and what is said of that.

use super::Look;
use crate::required::is_present;
use crate::rollout::asking;
use holdfast_model::extension::{ExtensionKind, Installed};

/// The record of what is being installed: for one site first, unless somebody wants it everywhere.
pub(super) fn sited(look: &Look<'_>, record: Installed, all_at_once: bool) -> Installed {
    if all_at_once {
        return record;
    }
    let view = look.view;
    let leads = view.leader_epoch.as_ref().map(|seen| &seen.value.site);
    let asking = asking(view, &record, look.context.now);
    record.site_by_site(&asking, leads)
}

/// For who installs it.
pub(super) fn first_at(record: &Installed) -> Option<String> {
    let first = &record.rollout.as_ref()?.first;
    let before = record.before.as_deref()?;
    Some(format!(
        "site {first} has it first; the others ask {} until all that ask it there are ready with it (--all-at-once \
         does not wait for that)",
        before.manifest.version
    ))
}

/// For who installs it: managers that are to ask it and are not there. It waits for nobody.
pub(super) fn away(look: &Look<'_>, record: &Installed) -> Option<String> {
    if record.manifest.kind == ExtensionKind::StorageCheck {
        return None;
    }
    let managers = look.view.managers.values();
    let away = managers.filter(|seen| !is_present(look.context.now, seen.seen_at));
    let away: Vec<String> = away
        .map(|seen| format!("manager {} at site {}", seen.value.name, seen.value.site))
        .collect();
    let (do_not, lack) = match away.len() {
        0 => return None,
        1 => (
            "does not",
            "it lacks it until it is back, and then makes it ready by itself",
        ),
        _ => (
            "do not",
            "they lack it until they are back, and then make it ready by themselves",
        ),
    };
    Some(format!("{} {do_not} answer: {lack}", away.join(", ")))
}
