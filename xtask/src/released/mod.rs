//! Released contracts never change: each interface of `wit/` that was released is on record, and a test compares.
//!
//! ```text
//! wit/PACKAGE/VERSION/*.wit ── resolved, printed without comments ── SHA-256 ─┐
//! extensions/host/tests/golden/KIND-VERSION*.wat ─────────────────── SHA-256 ─┴─ as in wit/released.toml?
//! ```
//! Words may be mended at any time: comments are no part of it. A version that is not on record is being worked on,
//! and may change as it likes until `cargo xtask extensions --release-wit`.

mod found;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use holdfast_lab::{LabError, Result};
use holdfast_model::extension::ExtensionKind;

use crate::root::root;

/// What is on record, beside the contracts.
const RECORD: &str = "wit/released.toml";
/// Guests of released versions.
const GOLDEN: &str = "extensions/host/tests/golden";

/// A version of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Contract {
    package: String,
    version: String,
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "holdfast:{}@{}", self.package, self.version)
    }
}

impl Contract {
    /// Its folder in the checkout.
    fn folder(&self) -> String {
        format!("wit/{}/{}", self.package, self.version)
    }

    /// Whether guests export it: others are what the host has for them.
    fn is_of_a_kind(&self) -> bool {
        let mut kinds = ExtensionKind::ALL.into_iter();
        kinds.any(|kind| kind.word() == self.package)
    }
}

/// What a version has in it (`interface http`, `world scoring`, `guest events-0.1.0.wat`), and the SHA-256 of each.
type Items = BTreeMap<String, String>;
/// All versions.
type Contracts = BTreeMap<Contract, Items>;

/// Puts on record what is not there yet. Nothing that is there is altered: if anything is not as it was released,
/// nothing is written.
pub(crate) fn release() -> Result<ExitCode> {
    for contract in release_in(&root())? {
        println!("released {contract}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What was put on record.
fn release_in(root: &Path) -> Result<Vec<Contract>> {
    let (mut released, found) = (record::read(root)?, found::found(root)?);
    let faults = faults(&released, &found);
    if !faults.is_empty() {
        return Err(LabError::Refused(faults.join("\n")));
    }
    let new = found
        .into_iter()
        .filter(|(contract, _)| !released.contains_key(contract));
    let new: Contracts = new.collect();
    if new.is_empty() {
        let text = "every version in wit/ has been released; a new one is a new folder there";
        return Err(LabError::Refused(text.to_owned()));
    }
    let without = new
        .iter()
        .find(|(contract, items)| contract.is_of_a_kind() && !has_guest(items));
    if let Some((contract, _)) = without {
        let Contract { package, version } = contract;
        return Err(LabError::Refused(format!(
            "{contract} has no golden guest: write {GOLDEN}/{package}-{version}.wat (README.md there says how), and \
             ask it in {GOLDEN}.rs"
        )));
    }
    let names = new.keys().cloned().collect();
    released.extend(new);
    record::write(root, &released)?;
    Ok(names)
}

fn has_guest(items: &Items) -> bool {
    items.keys().any(|item| item.starts_with("guest "))
}

/// What is not as it was released, in sentences.
fn faults(released: &Contracts, found: &Contracts) -> Vec<String> {
    let mut faults = Vec::new();
    for (contract, items) in released {
        let folder = contract.folder();
        let Some(now) = found.get(contract) else {
            faults.push(format!(
                "{contract} has been released, and {folder} is not there any more: put it back, for extensions that \
                 were built with it are installed"
            ));
            continue;
        };
        for (item, digest) in items {
            let what = match now.get(item) {
                Some(same) if same == digest => continue,
                Some(_) => "is not what it was",
                None => "is gone",
            };
            faults.push(format!(
                "{item} of {contract} has been released and {what}: {ADVICE}"
            ));
        }
        let new = now.keys().filter(|item| !items.contains_key(*item));
        faults.extend(new.map(|item| {
            format!("{item} is new in {contract}, which was released without it: {ADVICE}")
        }));
    }
    faults
}

/// For each of them.
const ADVICE: &str = "a released version never changes. Put it back, and make the change in a new version directory \
                      beside it";
