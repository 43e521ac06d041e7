//! For tests: asks for what it was not granted, and more often than it may. Says in its answer what came of it.

use holdfast_extension::fencing::{Device, Fence, Ordered, Power};
use holdfast_extension::http::{self, Error};

struct Strays;

fn word(answer: Result<http::Response, Error>) -> &'static str {
    match answer {
        Ok(_) => "sent",
        Err(Error::NoTarget(_)) => "no-target",
        Err(Error::NotAllowed(_)) => "not-allowed",
        Err(Error::TooMany(_)) => "too-many",
        Err(Error::Unreachable(_)) => "unreachable",
        Err(Error::Unanswered(_)) => "unanswered",
    }
}

impl Fence for Strays {
    /// Each of these has to be refused.
    fn off(_: &Device) -> Ordered {
        let tries = [
            http::get("other", "/redfish/v1/Systems/1"),
            http::get("not a name", "/redfish/v1/Systems/1"),
            http::post("board", "/redfish/v1/Systems/1", "{}"),
            http::get("board", "/redfish/v1/Managers/1"),
            http::get("board", "/redfish/v1/Systems/../Managers/1"),
            http::get("board", "/redfish/v1/Systems/%2e%2e/Managers/1"),
            http::get("board", "http://192.0.2.1/redfish/v1/Systems/1"),
            http::get("board", "/redfish/v1/Systems/1 HTTP/1.1\r\nHost: other"),
        ];
        let words: Vec<&str> = tries.into_iter().map(word).collect();
        Ordered::Refused(words.join(" "))
    }

    fn on(_: &Device) -> Ordered {
        Ordered::Already
    }

    /// Until it may not any more.
    fn status(_: &Device) -> Power {
        for sent in 0.. {
            let answer = http::get("board", "/redfish/v1/Systems/1");
            if answer.is_err() {
                return Power::Unknown(format!("{sent} {}", word(answer)));
            }
        }
        Power::Off
    }
}

holdfast_extension::export_fence!(Strays);
