//! Who vouches for an extension: keys, signatures, and whether they fit.
//!
//! ```text
//! author:   component + extension.toml ──[PrivateKey]──> extension.sig
//! operator: policy.toml [extension_signers] release = "ed25519:…"
//! managers, agents: [trusted] at install, and again before it is asked on each machine
//! ```
//! What is signed is the component and what it asks for. What the operator grants, sets and binds is not: that is for
//! each cluster to say.
#![warn(missing_docs)]

mod file;
mod key;

pub use file::{FILE, SignatureFile};
pub use key::{KeyError, PrivateKey};

use holdfast_model::component::digest;
use holdfast_model::extension::{Installed, Known, Manifest};
use holdfast_model::id::SignerName;
use holdfast_model::signature::{PublicKey, Signed};
use holdfast_strict::{Format, read};
use ring::signature::{ED25519, UnparsedPublicKey};
use std::collections::BTreeMap;

/// Why an extension is not installed, or not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Nobody vouches for it, and somebody has to.
    #[error(
        "it is not signed, and the policy wants a signature by {signers}; `holdfast ext sign` makes one"
    )]
    NotSigned {
        /// Who may.
        signers: String,
    },
    /// Somebody else does.
    #[error(
        "it is signed with {}, which is none of the policy's [extension_signers] ({signers}); have one of these sign \
         it, or add the key to the policy",
        .key.short()
    )]
    Stranger {
        /// Whose signature it is.
        key: PublicKey,
        /// Who may.
        signers: String,
    },
    /// It was changed after it was signed.
    #[error(
        "its signature with {} is not over this component and this manifest: one of the three was changed; get them \
         again from where they come, or sign it again",
        .0.short()
    )]
    Changed(PublicKey),
    /// What was signed as its manifest is not what is installed.
    #[error("the manifest that was signed {0}")]
    Manifest(String),
}

/// What is signed: both by their digests, in words, so that other programs can sign too (`docs/extensions.md`).
pub fn statement(component_digest: &str, manifest: &str) -> String {
    let manifest = digest(manifest.as_bytes());
    format!(
        "holdfast extension 1\ncomponent sha256 {component_digest}\nmanifest sha256 {manifest}\n"
    )
}

/// Whether a signature is one over this component, and over what this manifest was read from.
///
/// # Errors
/// If it is not.
pub fn fits(signed: &Signed, component_digest: &str, manifest: &Manifest) -> Result<(), Untrusted> {
    let statement = statement(component_digest, &signed.manifest);
    UnparsedPublicKey::new(&ED25519, signed.key.0)
        .verify(statement.as_bytes(), &signed.signature.0)
        .map_err(|_| Untrusted::Changed(signed.key))?;
    // Whoever installed it read it to the key; the record is read by older versions too.
    let said = read::<Known>(&signed.manifest, Format::Toml, "extension.toml");
    match said {
        Ok(Known(said)) if said == *manifest => Ok(()),
        Ok(_) => Err(Untrusted::Manifest(
            "says something else than the one that is installed; install both together".to_owned(),
        )),
        Err(error) => Err(Untrusted::Manifest(format!(
            "cannot be read by this version of Holdfast: {error}"
        ))),
    }
}

/// Who vouches for an extension; nobody has to if the policy names no signer.
///
/// # Errors
/// If one of them has to and does not. A signature that does not fit is refused in any case.
pub fn trusted<'s>(
    installed: &Installed,
    signers: &'s BTreeMap<SignerName, PublicKey>,
) -> Result<Option<&'s SignerName>, Untrusted> {
    let names = || {
        let names = signers.keys().map(SignerName::as_str);
        names.collect::<Vec<_>>().join(", ")
    };
    let Some(signed) = &installed.signed else {
        return match signers.is_empty() {
            true => Ok(None),
            false => Err(Untrusted::NotSigned { signers: names() }),
        };
    };
    fits(signed, &installed.digest, &installed.manifest)?;
    let signer = signers.iter().find(|(_, key)| **key == signed.key);
    match signer {
        Some((name, _)) => Ok(Some(name)),
        None if signers.is_empty() => Ok(None),
        None => Err(Untrusted::Stranger {
            key: signed.key,
            signers: names(),
        }),
    }
}

#[cfg(test)]
mod tests;
