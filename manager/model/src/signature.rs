//! Who vouches for an extension: a signature over its component and its manifest, and the keys that operators trust.
//!
//! Ed25519 (RFC 8032): keys of 32 bytes, signatures of 64, both in hexadecimal wherever people see them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What a public key begins with where it is written down, so that nobody takes it for another kind of key.
const ALGORITHM: &str = "ed25519:";

/// Why a text is no key or signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureTextError {
    /// It names no kind of key, or another one.
    #[error(
        "`{0}` is not a public key; it begins with `{ALGORITHM}` (`holdfast ext keygen` prints one)"
    )]
    Algorithm(String),
    /// Too few digits, too many, or none.
    #[error("{what} has {wanted} digits out of 0-9 a-f, and this one has not; copy it whole")]
    Digits {
        /// What it is.
        what: &'static str,
        /// How many it has.
        wanted: usize,
    },
}

/// The public key of who signs extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub [u8; 32]);

/// A signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature(pub [u8; 64]);

/// What comes with an extension that is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Its manifest, to the byte: what it was read into is written in many ways.
    pub manifest: String,
    /// Who says that it is theirs.
    pub key: PublicKey,
    /// Over the component and this manifest.
    pub signature: Signature,
}

impl FromStr for PublicKey {
    type Err = SignatureTextError;

    fn from_str(text: &str) -> Result<Self, SignatureTextError> {
        let digits = text
            .strip_prefix(ALGORITHM)
            .ok_or_else(|| SignatureTextError::Algorithm(start(text)))?;
        bytes(digits).map(Self).ok_or(SignatureTextError::Digits {
            what: "a public key",
            wanted: 64,
        })
    }
}

impl FromStr for Signature {
    type Err = SignatureTextError;

    fn from_str(text: &str) -> Result<Self, SignatureTextError> {
        bytes(text).map(Self).ok_or(SignatureTextError::Digits {
            what: "a signature",
            wanted: 128,
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", digits(&self.0))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digits(&self.0))
    }
}

impl PublicKey {
    /// Enough of it to tell it from others, for people.
    pub fn short(&self) -> String {
        format!("{ALGORITHM}{}…", digits(&self.0[..6]))
    }
}

macro_rules! text {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = SignatureTextError;

            fn try_from(text: String) -> Result<Self, SignatureTextError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(it: $type) -> String {
                it.to_string()
            }
        }
    };
}

text!(PublicKey);
text!(Signature);

impl JsonSchema for PublicKey {
    fn schema_name() -> Cow<'static, str> {
        "PublicKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "public key, as `holdfast ext keygen` prints it",
            "type": "string",
            "pattern": "^ed25519:[0-9a-f]{64}$",
        })
    }
}

/// The first characters of what may be long, or no text at all.
fn start(text: &str) -> String {
    text.chars().take(20).collect()
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let small = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * N || !digits.as_bytes().iter().all(small) {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_signatures_are_written_and_read() {
        let mut key = PublicKey([0; 32]);
        key.0[0] = 0xab;
        key.0[31] = 9;
        let text = key.to_string();
        assert_eq!(text, format!("ed25519:ab{}09", "00".repeat(30)));
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(key.short(), "ed25519:ab0000000000…");
        let signature = Signature([0x5a; 64]);
        assert_eq!(signature.to_string(), "5a".repeat(64));
        assert_eq!(signature.to_string().parse(), Ok(signature));
    }

    #[test]
    fn what_is_none_is_refused_with_what_to_do() {
        let digits = "0".repeat(64);
        for (bad, says) in [
            (digits.clone(), "begins with `ed25519:`"),
            (format!("ed448:{digits}"), "begins with `ed25519:`"),
            (format!("ed25519:{}", &digits[1..]), "64 digits"),
            (format!("ed25519:{digits}0"), "64 digits"),
            (format!("ed25519:{}G", &digits[1..]), "64 digits"),
            (format!("ed25519:{}é", &digits[2..]), "64 digits"),
            (format!("ed25519:+{}", &digits[1..]), "64 digits"),
            ("é".repeat(400), "begins with"),
        ] {
            let error = bad.parse::<PublicKey>().expect_err(&bad).to_string();
            assert!(error.contains(says) && error.len() < 200, "{bad}: {error}");
        }
        let error = "5a".parse::<Signature>().expect_err("short").to_string();
        assert!(error.contains("128 digits"), "{error}");
    }
}
