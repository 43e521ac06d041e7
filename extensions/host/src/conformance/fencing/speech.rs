//! What a made-up board makes of requests, and how it words its answers: Redfish, or as `test.toml` has it.

use super::super::setup::FencingSetup;
use super::own::Own;
use super::redfish;
use crate::fencing::Device;
use crate::outside::{Request, Response};

/// The language of a board.
pub(super) enum Speech {
    /// As most management boards.
    Redfish,
    /// Another one.
    Own(Own),
}

/// What a request means to the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// How does the power stand?
    Status,
    /// Switch it on, or off.
    Order {
        /// On.
        on: bool,
    },
    /// What has to be asked before that; the position among such requests.
    Known(usize),
    /// Nothing.
    Unknown,
}

/// What comes back, in whatever language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    On,
    Off,
    Between,
    Done,
    Refused,
    Failed,
    Nonsense,
    /// Yes, to what it does not understand.
    Agreed,
    /// It does not understand that.
    Strange,
    Unanswered,
    Away,
    Missing,
}

/// The device that it is asked about, if `test.toml` says nothing else.
pub(super) fn device(setup: Option<&FencingSetup>) -> Device {
    let mut settings = vec![("ip".to_owned(), "192.0.2.1".to_owned())];
    for (name, value) in setup.into_iter().flat_map(|setup| &setup.settings) {
        settings.retain(|(known, _)| known != name);
        settings.push((name.clone(), value.clone()));
    }
    Device {
        host: "host-1".to_owned(),
        name: "board-1".to_owned(),
        settings,
    }
}

impl Speech {
    /// As it is described.
    pub(super) fn new(setup: Option<&FencingSetup>, device: &Device) -> Self {
        match setup.and_then(|setup| setup.board.as_ref()) {
            Some(board) => Self::Own(Own::new(board, device)),
            None => Self::Redfish,
        }
    }

    /// The request that switches off, if an extension that does not send it is at fault.
    pub(super) fn wanted_off(&self) -> Option<&str> {
        match self {
            Self::Redfish => None,
            Self::Own(own) => Some(own.off_words()),
        }
    }

    pub(super) fn meant(&self, request: &Request) -> Meant {
        match self {
            Self::Redfish => redfish::meant(request),
            Self::Own(own) => own.meant(request),
        }
    }

    /// Whether orders that are taken are answered so.
    pub(super) fn is_yes(&self, status: u16) -> bool {
        match self {
            Self::Redfish => (200..300).contains(&status),
            Self::Own(own) => own.is_yes(status),
        }
    }

    /// None of what is no answer at all.
    pub(super) fn words(&self, meant: Meant, back: Back) -> Response {
        let answer = |status, body: &str| Response {
            status,
            body: body.to_owned(),
        };
        match back {
            Back::Nonsense => answer(200, "<html>Off</html>"),
            Back::Failed => answer(500, "{}"),
            Back::Agreed => answer(200, "{}"),
            Back::Strange => answer(404, "{}"),
            _ => match self {
                Self::Redfish => redfish::words(meant, back),
                Self::Own(own) => own.words(meant, back),
            },
        }
    }
}
