//! Posts events to webhooks: `{"text": "…", "events": […]}`. The text is for chats, which show that field and pass over
//! the others; the events are for programs.
//!
//! Who hears what is said by the role that a webhook is bound to ([`ROLES`]). A role that is bound to nothing is
//! passed over; if none is, that is an error.

mod message;
mod severity;
#[cfg(test)]
mod tests;

use holdfast_extension::events::{Event, Handle};
use holdfast_extension::http;
use message::message;
use severity::{Severity, severity};

/// Each role of the manifest, and what it hears at the least.
pub const ROLES: [(&str, Severity); 3] = [
    ("webhook-critical", Severity::Critical),
    ("webhook", Severity::Notice),
    ("webhook-all", Severity::Info),
];

struct Notifier;

impl Handle for Notifier {
    fn handle(events: &[Event]) -> Result<(), String> {
        tell(events, |role, body| http::post(role, "/", body))
    }
}

/// Tells every webhook what it is to hear. All are tried, whatever becomes of the first.
fn tell(
    events: &[Event],
    mut post: impl FnMut(&str, &str) -> Result<http::Response, http::Error>,
) -> Result<(), String> {
    let mut wrong = Vec::new();
    let (mut wanted, mut unbound) = (0, 0);
    for (role, least) in ROLES {
        let heard: Vec<&Event> = events
            .iter()
            .filter(|event| severity(&event.kind) >= least)
            .collect();
        if heard.is_empty() {
            continue;
        }
        wanted += 1;
        match post(role, &message(&heard)) {
            Ok(answer) if (200..300).contains(&answer.status) => {}
            Ok(answer) => wrong.push(format!("{role} answered {}", answer.status)),
            Err(http::Error::NoTarget(_)) => unbound += 1,
            Err(error) => wrong.push(format!("{role}: {}", error.words())),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    // What only `webhook-all` hears is nobody's loss if that is not bound.
    let notable = events
        .iter()
        .any(|event| severity(&event.kind) >= Severity::Notice);
    if notable && unbound == wanted {
        return Err("no webhook is bound: `[extensions.notifier] bind = { webhook = \"TARGET\" }` in the policy".to_owned());
    }
    Ok(())
}

holdfast_extension::export_events!(Notifier);
