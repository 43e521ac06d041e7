//! `fence.toml`, beside `host.toml`: what this host's agent asks fencing devices of other hosts with.
//!
//! ```toml
//! [fence_agents]
//! fence_ipmilan = "/usr/sbin/fence_ipmilan"
//! ```
//! A file of its own: the guard reads `host.toml` as well, and locks into memory what it takes to read it.

use holdfast_model::files::FenceFile;
use holdfast_strict::{FileError, TextError, read_checked};
use std::path::Path;

/// Its name, in the directory of `host.toml`.
pub const NAME: &str = "fence.toml";

/// Reads and checks the one beside this `host.toml`; none is there: this host asks no devices.
pub fn load_beside(host_file: &Path) -> Result<Option<FenceFile>, FileError> {
    let path = host_file.with_file_name(NAME);
    match path.try_exists() {
        Ok(false) => Ok(None),
        // If it cannot be told, reading it tells why.
        Ok(true) | Err(_) => holdfast_strict::load(&path, parse).map(Some),
    }
}

/// Checks a text; `source` names it in errors.
fn parse(text: &str, source: &str) -> Result<FenceFile, TextError> {
    read_checked(text, source, |file: &FenceFile| {
        let fault = file.fault()?;
        Some((fault.key, fault.what, fault.advice))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_keys_of_manager_toml_and_their_checks() {
        let shipped = include_str!("../../../../packaging/fence.toml");
        let file = parse(shipped, NAME).expect("as shipped");
        assert!(file.fence_agents.is_empty() && file.targets.is_empty());
        let good = "[fence_agents]\nfence_x = \"/usr/sbin/fence_x\"\n\
                    [targets.board]\nurl = \"https://192.0.2.1\"\n";
        let file = parse(good, NAME).expect("a good file");
        assert_eq!((file.fence_agents.len(), file.targets.len()), (1, 1));
        for (text, says) in [
            ("fence_agent = {}\n", "did you mean `fence_agents`?"),
            (
                "[fence_agents]\nfence_x = \"fence_x\"\n",
                "give the whole path of the program",
            ),
            (
                "[targets.board]\nurl = \"192.0.2.1\"\n",
                "write it as https://HOST/PATH",
            ),
        ] {
            let error = parse(text, NAME).expect_err(text).to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn without_one_nothing_is_asked_and_a_bad_one_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let host_file = dir.path().join("host.toml");
        assert_eq!(load_beside(&host_file).expect("none is no fault"), None);
        std::fs::write(dir.path().join(NAME), "[fence_agents]\n").expect("written");
        assert!(load_beside(&host_file).expect("a good file").is_some());
        std::fs::write(dir.path().join(NAME), "x = 1\n").expect("written");
        let error = load_beside(&host_file)
            .expect_err("an unknown key")
            .to_string();
        assert!(error.contains("fence.toml, line 1"), "{error}");
    }
}
