//! What Holdfast needs to know of a libvirt domain: name, UUID, memory, vCPUs, disks. Everything
//! else is libvirt's business and passes through untouched.

use holdfast_model::id::VmUuid;
use holdfast_strict::place_of;
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use std::str::FromStr;

/// A domain, as far as Holdfast looks into it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainXml {
    /// `<name>`.
    pub name: Option<String>,
    /// `<uuid>`, in lower case with dashes.
    pub uuid: Option<VmUuid>,
    /// `<memory>` in MiB, rounded up.
    pub memory_mib: Option<u64>,
    /// `<vcpu>`.
    pub vcpus: Option<u32>,
    /// Files, devices and volumes its disks are on.
    pub disks: Vec<String>,
    /// Byte offset behind `</name>`: where a `<uuid>` can be put.
    after_name: Option<usize>,
}

/// Why a domain XML is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("domain XML, line {line}, column {column}: {what}")]
pub struct XmlError {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

impl DomainXml {
    /// Reads a domain. Refuses what is not well-formed and numbers that make no sense.
    pub fn parse(xml: &str) -> Result<Self, XmlError> {
        let mut reader = Reader::from_str(xml);
        let mut walk = Walk::default();
        loop {
            let start = offset(reader.buffer_position());
            let fail = |what: String, at: usize| {
                let (line, column) = place_of(xml, at);
                XmlError { line, column, what }
            };
            let event = reader
                .read_event()
                .map_err(|error| fail(error.to_string(), offset(reader.error_position())))?;
            let step = match event {
                Event::Start(tag) => walk.open(&tag),
                Event::Empty(tag) => {
                    let opened = walk.open(&tag);
                    opened.and_then(|()| walk.close(offset(reader.buffer_position())))
                }
                Event::End(_) => walk.close(offset(reader.buffer_position())),
                Event::Text(text) => walk.text(&text),
                Event::CData(text) => walk.text(&text),
                // Kept as it stands: no name, number or UUID needs one, so it is refused there.
                Event::GeneralRef(entity) => walk.text(&format!("&{};", &*entity)),
                Event::Eof => break,
                _ => Ok(()),
            };
            step.map_err(|what| fail(what, start))?;
        }
        let end = |what: String| {
            let (line, column) = place_of(xml, xml.len());
            XmlError { line, column, what }
        };
        if let Some(open) = walk.path.last() {
            return Err(end(format!("it ends inside <{open}>; add </{open}>")));
        }
        if !walk.seen_root {
            return Err(end(
                "it is empty; give a libvirt <domain> (virsh dumpxml NAME)".into(),
            ));
        }
        Ok(walk.found)
    }

    /// `xml` with this UUID behind its name. `None` if it has no name to put it behind.
    pub fn with_uuid(&self, xml: &str, uuid: &VmUuid) -> Option<String> {
        let at = self.after_name?;
        let (head, tail) = (xml.get(..at)?, xml.get(at..)?);
        Some(format!("{head}<uuid>{uuid}</uuid>{tail}"))
    }
}

fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Where in the document we are, and what was found so far.
#[derive(Default)]
struct Walk {
    path: Vec<String>,
    seen_root: bool,
    unit: Option<String>,
    text: String,
    found: DomainXml,
}

impl Walk {
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        let name = tag.name().as_ref().to_owned();
        if self.path.is_empty() {
            if self.seen_root {
                return Err(format!(
                    "<{name}> comes after the end of the domain; remove it"
                ));
            }
            if name != "domain" {
                return Err(format!("this is a <{name}>, not a libvirt <domain>"));
            }
            self.seen_root = true;
        }
        self.path.push(name);
        self.text.clear();
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["domain", "memory"] => self.unit = attribute(tag, &["unit"])?,
            ["domain", "devices", "disk", "source"] => {
                let keys = ["file", "dev", "volume", "name", "dir"];
                self.found.disks.extend(attribute(tag, &keys)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        if self.path.is_empty() && !text.trim().is_empty() {
            return Err(format!(
                "text outside of the domain: `{}`; remove it",
                text.trim().chars().take(20).collect::<String>()
            ));
        }
        self.text.push_str(text);
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), String> {
        let text = std::mem::take(&mut self.text);
        let text = text.trim();
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["domain", "name"] => {
                once("name", &mut self.found.name, text.to_owned())?;
                self.found.after_name = Some(end);
            }
            ["domain", "uuid"] => once("uuid", &mut self.found.uuid, uuid(text)?)?,
            ["domain", "memory"] => {
                let memory_mib = mebibytes(text, self.unit.as_deref())?;
                once("memory", &mut self.found.memory_mib, memory_mib)?;
            }
            ["domain", "vcpu"] => {
                let count = text
                    .parse()
                    .map_err(|_| format!("<vcpu> is `{text}`, not a number"));
                once("vcpu", &mut self.found.vcpus, count?)?;
            }
            _ => {}
        }
        self.path.pop();
        Ok(())
    }
}

/// Of two, libvirt would take one and Holdfast perhaps the other.
fn once<T>(tag: &str, slot: &mut Option<T>, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("a second <{tag}> of the domain; keep one of them")),
    }
}

