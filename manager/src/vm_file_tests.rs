use super::*;
use holdfast_strict::{Format, read};

const XML: &str = "<domain><name>web1</name><memory unit='MiB'>64</memory>\
                   <uuid>11111111-2222-3333-4444-555555555555</uuid></domain>";

fn fresh() -> VmUuid {
    crate::domain_xml::uuid("99999999-2222-3333-4444-555555555555").expect("a UUID")
}

fn file(xml: &str) -> VmFile {
    VmFile {
        domain_xml: Some(xml.to_owned()),
        ..VmFile::default()
    }
}

#[test]
fn the_xml_fills_in_what_the_file_leaves_out() {
    let spec = file(XML).spec(None, None, &fresh()).expect("good");
    assert_eq!((spec.memory_mib, spec.vcpus, spec.run), (64, 1, true));
    assert_eq!(spec.name.as_str(), "web1");
    assert_eq!(spec.uuid.as_str(), "11111111-2222-3333-4444-555555555555");
}

#[test]
fn a_vm_without_a_uuid_gets_one_and_keeps_it() {
    let xml = "<domain><name>web1</name><memory>65536</memory></domain>";
    let spec = file(xml).spec(None, None, &fresh()).expect("good");
    assert!(
        spec.domain_xml.contains(fresh().as_str()),
        "{}",
        spec.domain_xml
    );
    let other = crate::domain_xml::uuid("88888888-2222-3333-4444-555555555555").expect("one");
    let again = file(xml).spec(None, Some(&spec), &other).expect("good");
    assert_eq!(again, spec);
}

#[test]
fn what_is_left_out_keeps_its_value_and_a_start_counts() {
    let mut present = file(XML).spec(None, None, &fresh()).expect("good");
    present.priority = 7;
    present.run = false;
    let same = VmFile::default()
        .spec(None, Some(&present), &fresh())
        .expect("good");
    assert_eq!(same, present);
    let start = VmFile {
        run: Some(true),
        ..VmFile::default()
    };
    let started = start.spec(None, Some(&present), &fresh()).expect("good");
    assert_eq!((started.run, started.run_serial), (true, 1));
}

#[test]
fn bad_definitions_say_what_to_do() {
    let long = "x".repeat(300);
    let cases = [
        (
            r#"domain_xml = "<domain>""#.to_owned(),
            "it ends inside <domain>",
        ),
        (
            r#"name = "web2""#.to_owned() + "\ndomain_xml = \"XML\"",
            "names the VM `web2`",
        ),
        (
            r#"name = "web 1""#.to_owned() + "\ndomain_xml = \"XML\"",
            "has ' ' in it",
        ),
        (
            r#"name = "web/1""#.to_owned() + "\ndomain_xml = \"XML\"",
            "has '/' in it",
        ),
        (
            format!("name = \"{long}\"\ndomain_xml = \"XML\""),
            "has 300 characters",
        ),
        (
            "memory_mib = 0\ndomain_xml = \"XML\"".to_owned(),
            "`memory_mib` is 0",
        ),
        (
            "vcpus = 0\ndomain_xml = \"XML\"".to_owned(),
            "`vcpus` is 0; give 1 or more",
        ),
        (
            "site_rule = \"must\"\ndomain_xml = \"XML\"".to_owned(),
            "needs a `preferred_site`",
        ),
        ("priority = 1".to_owned(), "virsh dumpxml"),
        (
            "domain_xml_file = \"x.xml\"".to_owned(),
            "command line only",
        ),
    ];
    for (text, says) in cases {
        let text = text.replace("XML", XML);
        let file: VmFile = read(&text, Format::Toml, "vm.toml").expect("readable");
        let error = file
            .spec(None, None, &fresh())
            .expect_err(&text)
            .to_string();
        assert!(error.contains(says), "{text}\n said {error}\n not  {says}");
    }
    let error = read::<VmFile>("memory_mb = 5", Format::Toml, "vm.toml").expect_err("unknown");
    assert!(
        error.to_string().contains("did you mean `memory_mib`"),
        "{error}"
    );
}

#[test]
fn a_site_has_to_be_there_and_run_vms() {
    let policy: Policy = read(
        "[[sites]]\nname=\"north\"\n[[sites]]\nname=\"south\"\n\
         [[sites]]\nname=\"w\"\nwitness=true\n",
        Format::Toml,
        "policy.toml",
    )
    .expect("a policy");
    let mut spec = file(XML).spec(None, None, &fresh()).expect("good");
    for (site, says) in [
        ("nroth", "did you mean `north`?"),
        ("w", "it is the witness); use north or south"),
        ("east", "; use north or south"),
    ] {
        spec.preferred_site = SiteName::from_str(site).ok();
        let error = check_site(&spec, Some(&policy))
            .expect_err(site)
            .to_string();
        assert!(error.contains(says), "{error}");
    }
    spec.preferred_site = SiteName::from_str("south").ok();
    assert_eq!(check_site(&spec, Some(&policy)), Ok(()));
}

#[test]
fn what_an_io_error_means_is_kept_and_given_back_to_the_policy() {
    let text = |rule: &str| format!("domain_xml = {XML:?}\non_io_error = \"{rule}\"\n");
    let read = |rule: &str| read::<VmFile>(&text(rule), Format::Toml, "web1.toml");
    let spec = |rule: &str, present: Option<&VmSpec>| {
        let file = read(rule).expect("a VM's file");
        file.spec(None, present, &fresh()).expect("good")
    };
    let mut policy = Policy::default();
    policy.storage.on_io_error = OnIoError::Leave;
    for (rule, then) in [
        ("restart", OnIoError::Restart),
        ("resume", OnIoError::Resume),
        ("leave", OnIoError::Leave),
    ] {
        let own = spec(rule, None);
        assert_eq!(own.on_io_error(&policy), then, "{rule}");
        let kept = file(XML).spec(None, Some(&own), &fresh()).expect("good");
        assert_eq!(kept, own, "{rule}");
        let back = spec("policy", Some(&own));
        assert_eq!(back.on_io_error, None);
        assert_eq!(back.on_io_error(&policy), OnIoError::Leave);
    }
    assert!(read("retry").is_err());
    // What an older version wrote says nothing of it, and what says nothing of it is written as before.
    let old = serde_json::to_value(file(XML).spec(None, None, &fresh()).expect("good"));
    let old = old.expect("JSON");
    assert_eq!(old.get("on_io_error"), None);
    let read: VmSpec = serde_json::from_value(old).expect("an older record");
    assert_eq!(read.on_io_error, None);
}
