//! What is believed of a device that an extension talks to: nothing that only the extension says.
//!
//! ```text
//!                    the extension says
//! read back says     off         on         nothing
//!   off              off         unknown    off
//!   on               on          on         on
//!   nothing          unknown     unknown    unknown
//! ```
//! The manager reads the power itself, after the order. Where the extension contradicts an "off", one of the two
//! looks at another host's power, and nobody knows which.

use std::fmt;

/// How the power stands, as somebody says who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// On.
    On,
    /// Off.
    Off,
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// What is believed. An error says why nothing is.
///
/// `extension`, `read`: what they say, or why they say nothing.
///
/// # Errors
/// In words for operators.
pub fn believed(
    extension: &Result<Says, String>,
    read: &Result<Says, String>,
) -> Result<Says, String> {
    match (read, extension) {
        (Ok(Says::On), _) => Ok(Says::On),
        (Ok(Says::Off), Ok(Says::On)) => Err(
            "the read-back says off and the extension says on: they do not look at the same host"
                .to_owned(),
        ),
        (Ok(Says::Off), Ok(Says::Off) | Err(_)) => Ok(Says::Off),
        (Err(why), Ok(says)) => Err(format!(
            "the extension says {says}, which is not believed alone, and the read-back says nothing: {why}"
        )),
        (Err(why), Err(other)) if why == other => Err(why.clone()),
        (Err(why), Err(other)) => Err(format!(
            "the read-back says nothing: {why}; nor does the extension: {other}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_is_only_what_was_read_and_not_denied() {
        let silent = || Err("no answer".to_owned());
        for (extension, read, off) in [
            (Ok(Says::Off), Ok(Says::Off), true),
            (silent(), Ok(Says::Off), true),
            (Ok(Says::On), Ok(Says::Off), false),
            (Ok(Says::Off), Ok(Says::On), false),
            (silent(), Ok(Says::On), false),
            (Ok(Says::On), Ok(Says::On), false),
            (Ok(Says::Off), silent(), false),
            (Ok(Says::On), silent(), false),
            (silent(), silent(), false),
        ] {
            let found = believed(&extension, &read);
            assert_eq!(found == Ok(Says::Off), off, "{extension:?}, {read:?}");
            // What was read to be on is on, whoever says what.
            assert_eq!(found == Ok(Says::On), read == Ok(Says::On));
        }
    }
}
