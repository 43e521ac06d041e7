//! Which site has a new version of an extension first, and what is said of that.

use super::Look;
use crate::required::absent;
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

/// Who is to ask it and is not there now: installing waits for nobody.
pub(super) fn away(look: &Look<'_>, installed: &Installed) -> Vec<String> {
    if installed.manifest.kind == ExtensionKind::StorageCheck {
        // Each host fetches it when it starts, and is told of by itself.
        return Vec::new();
    }
    let away = absent(look.view, look.context.now);
    away.map(|manager| {
        format!(
            "manager {} at site {} does not answer: it does not have this yet, and fetches it when it is back",
            manager.name, manager.site
        )
    })
    .collect()
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
