//! `/etc/holdfast/host.toml`: which host this is, and where it finds etcd, libvirt and the guard.
//! The agent and the guard read the same file.
//!
//! ```toml
//! cluster = "prod"
//! name = "a1"
//! site = "a"
//! [etcd]
//! endpoints = ["http://192.0.2.11:2379", "http://192.0.2.21:2379", "http://192.0.2.31:2379"]
//! [libvirt]
//! migrate_address = "192.0.2.11"
//! ```
//! Everything that is not about this one host is cluster policy, kept in etcd.

use holdfast_model::files;
use holdfast_strict::{FileError, TextError, read_checked};
use std::path::Path;

pub use files::{
    CapacitySection, HostFile as Config, StorageCheck, StorageSection, WatchdogKind,
    WatchdogSection,
};

/// Where the file is looked for if `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/holdfast/host.toml";

/// Reads and checks the file.
pub fn load(path: &Path) -> Result<Config, FileError> {
    holdfast_strict::load(path, parse)
}

/// Checks a text; `source` names it in errors.
pub fn parse(text: &str, source: &str) -> Result<Config, TextError> {
    read_checked(text, source, |config: &Config| {
        let fault = config.fault()?;
        Some((fault.key, fault.what, fault.advice))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"cluster = "prod"
name = "a1"
site = "a"
[etcd]
endpoints = ["http://127.0.0.1:2379"]
[libvirt]
migrate_address = "192.0.2.1"
"#;

    #[test]
    fn a_good_file_has_defaults() {
        let config = parse(GOOD, "host.toml").expect("a good file");
        assert_eq!(config.libvirt.uri, "qemu:///system");
        assert_eq!(config.run_dir, Path::new("/run/holdfast"));
        assert_eq!(config.storage.check, StorageCheck::None);
        assert_eq!(config.etcd.call_timeout_ms, 1_500);
        assert_eq!(config.guard.watchdog.kind, WatchdogKind::None);
        assert_eq!(config.guard.watchdog.timeout_s, 10);
        assert!(config.probe.enabled && config.probe.address.is_none());
    }

    #[test]
    fn a_section_whose_keys_all_have_defaults_may_be_empty() {
        let without = parse(GOOD, "host.toml").expect("a good file");
        let text = format!("{GOOD}[guard]\n[guard.watchdog]\n[capacity]\n[storage]\n");
        assert_eq!(parse(&text, "host.toml"), Ok(without));
    }

    #[test]
    fn the_shipped_file_is_good_and_a_fault_in_it_is_found_where_it_is() {
        let shipped = include_str!("../packaging/host.toml");
        parse(shipped, "host.toml").expect("a good file");
        // The words before it mention the key.
        let text = shipped.replace("#check = \"none\"", "check = \"gluster\"");
        let line = 1 + text
            .lines()
            .take_while(|l| !l.starts_with("check ="))
            .count();
        let error = parse(&text, "host.toml").expect_err("no path").to_string();
        let says = format!("host.toml, line {line}, column 1: there is no path to check; add");
        assert!(error.starts_with(&says), "{error}");
    }

    #[test]
    fn a_bad_file_is_refused_with_what_where_and_what_to_do() {
        for (part, instead, says) in [
            (
                "site",
                "sit",
                "line 3, column 1: unknown key `sit`; did you mean `site`?",
            ),
            ("[libvirt]", "[libvrt]", "did you mean `libvirt`?"),
            ("\"a1\"", "\"a 1\"", "host name `a 1` has ' ' in it"),
            (
                "[\"http://127.0.0.1:2379\"]",
                "[]",
                "line 5, column 1: `endpoints` is empty",
            ),
            ("http://127", "127", "write it as http://ADDRESS:2379"),
            (
                "http://127",
                "https://127",
                "line 5, column 1: `https://127.0.0.1:2379`: TLS to etcd is not supported yet; \
                 write http://",
            ),
            ("0.0.1:2379", "0.0.1", "write it as http://ADDRESS:2379"),
            (
                "[libvirt]",
                "call_timeout_s = 2\n[libvirt]",
                "did you mean `call_timeout_ms`? It is in milliseconds.",
            ),
            ("[libvirt]", "call_timeout_ms = 2\n[libvirt]", "not seconds"),
            ("\"192.0.2.1\"", "\"\"", "line 7, column 1"),
            (
                "migrate_address = \"192.0.2.1\"\n",
                "",
                "add `migrate_address = …`",
            ),
            (
                "[libvirt]",
                "[storage]\ncheck = \"statvfs\"\n[libvirt]",
                "there is no path to check",
            ),
            (
                "[libvirt]",
                "[guard.watchdog]\nkind = \"owm\"\n[libvirt]",
                "did you mean `own`?",
            ),
            (
                "[libvirt]",
                "[probe]\naddress = \"0.0.0.0:7071\"\n[libvirt]",
                "give one of this host's addresses",
            ),
            (
                "[libvirt]",
                "[guard.watchdog]\nkind = \"own\"\ntimeout_s = 10000\n[libvirt]",
                "line 8, column 1: `timeout_s` is 10000 seconds; use 2 to 300",
            ),
            (
                "[libvirt]",
                "[storage]\ncheck = \"glustre\"\n[libvirt]",
                "did you mean `gluster`?",
            ),
            (
                "[libvirt]",
                "[storage]\ncheck = \"extension\"\npath = \"/srv\"\n[libvirt]",
                "line 7, column 1: there is no extension that could check it; add `extension = \"NAME\"`",
            ),
            (
                "[libvirt]",
                "[storage]\nextension = \"probe\"\n[libvirt]",
                "line 7, column 1: `probe` is not asked: `check` says otherwise; write `check = \"extension\"`",
            ),
            (
                "[libvirt]",
                "[storage]\nextention = \"probe\"\n[libvirt]",
                "unknown key `extention`; did you mean `extension`?",
            ),
            (
                "[libvirt]",
                "[storage]\nsettings = { max_read_ms = 500 }\n[libvirt]",
                "line 7",
            ),
            (
                "[libvirt]",
                "[storage]\npath = \"srv\"\n[libvirt]",
                "line 7, column 1: `path` is `srv`; give the whole path",
            ),
            (
                "[libvirt]",
                "[storage.paths]\nmeta = \"srv/meta\"\n[libvirt]",
                "`meta` is `srv/meta`; give the whole path",
            ),
            (
                "[libvirt]",
                "[storage.paths]\nstorage = \"/srv\"\n[libvirt]",
                "`storage` is the name of `path` itself",
            ),
            (
                "[libvirt]",
                "[storage.paths]\n\"a b\" = \"/srv\"\n[libvirt]",
                "`a b` has ' ' in it",
            ),
            (
                "[libvirt]",
                "[storage.commands]\nheal = [\"gluster\", \"heal\"]\n[libvirt]",
                "`heal` begins with `gluster`; write the program's whole path",
            ),
            (
                "[libvirt]",
                "[storage.commands]\nheal = []\n[libvirt]",
                "`heal` has no words",
            ),
            (
                "[libvirt]",
                "[storage.commands]\nheal = \"/usr/sbin/gluster heal\"\n[libvirt]",
                "line 7",
            ),
            (
                "[libvirt]",
                "[capacity]\nmemory_mib = \"2GiB\"\n[libvirt]",
                "write `memory_mib = 2048`",
            ),
        ] {
            let text = GOOD.replacen(part, instead, 1);
            assert_ne!(text, GOOD, "the case `{part}` changes nothing");
            let error = parse(&text, "host.toml").expect_err(instead).to_string();
            assert!(error.starts_with("host.toml"), "{error}");
            assert!(
                error.contains(says),
                "{instead}\n said {error}\n not  {says}"
            );
        }
    }
}
