//! Whom a target's connection trusts: the system's authorities, the operator's own, or one certificate.

use holdfast_model::target::TargetSection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// What TLS is to do for a target. The files are read each time: whoever replaces one restarts nothing.
pub(super) fn tls(target: &TargetSection) -> Result<Arc<ClientConfig>, String> {
    match (target.pin(), &target.ca_file) {
        (Some(digest), _) => with(Arc::new(Pinned {
            digest,
            provider: provider(),
        })),
        (None, Some(file)) => authorities(own(file)?),
        (None, None) => {
            static SYSTEM: OnceLock<Arc<ClientConfig>> = OnceLock::new();
            if let Some(known) = SYSTEM.get() {
                return Ok(known.clone());
            }
            let config = authorities(system()?)?;
            Ok(SYSTEM.get_or_init(|| config).clone())
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| Arc::new(ring::default_provider()))
        .clone()
}

fn authorities(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    with(verifier.map_err(|error| error.to_string())?)
}

fn with(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, String> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    // rustls calls every verifier dangerous that it did not choose itself.
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = builder.with_no_client_auth();
    // Each request proves anew whom it talks to.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn own(file: &Path) -> Result<RootCertStore, String> {
    let place = file.display();
    let failed = |error: rustls::pki_types::pem::Error| {
        format!("`ca_file` {place}: {error}; give a readable file with certificates in PEM")
    };
    let found = CertificateDer::pem_file_iter(file).map_err(failed)?;
    let mut roots = RootCertStore::empty();
    for certificate in found {
        let added = roots.add(certificate.map_err(failed)?);
        added.map_err(|error| format!("`ca_file` {place}: {error}; replace that certificate"))?;
    }
    match roots.is_empty() {
        true => Err(format!(
            "`ca_file` {place} has no certificate in it; give one in PEM"
        )),
        false => Ok(roots),
    }
}

fn system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found
        .errors
        .first()
        .map_or(String::new(), |error| format!(" ({error})"));
    Err(format!(
        "this machine trusts no authority{why}; install ca-certificates, or give the target a `ca_file`"
    ))
}

/// Trusts one certificate, whatever is written in it: boards sign their own, for names that nobody uses, and let
/// them grow old. That who has it also has its key is proven in the handshake, as always.
#[derive(Debug)]
struct Pinned {
    digest: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Sha256::digest(end_entity.as_ref())[..] == self.digest {
            return Ok(ServerCertVerified::assertion());
        }
        let found = holdfast_model::component::digest(end_entity.as_ref());
        Err(rustls::Error::General(format!(
            "its certificate has the SHA-256 {found}, which is not `certificate_sha256`"
        )))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
