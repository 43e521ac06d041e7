//! Extensions that check the lab's storage, as `[storage]` of `host.toml` names them. No I/O.

use crate::configs::quoted_list;
use crate::layout::{Layout, STORAGE_DIR};
use crate::storage::VOLUME;

/// Where GlusterFS's client shows what it is connected to.
const GRAPH: &str = ".meta/graphs/active";

/// By GlusterFS's own heal reader, at this path, and by the mount's own client.
pub fn by_gluster_check(layout: &Layout, glfsheal: &str) -> String {
    let volfile = format!("{STORAGE_DIR}/{GRAPH}/volfile");
    let heal = [glfsheal, VOLUME, "info-summary", "volfile-path", &volfile];
    let grep = ["/usr/bin/grep", "-H", "^connected"].map(String::from);
    let client: Vec<String> = grep.into_iter().chain(clients(layout)).collect();
    format!(
        "check = \"extension\"\nextension = \"gluster-check\"\n\n[storage.commands]\nheal = {}\n\
         client = {}\n",
        quoted_list(&heal.map(String::from)),
        quoted_list(&client)
    )
}

/// By what any storage has, and a command that ends with 1 when the mount's own client misses a copy.
pub fn by_storage_probe(layout: &Layout) -> String {
    let script = "/usr/bin/grep -H '^connected = 0' \"$@\"; \
                  case $? in 0) exit 1;; 1) exit 0;; *) exit 2;; esac";
    let shell = ["/bin/sh", "-c", script, "sh"].map(String::from);
    let command: Vec<String> = shell.into_iter().chain(clients(layout)).collect();
    // A lab's storage is as large as its disks, and as slow as a machine under test.
    format!(
        "check = \"extension\"\nextension = \"storage-probe\"\n\
         settings = {{ sync_command = \"replication\", min_free_mib = \"1\", max_read_ms = \"5000\" }}\n\n\
         [storage.commands]\nreplication = {}\n",
        quoted_list(&command)
    )
}

/// A file for each copy, with a line `connected = 0` or `1`.
fn clients(layout: &Layout) -> impl Iterator<Item = String> {
    let copies = layout.controls().count();
    (0..copies).map(|copy| format!("{STORAGE_DIR}/{GRAPH}/{VOLUME}-client-{copy}/private"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configs::{LEASE_VOLUME, host_toml_with};
    use crate::options::LabOptions;

    #[test]
    fn a_host_file_with_another_check() {
        let layout = Layout::new(1).unwrap();
        let machine = layout.machine("a1").unwrap();
        let checks = [
            (
                by_gluster_check(&layout, "/usr/lib/glusterfs/glfsheal"),
                "client",
            ),
            (by_storage_probe(&layout), "replication"),
        ];
        for (check, command) in checks {
            let text = host_toml_with(&layout, machine, &LabOptions::default(), &check);
            let host: toml::Table = text.parse().unwrap();
            assert_eq!(host["storage"]["check"].as_str(), Some("extension"));
            assert_eq!(host["storage"]["path"].as_str(), Some(STORAGE_DIR));
            let argv = host["storage"]["commands"][command].as_array().unwrap();
            let last = argv.last().unwrap().as_str().unwrap();
            assert!(last.ends_with("/hf-client-2/private"), "{last}");
            // What came after the section is still there.
            assert_eq!(host["lease"]["volume"].as_str(), Some(LEASE_VOLUME));
            assert_eq!(host["labels"]["rack"].as_str(), Some("a1"));
        }
    }

    /// What the command ends with, by the shell: 0 all connected, 1 one is not, 2 nobody can say.
    #[test]
    fn the_command_tells_a_copy_that_is_away() {
        let dir = tempfile::tempdir().unwrap();
        let host: toml::Table =
            format!("[storage]\n{}", by_storage_probe(&Layout::new(1).unwrap()))
                .parse()
                .unwrap();
        let argv = host["storage"]["commands"]["replication"]
            .as_array()
            .unwrap();
        let argv: Vec<&str> = argv.iter().map(|word| word.as_str().unwrap()).collect();
        let ends = |files: [&str; 2]| {
            let names = ["one", "two"].map(|name| dir.path().join(name));
            for (name, text) in names.iter().zip(files) {
                std::fs::write(name, text).unwrap();
            }
            let mut command = std::process::Command::new(argv[0]);
            command.args(&argv[1..4]).args(&names);
            command.output().unwrap().status.code()
        };
        assert_eq!(ends(["connected = 1\n", "connected = 1\n"]), Some(0));
        assert_eq!(ends(["connected = 1\n", "connected = 0\n"]), Some(1));
        let missing = dir.path().join("none");
        let mut command = std::process::Command::new(argv[0]);
        let ended = command.args(&argv[1..4]).arg(missing).output().unwrap();
        assert_eq!(
            ended.status.code(),
            Some(2),
            "it says nothing of what is not there"
        );
    }
}
