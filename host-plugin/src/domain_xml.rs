//! Domain XML: what Holdfast reads from a VM's definition, and what it changes in it before the
//! domain is created.
//!
//! ```text
//! definition (etcd) ── read() ──────> Definition: name, UUID, memory, vCPUs, disks, bridges
//!                  └── prepare() ──> the XML that is started: stamped, disks stop on I/O errors
//! ```
//! Nothing here needs libvirt. The XML is parsed into a tree, changed and written back; it is never
//! put together from text.

pub mod stamp;
pub mod tree;

#[cfg(test)]
mod tests;

use holdfast_model::id::VmUuid;
use stamp::Stamp;
use tree::{Element, Node, XmlError, position};

/// What Holdfast needs to know of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// libvirt's name of it.
    pub name: String,
    /// Its UUID, in lower case with dashes.
    pub uuid: VmUuid,
    /// Its memory in MiB, rounded up.
    pub memory_mib: u64,
    /// Its vCPUs.
    pub vcpus: u32,
    /// Its disks, in order.
    pub disks: Vec<Disk>,
    /// The bridges and libvirt networks its interfaces hang on.
    pub bridges: Vec<String>,
}

/// A disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The device name in the guest (`vda`).
    pub target: String,
    /// The file or block device behind it; `None` for an empty drive and for network storage.
    pub source: Option<String>,
    /// The guest cannot write to it.
    pub read_only: bool,
}

/// Why a definition is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainXmlError {
    /// It is not XML.
    #[error("the domain XML is broken: {0}")]
    Xml(#[from] XmlError),
    /// The outermost element is another one.
    #[error("the domain XML begins with <{found}>; it must be a <domain>")]
    Root {
        /// What it is.
        found: String,
    },
    /// Something that must be there is not.
    #[error("the domain XML has no <{element}>: {hint}")]
    Missing {
        /// What.
        element: &'static str,
        /// What to write.
        hint: &'static str,
    },
    /// Something has a value that cannot be used.
    #[error("the domain XML, line {line}, column {column}: <{element}> is {found:?}: {hint}")]
    Value {
        /// Counts from 1.
        line: usize,
        /// Counts from 1.
        column: usize,
        /// Which element.
        element: &'static str,
        /// What stands there.
        found: String,
        /// What to write.
        hint: &'static str,
    },
    /// The definition is that of another VM.
    #[error("the domain XML has UUID {found}, but the VM's is {expected}")]
    OtherUuid {
        /// The VM's.
        expected: VmUuid,
        /// The definition's.
        found: VmUuid,
    },
}

/// Reads a definition.
pub fn read(xml: &str) -> Result<Definition, DomainXmlError> {
    definition(&root(xml)?, xml)
}

/// The XML to start: checked to be that of `uuid`, stamped, without what an earlier life left in
/// it, and with disks that stop the guest on I/O errors and bypass the host's page cache.
pub fn prepare(xml: &str, uuid: &VmUuid, stamp: &Stamp) -> Result<String, DomainXmlError> {
    let mut domain = root(xml)?;
    let found = definition(&domain, xml)?.uuid;
    if found != *uuid {
        return Err(DomainXmlError::OtherUuid {
            expected: uuid.clone(),
            found,
        });
    }
    // The number libvirt gave the domain in its last life.
    domain.attributes.retain(|(key, _)| key != "id");
    restamp(&mut domain, stamp);
    domain.edit_child("devices", |devices| {
        for disk in devices.elements_mut().filter(|e| e.name == "disk") {
            protect_disk(disk);
        }
    });
    Ok(domain.write())
}

fn root(xml: &str) -> Result<Element, DomainXmlError> {
    let root = tree::parse(xml)?;
    match root.name.as_str() {
        "domain" => Ok(root),
        _ => Err(DomainXmlError::Root { found: root.name }),
    }
}

fn definition(domain: &Element, xml: &str) -> Result<Definition, DomainXmlError> {
    let devices = domain.child("devices");
    let devices = || devices.into_iter().flat_map(Element::elements);
    let bridge = |interface: &Element| {
        let source = interface.child("source")?;
        let name = source
            .attribute("bridge")
            .or_else(|| source.attribute("network"))?;
        Some(name.to_owned())
    };
    let interfaces = devices().filter(|e| e.name == "interface");
    Ok(Definition {
        name: name(domain, xml)?,
        uuid: uuid(domain, xml)?,
        memory_mib: memory_mib(domain, xml)?,
        vcpus: vcpus(domain, xml)?,
        disks: devices().filter(|e| e.name == "disk").map(disk).collect(),
        bridges: interfaces.filter_map(bridge).collect(),
    })
}

