//! The stamp: what a domain's metadata says about the grant it runs under.
//!
//! It travels with a live migration, so a domain that was received and not taken over yet carries
//! its source's incarnation.

use super::tree::{self, Element, XmlError};
use holdfast_model::id::{ClusterName, Generation, Incarnation, VmName};

/// The XML namespace of the stamp.
pub const NAMESPACE: &str = "https://holdfast.dev/xmlns/domain/1";
/// The prefix it is written with.
pub const PREFIX: &str = "holdfast";

/// Whether a domain ever ran under its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Created, or taken over, and not resumed yet: its vCPUs never ran under this grant.
    Created,
    /// It was resumed once.
    Started,
}

/// What is stamped on a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The cluster it belongs to.
    pub cluster: ClusterName,
    /// The VM it is.
    pub vm: VmName,
    /// The grant it runs under.
    pub generation: Generation,
    /// The life of the host's agent that created it or took it over.
    pub incarnation: Incarnation,
    /// Whether it was resumed.
    pub phase: Phase,
}

/// Why a stamp cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// It is not XML.
    #[error("the domain's Holdfast metadata is broken: {0}")]
    Xml(#[from] XmlError),
    /// There is no such element in it.
    #[error("the domain's Holdfast metadata has no <vm> of namespace {NAMESPACE}")]
    Missing,
    /// An attribute is missing or unusable.
    #[error("the domain's Holdfast metadata is broken: {attribute} = {found:?}")]
    Attribute {
        /// Which.
        attribute: &'static str,
        /// What stands there.
        found: Option<String>,
    },
}

impl Stamp {
    /// Reads the stamp from what libvirt returns as the metadata of [`NAMESPACE`].
    pub fn read(xml: &str) -> Result<Self, StampError> {
        Self::of_element(&tree::parse(xml)?)
    }

    /// Reads the stamp from its element.
    pub fn of_element(element: &Element) -> Result<Self, StampError> {
        if element.local_name() != "vm" {
            return Err(StampError::Missing);
        }
        let text = |attribute: &'static str| {
            let found = element.attribute(attribute);
            found.ok_or(StampError::Attribute {
                attribute,
                found: None,
            })
        };
        let bad = |attribute: &'static str| {
            let found = element.attribute(attribute).map(str::to_owned);
            StampError::Attribute { attribute, found }
        };
        Ok(Self {
            cluster: text("cluster")?.parse().map_err(|_| bad("cluster"))?,
            vm: text("vm")?.parse().map_err(|_| bad("vm"))?,
            generation: Generation(text("generation")?.parse().map_err(|_| bad("generation"))?),
            incarnation: text("incarnation")?
                .parse()
                .map_err(|_| bad("incarnation"))?,
            phase: match element.attribute("phase") {
                Some("created") => Phase::Created,
                _ => Phase::Started,
            },
        })
    }

    /// The stamp as an element. With `prefix`: to stand in a document of its own; without, as
    /// libvirt wants it when it sets metadata itself (it adds the prefix then).
    pub fn element(&self, prefix: bool) -> Element {
        let generation = self.generation.to_string();
        let mut attributes = vec![
            ("cluster", self.cluster.as_str()),
            ("vm", self.vm.as_str()),
            ("generation", generation.as_str()),
            ("incarnation", self.incarnation.as_str()),
        ];
        if self.phase == Phase::Created {
            attributes.push(("phase", "created"));
        }
        if !prefix {
            return Element::new("vm", &attributes);
        }
        let declaration = format!("xmlns:{PREFIX}");
        attributes.insert(0, (&declaration, NAMESPACE));
        Element::new(&format!("{PREFIX}:vm"), &attributes)
    }
}

/// Finds the stamp in a whole domain definition (`<domain>` with everything in it), by namespace,
/// whatever prefix it is written with.
pub fn find(domain: &Element) -> Option<&Element> {
    let metadata = domain.child("metadata")?;
    metadata
        .elements()
        .find(|element| is_stamp(element, metadata, domain))
}

/// Whether an element directly inside `metadata` belongs to Holdfast.
pub(super) fn is_stamp(element: &Element, metadata: &Element, domain: &Element) -> bool {
    let declaration = match element.name.split_once(':') {
        Some((prefix, _)) => format!("xmlns:{prefix}"),
        None => "xmlns".to_owned(),
    };
    let scopes = [element, metadata, domain];
    let declared = scopes
        .iter()
        .find_map(|scope| scope.attribute(&declaration));
    declared == Some(NAMESPACE)
}
