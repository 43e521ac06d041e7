//! `test.toml`, beside `extension.toml`: what only its author knows of what an extension is to be tried with. It is for
//! `ext test` and `ext chaos`: neither signed nor installed, and no cluster ever sees it.
//!
//! ```toml
//! [fencing.board]                       # a board that speaks neither Redfish nor to a fence agent
//! status = { request = "GET /outlet/{host}", on = '{"on":true}', off = '{"on":false}' }
//! off = { request = "POST /outlet/{host}/off", answer = 204 }
//! on = { request = "POST /outlet/{host}/on", answer = 204 }
//! ```

mod board;

pub use board::{BoardSetup, ExchangeSetup, SaidSetup, StatusSetup};

use holdfast_model::advice::{Labels, label_fault};
use holdfast_model::extension::ExtensionKind;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Most entries of one list or table: each of them is tried, and some with all others.
const ENTRIES_MAX: usize = 8;
/// Longest text that a made-up board or command says, in bytes.
const TEXT_MAX: usize = 64 * 1024;

/// What is wrong: the key that sets it, what is wrong with it, what to do.
pub(super) type Fault = (&'static str, String, String);

/// `test.toml`. Unknown keys are refused. Each section is for one kind of extensions, and may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct TestSetup {
    /// `[fencing]`: what the made-up boards are.
    pub fencing: Option<FencingSetup>,
    /// `[placement]`: what the made-up clusters have.
    pub placement: Option<PlacementSetup>,
    /// `[storage-check]`: what the made-up storage is.
    pub storage_check: Option<StorageSetup>,
}

/// `[fencing]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FencingSetup {
    /// What the operator would set for the device, by name, such as `{ outlet = "7" }`.
    pub settings: BTreeMap<String, String>,
    /// How the board speaks: all situations are then played by one that speaks so. Redfish and fence agents if it is
    /// left out.
    pub board: Option<BoardSetup>,
}

/// `[placement]`: made-up clusters in which hosts with and without these labels are asked about, for machines with and
/// without these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlacementSetup {
    /// Labels of machines: one machine has one of these tables, such as `{ licence = "oracle" }`.
    pub vm_labels: Vec<Labels>,
    /// Labels of hosts: one host has one of these tables, such as `{ oracle = "yes" }`.
    pub host_labels: Vec<Labels>,
}

/// `[storage-check]`: what healthy storage looks like, besides what there is to try.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSetup {
    /// What the operator would set for the storage, by name, such as `{ volume = "gv0" }`.
    pub settings: BTreeMap<String, String>,
    /// File systems, as the kernel calls them, such as `"zfs"`.
    pub kinds: Vec<String>,
    /// What status commands say when all is well.
    pub says: Vec<String>,
}

impl TestSetup {
    /// The first thing in it that cannot work for an extension of this kind.
    pub fn fault(&self, kind: ExtensionKind) -> Option<(&'static str, String, String)> {
        let sections = [
            (self.fencing.is_some(), ExtensionKind::Fencing),
            (self.placement.is_some(), ExtensionKind::Placement),
            (self.storage_check.is_some(), ExtensionKind::StorageCheck),
        ];
        let strange = sections
            .into_iter()
            .find(|(given, of)| *given && *of != kind);
        if let Some((_, of)) = strange {
            return Some((
                of.word(),
                format!("it has [{of}], and the extension is for {kind}"),
                format!("remove what is under [{of}]"),
            ));
        }
        let fencing = self.fencing.as_ref().and_then(FencingSetup::fault);
        let placement = self.placement.as_ref().and_then(PlacementSetup::fault);
        let storage = self.storage_check.as_ref().and_then(StorageSetup::fault);
        fencing.or(placement).or(storage)
    }
}

impl FencingSetup {
    fn fault(&self) -> Option<Fault> {
        let board = self.board.as_ref();
        settings_fault(&self.settings)
            .or_else(|| board.and_then(|board| board.fault(&self.settings)))
    }
}

