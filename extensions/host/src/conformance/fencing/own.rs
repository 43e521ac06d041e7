//! A board that speaks as `test.toml` has it.

use super::super::setup::{BoardSetup, ExchangeSetup, SaidSetup};
use super::speech::{Back, Meant};
use crate::fencing::Device;
use crate::outside::{Request, Response};
use serde_json::Value;

/// A request that the board knows.
struct Known {
    meant: Meant,
    /// A method, a space and a path.
    request: String,
    /// None: whatever it is.
    body: Option<String>,
    /// Its answer, where it is always the same.
    said: SaidSetup,
}

/// See the module.
pub(super) struct Own {
    /// Those whose body counts before those whose body does not.
    all: Vec<Known>,
    status: u16,
    on: String,
    off: String,
    between: String,
    refused: SaidSetup,
    /// For people.
    off_words: String,
}

impl Own {
    pub(super) fn new(setup: &BoardSetup, device: &Device) -> Self {
        let said = |each: &ExchangeSetup| SaidSetup {
            answer: each.answer,
            says: filled(&each.says, device),
        };
        let known = |meant, request: &str, body: &Option<String>, said| Known {
            meant,
            request: filled(request, device),
            body: body.as_ref().map(|body| filled(body, device)),
            said,
        };
        let exchange =
            |meant, each: &ExchangeSetup| known(meant, &each.request, &each.body, said(each));
        let asks = &setup.status;
        let none = SaidSetup {
            answer: asks.answer,
            says: String::new(),
        };
        let off = exchange(Meant::Order { on: false }, &setup.off);
        let off_words = match &off.body {
            Some(body) => format!("{} {body}", off.request),
            None => off.request.clone(),
        };
        let mut all = vec![known(Meant::Status, &asks.request, &asks.body, none), off];
        let on = setup.on.iter();
        all.extend(on.map(|on| exchange(Meant::Order { on: true }, on)));
        let also = setup.also.iter().enumerate();
        all.extend(also.map(|(n, each)| exchange(Meant::Known(n), each)));
        all.sort_by_key(|each| each.body.is_none());
        let refused = setup.refused.as_ref().map(|refused| SaidSetup {
            answer: refused.answer,
            says: filled(&refused.says, device),
        });
        Self {
            all,
            status: asks.answer,
            on: filled(&asks.on, device),
            off: filled(&asks.off, device),
            between: filled(&asks.between, device),
            refused: refused.unwrap_or(SaidSetup {
                answer: 409,
                says: "{}".to_owned(),
            }),
            off_words,
        }
    }

    /// The request that switches off.
    pub(super) fn off_words(&self) -> &str {
        &self.off_words
    }

    pub(super) fn meant(&self, request: &Request) -> Meant {
        let line = format!("{} {}", request.method.word(), request.path);
        let body = request.body.as_deref().unwrap_or_default();
        let known = self.all.iter().find(|each| {
            let same = each
                .body
                .as_deref()
                .is_none_or(|wanted| alike(wanted, body));
            each.request == line && same
        });
        known.map_or(Meant::Unknown, |known| known.meant)
    }

    /// Whether orders that are taken are answered so.
    pub(super) fn is_yes(&self, status: u16) -> bool {
        let mut all = self.all.iter();
        all.any(|each| matches!(each.meant, Meant::Order { .. }) && each.said.answer == status)
    }

    pub(super) fn words(&self, meant: Meant, back: Back) -> Response {
        let answer = |status, body: &str| Response {
            status,
            body: body.to_owned(),
        };
        let known = self.all.iter().find(|each| each.meant == meant);
        match (back, known) {
            (Back::On, _) => answer(self.status, &self.on),
            (Back::Off, _) => answer(self.status, &self.off),
            (Back::Between, _) => answer(self.status, &self.between),
            (Back::Done, Some(known)) => answer(known.said.answer, &known.said.says),
            (Back::Refused, _) => answer(self.refused.answer, &self.refused.says),
            _ => answer(500, "{}"),
        }
    }
}

/// The same text, or the same JSON.
fn alike(wanted: &str, found: &str) -> bool {
    let json = |text| serde_json::from_str::<Value>(text).ok();
    wanted == found || json(wanted).is_some_and(|wanted| json(found) == Some(wanted))
}

/// With what stands for something filled in.
fn filled(text: &str, device: &Device) -> String {
    let names = [("host", &device.host), ("device", &device.name)];
    let settings = device.settings.iter();
    let settings = settings.map(|(name, value)| (name.as_str(), value));
    names
        .into_iter()
        .chain(settings)
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
}

#[cfg(test)]
mod tests {
    use super::super::speech::device;
    use super::*;
    use crate::conformance::TestSetup;
    use crate::outside::Method;

    #[test]
    fn what_is_meant_is_told_by_the_request_and_its_body() {
        let text = "[fencing.settings]\noutlet = \"7\"\n[fencing.board]\n\
                    status = { request = \"GET /o/{outlet}?of={host}\", on = \"1\", off = \"0\" }\n\
                    off = { request = \"PUT /o/{outlet}\", body = '{\"on\": false}', answer = 202 }\n\
                    on = { request = \"PUT /o/{outlet}\", body = '{\"on\": true}' }\n\
                    also = [{ request = \"PUT /o/{outlet}\", says = \"hello {device}\" }]\n";
        let setup: TestSetup = toml::from_str(text).expect("it can be read");
        let fencing = setup.fencing.expect("the section");
        let device = device(Some(&fencing));
        let own = Own::new(&fencing.board.expect("the table"), &device);
        let request = |method, path: &str, body: Option<&str>| Request {
            about: String::new(),
            target: "board".parse().expect("a name"),
            method,
            path: path.to_owned(),
            body: body.map(str::to_owned),
        };
        for (method, path, body, meant) in [
            (Method::Get, "/o/7?of=host-1", None, Meant::Status),
            (Method::Get, "/o/7", None, Meant::Unknown),
            (
                Method::Put,
                "/o/7",
                Some("{\"on\":false}"),
                Meant::Order { on: false },
            ),
            (
                Method::Put,
                "/o/7",
                Some("{\"on\":true}"),
                Meant::Order { on: true },
            ),
            (Method::Put, "/o/7", Some("login"), Meant::Known(0)),
            (Method::Put, "/o/8", Some("{\"on\":false}"), Meant::Unknown),
        ] {
            assert_eq!(
                own.meant(&request(method, path, body)),
                meant,
                "{path} {body:?}"
            );
        }
        let hello = own.words(Meant::Known(0), Back::Done);
        assert_eq!((hello.status, hello.body.as_str()), (200, "hello board-1"));
        let done = own.words(Meant::Order { on: false }, Back::Done);
        assert_eq!(
            (done.status, own.is_yes(202), own.is_yes(204)),
            (202, true, false)
        );
        assert_eq!(own.off_words(), "PUT /o/7 {\"on\": false}");
    }
}
