//! Files that operators apply, read and checked before they are sent, so that an error names the
//! file and the line.

use super::error::CliError;
use crate::domain_xml::DomainXml;
use crate::vm_file::VmFile;
use holdfast_model::id::{VmName, VmUuid};
use holdfast_model::policy::Policy;
use holdfast_strict::{Format, TextError, read};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The text of a file, or of the standard input for `-`; and what to call it.
pub(super) fn text_of(path: &Path) -> Result<(String, String), CliError> {
    let name = path.display().to_string();
    let failed = |source| CliError::Read {
        path: name.clone(),
        source,
    };
    if name == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok((text, "standard input".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    Ok((text, name))
}

/// A policy that passes its own check.
pub fn policy(path: &Path) -> Result<Policy, CliError> {
    let (text, name) = text_of(path)?;
    let policy: Policy = read(&text, Format::of_file(&name), &name)?;
    policy.check().map_err(|error| CliError::Content {
        path: name,
        what: error.to_string(),
    })?;
    Ok(policy)
}

/// A VM with its domain XML in it.
pub struct ReadVm {
    /// The file.
    pub path: String,
    /// Its name.
    pub name: VmName,
    /// Its UUID, if the XML gives one.
    uuid: Option<VmUuid>,
    /// What is sent.
    pub file: VmFile,
}

/// All of them, or the first mistake in any of them.
pub fn vms(paths: &[PathBuf]) -> Result<Vec<ReadVm>, CliError> {
    let vms = paths
        .iter()
        .map(|path| vm(path))
        .collect::<Result<Vec<_>, _>>()?;
    for (at, vm) in vms.iter().enumerate() {
        let earlier = &vms[..at];
        let refuse = |other: &ReadVm, what: String| CliError::Content {
            path: vm.path.clone(),
            what: format!("{what} as in {}; nothing was changed", other.path),
        };
        if let Some(other) = earlier.iter().find(|other| other.name == vm.name) {
            let what = format!("the VM is named `{}`", vm.name);
            return Err(refuse(other, what));
        }
        let twin = |other: &&ReadVm| vm.uuid.is_some() && other.uuid == vm.uuid;
        if let (Some(uuid), Some(other)) = (&vm.uuid, earlier.iter().find(twin)) {
            let what = format!("the VM has the UUID {uuid} (make another with `uuidgen`)");
            return Err(refuse(other, what));
        }
    }
    Ok(vms)
}

fn vm(path: &Path) -> Result<ReadVm, CliError> {
    let (text, name) = text_of(path)?;
    let mut file: VmFile = read(&text, Format::of_file(&name), &name)?;
    let content = |what: String| CliError::Content {
        path: name.clone(),
        what,
    };
    let mut xml_name = name.clone();
    if let Some(xml) = file.domain_xml_file.take() {
        if file.domain_xml.is_some() {
            let what = "both `domain_xml` and `domain_xml_file` are given; keep one";
            return Err(content(what.to_owned()));
        }
        let path = path.parent().unwrap_or(Path::new(".")).join(xml);
        let (text, named) = text_of(&path)?;
        file.domain_xml = Some(text);
        xml_name = named;
    }
    let domain = match &file.domain_xml {
        None => DomainXml::default(),
        Some(xml) => DomainXml::parse(xml).map_err(|error| {
            // An XML in a file of its own has lines of its own.
            let own = xml_name != name;
            CliError::Text(TextError {
                source: xml_name,
                line: own.then_some(error.line),
                column: own.then_some(error.column),
                what: if own { error.what } else { error.to_string() },
                advice: None,
            })
        })?,
    };
    let given = file.name.clone().or(domain.name).ok_or_else(|| {
        content("the VM has no name; add `name = …` or a domain XML with <name>".to_owned())
    })?;
    let vm = VmName::from_str(&given).map_err(|error| content(error.to_string()))?;
    Ok(ReadVm {
        path: name,
        name: vm,
        uuid: domain.uuid,
        file,
    })
}
