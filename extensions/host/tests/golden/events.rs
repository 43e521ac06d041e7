//! For events.

use super::limits_of;
use super::outside::{Outside, on_web, request, response};
use super::written;
use holdfast_extension_host::events::Told;
use holdfast_extension_host::journal::Level;
use holdfast_extension_host::outside::{Method, WebError};
use holdfast_extension_host::{CallError, EventHandler, Loaded};
use holdfast_model::extension::ExtensionKind;

pub fn events_0_1_0(loaded: &Loaded) {
    let event = |kind: &str, host: Option<&str>, text: &str| Told {
        at_unix_ms: 1_764_000_000_000,
        actor: "m-a".to_owned(),
        kind: kind.to_owned(),
        host: host.map(str::to_owned),
        site: Some("a".to_owned()),
        vm: None,
        text: text.to_owned(),
    };
    let events = [
        event("host-fenced", Some("a1"), "its lease has expired"),
        event("site-painted", None, "green, as it is on a good day: ✔"),
    ];
    let refused = |words: &str| Err(CallError::Refused(words.to_owned()));
    for (answer, ended) in [
        (response(200, "ok"), Ok(())),
        (response(204, ""), refused("it was not taken")),
        (
            Err(WebError::Unreachable("no way to it".to_owned())),
            refused("no way to it"),
        ),
    ] {
        let limits = limits_of(ExtensionKind::Events);
        let handler = EventHandler::new(loaded, limits).expect("it fits");
        let hook = Outside::new(answer);
        let reach = || on_web(&hook, "webhook", "ops-hook");
        assert_eq!(handler.handle(&events, reach()).answer, ended);
        let post = request("ops-hook", Method::Post, "/", Some("site-painted"));
        assert_eq!(hook.taken(), post);
        let lines = [
            (Level::Info, events[0].text.clone()),
            (Level::Warn, events[1].text.clone()),
        ];
        assert_eq!(written(handler.journal()), lines);
        let nothing = handler.handle(&[], reach()).answer;
        assert_eq!(nothing, refused("nothing was told"));
    }
}
