//! A VM as people write it (`holdfast vm apply -f FILE`), and how it becomes a stored spec.
//!
//! ```toml
//! priority = 10
//! preferred_site = "a"
//! domain_xml_file = "web1.xml"      # name, UUID, memory and vCPUs come from it
//! ```

use crate::domain_xml::{DomainXml, XmlError};
use holdfast_model::advice::{Labels, label_fault};
use holdfast_model::id::{NameError, SiteName, VmName, VmUuid};
use holdfast_model::policy::{OnIoError, Policy};
use holdfast_model::vm::{SiteRule, VmSpec};
use holdfast_strict::nearest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The file. What is left out keeps its present value when the VM exists, else gets its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VmFile {
    /// Its name; the XML's if left out.
    #[schemars(with = "Option<VmName>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// It should run. Default: yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<bool>,
    /// Memory to reckon with, in MiB; the XML's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// vCPUs to reckon with; the XML's if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Higher ones are started first. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Where it should be. Default: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_site: Option<SiteName>,
    /// How strictly. Default: `should`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_rule: Option<SiteRule>,
    /// VMs with the same word are kept apart where possible. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
    /// Its disks are on the storage of the hosts' lease volume, so that it may run on while etcd is away
    /// (true if nothing is said). Set it to false for a VM whose disks are elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_lease: Option<bool>,
    /// What becomes of it when it is paused on an I/O error while its host's storage is good: `restart`, `resume`,
    /// `leave`, or `policy` for what [storage] on_io_error of the policy says (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_io_error: Option<IoErrorRule>,
    /// Words for placement extensions, all of them: they replace the present ones. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// The libvirt domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_xml: Option<String>,
    /// A file it is in, relative to this one. Only the command line reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain_xml_file: Option<String>,
}

/// What becomes of a VM that is paused on an I/O error. What is left out of a file stays as it is, so there is a word
/// for what the policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IoErrorRule {
    /// It is destroyed and started again, elsewhere if another host can take it.
    Restart,
    /// It goes on where it is, once its host has checked that it still may run it.
    Resume,
    /// It stays paused until an operator decides.
    Leave,
    /// As the policy says.
    Policy,
}

impl IoErrorRule {
    /// As it stands in the VM's record.
    fn of_vm(self) -> Option<OnIoError> {
        match self {
            Self::Restart => Some(OnIoError::Restart),
            Self::Resume => Some(OnIoError::Resume),
            Self::Leave => Some(OnIoError::Leave),
            Self::Policy => None,
        }
    }
}

/// Why a VM's definition is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VmFileError {
    /// The XML.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// The name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two names.
    #[error(
        "the file names the VM `{file}`, its domain XML names it `{xml}`; make them the same, or \
         leave `name` out of the file"
    )]
    NameMismatch {
        /// The file's, or the one it was sent for.
        file: String,
        /// The XML's.
        xml: String,
    },
    /// Something that is needed is not there.
    #[error("{0}")]
    Missing(&'static str),
    /// A number that cannot be.
    #[error("`{key}` is 0; give {instead}")]
    Zero {
        /// Which.
        key: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// A site that is not there.
    #[error("`preferred_site` is `{site}`, which is no site of this cluster{advice}")]
    Site {
        /// As given.
        site: SiteName,
        /// What to do.
        advice: String,
    },
    /// A rule without what it is about.
    #[error("`site_rule = \"must\"` needs a `preferred_site`; add one or leave the rule out")]
    RuleWithoutSite,
    /// A label.
    #[error("`labels`: {0}")]
    Labels(String),
    /// The UUID cannot change under a VM.
    #[error(
        "VM `{name}` has the UUID {now}, the file gives it {new}; if this is another VM, give it \
         another name, otherwise put the first UUID into its domain XML"
    )]
    UuidChanged {
        /// The VM.
        name: VmName,
        /// As stored.
        now: VmUuid,
        /// As given.
        new: VmUuid,
    },
}

