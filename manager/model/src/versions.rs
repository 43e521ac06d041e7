//! Versions of an installed extension: the one that is asked, and the one before it.
//!
//! ```text
//! install v1        v1
//! install v2        v2, before it v1
//! roll back         v1, before it v2
//! roll back         v2, before it v1
//! ```
//! A version is all that was said when it was installed: component, manifest, what was granted, limits, what happens
//! without an answer. All of it comes back together.

use crate::extension::Installed;
use crate::time::UnixMs;

impl Installed {
    /// In place of the one that is there, if one is: that becomes the version before. One that never got beyond its
    /// first site is none to go back to.
    pub fn over(self, there: Option<&Installed>) -> Installed {
        let before = there.map(|there| match (&there.rollout, &there.before) {
            (Some(_), Some(before)) => before.clone(),
            _ => Box::new(there.alone()),
        });
        Self { before, ..self }
    }

    /// The version before, installed again by whoever goes back; the present one becomes the version before. None if
    /// there is none.
    pub fn back(&self, by: &str, at: UnixMs) -> Option<Installed> {
        let before = self.before.as_deref()?;
        Some(Installed {
            by: by.to_owned(),
            at,
            before: Some(Box::new(self.alone())),
            ..before.clone()
        })
    }

    /// Without the version before, and at all sites.
    pub fn alone(&self) -> Installed {
        Self {
            before: None,
            rollout: None,
            ..self.clone()
        }
    }

    /// Whether the two differ only in who installed them, when, and over what.
    pub fn is_same(&self, other: &Installed) -> bool {
        let same = Self {
            by: self.by.clone(),
            at: self.at,
            ..other.alone()
        };
        same == self.alone()
    }

    /// The components that have to be kept for it: its own, and that of the version before.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        let before = self.before.as_deref();
        let before = before.map(|before| before.digest.as_str());
        std::iter::once(self.digest.as_str()).chain(before)
    }

    /// What changes with this one in place of another, besides its component and its rights: in words, for who is
    /// asked whether to go on.
    pub fn beside_rights(&self, other: &Installed) -> Vec<String> {
        let mut told = Vec::new();
        let (limits, there) = (self.limits(), other.limits());
        for ((key, now), (_, before)) in limits.all().into_iter().zip(there.all()) {
            if now != before {
                told.push(format!("its limit `{key}` changes from {before} to {now}"));
            }
        }
        if self.then != other.then {
            let told_as = match self.then {
                crate::advice::Fallback::Closed => "VMs wait (closed)",
                crate::advice::Fallback::Open => "VMs are placed without it (open)",
            };
            told.push(format!("without an answer of it {told_as} from now on"));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::Fallback;
    use crate::extension::{ExtensionKind, LimitsAsked, Manifest, Rights};

    fn version(version: &str, cpu_ms: Option<u64>) -> Installed {
        let rights = Rights {
            log: cpu_ms.is_some(),
            ..Rights::default()
        };
        Installed {
            manifest: Manifest {
                name: "rack-spread".parse().expect("a name"),
                version: version.to_owned(),
                kind: ExtensionKind::Placement,
                summary: "Keeps groups apart.".to_owned(),
                limits: LimitsAsked::default(),
                rights: rights.clone(),
            },
            digest: format!("digest of {version}"),
            bytes: 1,
            granted: rights,
            limits: LimitsAsked {
                cpu_ms,
                ..LimitsAsked::default()
            },
            then: Fallback::Closed,
            signed: None,
            by: "ada".to_owned(),
            at: UnixMs(1),
            before: None,
            rollout: None,
        }
    }

    #[test]
    fn one_goes_back_and_back_again() {
        let first = version("1.0.0", Some(5)).over(None);
        assert_eq!(first.back("bob", UnixMs(9)), None, "there is none before");
        let second = version("2.0.0", None).over(Some(&first));
        let third = version("3.0.0", None).over(Some(&second));
        // Two versions are known at a time, not a chain of them.
        assert_eq!(third.before.as_deref(), Some(&second.alone()));
        assert!(third.digests().eq(["digest of 3.0.0", "digest of 2.0.0"]));
        let back = second.back("bob", UnixMs(9)).expect("there is one before");
        assert!(back.is_same(&first), "grant and limits come back with it");
        assert_eq!((back.by.as_str(), back.at), ("bob", UnixMs(9)));
        let again = back.back("bob", UnixMs(10)).expect("there is one before");
        assert!(again.is_same(&second) && !again.is_same(&first));
        assert_eq!(again.before.as_deref(), Some(&back.alone()));
    }

    #[test]
    fn what_else_changes_is_told() {
        let mut other = version("2.0.0", Some(5));
        other.then = Fallback::Open;
        let told = version("1.0.0", None).beside_rights(&other);
        assert_eq!(
            told,
            [
                "its limit `cpu_ms` changes from 5 to 20",
                "without an answer of it VMs wait (closed) from now on"
            ]
        );
        assert_eq!(other.beside_rights(&other), [""; 0]);
    }

    #[test]
    fn an_older_record_has_none_before() {
        let mut value = serde_json::to_value(version("1.0.0", None)).expect("a value");
        assert!(value.get("before").is_none());
        value["of a newer version"] = true.into();
        let read: Installed = serde_json::from_value(value).expect("a record");
        assert_eq!(read, version("1.0.0", None));
    }
}
