//! Reading what people write (TOML or JSON) strictly: an unknown key is refused with the nearest
//! known one, a wrong type with the unit that is meant, always with the place. And [`trust`]: whether a program
//! that is named there may be run.
//!
//! A crate of its own because managers, hosts and the command line all read files, and none of
//! them depends on another.
#![warn(missing_docs)]

pub mod trust;

use serde::de::DeserializeOwned;
use std::fmt;
use std::path::{Path, PathBuf};

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON.
    Json,
}

impl Format {
    /// By a file's name: `.json` is JSON, anything else TOML.
    pub fn of_file(name: &str) -> Self {
        if name.ends_with(".json") {
            Self::Json
        } else {
            Self::Toml
        }
    }
}

/// Why a text is refused: what, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextError {
    /// The file's name, or what it stands for.
    pub source: String,
    /// Line, counted from 1, if known.
    pub line: Option<usize>,
    /// Column, counted from 1, if known.
    pub column: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: Option<String>,
}

impl std::error::Error for TextError {}

impl TextError {
    /// About a key that is readable but cannot work, at the line that sets it.
    fn at_key(text: &str, source: &str, key: &str, what: String, advice: String) -> Self {
        let place = place_of_key(text, key);
        Self {
            source: source.to_owned(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            what,
            advice: Some(advice),
        }
    }
}

/// Why a daemon's own file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}; give the file with --config FILE")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its contents are refused.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Reads a daemon's own file and has `parse` check its text, under the file's name.
pub fn load<T>(
    path: &Path,
    parse: impl FnOnce(&str, &str) -> Result<T, TextError>,
) -> Result<T, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(parse(&text, &path.display().to_string())?)
}

/// Reads a daemon's own file's text. `fault` says what in a readable one cannot work: the key, what
/// is wrong, what to do.
pub fn read_checked<T: DeserializeOwned>(
    text: &str,
    source: &str,
    fault: impl FnOnce(&T) -> Option<(&'static str, String, String)>,
) -> Result<T, TextError> {
    let read = read(text, Format::Toml, source)?;
    match fault(&read) {
        None => Ok(read),
        Some((key, what, advice)) => Err(TextError::at_key(text, source, key, what, advice)),
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.what)?;
        if let Some(advice) = &self.advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

/// Reads `text` as `T`. `source` names it in errors.
pub fn read<T: DeserializeOwned>(text: &str, format: Format, source: &str) -> Result<T, TextError> {
    match format {
        Format::Toml => toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| place_of(text, span.start));
            explain(text, source, error.message(), place)
        }),
        Format::Json => serde_json::from_str(text).map_err(|error| {
            let place = (error.line(), error.column());
            let message = error.to_string();
            // serde_json appends the place; it is told separately here.
            let message = match message.rfind(" at line ") {
                Some(end) => &message[..end],
                None => &message,
            };
            explain(text, source, message, Some(place))
        }),
    }
}

/// Line and column of a byte offset, counted from 1.
pub fn place_of(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before[start..].chars().count() + 1)
}

/// Where a TOML text sets `key`, or begins the table of that name: comments that mention it do not count.
fn place_of_key(text: &str, key: &str) -> Option<(usize, usize)> {
    let sets = |line: &str| {
        let rest = line.strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let begins = |line: &str| {
        let rest = line.strip_prefix('[').map(str::trim_start);
        let rest = rest.and_then(|rest| rest.strip_prefix(key));
        rest.is_some_and(|rest| rest.trim_start().starts_with([']', '.']))
    };
    let place = |is_it: &dyn Fn(&str) -> bool| {
        let mut lines = text.lines().enumerate();
        lines.find_map(|(number, line)| {
            let indent = line.len() - line.trim_start().len();
            is_it(line.trim_start()).then_some((number + 1, indent + 1))
        })
    };
    place(&sets).or_else(|| place(&begins))
}

/// The known word nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let score = |candidate: &str| {
        if candidate.starts_with(word) || word.starts_with(candidate) {
            return 0.95;
        }
        strsim::jaro_winkler(&word.to_lowercase(), candidate)
    };
    known
        .into_iter()
        .map(|candidate| (score(candidate), candidate))
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn explain(text: &str, source: &str, message: &str, place: Option<(usize, usize)>) -> TextError {
    let line = place.map(|(line, _)| line).filter(|line| *line > 0);
    let (what, advice) = unknown_word(message)
        .or_else(|| wrong_type(text, line, message))
        .unwrap_or_else(|| (message.trim().replace('\n', " "), missing(message)));
    TextError {
        source: source.to_owned(),
        line,
        column: place.map(|(_, column)| column).filter(|column| *column > 0),
        what,
        advice,
    }
}