/// The first of these attributes that the tag has. Broken attributes are errors.
fn attribute(tag: &BytesStart<'_>, keys: &[&str]) -> Result<Option<String>, String> {
    let mut values = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| error.to_string())?;
        let key = attribute.key.as_ref().to_owned();
        values.push((key, value.into_owned()));
    }
    Ok(keys.iter().find_map(|key| {
        let found = values.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.clone())
    }))
}

/// A UUID in whatever spelling libvirt accepts, as Holdfast keeps it.
pub fn uuid(text: &str) -> Result<VmUuid, String> {
    let parsed = uuid::Uuid::parse_str(text)
        .map_err(|_| format!("<uuid> is `{text}`, which is no UUID; make one with `uuidgen`"))?;
    if parsed.is_nil() {
        return Err("<uuid> is all zeros; make one with `uuidgen`".to_owned());
    }
    VmUuid::from_str(&parsed.hyphenated().to_string()).map_err(|error| error.to_string())
}

/// `<memory unit='…'>` in MiB, rounded up; libvirt's default unit is KiB.
fn mebibytes(text: &str, unit: Option<&str>) -> Result<u64, String> {
    let number: u64 = text
        .parse()
        .map_err(|_| format!("<memory> is `{text}`, not a whole number"))?;
    let bytes: u64 = match unit.unwrap_or("KiB") {
        "b" | "bytes" => 1,
        "KB" => 1_000,
        "k" | "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "M" | "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "G" | "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "T" | "TiB" => 1 << 40,
        other => return Err(format!("<memory unit='{other}'>: use KiB, MiB or GiB")),
    };
    Ok(number.saturating_mul(bytes).div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "<?xml version='1.0'?>
<domain type='qemu'>
  <name>web1</name>
  <uuid>6BA7B810-9DAD-11D1-80B4-00C04FD430C8</uuid>
  <memory unit='KiB'>131073</memory>
  <vcpu placement='static'>2</vcpu>
  <devices>
    <disk type='file' device='disk'><source file='/srv/a &amp; b.qcow2'/><target dev='vda'/></disk>
    <disk type='block'><source dev='/dev/vg/data'/></disk>
    <interface><source network='default'/></interface>
  </devices>
</domain>
";

    #[test]
    fn the_needed_parts_are_found() {
        let domain = DomainXml::parse(GOOD).expect("well-formed");
        assert_eq!(domain.name.as_deref(), Some("web1"));
        let uuid = domain.uuid.expect("a UUID");
        assert_eq!(uuid.as_str(), "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
        assert_eq!(domain.memory_mib, Some(129));
        assert_eq!(domain.vcpus, Some(2));
        assert_eq!(domain.disks, ["/srv/a & b.qcow2", "/dev/vg/data"]);
    }

    #[test]
    fn a_uuid_is_put_behind_the_name() {
        let xml = GOOD.replace("  <uuid>6BA7B810-9DAD-11D1-80B4-00C04FD430C8</uuid>\n", "");
        let domain = DomainXml::parse(&xml).expect("well-formed");
        assert_eq!(domain.uuid, None);
        let uuid = uuid("12345678-1234-1234-1234-123456789abc").expect("a UUID");
        let with = domain.with_uuid(&xml, &uuid).expect("it has a name");
        assert_eq!(
            DomainXml::parse(&with).expect("still well-formed").uuid,
            Some(uuid)
        );
    }

    #[test]
    fn broken_xml_is_refused_with_its_place() {
        let cases = [
            (
                "<vcpu placement='static'>2</vcpu>",
                "<vcpu>2</cpu>",
                "line 6, column",
            ),
            ("</domain>\n", "", "it ends inside <domain>; add </domain>"),
            (
                "<domain type='qemu'>",
                "<network>",
                "line 2, column 1: this is a <network>",
            ),
            (
                "</domain>\n",
                "</domain>\n<domain/>",
                "line 13, column 1: <domain> comes after",
            ),
            (
                "<name>web1</name>",
                "<name>web1</name><name>web2</name>",
                "line 3, column 30: a second <name> of the domain; keep one of them",
            ),
            (
                "<devices>",
                "<uuid>11111111-2222-3333-4444-555555555555</uuid><devices>",
                "line 7, column 45: a second <uuid>",
            ),
            ("</domain>\n", "</domain> x", "text outside of the domain"),
            (">2<", ">two<", "line 6, column 31: <vcpu> is `two`"),
            ("'KiB'", "'Kibble'", "use KiB, MiB or GiB"),
            ("131073", "much", "<memory> is `much`"),
            ("6BA7B810-", "", "make one with `uuidgen`"),
            (
                "<source dev='/dev/vg/data'/>",
                "<source dev=/dev/vg/data />",
                "line 9",
            ),
        ];
        for (part, instead, says) in cases {
            let xml = GOOD.replace(part, instead);
            assert_ne!(xml, GOOD, "the case `{part}` changes nothing");
            let error = DomainXml::parse(&xml).expect_err(instead).to_string();
            assert!(
                error.contains(says),
                "{instead}\n said {error}\n not  {says}"
            );
        }
        let error = DomainXml::parse("").expect_err("empty").to_string();
        assert!(error.contains("virsh dumpxml"), "{error}");
    }
}
