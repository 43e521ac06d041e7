use super::stamp::{Phase, Stamp, find};
use super::*;
use holdfast_model::id::Generation;

const UUID: &str = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0";

fn stamp() -> Stamp {
    Stamp {
        cluster: "c1".parse().expect("a name"),
        vm: "web-1".parse().expect("a name"),
        generation: Generation(7),
        incarnation: "i-1".parse().expect("a name"),
        phase: Phase::Created,
    }
}

fn domain(inside: &str) -> String {
    format!(
        "<domain type='kvm' id='3'>\n <name>web</name>\n <uuid>{UUID}</uuid>\n \
         <memory unit='MiB'>96</memory>\n <vcpu placement='static'>2</vcpu>\n{inside}</domain>"
    )
}

#[test]
fn a_definition_is_read() {
    let xml = domain(
        "<devices>
           <disk type='file' device='disk'><source file='/s/a&amp;b.qcow2'/>
             <target dev='vda'/></disk>
           <disk type='block' device='disk'><driver name='qemu' cache='writeback'/>
             <source dev='/dev/x'/><target dev='vdb'/><readonly/></disk>
           <disk type='file' device='cdrom'><target dev='sda'/></disk>
           <interface type='bridge'><source bridge='br0'/></interface>
           <interface type='network'><source network='lan'/></interface>
         </devices>",
    );
    let definition = read(&xml).expect("a usable definition");
    assert_eq!(definition.name, "web");
    assert_eq!(definition.uuid.as_str(), UUID);
    assert_eq!((definition.memory_mib, definition.vcpus), (96, 2));
    assert_eq!(definition.bridges, ["br0", "lan"]);
    let disks: Vec<_> = definition
        .disks
        .iter()
        .map(|d| (d.target.as_str(), d.source.as_deref(), d.read_only))
        .collect();
    assert_eq!(
        disks,
        [
            ("vda", Some("/s/a&b.qcow2"), false),
            ("vdb", Some("/dev/x"), true),
            ("sda", None, true)
        ]
    );
}

#[test]
fn memory_is_read_in_every_unit_and_rounded_up() {
    for (text, mib) in [
        ("<memory>1024</memory>", 1),
        ("<memory unit='KiB'>1025</memory>", 2),
        ("<memory unit='G'>2</memory>", 2048),
        ("<memory unit='MB'>1</memory>", 1),
        ("<memory unit='b'>1</memory>", 1),
    ] {
        let xml = domain("").replace("<memory unit='MiB'>96</memory>", text);
        assert_eq!(read(&xml).map(|d| d.memory_mib), Ok(mib), "{text}");
    }
}

#[test]
fn what_is_started_is_stamped_and_protected() {
    let old = "<metadata><app:x xmlns:app='urn:app'>keep &lt;me&gt;</app:x>
        <h:vm xmlns:h='https://holdfast.dev/xmlns/domain/1' vm='old' generation='1'/></metadata>
        <devices><disk type='file' device='disk'><source file='/s/a'/><target dev='vda'/></disk>
        <disk type='file' device='disk'><driver error_policy='report' cache='unsafe'/></disk>
        <disk type='file' device='cdrom'><target dev='sda'/></disk></devices>";
    let uuid = UUID.parse().expect("a UUID");
    let xml = prepare(&domain(old), &uuid, &stamp()).expect("a usable definition");
    let tree = tree::parse(&xml).expect("what was written can be read");
    assert_eq!(tree.attribute("id"), None);
    assert_eq!(tree.attribute("type"), Some("kvm"));
    let found = find(&tree).expect("a stamp");
    assert_eq!(Stamp::of_element(found), Ok(stamp()));
    let metadata = tree.child("metadata").expect("metadata");
    assert_eq!(metadata.elements().count(), 2, "the old stamp is gone");
    let other = metadata.child("app:x").expect("other metadata is kept");
    assert_eq!(other.text(), "keep <me>");
    let devices = tree.child("devices").expect("devices");
    let drivers: Vec<_> = devices
        .elements()
        .map(|disk| {
            let driver = disk.child("driver").expect("a driver");
            (driver.attribute("error_policy"), driver.attribute("cache"))
        })
        .collect();
    assert_eq!(
        drivers,
        [
            (Some("stop"), Some("none")),
            (Some("report"), Some("unsafe")),
            (Some("stop"), None)
        ]
    );
    let again = prepare(&xml, &uuid, &stamp()).expect("its own output");
    assert_eq!(again, xml, "preparing twice changes nothing");
}

