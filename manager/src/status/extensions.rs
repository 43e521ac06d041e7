//! What of extensions deserves attention: a rule that nobody can ask is found out now, not in a failover.

use super::Scene;
use super::conditions::Found;
use holdfast_model::advice::Fallback;
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::id::ManagerName;
use holdfast_model::standing::Readiness;
use holdfast_model::status::{Severity, Status};

impl Scene<'_> {
    pub(super) fn extension_conditions(&self, status: &Status, found: &mut Found) {
        let leader = status.leader.as_ref().map(|leader| &leader.name);
        let present: Vec<&ManagerName> = status
            .managers
            .iter()
            .filter(|manager| manager.healthy)
            .filter_map(|manager| {
                self.view
                    .managers
                    .keys()
                    .find(|name| name.as_str() == manager.name)
            })
            .collect();
        self.bindings(found);
        self.handlers(found);
        for seen in self.view.extensions.values() {
            for manager in &present {
                let there = self.view.managers.get(*manager);
                let there =
                    there.and_then(|there| there.value.extensions.get(&seen.value.manifest.name));
                let leads = leader.is_some_and(|leader| leader == *manager);
                if let Some((severity, text)) = judged(&seen.value, manager, there, leads) {
                    found.add(severity, "extension-not-ready", text);
                }
            }
        }
    }

    /// What the policy binds and nobody has.
    fn bindings(&self, found: &mut Found) {
        let policy = self.view.policy.as_ref();
        for (name, own) in policy.iter().flat_map(|seen| &seen.value.extensions) {
            let Some(seen) = self.view.extensions.get(name) else {
                let text = format!(
                    "the policy binds roles of extension {name}, which is not installed; install it, or remove \
                     [extensions.{name}] from the policy"
                );
                found.add(Severity::Info, "extension-roles", text);
                continue;
            };
            let rights = &seen.value.manifest.rights;
            for role in own.beyond(rights) {
                let has: Vec<String> = rights.roles().iter().map(ToString::to_string).collect();
                let has = match has.is_empty() {
                    true => "it has none".to_owned(),
                    false => format!("it has {}", has.join(", ")),
                };
                let text = format!(
                    "the policy binds role `{role}` of extension {name}, which has no such role; {has}; correct \
                     [extensions.{name}] in the policy"
                );
                found.add(Severity::Warning, "extension-roles", text);
            }
        }
    }

    /// Event handlers that missed something.
    fn handlers(&self, found: &mut Found) {
        for (name, seen) in &self.view.told {
            let so_far = &seen.value;
            if let Some(why) = &so_far.behind {
                let text = format!(
                    "extension {name} was not told of {} events, the last of them because: {why}; see `holdfast ext \
                     show {name}` and `holdfast ext logs {name}`",
                    so_far.dropped
                );
                found.add(Severity::Warning, "extension-behind", text);
            }
        }
    }
}

fn judged(
    installed: &Installed,
    manager: &ManagerName,
    there: Option<&Readiness>,
    leads: bool,
) -> Option<(Severity, String)> {
    let name = &installed.manifest.name;
    let (means, is_grave) = match (installed.manifest.kind, installed.then) {
        (ExtensionKind::Placement, Fallback::Closed) => {
            ("while it leads, VMs that need a host wait", true)
        }
        (ExtensionKind::Placement, Fallback::Open) => {
            ("while it leads, VMs are placed without it", false)
        }
        (ExtensionKind::Fencing, _) => (
            "while it leads, the devices behind it are of no use and the leases alone decide",
            false,
        ),
        (ExtensionKind::StorageCheck | ExtensionKind::Events, _) => {
            ("while it leads, what happens waits to be told", false)
        }
    };
    let fails = match leads && is_grave {
        true => Severity::Critical,
        false => Severity::Warning,
    };
    match there {
        Some(Readiness::Ready { digest }) if *digest == installed.digest => None,
        Some(Readiness::Ready { .. }) => {
            let text = format!("extension {name}: manager {manager} still asks the version before");
            Some((Severity::Info, text))
        }
        Some(Readiness::Loading) | None => {
            let text = format!(
                "extension {name} is being loaded on manager {manager}; until then, {means}"
            );
            Some((Severity::Info, text))
        }
        Some(Readiness::Resting { why, .. }) => {
            let text = format!(
                "extension {name} failed too often on manager {manager} and is not asked for five minutes; {means}. \
                 Its last failure: {why}. See `holdfast ext show {name}`, mend it, or remove it"
            );
            Some((fails, text))
        }
        Some(Readiness::Failed {
            why,
            before: Some(_),
        }) => {
            let text = format!(
                "extension {name}: version {} cannot run on manager {manager}, which asks the one before: {why}",
                installed.manifest.version
            );
            Some((Severity::Warning, text))
        }
        Some(Readiness::Failed { why, before: None }) => {
            let text = format!("extension {name} cannot run on manager {manager}; {means}: {why}");
            Some((fails, text))
        }
    }
}
