use super::*;
use holdfast_model::advice::Fallback;
use holdfast_model::extension::{LimitsAsked, Rights};
use holdfast_model::signature::Signature;
use holdfast_model::time::UnixMs;
use proptest::prelude::*;

const MANIFEST: &str = "name = \"rack-spread\" # ours\nversion = \"1.2.0\"\nkind = \"placement\"\nsummary = \"Keeps groups apart.\"\n";

/// The private key of RFC 8032, section 7.1, test 1, as OpenSSL writes it, and its public key there.
const RFC_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
const RFC_PUBLIC: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn key() -> PrivateKey {
    PrivateKey::generate().expect("a key").0
}

fn installed(signed: Option<Signed>) -> Installed {
    Installed {
        manifest: read(MANIFEST, Format::Toml, "it").expect("a manifest"),
        digest: digest(b"component"),
        bytes: 9,
        granted: Rights::default(),
        limits: LimitsAsked::default(),
        then: Fallback::Closed,
        signed,
        by: "ops".to_owned(),
        at: UnixMs(0),
        before: None,
        rollout: None,
    }
}

fn signers(keys: &[(&str, &PrivateKey)]) -> BTreeMap<SignerName, PublicKey> {
    let each = keys.iter();
    each.map(|(name, key)| (name.parse().expect("a name"), key.public()))
        .collect()
}

#[test]
fn who_signed_it_is_found_among_the_policy_s() {
    let (ours, others) = (key(), key());
    let signed = ours.sign(&digest(b"component"), MANIFEST);
    let it = installed(Some(signed));
    let trust = signers(&[("build", &others), ("release", &ours)]);
    let by = trusted(&it, &trust).expect("trusted");
    assert_eq!(by.map(SignerName::as_str), Some("release"));
    // Nobody has to vouch where the policy names nobody.
    assert_eq!(trusted(&it, &BTreeMap::new()), Ok(None));
    assert_eq!(trusted(&installed(None), &BTreeMap::new()), Ok(None));
    let stranger = trusted(&it, &signers(&[("build", &others)])).expect_err("a stranger");
    let says = stranger.to_string();
    assert!(
        says.contains(&ours.public().short()) && says.contains("(build)"),
        "{says}"
    );
    let none = trusted(&installed(None), &trust).expect_err("nobody");
    let says = none.to_string();
    assert!(says.contains("by build, release"), "{says}");
}

#[test]
fn what_was_changed_is_refused_also_where_nobody_has_to_sign() {
    let ours = key();
    let signed = ours.sign(&digest(b"component"), MANIFEST);
    let nobody = BTreeMap::new();
    let changed = Err(Untrusted::Changed(ours.public()));
    let mut other = installed(Some(signed.clone()));
    other.digest = digest(b"another");
    assert_eq!(trusted(&other, &nobody), changed);
    let mut words = signed.clone();
    words.manifest.push('\n');
    assert_eq!(trusted(&installed(Some(words)), &nobody), changed);
    let mut pretends = signed.clone();
    pretends.key = key().public();
    let error = trusted(&installed(Some(pretends)), &nobody).expect_err("another's");
    assert!(matches!(error, Untrusted::Changed(_)), "{error}");
    // Rightly signed, and another manifest is installed with it.
    let mut wider = installed(Some(signed));
    wider.manifest.rights.log = true;
    let says = trusted(&wider, &nobody).expect_err("wider").to_string();
    assert!(says.contains("something else"), "{says}");
    // Rightly signed, and of a kind that this version does not know.
    let newer = MANIFEST.replace("placement", "colouring");
    let signed = ours.sign(&digest(b"component"), &newer);
    let says = trusted(&installed(Some(signed)), &nobody).expect_err("newer");
    assert!(says.to_string().contains("cannot be read"), "{says}");
}

#[test]
fn what_a_newer_version_signed_is_trusted_by_what_is_known_of_it() {
    let ours = key();
    let newer = format!("{MANIFEST}colour = \"red\"\n[rights]\ncolours = [\"red\"]\n");
    let signed = ours.sign(&digest(b"component"), &newer);
    let trust = signers(&[("release", &ours)]);
    let it = installed(Some(signed));
    assert!(trusted(&it, &trust).is_ok_and(|by| by.is_some()));
    let mut wider = it;
    wider.manifest.rights.log = true;
    let says = trusted(&wider, &trust).expect_err("wider").to_string();
    assert!(says.contains("something else"), "{says}");
}

#[test]
fn keys_are_those_of_the_standard_and_of_openssl() {
    let key = PrivateKey::from_pem(RFC_KEY).expect("a key");
    assert_eq!(key.public().to_string(), RFC_PUBLIC);
    let (made, text) = PrivateKey::generate().expect("a key");
    let again = PrivateKey::from_pem(&text).expect("the same");
    assert_eq!(again.public(), made.public());
    for bad in [
        "",
        "ed25519:00",
        RFC_PUBLIC,
        &RFC_KEY.replace("MC4CAQAw", "MC4CAQEw"),
        &RFC_KEY.replace("PRIVATE", "PUBLIC"),
        &RFC_KEY[..90],
    ] {
        assert_eq!(
            PrivateKey::from_pem(bad).err(),
            Some(KeyError::None),
            "{bad}"
        );
    }
}

#[test]
fn the_file_is_written_and_read() {
    let signed = key().sign(&digest(b"component"), MANIFEST);
    let file = SignatureFile::from(&signed);
    let text = file.text("rack-spread 1.2.0");
    assert!(
        text.starts_with("# Who vouches for rack-spread 1.2.0"),
        "{text}"
    );
    let again = SignatureFile::read(&text, FILE).expect("its own");
    assert_eq!(again.over(MANIFEST.to_owned()), signed);
    let error = SignatureFile::read(&text.replace("ed25519:", ""), FILE).expect_err("no key");
    assert!(
        error.to_string().contains("extension.sig, line 2"),
        "{error}"
    );
}

proptest! {
    /// No other signature is one, whichever bit of it differs.
    #[test]
    fn a_flipped_bit_is_found(at in 0usize..512) {
        let ours = PrivateKey::from_pem(RFC_KEY).expect("a key");
        let mut signed = ours.sign(&digest(b"component"), MANIFEST);
        let Signature(bytes) = &mut signed.signature;
        bytes[at / 8] ^= 1 << (at % 8);
        let nobody = BTreeMap::new();
        let refused = trusted(&installed(Some(signed)), &nobody);
        prop_assert_eq!(refused, Err(Untrusted::Changed(ours.public())));
    }
}
