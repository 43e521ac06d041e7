//! What stands in the store of a manifest, read by a version that may be older than the one that wrote it: keys that
//! this one does not know are passed over. In a file they are refused, for nobody would heed what was meant by them.
//!
//! What a newer version could add is a right that this one does not give, or a limit that it does not have. One that
//! writes such a record anew leaves the key out; where it is signed, newer versions then find that it was changed.

use super::{ExtensionKind, LimitsAsked, Manifest, Rights};
use crate::id::{ExtensionName, TargetName};
use crate::signature::{PublicKey, Signature, Signed};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};

/// A manifest, as far as this version knows its keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Known(#[serde(deserialize_with = "StoredManifest::deserialize")] pub Manifest);

/// The keys of [`Manifest`].
#[derive(Deserialize)]
#[serde(remote = "Manifest")]
pub(super) struct StoredManifest {
    name: ExtensionName,
    version: String,
    kind: ExtensionKind,
    summary: String,
    #[serde(default, deserialize_with = "StoredLimits::deserialize")]
    limits: LimitsAsked,
    #[serde(default, deserialize_with = "StoredRights::deserialize")]
    rights: Rights,
}

/// The keys of [`LimitsAsked`].
#[derive(Deserialize)]
#[serde(remote = "LimitsAsked")]
pub(super) struct StoredLimits {
    cpu_ms: Option<u64>,
    wall_ms: Option<u64>,
    memory_mib: Option<u64>,
    answer_kib: Option<u64>,
    requests: Option<u64>,
}

/// The keys of [`Rights`].
#[derive(Deserialize)]
#[serde(remote = "Rights")]
pub(super) struct StoredRights {
    #[serde(default)]
    log: bool,
    #[serde(default)]
    state: BTreeSet<String>,
    #[serde(default)]
    http: BTreeMap<TargetName, BTreeSet<String>>,
    #[serde(default)]
    programs: BTreeSet<TargetName>,
    #[serde(default)]
    paths: BTreeSet<TargetName>,
    #[serde(default)]
    commands: BTreeSet<TargetName>,
}

/// The keys of [`Signed`].
#[derive(Deserialize)]
#[serde(remote = "Signed")]
struct StoredSigned {
    manifest: String,
    key: PublicKey,
    signature: Signature,
}

/// Who vouches for it, if anybody does.
pub(super) fn signed<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Signed>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Stored(#[serde(deserialize_with = "StoredSigned::deserialize")] Signed);
    let stored = Option::<Stored>::deserialize(from)?;
    Ok(stored.map(|Stored(signed)| signed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::Fallback;
    use crate::extension::Installed;
    use crate::time::UnixMs;
    use serde_json::{Value, json};

    /// One with every key that there is.
    fn installed() -> Installed {
        let name = |text: &str| text.parse::<TargetName>().expect("a name");
        let rights = Rights {
            log: true,
            state: ["hosts/".to_owned()].into(),
            http: [(name("bmc"), ["GET /redfish".to_owned()].into())].into(),
            programs: [name("ipmi")].into(),
            paths: [name("storage")].into(),
            commands: [name("heal")].into(),
        };
        let limits = LimitsAsked {
            cpu_ms: Some(1),
            wall_ms: Some(2),
            memory_mib: Some(3),
            answer_kib: Some(4),
            requests: Some(5),
        };
        let version = Installed {
            manifest: Manifest {
                name: "rack-spread".parse().expect("a name"),
                version: "1.2.0".to_owned(),
                kind: ExtensionKind::Placement,
                summary: "Keeps groups apart.".to_owned(),
                limits,
                rights: rights.clone(),
            },
            digest: "of its component".to_owned(),
            bytes: 9,
            granted: rights,
            limits,
            then: Fallback::Closed,
            signed: Some(Signed {
                manifest: "its text".to_owned(),
                key: PublicKey([7; 32]),
                signature: Signature([8; 64]),
            }),
            by: "ops".to_owned(),
            at: UnixMs(1),
            before: None,
            rollout: None,
        };
        Installed {
            before: Some(Box::new(version.clone())),
            ..version
        }
    }

    /// A key that a newer version may have, in every table there is.
    fn add(to: &mut Value, places: &mut Vec<String>, at: &str) {
        let Some(table) = to.as_object_mut() else {
            return;
        };
        for (key, value) in table.iter_mut() {
            // Its keys are names of targets.
            if key != "http" {
                add(value, places, &format!("{at}{key}."));
            }
        }
        table.insert("newer".to_owned(), json!({"than": "this version"}));
        places.push(format!("{at}newer"));
    }

    #[test]
    fn keys_of_a_newer_version_are_passed_over_in_the_store() {
        let installed = installed();
        let mut record = serde_json::to_value(&installed).expect("JSON");
        let mut places = Vec::new();
        add(&mut record, &mut places, "");
        for place in [
            "manifest.newer",
            "manifest.limits.newer",
            "manifest.rights.newer",
            "granted.newer",
            "limits.newer",
            "signed.newer",
            "before.manifest.rights.newer",
        ] {
            assert!(
                places.iter().any(|each| each == place),
                "{place}: {places:?}"
            );
        }
        let read: Installed = serde_json::from_value(record).expect("all that is known of it");
        assert_eq!(read, installed);
    }

    #[test]
    fn what_a_manifest_needs_is_needed_in_the_store_as_well() {
        let whole = serde_json::to_value(installed().manifest).expect("JSON");
        for key in ["name", "version", "kind", "summary"] {
            let mut less = whole.clone();
            less.as_object_mut().expect("a table").remove(key);
            assert!(serde_json::from_value::<Known>(less).is_err(), "{key}");
        }
        let mut other = whole.clone();
        other["kind"] = json!("of-a-newer-version");
        assert!(serde_json::from_value::<Known>(other).is_err());
        let least = json!({"name": "x", "version": "1.0.0", "kind": "events", "summary": "Tells."});
        let Known(least) = serde_json::from_value(least).expect("the least");
        assert_eq!((least.limits, least.rights), Default::default());
    }

    #[test]
    fn what_people_write_is_read_to_the_key() {
        let mut manifest = serde_json::to_value(installed().manifest).expect("JSON");
        let error = |manifest: &Value| {
            let read = serde_json::from_value::<Manifest>(manifest.clone());
            read.expect_err("refused").to_string()
        };
        manifest["rights"]["newer"] = json!(true);
        assert!(error(&manifest).starts_with("unknown field `newer`"));
    }
}