fn required<'a>(
    domain: &'a Element,
    element: &'static str,
    hint: &'static str,
) -> Result<&'a Element, DomainXmlError> {
    let found = domain.child(element);
    found.ok_or(DomainXmlError::Missing { element, hint })
}

fn value(
    xml: &str,
    found: &Element,
    element: &'static str,
    hint: &'static str,
) -> impl Fn() -> DomainXmlError {
    let (line, column) = position(xml, found.offset);
    let text = found.text();
    move || DomainXmlError::Value {
        line,
        column,
        element,
        found: text.clone(),
        hint,
    }
}

fn name(domain: &Element, xml: &str) -> Result<String, DomainXmlError> {
    let found = required(domain, "name", "give the domain a <name>")?;
    let text = found.text();
    if text.is_empty() || text.contains(['/', '\0']) {
        return Err(value(xml, found, "name", "use a name without a slash")());
    }
    Ok(text)
}

fn uuid(domain: &Element, xml: &str) -> Result<VmUuid, DomainXmlError> {
    const HINT: &str = "write one as `uuidgen` prints it; a new one at each start would be another \
                        machine to the guest";
    let found = required(domain, "uuid", HINT)?;
    let bad = value(xml, found, "uuid", HINT);
    let uuid = uuid::Uuid::try_parse(&found.text()).map_err(|_| bad())?;
    VmUuid::try_from(uuid.hyphenated().to_string()).map_err(|_| bad())
}

fn memory_mib(domain: &Element, xml: &str) -> Result<u64, DomainXmlError> {
    const HINT: &str = "write a whole number of a unit that libvirt knows (KiB if none is named)";
    let found = required(domain, "memory", HINT)?;
    let bad = value(xml, found, "memory", HINT);
    let number: u64 = found.text().parse().map_err(|_| bad())?;
    let unit = found.attribute("unit").unwrap_or("KiB");
    // libvirt's own list (formatdomain, "Memory Allocation").
    let unit_bytes: u64 = match unit.to_ascii_lowercase().as_str() {
        "b" | "bytes" => 1,
        "kb" => 1_000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        "tb" => 1_000_000_000_000,
        "t" | "tib" => 1 << 40,
        _ => return Err(bad()),
    };
    let bytes = number.checked_mul(unit_bytes).ok_or_else(&bad)?;
    match bytes.div_ceil(1 << 20) {
        0 => Err(bad()),
        mib => Ok(mib),
    }
}

fn vcpus(domain: &Element, xml: &str) -> Result<u32, DomainXmlError> {
    // libvirt's own default.
    let Some(found) = domain.child("vcpu") else {
        return Ok(1);
    };
    match found.text().parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(value(xml, found, "vcpu", "write a whole number from 1")()),
    }
}

fn disk(disk: &Element) -> Disk {
    let source = disk.child("source");
    let path = source.and_then(|s| s.attribute("file").or_else(|| s.attribute("dev")));
    let target = disk.child("target").and_then(|t| t.attribute("dev"));
    Disk {
        target: target.unwrap_or_default().to_owned(),
        source: path.map(str::to_owned),
        read_only: is_read_only(disk),
    }
}

fn is_read_only(disk: &Element) -> bool {
    let device = disk.attribute("device").unwrap_or("disk");
    disk.child("readonly").is_some() || device == "cdrom"
}

/// An I/O error pauses the guest instead of reaching it: the guest would remount its file systems
/// read-only, and a restart elsewhere could not be told from damage. `none` keeps writes that the
/// guest was promised out of a host that may be lost. Whoever set something else keeps it.
fn protect_disk(disk: &mut Element) {
    let writable = !is_read_only(disk) && disk.attribute("device").unwrap_or("disk") == "disk";
    disk.edit_child("driver", |driver| {
        driver.default_attribute("error_policy", "stop");
        if writable {
            driver.default_attribute("cache", "none");
        }
    });
}

fn restamp(domain: &mut Element, stamp: &Stamp) {
    let scope = Element {
        attributes: domain.attributes.clone(),
        ..Element::default()
    };
    domain.edit_child("metadata", |metadata| {
        let outer = Element {
            attributes: metadata.attributes.clone(),
            ..Element::default()
        };
        metadata.children.retain(|node| match node {
            Node::Element(element) => !stamp::is_stamp(element, &outer, &scope),
            Node::Text(_) => true,
        });
        metadata.children.push(Node::Element(stamp.element(true)));
    });
}