/// `unknown field ..., expected one of ...` and the same for variants, in serde's words.
fn unknown_word(message: &str) -> Option<(String, Option<String>)> {
    let (kind, rest) = match message.strip_prefix("unknown field ") {
        Some(rest) => ("key", rest),
        None => ("value", message.strip_prefix("unknown variant ")?),
    };
    let mut words = rest.split('`').skip(1).step_by(2);
    let word = words.next()?;
    let known: Vec<&str> = words.collect();
    let listed = known.join(", ");
    let advice = match nearest(word, known.iter().copied()) {
        Some(near) => {
            // Whoever left the unit out may have another one in mind.
            let unit = unit_of(near).filter(|_| unit_of(word) != unit_of(near));
            let unit = unit.map_or(String::new(), |unit| format!("It is in {unit}. "));
            format!("did you mean `{near}`? {unit}Known here: {listed}")
        }
        None if known.is_empty() => "remove it: nothing is expected here".to_owned(),
        None => format!("known here: {listed}"),
    };
    Some((format!("unknown {kind} `{word}`"), Some(advice)))
}

fn missing(message: &str) -> Option<String> {
    let key = message.strip_prefix("missing field `")?.split('`').next()?;
    Some(format!("add `{key} = …`"))
}

/// The unit that a key's end names.
fn unit_of(key: &str) -> Option<&'static str> {
    match key.rsplit('_').next() {
        Some("ms") => Some("milliseconds"),
        Some("mib") => Some("MiB"),
        Some("percent") => Some("percent"),
        _ => None,
    }
}

/// A value of the wrong type, said with the unit its key ends in.
fn wrong_type(text: &str, line: Option<usize>, message: &str) -> Option<(String, Option<String>)> {
    let (found, expected) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))?
        .split_once(", expected ")?;
    let source = text.lines().nth(line?.saturating_sub(1))?;
    let (key, value) = source.split_once(['=', ':'])?;
    let key = key.trim().trim_matches('"');
    let value = value.trim().trim_end_matches(',').trim_matches('"');
    let unit = unit_of(key).map_or(String::new(), |unit| format!(" of {unit}"));
    let unit = unit.as_str();
    let wanted = match expected {
        "u64" | "u32" | "usize" => format!("a whole number{unit}, 0 or more"),
        "i64" | "i32" => format!("a whole number{unit}"),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text in quotes".to_owned(),
        other => other.to_owned(),
    };
    let advice = match in_unit(value, unit) {
        Some(number) => format!("write `{key} = {number}`"),
        None => format!("give `{key}` {wanted}"),
    };
    Some((
        format!("`{key}` is {found}, but has to be {wanted}"),
        Some(advice),
    ))
}

