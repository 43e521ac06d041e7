//! `/etc/holdfast/manager.toml`: who this manager is, and where it finds etcd.
//!
//! ```toml
//! cluster = "prod"
//! name = "m-a"
//! site = "a"
//! listen = "192.0.2.11:7070"
//! [etcd]
//! endpoints = ["http://192.0.2.11:2379", "http://192.0.2.21:2379", "http://192.0.2.31:2379"]
//! ```
//! Everything that is not about this one daemon is cluster policy, kept in etcd.

use holdfast_strict::{FileError, TextError, read_checked};
use std::path::Path;

pub use holdfast_model::files::ManagerFile as Config;

/// Where the file is looked for if `--config` is not given.
pub const DEFAULT_PATH: &str = "/etc/holdfast/manager.toml";

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
name = "m-a"
site = "a"
listen = "127.0.0.1:7070"
[etcd]
endpoints = ["http://127.0.0.1:2379"]
"#;

    #[test]
    fn a_good_file_has_defaults() {
        let config = parse(GOOD, "manager.toml").expect("a good file");
        assert_eq!(config.etcd.call_timeout_ms, 1_500);
        assert_eq!(config.name.as_str(), "m-a");
        parse(include_str!("../packaging/manager.toml"), "manager.toml").expect("as shipped");
    }

    #[test]
    fn a_bad_file_is_refused_with_what_where_and_what_to_do() {
        let cases = [
            (
                "listen =",
                "lisen =",
                "line 4, column 1: unknown key `lisen`; did you mean `listen`?",
            ),
            (
                "listen = \"127.0.0.1:7070\"\n",
                "",
                "missing field `listen`; add `listen = …`",
            ),
            ("127.0.0.1:7070", "localhost", "line 4"),
            ("127.0.0.1:7070", "127.0.0.1:0", "line 4, column 1: port 0"),
            ("\"m-a\"", "\"m a\"", "manager name `m a` has ' ' in it"),
            ("\"prod\"", "7", "`cluster` is integer `7`, but has to be"),
            (
                "endpoints = [\"http://127.0.0.1:2379\"]",
                "endpoints = []",
                "line 6, column 1: `endpoints` is empty",
            ),
            (
                "http://127.0.0.1:2379",
                "127.0.0.1:2379",
                "write it as http://ADDRESS:2379",
            ),
            (
                "http://",
                "https://",
                "line 6, column 1: `https://127.0.0.1:2379`: TLS to etcd is not supported yet; \
                 write http://",
            ),
            ("1:2379", "1", "write it as http://ADDRESS:2379"),
            (
                "[etcd]\n",
                "[etcd]\ncall_timeout_ms = \"2s\"\n",
                "write `call_timeout_ms = 2000`",
            ),
            (
                "[etcd]\n",
                "[etcd]\ncall_timeout_ms = 2\n",
                "it is in milliseconds, not seconds",
            ),
            (
                "[etcd]\n",
                "[etcd]\ncall_timeout = 2\n",
                "did you mean `call_timeout_ms`?",
            ),
            (
                "[etcd]\n",
                "[fence_agents]\nfence_x = \"sbin/fence_x\"\n[etcd]\n",
                "`fence_x` is `sbin/fence_x`; give the whole path of the program",
            ),
            (
                "[etcd]\n",
                "[targets.hook]\nurl = \"hooks.example.net\"\n[etcd]\n",
                "line 6, column 1: [targets.hook] `url`: it does not begin with https:// or http://; write it as \
                 https://HOST/PATH",
            ),
            (
                "[etcd]\n",
                "[targets.hook]\nurl = \"https://h/\"\nuser = \"u\"\n[etcd]\n",
                "line 7, column 1: [targets.hook] `user` has no password; add `password_file",
            ),
            (
                "[etcd]\n",
                "[targets.hook]\nurl = \"https://h/\"\ntoken = \"t\"\n[etcd]\n",
                "unknown key `token`; did you mean `token_file`?",
            ),
            (
                "[etcd]\n",
                "[etdc]\n",
                "unknown key `etdc`; did you mean `etcd`?",
            ),
        ];
        for (part, instead, says) in cases {
            let text = GOOD.replace(part, instead);
            assert_ne!(text, GOOD, "the case `{part}` changes nothing");
            let error = parse(&text, "manager.toml").expect_err(instead).to_string();
            assert!(error.starts_with("manager.toml"), "{error}");
            assert!(
                error.contains(says),
                "{instead}\n said {error}\n not  {says}"
            );
        }
    }

    #[test]
    fn a_missing_file_says_how_to_name_one() {
        let error = load(Path::new("/nonexistent/manager.toml")).expect_err("no file");
        assert!(error.to_string().contains("--config FILE"), "{error}");
    }
}
