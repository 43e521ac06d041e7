//! HTTP targets: what an operator has given a name in `manager.toml`, so that extensions can send requests to it
//! and never learn where it is, with which password, and what it trusts.

use crate::id::TargetName;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Shortest and longest accepted time-out of one request, in milliseconds. Below, no TLS handshake with a board's
/// small CPU ends; above, requests to a target that hangs pile up.
const TIMEOUT_MS: RangeInclusive<u64> = 100..=60_000;

/// `[targets.NAME]`: one target.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetSection {
    /// Where it is: `https://`, the host, and what comes before the path of each request.
    pub url: String,
    /// The file with its token, in the directory that `fence_secrets` says: `Authorization: Bearer …`.
    #[serde(default)]
    pub token_file: Option<String>,
    /// Who asks, with a password: `Authorization: Basic …`.
    #[serde(default)]
    pub user: Option<String>,
    /// The file with the user's password, in the directory that `fence_secrets` says.
    #[serde(default)]
    pub password_file: Option<String>,
    /// Certificates (PEM) of the authorities that are trusted instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the only certificate that is trusted, in hexadecimal; whose name is in it and how long it is
    /// good for does not matter then.
    #[serde(default)]
    pub certificate_sha256: Option<String>,
    /// A request that takes longer has no answer, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

fn default_timeout_ms() -> u64 {
    5_000
}

impl fmt::Debug for TargetSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The path of a webhook is often its password.
        let place = self.place().map(|place| place.to_string());
        f.debug_struct("TargetSection")
            .field("url", &place.unwrap_or_else(|(what, _)| what))
            .field("timeout_ms", &self.timeout_ms)
            .finish_non_exhaustive()
    }
}

/// How a target is told who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// It is not.
    None,
    /// By a token in this file.
    Token(&'a str),
    /// By a name and the password in this file.
    Basic(&'a str, &'a str),
}

/// An address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Encrypted.
    pub tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What comes before the path of each request; empty, or it begins with a slash and does not end with one. Not
    /// to be told: in many webhooks it is a password.
    pub base: String,
}

impl fmt::Display for Place {
    /// Without the path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl Place {
    /// Only this machine can hear what is sent there.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// What is wrong, and what to do.
type Wrong = (String, String);

fn wrong(what: impl Into<String>, advice: impl Into<String>) -> Wrong {
    (what.into(), advice.into())
}

impl TargetSection {
    /// Where it is. An error says what is wrong with it, and what to do.
    pub fn place(&self) -> Result<Place, Wrong> {
        let (tls, rest) = match self.url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            // Nothing of it is repeated: it may have a password in it.
            _ => {
                let advice = "write it as https://HOST/PATH, or http://HOST:PORT/PATH";
                return Err(wrong("it does not begin with https:// or http://", advice));
            }
        };
        let odd = |c: char| !c.is_ascii_graphic() || matches!(c, '\\' | '"' | '<' | '>');
        if rest.contains(odd) {
            let advice = "write it as https://HOST/PATH, letters that are not ASCII by their number (%C3%BC)";
            return Err(wrong("it has a character that no address has", advice));
        }
        if rest.contains(['?', '#']) {
            let advice = "leave out what begins with `?` or `#`: requests bring that along";
            return Err(wrong("it does not end with its path", advice));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            let advice = "put them into `user` and `password_file`, or into `token_file`";
            return Err(wrong("there are credentials in it", advice));
        }
        let (host, port) = host_and_port(authority, tls)?;
        let path = path.trim_end_matches('/');
        Ok(Place {
            tls,
            host,
            port,
            base: match path.is_empty() {
                true => String::new(),
                false => format!("/{path}"),
            },
        })
    }