impl PlacementSetup {
    fn fault(&self) -> Option<Fault> {
        let of = |key, all: &[Labels]| {
            let bad = all.iter().find_map(label_fault);
            let bad = bad.map(|what| (key, what, "no cluster has such labels".to_owned()));
            too_many(key, all.len()).or(bad)
        };
        of("vm_labels", &self.vm_labels).or_else(|| of("host_labels", &self.host_labels))
    }
}

impl StorageSetup {
    fn fault(&self) -> Option<Fault> {
        let texts = self.says.iter().find_map(|text| too_long("says", text));
        settings_fault(&self.settings)
            .or_else(|| too_many("kinds", self.kinds.len()))
            .or_else(|| too_many("says", self.says.len()))
            .or(texts)
    }
}

fn settings_fault(settings: &BTreeMap<String, String>) -> Option<Fault> {
    let texts = settings.values();
    too_many("settings", settings.len()).or_else(|| {
        texts
            .into_iter()
            .find_map(|text| too_long("settings", text))
    })
}

fn too_many(key: &'static str, entries: usize) -> Option<Fault> {
    (entries > ENTRIES_MAX).then(|| {
        (
            key,
            format!("`{key}` has {entries} entries; there can be {ENTRIES_MAX}"),
            "name those that make a difference".to_owned(),
        )
    })
}

fn too_long(key: &'static str, text: &str) -> Option<Fault> {
    (text.len() > TEXT_MAX).then(|| {
        (
            key,
            format!("a text of `{key}` has {} bytes", text.len()),
            format!("at most {TEXT_MAX} are said"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> TestSetup {
        toml::from_str(text).expect("it can be read")
    }

    #[test]
    fn what_cannot_work_is_said_with_its_key() {
        use ExtensionKind::{Events, Fencing, Placement, StorageCheck};
        let many = format!("[storage-check]\nkinds = [{}]", "\"zfs\", ".repeat(9));
        for (kind, text, key, says) in [
            (Events, "[placement]", "placement", "is for events"),
            (
                Placement,
                "[placement]\nvm_labels = [{ \"a b\" = \"c\" }]",
                "vm_labels",
                "\"a b\"",
            ),
            (StorageCheck, &many, "kinds", "9 entries; there can be 8"),
            (
                Fencing,
                "[storage-check]",
                "storage-check",
                "is for fencing",
            ),
        ] {
            let (found, what, _) = read(text).fault(kind).expect(text);
            assert_eq!(found, key, "{what}");
            assert!(what.contains(says), "{what}");
        }
        let good = "[placement]\nvm_labels = [{ licence = \"oracle\" }]\nhost_labels = [{ oracle = \"yes\" }]";
        assert_eq!(read(good).fault(Placement), None);
        assert_eq!(TestSetup::default().fault(Events), None);
    }

    #[test]
    fn what_authors_are_shown_can_be_read() {
        let docs = include_str!("../../../../../docs/extensions-authoring.md");
        let (_, section) = docs.split_once("### `test.toml`").expect("the section");
        let (section, _) = section.split_once("\n## ").expect("another one");
        let blocks = section.split("```").skip(1).step_by(2);
        let setups = blocks.map(|block| read(block.strip_prefix("toml").expect("a block")));
        let mut found = 0;
        for setup in setups {
            found += [setup.fencing.is_some(), setup.placement.is_some()]
                .into_iter()
                .filter(|given| *given)
                .count();
            let fault = |kind, alone: TestSetup| assert_eq!(alone.fault(kind), None);
            let none = TestSetup::default;
            let TestSetup {
                fencing,
                placement,
                storage_check,
            } = setup;
            fault(ExtensionKind::Fencing, TestSetup { fencing, ..none() });
            fault(
                ExtensionKind::Placement,
                TestSetup {
                    placement,
                    ..none()
                },
            );
            fault(
                ExtensionKind::StorageCheck,
                TestSetup {
                    storage_check,
                    ..none()
                },
            );
        }
        assert_eq!(found, 2);
    }

    #[test]
    fn unknown_keys_are_refused() {
        for text in [
            "[fence]",
            "[placement]\nlabels = []",
            "[fencing.board]\nstate = 1",
        ] {
            assert!(toml::from_str::<TestSetup>(text).is_err(), "{text}");
        }
    }
}
