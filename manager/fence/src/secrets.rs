//! Secrets: files of this machine that only the daemon reads, never etcd's business.

use std::fmt;
use std::io::Read;
use std::path::Path;

/// Longest secret, in bytes.
const BYTES_MAX: u64 = 4_096;

/// A secret. It is not to be shown, and does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What it is: for whoever sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The first line of a file of the directory that `fence_secrets` says; it may have no other.
pub fn read(dir: &Path, file: &str) -> Result<Secret, String> {
    let path = dir.join(file);
    let place = path.display();
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(&path)?;
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| {
        format!(
            "cannot read the secret {place}: {error}; put it there for the daemon's user, or correct \
             `fence_secrets`"
        )
    })?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!(
            "the secret {place} has more than {BYTES_MAX} bytes"
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("the secret {place} is no text"))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    match secret.contains(char::is_control) {
        true => Err(format!("the secret {place} has more than one line")),
        false => Ok(Secret(secret.to_owned())),
    }
}