    /// How it is told who asks.
    pub fn credentials(&self) -> Credentials<'_> {
        match (&self.token_file, &self.user, &self.password_file) {
            (Some(token), _, _) => Credentials::Token(token),
            (None, Some(user), Some(password)) => Credentials::Basic(user, password),
            _ => Credentials::None,
        }
    }

    /// The digest of the only certificate that is trusted.
    pub fn pin(&self) -> Option<[u8; 32]> {
        digest(self.certificate_sha256.as_deref()?)
    }

    /// The first thing about it that cannot work: the key, what is wrong, what to do.
    pub fn fault(&self) -> Option<(&'static str, String, String)> {
        let place = match self.place() {
            Ok(place) => place,
            Err((what, advice)) => return Some(("url", format!("`url`: {what}"), advice)),
        };
        let found = |key, what: &str, advice: &str| Some((key, what.to_owned(), advice.to_owned()));
        match (&self.token_file, &self.user, &self.password_file) {
            (Some(_), None, None) | (None, Some(_), Some(_)) | (None, None, None) => {}
            (Some(_), _, _) => {
                let advice = "keep `token_file`, or `user` with `password_file`";
                return found("token_file", "it has both a token and a user", advice);
            }
            (None, Some(_), None) => {
                let advice = "add `password_file = \"FILE\"`, a file in the directory that `fence_secrets` says";
                return found("user", "`user` has no password", advice);
            }
            (None, None, Some(_)) => {
                return found(
                    "password_file",
                    "the password has no user",
                    "add `user = \"NAME\"`",
                );
            }
        }
        let user = self.user.as_deref().unwrap_or_default();
        if user.contains(|c: char| c == ':' || c.is_control()) {
            let advice = "write the user's name as the target knows it";
            return found("user", "`user` has a colon or a control character", advice);
        }
        let plain = |file: &str| !file.is_empty() && !file.starts_with('.') && !file.contains('/');
        for (key, file) in [
            ("token_file", &self.token_file),
            ("password_file", &self.password_file),
        ] {
            if file.as_deref().is_some_and(|file| !plain(file)) {
                let advice = "give the name of a file in the directory that `fence_secrets` says, without a path";
                return Some((
                    key,
                    format!("`{key}` is no name of a file"),
                    advice.to_owned(),
                ));
            }
        }
        self.trust_fault(&place).or_else(|| {
            let (least, most) = (TIMEOUT_MS.start(), TIMEOUT_MS.end());
            (!TIMEOUT_MS.contains(&self.timeout_ms)).then(|| {
                let what = format!("`timeout_ms` is {} milliseconds", self.timeout_ms);
                let advice = format!("use {least} to {most} (it is in milliseconds, not seconds)");
                ("timeout_ms", what, advice)
            })
        })
    }

    fn trust_fault(&self, place: &Place) -> Option<(&'static str, String, String)> {
        let found = |key, what: &str, advice: &str| Some((key, what.to_owned(), advice.to_owned()));
        match (&self.ca_file, &self.certificate_sha256) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                let advice =
                    "keep one: the authority that signs certificates, or the one certificate";
                found("ca_file", "it trusts in two ways", advice)
            }
            (Some(_), None) if !place.tls => {
                found("ca_file", "http:// has no certificates", "write https://")
            }
            (Some(file), None) if !file.is_absolute() => {
                let advice = "give its whole path, such as /etc/holdfast/bmc-ca.pem";
                found("ca_file", "`ca_file` is no whole path", advice)
            }
            (Some(_), None) => None,
            (None, Some(_)) if !place.tls => {
                let what = "http:// has no certificates";
                found("certificate_sha256", what, "write https://")
            }
            (None, Some(text)) if digest(text).is_none() => {
                let advice = "give 64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` prints them";
                found("certificate_sha256", "it is no SHA-256", advice)
            }
            (None, Some(_)) => None,
        }
    }
}

fn host_and_port(authority: &str, tls: bool) -> Result<(String, u16), Wrong> {
    let advice = "write it as https://HOST:PORT/PATH, an IPv6 address in brackets";
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let closed = rest.split_once(']');
            let (host, port) = closed.ok_or_else(|| wrong("a bracket is not closed", advice))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong("what is in brackets is no IPv6 address", advice));
            }
            (host, port)
        }
        None => match authority.find(':') {
            Some(at) => authority.split_at(at),
            None => (authority, ""),
        },
    };
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(name) {
        return Err(wrong("there is no host in it", advice));
    }
    let number = match port.strip_prefix(':') {
        Some(number) => number.parse::<u16>().ok().filter(|port| *port > 0),
        None if port.is_empty() => Some(if tls { 443 } else { 80 }),
        None => None,
    };
    let number = number.ok_or_else(|| wrong("its port is no number from 1 to 65535", advice))?;
    Ok((host.to_owned(), number))
}

