//! The datagrams by which a manager asks a host whether it is there, and the host's guard answers.
//!
//! ```text
//!   0  "HFp1"   4
//!   4  kind     1   1: question, 2: answer
//!   5  zero     3
//!   8  host    16   whose: the beginning of SHA-256 of its name
//!  24  nonce   16   of the question, repeated by the answer
//!  40  boot    16   of the answer: the beginning of SHA-256 of the boot's id; zero in a question
//!  56  seal    16   the beginning of HMAC-SHA256 of all before it, under the cluster's probe key
//! ```
//! Both have the same length, so that nobody is made to send more than was sent to it. An answer proves that
//! somebody with the key was there after its question had been made, and that this host was meant: nonces are
//! random, and one is accepted once. Which machine it was is as sure as the key: every host has it.
//!
//! Nothing here allocates, and reading takes the same time whatever stands in a datagram of that length and
//! kind.
#![warn(missing_docs)]

use hmac::{Hmac, Mac};
use holdfast_model::id::{BootId, HostName};
use holdfast_model::probe::ProbeKey;
use sha2::{Digest as _, Sha256};

/// The UDP port on which guards answer, where host.toml names no other: the one after the managers' API.
pub const PORT: u16 = 7071;
/// The length of every datagram.
pub const LEN: usize = 72;
/// The length of names, nonces and seals in it.
pub const PART: usize = 16;

const MAGIC: &[u8; 4] = b"HFp1";
const HOST: usize = 8;
const NONCE: usize = HOST + PART;
const BOOT: usize = NONCE + PART;
const SEAL: usize = BOOT + PART;

/// A datagram.
pub type Datagram = [u8; LEN];
/// What an answer repeats of its question. Random: whoever can guess it could answer before it is asked.
pub type Nonce = [u8; PART];

/// A name, as a datagram has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; PART]);

impl Digest {
    fn of(text: &str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let mut part = [0; PART];
        part.copy_from_slice(&hash[..PART]);
        Self(part)
    }

    /// Of a host's name.
    pub fn of_host(name: &HostName) -> Self {
        Self::of(name.as_str())
    }

    /// Of a boot's id.
    pub fn of_boot(id: &BootId) -> Self {
        Self::of(id.as_str())
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Question = 1,
    Answer = 2,
}

/// Makes and reads datagrams under one key.
#[derive(Clone)]
pub struct Signer {
    keyed: Hmac<Sha256>,
}

impl Signer {
    /// Under this key.
    pub fn new(key: &ProbeKey) -> Self {
        let mut block = [0; 64];
        block[..ProbeKey::BYTES].copy_from_slice(key.bytes());
        // HMAC fills a key that is shorter than a block with zeros by itself.
        let keyed = Hmac::new(&block.into());
        Self { keyed }
    }

    /// Asks a host.
    pub fn question(&self, host: &Digest, nonce: &Nonce) -> Datagram {
        self.sealed(Kind::Question, host, nonce, &Digest([0; PART]))
    }

    /// What is to be answered, if a datagram is a question to that host.
    pub fn read_question(&self, host: &Digest, datagram: &[u8]) -> Option<Nonce> {
        self.read(Kind::Question, datagram)
            .filter(|(to, ..)| to == host)
            .map(|(_, nonce, _)| nonce)
    }

    /// Answers.
    pub fn answer(&self, host: &Digest, boot: &Digest, nonce: &Nonce) -> Datagram {
        self.sealed(Kind::Answer, host, nonce, boot)
    }

    /// Which question was answered, and on which boot, if a datagram is an answer of that host.
    pub fn read_answer(&self, host: &Digest, datagram: &[u8]) -> Option<(Nonce, Digest)> {
        self.read(Kind::Answer, datagram)
            .filter(|(of, ..)| of == host)
            .map(|(_, nonce, boot)| (nonce, boot))
    }

    fn sealed(&self, kind: Kind, host: &Digest, nonce: &Nonce, boot: &Digest) -> Datagram {
        let mut datagram = [0; LEN];
        datagram[..MAGIC.len()].copy_from_slice(MAGIC);
        datagram[MAGIC.len()] = kind as u8;
        datagram[HOST..NONCE].copy_from_slice(&host.0);
        datagram[NONCE..BOOT].copy_from_slice(nonce);
        datagram[BOOT..SEAL].copy_from_slice(&boot.0);
        let seal = self.seal(&datagram[..SEAL]).finalize().into_bytes();
        datagram[SEAL..].copy_from_slice(&seal[..PART]);
        datagram
    }

    fn seal(&self, sealed: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(sealed);
        mac
    }

    fn read(&self, kind: Kind, datagram: &[u8]) -> Option<(Digest, Nonce, Digest)> {
        let datagram: &Datagram = datagram.try_into().ok()?;
        let mut head = [0; HOST];
        head[..MAGIC.len()].copy_from_slice(MAGIC);
        head[MAGIC.len()] = kind as u8;
        if datagram[..HOST] != head {
            return None;
        }
        let seal = self.seal(&datagram[..SEAL]);
        seal.verify_truncated_left(&datagram[SEAL..]).ok()?;
        let part = |at: usize| {
            let mut part = [0; PART];
            part.copy_from_slice(&datagram[at..at + PART]);
            part
        };
        Some((Digest(part(HOST)), part(NONCE), Digest(part(BOOT))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Digest {
        Digest::of_host(&name.parse().expect("a name"))
    }

    fn boot(id: &str) -> Digest {
        Digest::of_boot(&id.parse().expect("an id"))
    }

    fn signer(byte: u8) -> Signer {
        Signer::new(&ProbeKey::new([byte; ProbeKey::BYTES]))
    }

    #[test]
    fn what_is_asked_is_answered_by_whom_it_was_asked() {
        let (ours, a1, nonce) = (signer(1), host("a1"), [9; PART]);
        let question = ours.question(&a1, &nonce);
        assert_eq!(ours.read_question(&a1, &question), Some(nonce));
        assert_eq!(ours.read_question(&host("a2"), &question), None);
        let answer = ours.answer(&a1, &boot("b7"), &nonce);
        assert_eq!(ours.read_answer(&a1, &answer), Some((nonce, boot("b7"))));
        assert_eq!(ours.read_answer(&host("a2"), &answer), None);
        // A question that comes back is no answer, nor the other way round.
        assert_eq!(ours.read_answer(&a1, &question), None);
        assert_eq!(ours.read_question(&a1, &answer), None);
    }

    #[test]
    fn a_changed_bit_another_key_or_another_length_is_nobodys_word() {
        let (ours, a1) = (signer(1), host("a1"));
        let answer = ours.answer(&a1, &boot("b7"), &[9; PART]);
        for bit in 0..LEN * 8 {
            let mut changed = answer;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ours.read_answer(&a1, &changed), None, "bit {bit}");
        }
        assert_eq!(signer(2).read_answer(&a1, &answer), None);
        assert_eq!(ours.read_answer(&a1, &answer[..LEN - 1]), None);
        let mut longer = answer.to_vec();
        longer.push(0);
        assert_eq!(ours.read_answer(&a1, &longer), None);
    }

    /// Computed apart from this code: `hmac.new(bytes([1]*32), head, hashlib.sha256)` in Python.
    #[test]
    fn the_format_stays_as_it_is() {
        let question = signer(1).question(&host("a1"), &[9; PART]);
        let text: String = question.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, FIXED);
    }

    const FIXED: &str = "4846703101000000f55ff16f66f43360266b95db6f8fec010909090909090909090909090909090900000000000000000000000000000000abb2990e38c6a4c0d3111e1f48e80861";
}
