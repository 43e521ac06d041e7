//! What of extensions deserves attention: a rule that nobody can ask is found out now, not in a failover.

use super::Scene;
use super::conditions::Found;
use crate::required::{gaps, required};
use holdfast_model::advice::Fallback;
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::id::{ExtensionName, ManagerName};
use holdfast_model::standing::Readiness;
use holdfast_model::status::{Severity, Status};

/// Who asks an extension, and what it means that it has no answer there.
struct Place {
    /// "manager m-a", "host a1"
    who: String,
    means: &'static str,
    /// How bad it is that it cannot be asked.
    fails: Severity,
}

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
        self.required(found);
        self.handlers(found);
        self.rollouts(found);
        let installed = self.view.extensions.values().map(|seen| &seen.value);
        // Storage checks are asked by hosts.
        let by_managers =
            installed.filter(|each| each.manifest.kind != ExtensionKind::StorageCheck);
        for installed in by_managers {
            for manager in &present {
                let there = self.view.managers.get(*manager);
                let installed = match there {
                    Some(there) => installed.at_site(&there.value.site),
                    None => installed,
                };
                let there =
                    there.and_then(|there| there.value.extensions.get(&installed.manifest.name));
                let leads = leader.is_some_and(|leader| leader == *manager);
                let place = on_manager(installed, manager, leads);
                // One that has told nothing yet has not begun.
                let there = there.unwrap_or(&Readiness::Loading);
                if let Some((severity, text)) = judged(installed, &place, there) {
                    found.add(severity, "extension-not-ready", text);
                }
            }
        }
        self.on_hosts(found);
    }

    /// Of the lives that are there: what an older one told is over.
    fn on_hosts(&self, found: &mut Found) {
        for (host, seen) in &self.view.host_extensions {
            let session = self
                .view
                .hosts
                .get(host)
                .and_then(|host| host.session.as_ref());
            if session.is_none_or(|session| session.value.incarnation != seen.value.incarnation) {
                continue;
            }
            let place = Place {
                who: format!("host {host}"),
                means: "the host's storage is unknown: no VM comes to it, and none is stopped for that",
                fails: Severity::Warning,
            };
            for (name, there) in &seen.value.extensions {
                let installed = self.view.extensions.get(name).map(|seen| &seen.value);
                let spec = self
                    .view
                    .hosts
                    .get(host)
                    .and_then(|host| host.spec.as_ref());
                let installed = installed.map(|installed| match spec {
                    Some(spec) => installed.at_site(&spec.value.site),
                    None => installed,
                });
                let judged = match (installed, &there.readiness) {
                    (None, _) => Some((place.fails, absent(name, &place))),
                    // It will hear of it in a moment.
                    (Some(_), None) => None,
                    (Some(installed), Some(readiness)) => judged(installed, &place, readiness),
                };
                if let Some((severity, text)) = judged {
                    found.add(severity, "extension-not-ready", text);
                }
            }
        }
    }

    /// What the policy requires and somebody lacks.
    fn required(&self, found: &mut Found) {
        let required = match required(self.view) {
            Ok(required) => required,
            Err(why) => {
                let text = format!(
                    "which extensions the policy requires is not known, for this manager cannot read it ({why}): none \
                     can be removed here, and any other manager leads rather than this one"
                );
                return found.add(Severity::Critical, "extension-required", text);
            }
        };
        for name in required {
            let gaps = gaps(self.view, self.context.now, name);
            if !gaps.is_empty() {
                let text = format!(
                    "the policy requires extension {name}, and it cannot be asked everywhere: {}; see `holdfast ext \
                     show {name}`",
                    gaps.join("; ")
                );
                found.add(Severity::Critical, "extension-required", text);
            }
        }
    }

    /// What the policy binds and nobody has.
    fn bindings(&self, found: &mut Found) {
        let policy = self.view.policy.as_ref();
        for (name, own) in policy.iter().flat_map(|seen| &seen.value.extensions) {
            let Some(seen) = self.view.extensions.get(name) else {
                if own.bind.is_empty() {
                    continue;
                }
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

fn on_manager(installed: &Installed, manager: &ManagerName, leads: bool) -> Place {
    let (means, is_grave) = match (installed.manifest.kind, installed.then) {
        (ExtensionKind::Placement, Fallback::Closed) => {
            ("while it leads, VMs that need a host wait", true)
        }
        (ExtensionKind::Placement, Fallback::Open) => {
            ("while it leads, VMs are placed without it", false)
        }
        (ExtensionKind::Fencing, _) => (
            "while it would be the one to ask, the devices behind it are of no use and the leases alone decide",
            false,
        ),
        (ExtensionKind::StorageCheck | ExtensionKind::Events, _) => {
            ("while it leads, what happens waits to be told", false)
        }
    };
    Place {
        who: format!("manager {manager}"),
        means,
        fails: match leads && is_grave {
            true => Severity::Critical,
            false => Severity::Warning,
        },
    }
}

fn absent(name: &ExtensionName, place: &Place) -> String {
    let Place { who, means, .. } = place;
    format!(
        "extension {name} is to check the storage of {who}, and is not installed; {means}. Install it \
         (`holdfast ext install`), or correct [storage] in its host.toml"
    )
}

fn judged(installed: &Installed, place: &Place, there: &Readiness) -> Option<(Severity, String)> {
    let name = &installed.manifest.name;
    let Place { who, means, fails } = place;
    match there {
        Readiness::Ready { digest } if *digest == installed.digest => None,
        Readiness::Ready { .. } => {
            let text = format!("extension {name}: {who} still asks the version before");
            Some((Severity::Info, text))
        }
        Readiness::Loading => {
            let text = format!("extension {name} is being loaded on {who}; until then, {means}");
            Some((Severity::Info, text))
        }
        Readiness::Resting { why, .. } => {
            let text = format!(
                "extension {name} failed too often on {who} and is not asked for five minutes; {means}. \
                 Its last failure: {why}. See `holdfast ext show {name}`, mend it, or remove it"
            );
            Some((*fails, text))
        }
        Readiness::Failed {
            why,
            before: Some(_),
        } => {
            let version = &installed.manifest.version;
            let text = format!(
                "extension {name}: version {version} cannot run on {who}, which asks the one before: {why}"
            );
            Some((Severity::Warning, text))
        }
        Readiness::Failed { why, before: None } => {
            let text = format!("extension {name} cannot run on {who}; {means}: {why}");
            Some((*fails, text))
        }
    }
}
