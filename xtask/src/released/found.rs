//! What is in the checkout now: its contracts, resolved and printed, and its golden guests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_lab::{LabError, Result};
use sha2::{Digest, Sha256};
use wit_component::WitPrinter;
use wit_parser::{PackageId, Resolve, UnresolvedPackageGroup};

use super::{Contract, Contracts, GOLDEN, Items};

/// Every version of every package, with what is in it.
pub(super) fn found(root: &Path) -> Result<Contracts> {
    let (resolve, packages) = resolved(root)?;
    let guests = guests(root)?;
    let mut contracts = Contracts::new();
    for (contract, package) in packages {
        let mut items = printed(&resolve, package, &contract)?;
        let own = format!("{}-{}", contract.package, contract.version);
        items.extend(guests.iter().filter_map(|(name, digest)| {
            let rest = name.strip_prefix(&own)?;
            rest.starts_with(['.', '-'])
                .then(|| (format!("guest {name}"), digest.clone()))
        }));
        contracts.insert(contract, items);
    }
    Ok(contracts)
}

/// All packages together: they name each other.
fn resolved(root: &Path) -> Result<(Resolve, BTreeMap<Contract, PackageId>)> {
    let mut groups = Vec::new();
    let mut contracts = Vec::new();
    for package in folders(&root.join("wit"))? {
        for version in folders(&package)? {
            let contract = Contract {
                package: last(&package),
                version: last(&version),
            };
            let refused =
                |what: String| LabError::Refused(format!("{}: {what}", contract.folder()));
            let group = UnresolvedPackageGroup::parse_dir(&version)
                .map_err(|error| refused(format!("{error:#}")))?;
            let name = group.main.name.to_string();
            if name != contract.to_string() {
                return Err(refused(format!(
                    "the package in it is {name}, not {contract}"
                )));
            }
            groups.push(group);
            contracts.push(contract);
        }
    }
    let refused = |error: &dyn std::fmt::Display| LabError::Refused(format!("wit: {error:#}"));
    let all = UnresolvedPackageGroup::parse("all.wit", "package holdfast:all;")
        .map_err(|(_, error)| refused(&error))?;
    let mut resolve = Resolve::default();
    resolve
        .push_groups(all, groups)
        .map_err(|error| refused(&error))?;
    let packages = resolve.packages.iter();
    let ids: BTreeMap<String, PackageId> = packages
        .map(|(id, package)| (package.name.to_string(), id))
        .collect();
    let of = |contract: Contract| {
        let id = *ids.get(&contract.to_string())?;
        Some((contract, id))
    };
    Ok((resolve, contracts.into_iter().filter_map(of).collect()))
}

/// Each interface and each world of a package, by the digest of its text: as it is printed without comments, and
/// whatever the printer puts between words.
fn printed(resolve: &Resolve, package: PackageId, contract: &Contract) -> Result<Items> {
    let mut printer = WitPrinter::default();
    printer.emit_docs(false);
    printer
        .print(resolve, package, &[])
        .map_err(|error| LabError::Refused(format!("{}: {error:#}", contract.folder())))?;
    let text = String::from(printer.output);
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut item = None;
    for line in text.lines() {
        // What is in an item is indented.
        let heading = line
            .strip_suffix(" {")
            .filter(|line| !line.starts_with(' '));
        if let Some(heading) = heading {
            item = Some(texts.entry(heading.to_owned()).or_default());
        }
        if let Some(text) = &mut item {
            for word in line.split_whitespace() {
                text.push_str(word);
                text.push(' ');
            }
        }
    }
    let digests = texts
        .into_iter()
        .map(|(item, text)| (item, digest(text.as_bytes())));
    Ok(digests.collect())
}

/// The golden guests by their names, whole: whoever mends a comment in one could change more.
fn guests(root: &Path) -> Result<BTreeMap<String, String>> {
    let files = entries(&root.join(GOLDEN))?.into_iter();
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "wat"));
    files
        .map(|path| {
            let bytes = std::fs::read(&path).map_err(LabError::io("read", &path))?;
            Ok((last(&path), digest(&bytes)))
        })
        .collect()
}

fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = entries(dir)?;
    entries.retain(|path| path.is_dir());
    Ok(entries)
}

/// In a fixed order; none if it is not there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(LabError::io("read", dir))?,
    };
    let mut paths = Vec::new();
    for entry in read {
        paths.push(entry.map_err(LabError::io("read", dir))?.path());
    }
    paths.sort();
    Ok(paths)
}

fn last(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
