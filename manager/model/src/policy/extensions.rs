//! What an extension gets from the operator: names for the roles of its manifest, and whether it has to be there.

use crate::extension::Rights;
use crate::id::TargetName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[extensions.NAME]`: one extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtensionPolicy {
    /// For each role of its manifest the name that manager.toml knows, such as that of a target. A role that is
    /// not named here is taken for such a name itself.
    #[serde(default)]
    pub bind: BTreeMap<TargetName, TargetName>,
    /// It has to be there: it can be set once all that ask it have it ready, it cannot be removed while it is set, and a
    /// manager that cannot ask it lets another one lead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
}

impl ExtensionPolicy {
    /// The roles that it binds and an extension with these rights has not.
    pub fn beyond(&self, rights: &Rights) -> Vec<&TargetName> {
        let roles = rights.roles();
        let bound = self.bind.keys();
        bound.filter(|role| !roles.contains(role)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn roles_that_an_extension_has_not_are_found() {
        let name = |text: &str| text.parse::<TargetName>().expect("a name");
        let rights = Rights {
            http: BTreeMap::from([(name("webhook"), BTreeSet::new())]),
            programs: BTreeSet::from([name("ipmi")]),
            ..Rights::default()
        };
        let bind = ["webhook", "ipmi", "webhok"].map(|role| (name(role), name("ops")));
        let policy = ExtensionPolicy {
            bind: bind.into_iter().collect(),
            ..ExtensionPolicy::default()
        };
        assert_eq!(policy.beyond(&rights), [&name("webhok")]);
    }
}
