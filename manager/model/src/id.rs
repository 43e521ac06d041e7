//! Names and numbers, one newtype per kind, so that one cannot be passed for another.

use crate::shared_text::SharedText;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// Longest accepted name, in bytes: a DNS label, so that every name is also a legal key and file
/// name everywhere Holdfast puts it.
pub const NAME_MAX: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("{kind} name is empty: use 1 to {NAME_MAX} characters out of a-z A-Z 0-9 . _ -")]
    Empty {
        /// The kind of thing named.
        kind: &'static str,
    },
    /// Longer than [`NAME_MAX`].
    #[error("{kind} name `{start}…` has {length} characters; at most {NAME_MAX} are allowed")]
    TooLong {
        /// The kind of thing named.
        kind: &'static str,
        /// Its first characters.
        start: String,
        /// Its length.
        length: usize,
    },
    /// A character outside the allowed set.
    #[error(
        "{kind} name `{name}` has {found:?} in it; use a-z A-Z 0-9 . _ - and begin with a letter \
         or a digit"
    )]
    Character {
        /// The kind of thing named.
        kind: &'static str,
        /// The refused text.
        name: String,
        /// The first offending character.
        found: char,
    },
}

fn check(kind: &'static str, text: &str) -> Result<(), NameError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let Some(first) = text.chars().next() else {
        return Err(NameError::Empty { kind });
    };
    // Nearly every name is one; what is wrong with the others is found out below.
    let good = |byte: &u8| allowed(char::from(*byte));
    if text.len() <= NAME_MAX && first.is_ascii_alphanumeric() && text.as_bytes().iter().all(good) {
        return Ok(());
    }
    let length = text.chars().count();
    if length > NAME_MAX {
        let start = text.chars().take(20).collect();
        return Err(NameError::TooLong {
            kind,
            start,
            length,
        });
    }
    let bad = text.chars().find(|c| !allowed(*c));
    if let Some(found) = bad.or((!first.is_ascii_alphanumeric()).then_some(first)) {
        return Err(NameError::Character {
            kind,
            name: text.to_owned(),
            found,
        });
    }
    Ok(())
}

/// Reads a name where it stands, without a copy of the text in between.
struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err = NameError>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

// Shared, not copied: every view, plan and report is full of names.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(SharedText);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check($kind, text)?;
                Ok(Self(SharedText::new(text)))
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.as_str().to_owned()
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str(Text(PhantomData))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                // As `check` has it.
                json_schema!({
                    "description": concat!($kind, " name"),
                    "type": "string",
                    "minLength": 1,
                    "maxLength": NAME_MAX,
                    "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
                })
            }
        }
    };
}

name!(
    /// The cluster, as every daemon's configuration names it.
    ClusterName,
    "cluster"
);
name!(
    /// A site: a failure domain with its own power, network and storage copy; or the witness.
    SiteName,
    "site"
);
name!(
    /// A hypervisor.
    HostName,
    "host"
);
name!(
    /// A manager daemon.
    ManagerName,
    "manager"
);
name!(
    /// A fencing device, or the program that talks to one.
    DeviceName,
    "fencing device"
);
name!(
    /// An extension, unique in the cluster.
    ExtensionName,
    "extension"
);
name!(
    /// What an operator has given a name so that extensions can use it: an HTTP target, a program, a path, a
    /// command.
    TargetName,
    "target"
);
name!(
    /// Who signs extensions, as the policy names them.
    SignerName,
    "signer"
);
name!(
    /// A virtual machine, unique in the cluster.
    VmName,
    "VM"
);
name!(
    /// One life of an agent on one boot of a host. A host gets a new one only when it is clean:
    /// nothing that an earlier one ran is still there.
    Incarnation,
    "incarnation"
);
name!(
    /// The kernel's id of one boot of a host (`/proc/sys/kernel/random/boot_id`).
    BootId,
    "boot id"
);
name!(
    /// What tells two machines with the same host name apart (`/etc/machine-id`).
    MachineId,
    "machine id"
);
name!(
    /// A VM's UUID as libvirt knows it, in lower case with dashes.
    VmUuid,
    "UUID"
);
name!(
    /// What one manager has another ask of a fencing device, once.
    ErrandId,
    "errand"
);
name!(
    /// One operator request that is carried out once (move, confirm-off).
    OpId,
    "operation"
);

/// A fencing token: counts the grants of one VM, up by one with each. Zero: never granted.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The token of the next grant.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A store revision: the store's own count of changes. A key's revision is that of its last write.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub i64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_say_what_is_wrong() {
        for good in ["a", "web-1.example_x", "A9", &"x".repeat(63)] {
            assert_eq!(
                VmName::from_str(good).map(String::from),
                Ok(good.to_owned())
            );
        }
        for (bad, says) in [
            ("", "empty"),
            ("a b", "' '"),
            ("a/b", "'/'"),
            ("-a", "'-'"),
            ("é", "'é'"),
            (&*"x".repeat(300), "300 characters"),
        ] {
            let error = VmName::from_str(bad).expect_err(bad).to_string();
            assert!(error.contains(says), "{bad}: {error}");
            assert!(error.starts_with("VM name"), "{error}");
        }
    }
}
