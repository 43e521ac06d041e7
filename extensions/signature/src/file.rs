//! `extension.sig`: a signature as a file beside the manifest.

use holdfast_model::signature::{PublicKey, Signature, Signed};
use holdfast_strict::{Format, TextError, read};
use serde::{Deserialize, Serialize};

/// Its name in an extension's folder.
pub const FILE: &str = "extension.sig";

/// What stands in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureFile {
    /// Who vouches.
    pub key: PublicKey,
    /// Over the component and the manifest.
    pub signature: Signature,
}

impl SignatureFile {
    /// The file's text.
    pub fn text(&self, about: &str) -> String {
        let Self { key, signature } = self;
        format!(
            "# Who vouches for {about}: over its component and its extension.toml, to the byte.\n\
             key = \"{key}\"\nsignature = \"{signature}\"\n"
        )
    }

    /// From a file's text; `source` names it in errors.
    ///
    /// # Errors
    /// If it is not one.
    pub fn read(text: &str, source: &str) -> Result<Self, TextError> {
        read(text, Format::Toml, source)
    }

    /// With what it is over.
    pub fn over(self, manifest: String) -> Signed {
        let Self { key, signature } = self;
        Signed {
            manifest,
            key,
            signature,
        }
    }
}

impl From<&Signed> for SignatureFile {
    fn from(signed: &Signed) -> Self {
        Self {
            key: signed.key,
            signature: signed.signature,
        }
    }
}
