//! `[fencing.board]`: how a board speaks that speaks neither Redfish nor to a fence agent.

use super::{Fault, TEXT_MAX, too_long, too_many};
use holdfast_model::extension::is_request;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What stands in braces in a request and a body, besides the names of settings.
pub(in super::super) const HOST: &str = "host";
/// See [`HOST`].
pub(in super::super) const DEVICE: &str = "device";

/// `[fencing.board]`: which requests the board knows, and what it answers. In requests and texts `{host}` stands for the
/// name of the host, `{device}` for that of the device, and `{NAME}` for a setting of `[fencing] settings`. What it does
/// not know it answers with 404, and may have taken for an order if it is no GET.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardSetup {
    /// Asks how the power stands.
    pub status: StatusSetup,
    /// Switches off.
    pub off: ExchangeSetup,
    /// Switches on. One that cannot do that leaves it out.
    pub on: Option<ExchangeSetup>,
    /// What it answers to an order that it will not carry out; 409 if left out.
    pub refused: Option<SaidSetup>,
    /// Requests that are neither and have to be answered first, such as one to log in. Nothing is lost if they are.
    #[serde(default)]
    pub also: Vec<ExchangeSetup>,
}

/// `status`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusSetup {
    /// A method, a space and a path, such as `GET /outlet/{host}`.
    pub request: String,
    /// What has to be in it; whatever it is if left out. JSON is compared as JSON.
    pub body: Option<String>,
    /// The number of the answer.
    #[serde(default = "ok")]
    pub answer: u16,
    /// The answer of a host that is on.
    pub on: String,
    /// Of one that is off.
    pub off: String,
    /// Of one that is on the way from one to the other. `{}` if left out.
    #[serde(default = "nothing")]
    pub between: String,
}

/// `off`, `on`, and each of `also`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSetup {
    /// A method, a space and a path, such as `POST /outlet/{host}/off`.
    pub request: String,
    /// What has to be in it; whatever it is if left out. JSON is compared as JSON.
    pub body: Option<String>,
    /// The number of the answer.
    #[serde(default = "ok")]
    pub answer: u16,
    /// The text of the answer.
    #[serde(default)]
    pub says: String,
}

/// `refused`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaidSetup {
    /// The number of the answer.
    pub answer: u16,
    /// The text of the answer.
    #[serde(default)]
    pub says: String,
}

fn ok() -> u16 {
    200
}

fn nothing() -> String {
    "{}".to_owned()
}

impl BoardSetup {
    /// The first thing in it that cannot work.
    pub(super) fn fault(&self, settings: &BTreeMap<String, String>) -> Option<Fault> {
        let StatusSetup {
            request,
            body,
            on,
            off,
            ..
        } = &self.status;
        if on == off {
            return Some((
                "status",
                "`status` says the same of a host that is on and of one that is off".to_owned(),
                "give `on` and `off` as the board answers them".to_owned(),
            ));
        }
        let orders = [("off", Some(&self.off)), ("on", self.on.as_ref())];
        let orders = orders
            .into_iter()
            .filter_map(|(key, order)| Some((key, order?)));
        let others = orders.chain(self.also.iter().map(|each| ("also", each)));
        let status = ("status", (request, body));
        let others = others.map(|(key, each)| (key, (&each.request, &each.body)));
        let all: Vec<_> = [status].into_iter().chain(others).collect();
        let words = all.iter().find_map(|(key, (request, body))| {
            let texts = [Some(*request), body.as_ref()];
            let unknown = texts
                .into_iter()
                .flatten()
                .find_map(|text| unknown_name(text, settings));
            let unknown = unknown.map(|name| unknown_fault(key, &name, settings));
            request_fault(key, request).or(unknown)
        });
        let twice = all.iter().enumerate().find_map(|(n, (key, each))| {
            let (before, _) = all[..n].iter().find(|(_, before)| before == each)?;
            Some((
                *key,
                format!("`{key}` is the same request as `{before}`"),
                "say in `body` what makes the difference".to_owned(),
            ))
        });
        let texts = [&self.status.on, &self.status.off, &self.status.between];
        let long = texts
            .into_iter()
            .find_map(|text| too_long("status", text))
            .or_else(|| too_long("off", &self.off.says));
        let refused = self.refused.as_ref();
        let numbers = [
            ("status", self.status.answer),
            ("off", self.off.answer),
            ("on", self.on.as_ref().map_or(200, |on| on.answer)),
            ("refused", refused.map_or(409, |refused| refused.answer)),
        ];
        let odd = numbers
            .into_iter()
            .find(|(_, number)| !(200..600).contains(number));
        let odd = odd.map(|(key, number)| {
            (
                key,
                format!("`{key}` is answered with {number}"),
                "an answer has a number from 200 to 599".to_owned(),
            )
        });
        too_many("also", self.also.len())
            .or(words)
            .or(twice)
            .or(long)
            .or(odd)
    }
}

fn request_fault(key: &'static str, request: &str) -> Option<Fault> {
    (!is_request(request) || request.len() > TEXT_MAX).then(|| {
        let short: String = request.chars().take(80).collect();
        (
            key,
            format!("`{short}` is not a request"),
            "write a method, a space and a path, such as \"POST /outlet/{host}/off\"".to_owned(),
        )
    })
}

/// The first name in braces that stands for nothing. Braces around other than a name are JSON's.
fn unknown_name(text: &str, settings: &BTreeMap<String, String>) -> Option<String> {
    let names = text.split('{').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        (!name.is_empty() && name.chars().all(is_name)).then_some(name)
    });
    let known = |name: &str| [HOST, DEVICE].contains(&name) || settings.contains_key(name);
    names
        .into_iter()
        .find(|name| !known(name))
        .map(str::to_owned)
}

fn unknown_fault(key: &'static str, name: &str, settings: &BTreeMap<String, String>) -> Fault {
    let known = [HOST, DEVICE].into_iter();
    let known: Vec<String> = known
        .chain(settings.keys().map(String::as_str))
        .map(|name| format!("{{{name}}}"))
        .collect();
    (
        key,
        format!("`{key}` has {{{name}}}, which stands for nothing"),
        format!("known here: {}", known.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "status = { request = \"GET /outlet/{host}\", on = \"1\", off = \"0\" }\n\
                        off = { request = \"POST /outlet/{outlet}\", body = '{\"on\":false}' }\n\
                        on = { request = \"POST /outlet/{outlet}\", body = '{\"on\":true}' }\n";

    fn fault(text: &str) -> Option<Fault> {
        let board: BoardSetup = toml::from_str(text).expect("it can be read");
        board.fault(&[("outlet".to_owned(), "7".to_owned())].into())
    }

    #[test]
    fn a_board_is_told_what_it_cannot_be() {
        assert_eq!(fault(GOOD), None);
        for (from, to, key, says) in [
            ("off = \"0\"", "off = \"1\"", "status", "the same of a host"),
            ("GET /outlet", "GET outlet", "status", "is not a request"),
            ("POST", "SWITCH", "off", "`SWITCH /outlet/{outlet}` is not"),
            ("{host}", "{hots}", "status", "has {hots}, which stands for"),
            ("true", "false", "on", "the same request as `off`"),
            (
                "off = \"0\"",
                "off = \"0\", answer = 20",
                "status",
                "with 20",
            ),
        ] {
            let text = GOOD.replace(from, to);
            let (found, what, _) = fault(&text).expect(&text);
            assert_eq!(found, key, "{what}");
            assert!(what.contains(says), "{what}");
        }
    }
}