impl VmFile {
    /// The spec this file asks for. `present` is the stored one if the VM exists; `fresh_uuid` is
    /// used for a new VM whose XML has none.
    pub fn spec(
        &self,
        named: Option<&VmName>,
        present: Option<&VmSpec>,
        fresh_uuid: &VmUuid,
    ) -> Result<VmSpec, VmFileError> {
        let xml = self.xml(present)?;
        let domain = DomainXml::parse(xml)?;
        let name = self.checked_name(named, &domain)?;
        let (uuid, domain_xml) = match (&domain.uuid, present) {
            (Some(uuid), _) => (uuid.clone(), xml.to_owned()),
            (None, present) => {
                let uuid = present.map_or(fresh_uuid, |present| &present.uuid).clone();
                let with = domain.with_uuid(xml, &uuid);
                (uuid, with.ok_or(NO_NAME)?)
            }
        };
        if let Some(present) = present.filter(|present| present.uuid != uuid) {
            return Err(VmFileError::UuidChanged {
                name,
                now: present.uuid.clone(),
                new: uuid,
            });
        }
        let memory_mib = self.memory_mib.or(domain.memory_mib);
        let run = self
            .run
            .unwrap_or(present.is_none_or(|present| present.run));
        let starts = run && present.is_some_and(|present| !present.run);
        let spec = VmSpec {
            name,
            uuid,
            domain_xml,
            run,
            run_serial: present.map_or(0, |present| present.run_serial) + u64::from(starts),
            deleting: present.is_some_and(|present| present.deleting),
            memory_mib: memory_mib.ok_or(VmFileError::Missing(
                "neither the file nor its domain XML says how much memory the VM has; add \
                 `memory_mib = …` or <memory>",
            ))?,
            vcpus: self.vcpus.or(domain.vcpus).unwrap_or(1),
            priority: self
                .priority
                .unwrap_or(present.map_or(0, |present| present.priority)),
            preferred_site: self
                .preferred_site
                .clone()
                .or_else(|| present.and_then(|present| present.preferred_site.clone())),
            site_rule: self
                .site_rule
                .unwrap_or(present.map_or(SiteRule::Should, |present| present.site_rule)),
            spread: self
                .spread
                .clone()
                .or_else(|| present.and_then(|present| present.spread.clone())),
            storage_lease: self
                .storage_lease
                .unwrap_or(present.is_none_or(|present| present.storage_lease)),
            on_io_error: match self.on_io_error {
                Some(rule) => rule.of_vm(),
                None => present.and_then(|present| present.on_io_error),
            },
            labels: self
                .labels
                .clone()
                .or_else(|| present.map(|present| present.labels.clone()))
                .unwrap_or_default(),
        };
        check_numbers(&spec)?;
        Ok(spec)
    }

    fn xml<'a>(&'a self, present: Option<&'a VmSpec>) -> Result<&'a str, VmFileError> {
        if self.domain_xml_file.is_some() {
            return Err(VmFileError::Missing(
                "`domain_xml_file` is read by the command line only; send the XML itself as \
                 `domain_xml`",
            ));
        }
        let present = present.map(|present| present.domain_xml.as_str());
        self.domain_xml
            .as_deref()
            .or(present)
            .ok_or(VmFileError::Missing(
                "the VM has no domain; add `domain_xml_file = \"NAME.xml\"` (virsh dumpxml NAME \
             writes one) or `domain_xml`",
            ))
    }

    fn checked_name(
        &self,
        named: Option<&VmName>,
        domain: &DomainXml,
    ) -> Result<VmName, VmFileError> {
        let xml = domain.name.as_deref().ok_or(NO_NAME)?;
        let file = self.name.as_deref().unwrap_or(xml);
        let name = VmName::from_str(file)?;
        let other = named.filter(|named| **named != name).map(VmName::as_str);
        let other = other.or((file != xml).then_some(file));
        match other {
            Some(other) => Err(VmFileError::NameMismatch {
                file: other.to_owned(),
                xml: if file == xml { file } else { xml }.to_owned(),
            }),
            None => Ok(name),
        }
    }
}

const NO_NAME: VmFileError = VmFileError::Missing("the domain XML has no <name>; add one");

fn check_numbers(spec: &VmSpec) -> Result<(), VmFileError> {
    if spec.memory_mib == 0 {
        let instead = "the memory the VM needs, in MiB";
        return Err(VmFileError::Zero {
            key: "memory_mib",
            instead,
        });
    }
    if spec.vcpus == 0 {
        return Err(VmFileError::Zero {
            key: "vcpus",
            instead: "1 or more",
        });
    }
    if spec.site_rule == SiteRule::Must && spec.preferred_site.is_none() {
        return Err(VmFileError::RuleWithoutSite);
    }
    label_fault(&spec.labels).map_or(Ok(()), |fault| Err(VmFileError::Labels(fault)))
}

/// Refuses a preferred site that is not one of the cluster's. Without a policy nobody knows yet.
pub fn check_site(spec: &VmSpec, policy: Option<&Policy>) -> Result<(), VmFileError> {
    let (Some(site), Some(policy)) = (&spec.preferred_site, policy) else {
        return Ok(());
    };
    let known: Vec<&str> = policy
        .sites
        .iter()
        .filter(|known| !known.witness)
        .map(|known| known.name.as_str())
        .collect();
    if known.contains(&site.as_str()) {
        return Ok(());
    }
    let witness = policy.sites.iter().any(|known| known.name == *site);
    let advice = match nearest(site.as_str(), known.iter().copied()) {
        _ if witness => format!(
            " that runs VMs (it is the witness); use {}",
            known.join(" or ")
        ),
        Some(near) if near.len() > 1 => format!("; did you mean `{near}`?"),
        _ => format!("; use {}", known.join(" or ")),
    };
    Err(VmFileError::Site {
        site: site.clone(),
        advice,
    })
}

#[cfg(test)]
#[path = "vm_file_tests.rs"]
mod tests;