/// `1.5s`, `500 ms`, `2GiB` as a number of the unit that is wanted.
fn in_unit(value: &str, unit: &str) -> Option<u64> {
    let digits = value.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let number: f64 = value[..digits].parse().ok()?;
    let factor = match (unit, value[digits..].trim().to_lowercase().as_str()) {
        (" of milliseconds", "ms") | (" of MiB", "m" | "mb" | "mib") | (" of percent", "%") => 1.0,
        (" of milliseconds", "s" | "sec" | "seconds") => 1_000.0,
        (" of milliseconds", "m" | "min" | "minutes") => 60_000.0,
        (" of MiB", "g" | "gb" | "gib") => 1_024.0,
        _ => return None,
    };
    Some((number * factor).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::policy::Policy;

    fn refused(text: &str, format: Format) -> String {
        read::<Policy>(text, format, "policy.toml")
            .expect_err(text)
            .to_string()
    }

    #[test]
    fn every_refusal_says_what_where_and_what_to_do() {
        let cases = [
            (
                "[timing]\nheartbeat = 500\n",
                "policy.toml, line 2, column 1: unknown key `heartbeat`; did you mean \
                 `heartbeat_ms`?",
            ),
            (
                "[timing]\nheartbeat_s = 1\n",
                "unknown key `heartbeat_s`; did you mean `heartbeat_ms`? It is in milliseconds. \
                 Known here: ",
            ),
            (
                "[timing]\nheartbeat = \"1s\"\n",
                "did you mean `heartbeat_ms`? It is in milliseconds.",
            ),
            (
                "[timing]\nheartbeat_ms = 0.5\n",
                "`heartbeat_ms` is floating point `0.5`, but has to be a whole number of \
                 milliseconds, 0 or more; give `heartbeat_ms` a whole number of milliseconds",
            ),
            (
                "[timing]\nheartbeat_ms = -5\n",
                "give `heartbeat_ms` a whole number of milliseconds, 0 or more",
            ),
            (
                "[timing]\nheartbeat_ms = 5\nheartbeat_ms = 6\n",
                "policy.toml, line 3, column 1: duplicate key",
            ),
            (
                "[fencing.devices.a1]\nagent = \"x\"\n[fencing.devices.a1]\nagent = \"y\"\n",
                "policy.toml, line 3, column 18: duplicate key",
            ),
            (
                "[fencing.devices.a1]\nagent = \"x\"\norder = -1\n",
                "`order`",
            ),
            (
                "[timing]\ntaker_wiat_ms = 500\n",
                "unknown key `taker_wiat_ms`; did you mean `taker_wait_ms`?",
            ),
            (
                "[timing]\nheartbeat_ms = \"1.5s\"\n",
                "line 2, column 16: `heartbeat_ms` is string \"1.5s\", but has to be a whole \
                 number of milliseconds, 0 or more; write `heartbeat_ms = 1500`",
            ),
            (
                "[placement]\nreserved_memory_mib = \"2 GiB\"\n",
                "write `reserved_memory_mib = 2048`",
            ),
            (
                "[failback]\nenabled = \"yes\"\n",
                "give `enabled` true or false",
            ),
            (
                "[timing]\nprofile = \"quick\"\n",
                "unknown value `quick`; known here: fast, default, patient",
            ),
            (
                "[[sites]]\nwitness = true\n",
                "missing field `name`; add `name = …`",
            ),
            ("[[sites]]\nname = \"a b\"\n", "' '"),
            ("[timing\n", "line 1"),
        ];
        for (text, says) in cases {
            let error = refused(text, Format::Toml);
            assert!(error.contains(says), "{text}\n said {error}\n not  {says}");
        }
    }

    #[test]
    fn json_is_read_as_strictly() {
        let error = refused("{\n \"timing\": {\"heartbeat\": 5}}", Format::Json);
        assert!(error.contains("line 2, column"), "{error}");
        assert!(error.contains("did you mean `heartbeat_ms`"), "{error}");
        let error = refused("{\"timing\":\n {\"heartbeat_ms\": \"4s\"}}", Format::Json);
        assert!(error.contains("whole number"), "{error}");
    }

    #[test]
    fn a_key_is_found_where_it_is_set() {
        let text = "# listen = where\nlistener = 1\n[a]\n  listen = 0\n";
        let error = TextError::at_key(text, "x.toml", "listen", "no".into(), "do".into());
        assert_eq!(error.to_string(), "x.toml, line 4, column 3: no; do");
        let error = TextError::at_key(text, "x.toml", "nowhere", "no".into(), "do".into());
        assert_eq!(error.to_string(), "x.toml: no; do");
    }

    #[test]
    fn far_words_are_not_proposed() {
        assert_eq!(nearest("zzz", ["listen", "name"]), None);
        assert_eq!(nearest("nmae", ["listen", "name"]), Some("name"));
    }
}
