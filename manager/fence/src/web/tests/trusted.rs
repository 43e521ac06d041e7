//! Whom a target trusts, and that nobody else hears anything.

use super::*;
use rcgen::{CertificateParams, CertifiedKey, Issuer, KeyPair, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::path::Path;

fn tls(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Arc::new(
        builder
            .with_single_cert(chain, key.into())
            .expect("a certificate"),
    )
}

/// As a board has it: signed by itself, for a name that nobody uses.
fn of_a_board() -> (Arc<ServerConfig>, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["bmc.invalid".to_owned()]).expect("a certificate");
    let digest = holdfast_model::component::digest(cert.der());
    (tls(vec![cert.der().clone()], &signing_key), digest)
}

#[test]
fn one_certificate_is_trusted_and_no_other() {
    let (config, digest) = of_a_board();
    let server = Server::start(Some(config), words(OK));
    let url = format!("https://{}", server.address);
    let rig = Rig::new(
        &url,
        &format!("certificate_sha256 = \"{digest}\"\ntoken_file = \"secret\""),
    );
    assert_eq!(rig.post().expect("an answer").status, 200);
    assert!(server.heard().contains(SECRET));
    let (_, other) = of_a_board();
    let rig = Rig::new(
        &url,
        &format!("certificate_sha256 = \"{other}\"\ntoken_file = \"secret\""),
    );
    // What it has is told, so that it can be looked at and written down.
    unreachable(rig.post(), &digest);
    // The system's authorities do not know it.
    unreachable(Rig::new(&url, "token_file = \"secret\"").post(), "trust");
    // One that has the certificate and not its key.
    let key = KeyPair::generate().expect("a key");
    let stolen = tls_unchecked(&of_a_board_der(), &key);
    let server = Server::start(Some(stolen), words(OK));
    let digest = holdfast_model::component::digest(&of_a_board_der());
    let url = format!("https://{}", server.address);
    let rig = Rig::new(
        &url,
        &format!("certificate_sha256 = \"{digest}\"\ntoken_file = \"secret\""),
    );
    unreachable(rig.post(), "is not trusted");
    server.heard_nothing();
}

/// The same each time.
fn of_a_board_der() -> CertificateDer<'static> {
    static DER: std::sync::OnceLock<CertificateDer<'static>> = std::sync::OnceLock::new();
    let make = || {
        let made =
            generate_simple_self_signed(vec!["bmc.invalid".to_owned()]).expect("a certificate");
        made.cert.der().clone()
    };
    DER.get_or_init(make).clone()
}

/// rustls would not let a server use a key that is another certificate's.
fn tls_unchecked(certificate: &CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey as Signing;
    #[derive(Debug)]
    struct Always(Arc<Signing>);
    impl ResolvesServerCert for Always {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<Signing>> {
            Some(self.0.clone())
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = provider
        .key_provider
        .load_private_key(key.into())
        .expect("a key");
    let signing = Arc::new(Signing::new(vec![certificate.clone()], key));
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    Arc::new(builder.with_cert_resolver(Arc::new(Always(signing))))
}

fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), Issuer::new(params, key))
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("written");
}

#[test]
fn an_own_authority_is_trusted_instead_of_the_system_s() {
    let (good, issuer) = authority();
    let (other, _) = authority();
    let key = KeyPair::generate().expect("a key");
    let signed = |name: &str| {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        tls(vec![certificate.der().clone()], &key)
    };
    let server = Server::start(Some(signed("127.0.0.1")), words(OK));
    let url = format!("https://{}", server.address);
    let rig = Rig::new(&url, "ca_file = \"DIR/ca.pem\"\ntoken_file = \"secret\"");
    unreachable(rig.post(), "give a readable file");
    assert!(
        rig.targets.faults()[0].contains("`ca_file`"),
        "{:?}",
        rig.targets.faults()
    );
    write(rig.dir.path(), "ca.pem", "nothing");
    unreachable(rig.post(), "has no certificate in it");
    write(rig.dir.path(), "ca.pem", &other);
    assert_eq!(rig.targets.faults(), Vec::<String>::new());
    unreachable(rig.post(), "is not trusted");
    server.heard_nothing();
    write(rig.dir.path(), "ca.pem", &good);
    assert_eq!(rig.post().expect("an answer").status, 200);
    assert!(server.heard().contains(SECRET));
    // For another name.
    let server = Server::start(Some(signed("elsewhere.example")), words(OK));
    let rig = Rig::new(
        &format!("https://{}", server.address),
        "ca_file = \"DIR/ca.pem\"",
    );
    write(rig.dir.path(), "ca.pem", &good);
    unreachable(rig.post(), "is not trusted");
    server.heard_nothing();
}

#[test]
fn a_tls_answer_that_just_ends_was_cut_short() {
    let (config, digest) = of_a_board();
    let cut: Answer = Box::new(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").ok();
        stream.flush().ok();
    });
    let server = Server::start(Some(config), cut);
    let url = format!("https://{}", server.address);
    let rig = Rig::new(&url, &format!("certificate_sha256 = \"{digest}\""));
    unanswered(rig.post(), "cut short");
}

#[test]
fn a_certificate_outside_its_time_is_refused_by_an_authority_and_trusted_by_itself() {
    let (ca, issuer) = authority();
    let key = KeyPair::generate().expect("a key");
    for (from, to, says) in [
        (
            rcgen::date_time_ymd(2019, 1, 1),
            rcgen::date_time_ymd(2020, 1, 1),
            "expired",
        ),
        (
            rcgen::date_time_ymd(2400, 1, 1),
            rcgen::date_time_ymd(2401, 1, 1),
            "not valid yet",
        ),
    ] {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        (params.not_before, params.not_after) = (from, to);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let config = tls(vec![certificate.der().clone()], &key);
        let server = Server::start(Some(config), words(OK));
        let url = format!("https://{}", server.address);
        let rig = Rig::new(&url, "ca_file = \"DIR/ca.pem\"\ntoken_file = \"secret\"");
        write(rig.dir.path(), "ca.pem", &ca);
        unreachable(rig.post(), says);
        unreachable(
            rig.post(),
            "renew its certificate, see that this machine's clock",
        );
        server.heard_nothing();
        // Whoever trusts this one does so whatever is written in it.
        let digest = holdfast_model::component::digest(certificate.der());
        let pin = format!("certificate_sha256 = \"{digest}\"\ntoken_file = \"secret\"");
        assert_eq!(Rig::new(&url, &pin).post().expect("an answer").status, 200);
        assert!(server.heard().contains(SECRET), "{says}");
    }
}