/// Colons as openssl puts them are passed over.
fn digest(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b':')
        .map(|byte| {
            char::from(byte)
                .to_digit(16)
                .and_then(|n| u8::try_from(n).ok())
        })
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |all, n| all * 16 + n))
        .collect();
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

/// The first target of which something cannot work, in words.
pub(crate) fn first_fault(
    targets: &BTreeMap<TargetName, TargetSection>,
) -> Option<(&'static str, String, String)> {
    targets.iter().find_map(|(name, target)| {
        let (key, what, advice) = target.fault()?;
        Some((key, format!("[targets.{name}] {what}"), advice))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> TargetSection {
        TargetSection {
            url: url.to_owned(),
            token_file: None,
            user: None,
            password_file: None,
            ca_file: None,
            certificate_sha256: None,
            timeout_ms: default_timeout_ms(),
        }
    }

    #[test]
    fn addresses_are_taken_apart() {
        let place = |tls, host: &str, port, base: &str| Place {
            tls,
            host: host.to_owned(),
            port,
            base: base.to_owned(),
        };
        for (url, wanted) in [
            ("https://a.example", place(true, "a.example", 443, "")),
            ("https://a.example/", place(true, "a.example", 443, "")),
            (
                "http://127.0.0.1:80/x/y/",
                place(false, "127.0.0.1", 80, "/x/y"),
            ),
            (
                "https://[2001:db8::1]:8443/x",
                place(true, "2001:db8::1", 8443, "/x"),
            ),
            ("http://[::1]", place(false, "::1", 80, "")),
        ] {
            assert_eq!(target(url).place(), Ok(wanted), "{url}");
            assert_eq!(target(url).fault(), None, "{url}");
        }
        let shown = target("https://[::1]/SECRET").place().expect("an address");
        assert_eq!(shown.to_string(), "https://[::1]:443");
        assert!(shown.is_loopback());
        let words = format!("{:?}", target("https://a.example/SECRET"));
        assert!(!words.contains("SECRET"), "{words}");
    }

    #[test]
    fn what_is_wrong_says_the_key_and_what_to_do() {
        for (url, says) in [
            ("hooks.example.net", "https:// or http://"),
            ("ftp://a.example", "https:// or http://"),
            ("https://", "no host"),
            ("https:///x", "no host"),
            ("https://a:b:c/", "port"),
            ("https://a:0/", "port"),
            ("https://a:70000/", "port"),
            ("https://[::1/", "not closed"),
            ("https://[nine]/", "IPv6"),
            ("https://user:pass@a/", "credentials"),
            ("https://a/?b=c", "path"),
            ("https://a/ü", "character"),
            ("https://a b/", "character"),
        ] {
            let (key, what, _) = target(url).fault().expect(url);
            assert_eq!(key, "url");
            assert!(what.contains(says), "{url}: {what}");
            assert!(!what.contains("pass"), "{what}");
        }
        let change = |change: &dyn Fn(&mut TargetSection)| {
            let mut target = target("https://a.example");
            change(&mut target);
            target.fault().map(|(key, _, _)| key)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(change(&|t| t.user = some("u")), Some("user"));
        assert_eq!(
            change(&|t| t.password_file = some("p")),
            Some("password_file")
        );
        assert_eq!(change(&|t| t.token_file = some("../p")), Some("token_file"));
        let both = change(&|t| {
            t.token_file = some("t");
            t.user = some("u");
        });
        assert_eq!(both, Some("token_file"));
        assert_eq!(
            change(&|t| t.ca_file = Some("ca.pem".into())),
            Some("ca_file")
        );
        let short = change(&|t| t.certificate_sha256 = some("ab:cd"));
        assert_eq!(short, Some("certificate_sha256"));
        assert_eq!(change(&|t| t.timeout_ms = 5), Some("timeout_ms"));
        let good = change(&|t| t.certificate_sha256 = some(&"AB:".repeat(32)));
        assert_eq!(good, None);
        let mut plain = target("http://a.example");
        plain.certificate_sha256 = some(&"ab".repeat(32));
        assert_eq!(plain.pin(), Some([0xab; 32]));
        assert_eq!(
            plain.fault().map(|(key, _, _)| key),
            Some("certificate_sha256")
        );
    }
}