#[test]
fn the_definition_of_another_vm_is_refused() {
    let other = "00000000-0000-0000-0000-000000000001"
        .parse()
        .expect("a UUID");
    let error = prepare(&domain(""), &other, &stamp()).expect_err("another UUID");
    assert!(matches!(error, DomainXmlError::OtherUuid { .. }), "{error}");
}

#[test]
fn hostile_and_broken_input_is_refused_with_its_place() {
    let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
    let wide = format!("<domain>{}</domain>", "<a/>".repeat(30_000));
    let bomb = "<!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>\n<domain>&b;</domain>";
    let big = format!("<domain>{}</domain>", "x".repeat(2_000_000));
    for (name, xml, says) in [
        ("empty", String::new(), "no element"),
        ("not XML", "hello".into(), "line 1"),
        ("unclosed", "<domain>\n<name>x".into(), "of line 2"),
        ("wrong end", "<domain>\n  <a></b></domain>".into(), "line 2"),
        ("two roots", "<domain/><domain/>".into(), "column 10"),
        ("text after", "<domain/>x".into(), "outside"),
        ("entity", "<domain>\n&evil;</domain>".into(), "line 2"),
        ("attribute twice", "<domain a='1' a='2'/>".into(), "line 1"),
        ("bomb", bomb.into(), "document type"),
        ("deep", deep, "nested"),
        ("wide", wide, "elements"),
        ("big", big, "bytes"),
        ("root", "<network/>".into(), "<network>"),
        (
            "no name",
            domain("").replace("<name>web</name>", ""),
            "no <name>",
        ),
        ("slash", domain("").replace(">web<", ">a/b<"), "line 2"),
        (
            "no uuid",
            domain("").replace(&format!("<uuid>{UUID}</uuid>"), ""),
            "no <uuid>",
        ),
        ("bad uuid", domain("").replace(UUID, "xyz"), "line 3"),
        (
            "no memory",
            domain("").replace("memory", "m"),
            "no <memory>",
        ),
        ("zero memory", domain("").replace(">96<", ">0<"), "line 4"),
        (
            "memory overflow",
            domain("").replace(">96<", ">99999999999999999<"),
            "line 4",
        ),
        ("bad unit", domain("").replace("MiB", "furlong"), "line 4"),
        ("no vcpu", domain("").replace(">2<", ">none<"), "line 5"),
    ] {
        let error = read(&xml).expect_err(name).to_string();
        assert!(error.contains(says), "{name}: {error}");
        assert!(error.len() < 400, "{name}: an error is short: {error}");
    }
}

#[test]
fn attribute_text_survives_writing() {
    let xml = "<domain a='x&#10;y&amp;&quot;&lt;'>t &amp; &lt;u&gt;<![CDATA[<raw>]]></domain>";
    let tree = tree::parse(xml).expect("XML");
    assert_eq!(tree.attribute("a"), Some("x\ny&\"<"));
    assert_eq!(tree.text(), "t & <u><raw>");
    let again = tree::parse(&tree.write()).expect("XML");
    assert_eq!(again.attributes, tree.attributes);
    assert_eq!(again.children, tree.children);
}

#[test]
fn a_stamp_is_read_as_libvirt_returns_it() {
    let started = Stamp {
        phase: Phase::Started,
        ..stamp()
    };
    for one in [stamp(), started] {
        assert_eq!(Stamp::read(&one.element(true).write()), Ok(one.clone()));
        assert_eq!(Stamp::read(&one.element(false).write()), Ok(one));
    }
    for bad in [
        "<vm/>",
        "<x cluster='c'/>",
        "<vm cluster='c' vm='v' generation='-1' incarnation='i'/>",
        "<vm cluster='c' vm='a b' generation='1' incarnation='i'/>",
    ] {
        assert!(Stamp::read(bad).is_err(), "{bad}");
    }
}
