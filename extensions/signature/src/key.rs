//! Private keys: made, read, used.

use crate::statement;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_model::signature::{PublicKey, Signature, Signed};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

/// A PKCS #8 file of an Ed25519 key without the key's 32 bytes (RFC 8410, section 7): version 0, the algorithm, an
/// octet string within an octet string. The older of the two forms: every OpenSSL reads it.
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Who signs.
pub struct PrivateKey(Ed25519KeyPair);

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file is none.
    #[error(
        "it holds no private Ed25519 key (PEM, PKCS #8, not encrypted); `holdfast ext keygen FILE` makes one, as does \
         `openssl genpkey -algorithm ed25519`"
    )]
    None,
    /// The system gave no random bytes.
    #[error("the system gives no random bytes for a key; try again")]
    Random,
}

impl PrivateKey {
    /// A new one, and its file's text (PEM).
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn generate() -> Result<(Self, String), KeyError> {
        let mut seed = [0; 32];
        let filled = SystemRandom::new().fill(&mut seed);
        filled.map_err(|_| KeyError::Random)?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::None)?;
        // 48 bytes are 64 characters: one line of PEM.
        let lines = STANDARD.encode([&PKCS8[..], &seed].concat());
        let text = format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n");
        Ok((Self(key), text))
    }

    /// From a file's text (PEM).
    ///
    /// # Errors
    /// If it holds none, another kind, or an encrypted one.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
        let der = der.map_err(|_| KeyError::None)?;
        // OpenSSL's have no public key in them to compare with.
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        key.map(Self).map_err(|_| KeyError::None)
    }

    /// What operators put into their policy.
    pub fn public(&self) -> PublicKey {
        let mut key = PublicKey([0; 32]);
        key.0.copy_from_slice(self.0.public_key().as_ref());
        key
    }

    /// Vouches for a component and its manifest's text.
    pub fn sign(&self, component_digest: &str, manifest: &str) -> Signed {
        let statement = statement(component_digest, manifest);
        let mut signature = Signature([0; 64]);
        signature
            .0
            .copy_from_slice(self.0.sign(statement.as_bytes()).as_ref());
        Signed {
            manifest: manifest.to_owned(),
            key: self.public(),
            signature,
        }
    }
}
