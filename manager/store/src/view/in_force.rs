//! The policy that is in force: the last one that this process could read.
//!
//! One that was never written is not one that cannot be read: the first is the built-in policy, of the second nothing
//! is known, and nobody goes by its defaults. One that can be read and whose bounds are not safe is treated alike.

use super::View;
use crate::keyspace::Key;
use holdfast_model::id::{Revision, SignerName};
use holdfast_model::policy::Policy;
use holdfast_model::signature::PublicKey;
use holdfast_model::world::Seen;
use std::collections::BTreeMap;
use std::sync::Arc;

impl View {
    /// The policy in force; none if none was written yet.
    ///
    /// # Errors
    /// Why it cannot be read, if none ever could be.
    pub fn policy_in_force(&self) -> Result<Option<&Policy>, &str> {
        if let Some(seen) = &self.policy {
            return Ok(Some(&seen.value));
        }
        match self.unreadable.is_empty() {
            true => Ok(None),
            false => {
                let why = self.unreadable.get(&Key::Policy.path());
                why.map_or(Ok(None), |why| Err(why.as_str()))
            }
        }
    }

    pub(super) fn take_policy(&mut self, policy: Seen<Arc<Policy>>) {
        self.policy = Some(policy);
        self.unsafe_policy = false;
    }

    /// The last one stays in force.
    pub(super) fn refuse_policy(&mut self, why: String) {
        tracing::error!(why, "the policy is refused");
        self.unsafe_policy = true;
        self.unreadable.insert(Key::Policy.path(), why);
    }

    pub(super) fn forget_policy(&mut self) {
        self.policy = None;
        self.unsafe_policy = false;
    }

    /// Whether the policy that stands in the store can be read, and is not followed because its bounds are not safe.
    pub fn is_policy_unsafe(&self) -> bool {
        self.unsafe_policy
    }

    /// The policy that stands in the store, if this version cannot read it, or if its bounds are not safe: its revision,
    /// and why. One that was read before stays in force.
    pub fn unread_policy(&self) -> Option<(Revision, &str)> {
        let why = self.unreadable.get(&Key::Policy.path())?;
        let (revision, _) = self.seen(&Key::Policy)?;
        Some((revision, why))
    }

    /// Why this view is no ground for a plan, if it is not.
    pub fn can_plan(&self) -> Result<(), String> {
        let known = self.policy_in_force().map(drop);
        known.map_err(|why| match self.unsafe_policy {
            true => format!(
                "the cluster policy is not followed ({why}); correct it with `holdfast config apply -f FILE \
                 --replace-unread`"
            ),
            false => format!(
                "the cluster policy cannot be read by this version ({why}); upgrade this manager, \
                 or replace the policy unseen with `holdfast config apply -f FILE --replace-unread`"
            ),
        })
    }

    /// Who may vouch for extensions; where the policy names nobody, nobody has to.
    ///
    /// # Errors
    /// If that is not known: then nobody's word is one, and no extension is asked.
    pub fn extension_signers(&self) -> Result<BTreeMap<SignerName, PublicKey>, String> {
        let policy = self.policy_in_force().map_err(|why| match self.unsafe_policy {
            true => format!(
                "the policy is not followed, so who may sign is not known ({why}); correct it with `holdfast config \
                 apply -f FILE --replace-unread`"
            ),
            false => format!(
                "the policy cannot be read by this version, so who may sign is not known ({why}); upgrade Holdfast \
                 here, or replace the policy unseen with `holdfast config apply -f FILE --replace-unread`"
            ),
        })?;
        let signers = policy.map(|policy| policy.extension_signers.clone());
        Ok(signers.unwrap_or_default())
    }
}
