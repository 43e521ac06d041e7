//! The words of a line: names, numbers, times, `key=value`, "quoted text".

use crate::sim::FaultError;
use crate::sim::net::End;
use std::fmt::Display;
use std::str::FromStr;

/// What is wrong with a line, or with what it asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// No such verb.
    #[error("unknown verb; the verbs are listed in tests/src/scenario/verbs.rs")]
    Verb,
    /// Something is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Something is not what it should be.
    #[error("{what} `{found}`: {why}")]
    Bad {
        /// What.
        what: &'static str,
        /// As found.
        found: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something is too much.
    #[error("`{0}` is not understood here")]
    Extra(String),
    /// The cluster refused it.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// An expectation is not met.
    #[error("{0}")]
    NotMet(String),
}

/// The words of a line, taken one by one.
pub struct Words {
    left: Vec<String>,
}

impl Words {
    /// Splits a line; what is in double quotes is one word.
    pub fn of(line: &str) -> Self {
        let mut left = Vec::new();
        for (n, part) in line.split('"').enumerate() {
            if n % 2 == 1 {
                left.push(part.to_owned());
            } else {
                left.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        left.reverse();
        Self { left }
    }

    /// The next word, if there is one.
    pub fn next(&mut self) -> Option<String> {
        self.left.pop()
    }

    /// The next word.
    pub fn word(&mut self, what: &'static str) -> Result<String, WordError> {
        self.next().ok_or(WordError::Missing(what))
    }

    /// The next word, as a name or a number.
    pub fn parse<T: FromStr>(&mut self, what: &'static str) -> Result<T, WordError>
    where
        T::Err: Display,
    {
        parse(what, &self.word(what)?)
    }

    /// The next word as a time, in milliseconds: `30s`, `500ms`, `2m`.
    pub fn time_ms(&mut self) -> Result<u64, WordError> {
        let word = self.word("a time")?;
        let split = word.find(|c: char| !c.is_ascii_digit());
        let (digits, unit) = word.split_at(split.unwrap_or(word.len()));
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(bad("time", &word, "use 30s, 500ms, 2m or 1h")),
        };
        Ok(parse::<u64>("time", digits)? * factor)
    }

    /// The sign that the next word begins with; it is taken off.
    pub fn take_sign(&mut self) -> Option<char> {
        let next = self.left.last_mut()?;
        let sign = next.chars().next().filter(|c| matches!(c, '+' | '-'))?;
        next.remove(0);
        Some(sign)
    }

    /// The next word is this one; otherwise it stays.
    pub fn takes(&mut self, word: &str) -> bool {
        let found = self.left.last().is_some_and(|next| next == word);
        if found {
            self.left.pop();
        }
        found
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The rest as `key=value`.
    pub fn settings(&mut self) -> Result<Vec<(String, String)>, WordError> {
        let mut settings = Vec::new();
        while let Some(word) = self.next() {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| WordError::Extra(word.clone()))?;
            settings.push((key.to_owned(), value.to_owned()));
        }
        Ok(settings)
    }

    /// The rest, as it stands.
    pub fn rest(&mut self) -> String {
        self.left.reverse();
        std::mem::take(&mut self.left).join(" ")
    }

    /// Nothing must be left.
    pub fn end(&mut self) -> Result<(), WordError> {
        match self.next() {
            Some(word) => Err(WordError::Extra(word)),
            None => Ok(()),
        }
    }
}

/// Parses one word.
pub fn parse<T: FromStr>(what: &'static str, word: &str) -> Result<T, WordError>
where
    T::Err: Display,
{
    word.parse()
        .map_err(|error: T::Err| bad(what, word, &error.to_string()))
}

/// A word is not what it should be.
pub fn bad(what: &'static str, found: &str, why: &str) -> WordError {
    WordError::Bad {
        what,
        found: found.to_owned(),
        why: why.to_owned(),
    }
}

/// An end of a cut: a host, a site, or `all`.
pub fn end_of(sim: &crate::sim::Sim, word: &str) -> Result<End, WordError> {
    if word == "all" {
        return Ok(End::Rest);
    }
    let host = parse("host or site", word)?;
    if sim.hosts.contains_key(&host) {
        return Ok(End::Host(host));
    }
    let site = parse("host or site", word)?;
    match sim.managers.values().any(|manager| manager.site == site) {
        true => Ok(End::Site(site)),
        false => Err(FaultError::Unknown(word.to_owned()).into()),
    }
}
