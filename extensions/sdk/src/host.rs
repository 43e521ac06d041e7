//! What Holdfast offers to extensions. Each has to be asked for in `extension.toml` and granted by the operator.

/// Words for operators: `holdfast ext logs NAME`. Right: `log = true`.
pub mod log {
    use crate::bindings::host::holdfast::host::log::write;

    pub use crate::bindings::host::holdfast::host::log::Level;

    /// For whoever looks for a fault.
    pub fn debug(message: &str) {
        write(Level::Debug, message);
    }

    /// What went as it should.
    pub fn info(message: &str) {
        write(Level::Info, message);
    }

    /// What an operator should look at some time.
    pub fn warn(message: &str) {
        write(Level::Warn, message);
    }

    /// What an operator should look at now.
    pub fn error(message: &str) {
        write(Level::Error, message);
    }
}

/// HTTP to targets that the operator has given names. Right: `[rights.http]`.
pub mod http {
    use std::fmt;

    pub use crate::bindings::host::holdfast::host::http::{Error, Method, Response, send};

    /// Reads.
    pub fn get(target: &str, path: &str) -> Result<Response, Error> {
        send(target, Method::Get, path, None)
    }

    /// Sends JSON.
    pub fn post(target: &str, path: &str, json: &str) -> Result<Response, Error> {
        send(target, Method::Post, path, Some(json))
    }

    impl Error {
        /// Whether the request had certainly no effect. Only one that was sent and not answered may have had.
        pub fn nothing_was_done(&self) -> bool {
            !matches!(self, Self::Unanswered(_))
        }

        /// For people.
        pub fn words(&self) -> String {
            match self {
                Self::NoTarget(text) => format!("no such target: {text}"),
                Self::NotAllowed(text) => format!("not allowed: {text}"),
                Self::TooMany(text) => format!("too many requests: {text}"),
                Self::Unreachable(text) => format!("not reachable: {text}"),
                Self::Unanswered(text) => format!("no answer: {text}"),
            }
        }
    }

    /// A text as JSON has it, in quotation marks.
    pub fn json_text(text: &str) -> String {
        let mut json = String::with_capacity(text.len() + 2);
        json.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => json.extend(['\\', c]),
                c if c < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => json.push(c),
            }
        }
        json.push('"');
        json
    }

    impl fmt::Display for Method {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.pad(match self {
                Self::Get => "GET",
                Self::Post => "POST",
                Self::Put => "PUT",
                Self::Patch => "PATCH",
                Self::Delete => "DELETE",
            })
        }
    }
}

/// Programs that the operator has given names: fence agents. Right: `programs`.
pub mod agent {
    pub use crate::bindings::host::holdfast::host::agent::{Action, Argument, Ended, Error, run};
}

/// Looks at the storage of this machine, at what the operator has given names. Rights: `paths`, `commands`.
pub mod probe {
    pub use crate::bindings::host::holdfast::host::probe::*;

    impl Error {
        /// For people.
        pub fn words(&self) -> String {
            match self {
                Self::NoName(text) => format!("no such name: {text}"),
                Self::Failed(text) => format!("failed: {text}"),
                Self::TimedOut(text) => format!("no answer in time: {text}"),
            }
        }
    }
}

/// The cluster's records as they were when the call began. Right: `state`.
pub mod state {
    pub use crate::bindings::host::holdfast::host::state::{Entry, entries, get};
}

#[cfg(test)]
mod tests {
    use super::http::{Error, json_text};

    #[test]
    fn json_has_no_raw_quotes_or_controls() {
        assert_eq!(json_text("a \"b\" \\ ü\n"), r#""a \"b\" \\ ü\u000a""#);
    }

    #[test]
    fn only_what_was_not_answered_may_have_been_done() {
        assert!(!Error::Unanswered(String::new()).nothing_was_done());
        assert!(Error::Unreachable(String::new()).nothing_was_done());
    }
}
