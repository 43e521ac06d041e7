//! Who asks an extension, as far as this view goes: what is decided on whether a version may go beyond its first site.

use crate::required::is_present;
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::rollout::Asking;
use holdfast_model::time::Instant;
use holdfast_store::view::View;

/// Managers that are present; for a storage check, the lives of hosts that are there and want it.
pub(crate) fn asking(view: &View, installed: &Installed, now: Instant) -> Vec<Asking> {
    let name = &installed.manifest.name;
    if installed.manifest.kind != ExtensionKind::StorageCheck {
        let present = view
            .managers
            .iter()
            .filter(|(_, seen)| is_present(now, seen.seen_at));
        let all = present.map(|(manager, seen)| Asking {
            who: format!("manager {manager}"),
            site: seen.value.site.clone(),
            readiness: seen.value.extensions.get(name).cloned(),
        });
        return all.collect();
    }
    let all = view.host_extensions.iter().filter_map(|(host, seen)| {
        let there = seen.value.extensions.get(name)?;
        let known = view.hosts.get(host)?;
        let life = &known.session.as_ref()?.value.incarnation;
        (*life == seen.value.incarnation).then_some(())?;
        Some(Asking {
            who: format!("host {host}"),
            site: known.spec.as_ref()?.value.site.clone(),
            readiness: there.readiness.clone(),
        })
    });
    all.collect()
}
