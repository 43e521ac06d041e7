//! The policy: none, one that cannot be read here or is not safe, or one that does not fit the hosts that there are.

use super::Scene;
use super::conditions::Found;
use holdfast_model::status::Severity;
use std::collections::BTreeSet;

impl Scene<'_> {
    pub(super) fn policy(&self, found: &mut Found) {
        if self.unread_policy(found) {
            return;
        }
        let Some(policy) = self.view.policy.as_ref().map(|policy| &policy.value) else {
            found.add(
                Severity::Warning,
                "no-policy",
                "no policy was applied: built-in values are in force (profile `patient`) and sites \
                 are taken from the hosts. `holdfast config apply -f policy.toml` sets one"
                    .to_owned(),
            );
            return;
        };
        let known: BTreeSet<_> = policy.sites.iter().map(|site| &site.name).collect();
        for (name, host) in &self.view.hosts {
            let Some(site) = host.spec.as_ref().map(|spec| &spec.value.site) else {
                continue;
            };
            if !known.contains(site) {
                found.add(
                    Severity::Warning,
                    "unknown-site",
                    format!(
                        "host {name} says it stands at site {site}, which the policy does not \
                         have; correct its host.toml or add the site to the policy"
                    ),
                );
            }
        }
    }

    /// A policy that cannot be read here, or is not safe; whether none is known at all.
    fn unread_policy(&self, found: &mut Found) -> bool {
        let Some((revision, why)) = self.view.unread_policy() else {
            return false;
        };
        if self.view.is_policy_unsafe() {
            let then = match &self.view.policy {
                None => "this manager has no other one: while it leads nothing is decided, nothing is started, no \
                         device is asked and no extension"
                    .to_owned(),
                Some(last) => format!(
                    "this manager goes on by the one before it (revision {}), and one that is started now has none",
                    last.revision
                ),
            };
            let text = format!(
                "the policy that stands in etcd (revision {revision}) is not followed: {why}. It was not written by \
                 `holdfast config apply` of this version; {then}. Correct it: `holdfast config apply -f FILE \
                 --replace-unread`"
            );
            found.add(Severity::Critical, "policy-unsafe", text);
            return self.view.policy.is_none();
        }
        let to_do = "Upgrade it, or ask a manager that can read it (--api); `holdfast config apply -f FILE \
                     --replace-unread` replaces the policy unseen";
        let (severity, text) = match &self.view.policy {
            None => (
                Severity::Critical,
                format!(
                    "this manager cannot read the policy ({why}), and never could: while it leads \
                     nothing is decided, no device is asked and no extension. {to_do}"
                ),
            ),
            Some(last) => (
                Severity::Warning,
                format!(
                    "this manager cannot read the policy ({why}), and goes on by the one before \
                     it (revision {}). {to_do}",
                    last.revision
                ),
            ),
        };
        found.add(severity, "policy-unreadable", text);
        self.view.policy.is_none()
    }
}
