//! What installing and removing an extension means on the hosts that ask it.

use holdfast_model::extension::{ExtensionKind, Installed, Manifest};
use holdfast_model::id::{ExtensionName, TargetName};
use holdfast_store::view::View;
use std::collections::BTreeSet;

/// Of its installation: who asks it, and what it does not find there.
pub(super) fn on_hosts(view: &View, installed: &Installed) -> Vec<String> {
    let Manifest { name, kind, .. } = &installed.manifest;
    let asking = view
        .host_extensions
        .iter()
        .filter(|(_, seen)| seen.value.extensions.contains_key(name));
    if *kind != ExtensionKind::StorageCheck {
        let odd = asking.map(|(host, _)| {
            format!("host {host} wants it as its storage check, and it is for {kind}: that storage will be unknown")
        });
        return odd.collect();
    }
    let rights = installed.rights();
    let mut told = Vec::new();
    let mut hosts = Vec::new();
    for (host, seen) in asking {
        hosts.push(host.as_str());
        let absent = |names: &BTreeSet<TargetName>, there: &BTreeSet<TargetName>| {
            let absent: Vec<_> = names.difference(there).map(TargetName::to_string).collect();
            (!absent.is_empty()).then(|| absent.join(", "))
        };
        for (section, absent) in [
            ("paths", absent(&rights.paths, &seen.value.paths)),
            ("commands", absent(&rights.commands, &seen.value.commands)),
        ] {
            told.extend(absent.map(|names| {
                format!("[storage.{section}] in host.toml of {host} has no {names}: it will not find that there")
            }));
        }
    }
    told.insert(
        0,
        match hosts.is_empty() {
            true => format!(
                "no host asks it yet: `check = \"extension\"` and `extension = \"{name}\"` under [storage] in \
                 host.toml"
            ),
            false => format!("it says how storage stands on {}", hosts.join(", ")),
        },
    );
    told
}

/// Of its removal.
pub(super) fn removal(view: &View, named: &ExtensionName) -> String {
    let kind = view
        .extensions
        .get(named)
        .map(|seen| seen.value.manifest.kind);
    match kind {
        Some(ExtensionKind::StorageCheck) => {}
        Some(ExtensionKind::Events) => {
            return "what happens is not told to it any more".to_owned();
        }
        Some(ExtensionKind::Fencing) => {
            return "the devices behind it cannot be asked any more: the leases alone decide"
                .to_owned();
        }
        Some(ExtensionKind::Placement) | None => {
            return "placement goes on without it at once".to_owned();
        }
    }
    let hosts = view.host_extensions.iter();
    let asking = hosts.filter(|(_, seen)| seen.value.extensions.contains_key(named));
    let asking: Vec<_> = asking.map(|(host, _)| host.as_str()).collect();
    match asking.is_empty() {
        true => "no host asks it".to_owned(),
        false => format!(
            "storage will be unknown on {}: what runs there runs on, and nothing new comes there",
            asking.join(", ")
        ),
    }
}
