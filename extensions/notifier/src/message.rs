//! What a webhook is sent.

use crate::severity::{Severity, severity};
use holdfast_extension::events::Event;
use holdfast_extension::http::json_text;

/// Lines of the text; the rest is counted.
const LINES_MAX: usize = 20;
/// Characters of one event's words in the text.
const WORDS_MAX: usize = 300;
/// Characters of the words in the events, and of a name.
const TEXT_MAX: usize = 1_000;
const NAME_MAX: usize = 200;

/// JSON: a text, and the events themselves.
pub fn message(events: &[&Event]) -> String {
    let told: Vec<String> = events.iter().map(|event| structured(event)).collect();
    format!(
        "{{\"text\":{},\"events\":[{}]}}",
        json_text(&text(events)),
        told.join(",")
    )
}

fn text(events: &[&Event]) -> String {
    let mut lines: Vec<String> = events
        .iter()
        .take(LINES_MAX)
        .map(|event| line(event))
        .collect();
    if events.len() > LINES_MAX {
        lines.push(format!("… and {} more", events.len() - LINES_MAX));
    }
    lines.join("\n")
}

/// `12:34:56Z host-fenced b2 (site b): its lease has expired`
fn line(event: &Event) -> String {
    let mark = match severity(&event.kind) {
        Severity::Critical => "‼ ",
        Severity::Notice | Severity::Info => "",
    };
    let about = [&event.vm, &event.host];
    let about: String = about
        .into_iter()
        .flatten()
        .map(|name| format!(" {}", cut(name, WORDS_MAX)))
        .collect();
    let site = event
        .site
        .as_ref()
        .map(|site| format!(" (site {})", cut(site, WORDS_MAX)));
    format!(
        "{mark}{} {}{about}{}: {}",
        clock(event.at_unix_ms),
        cut(&event.kind, WORDS_MAX),
        site.unwrap_or_default(),
        cut(&event.text, WORDS_MAX)
    )
}

/// Without line breaks and the like: a chat must not take words for more than words.
fn cut(words: &str, most: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut text: String = words.chars().take(most).map(clean).collect();
    if words.chars().nth(most).is_some() {
        text.push('…');
    }
    text
}

fn clock(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000 % 86_400;
    format!(
        "{:02}:{:02}:{:02}Z",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn structured(event: &Event) -> String {
    let mut fields = vec![format!("\"at_unix_ms\":{}", event.at_unix_ms)];
    let mut add = |name: &str, words: &str| {
        let most = if name == "text" { TEXT_MAX } else { NAME_MAX };
        let words: String = words.chars().take(most).collect();
        fields.push(format!("\"{name}\":{}", json_text(&words)));
    };
    add("kind", &event.kind);
    add("actor", &event.actor);
    for (name, value) in [
        ("host", &event.host),
        ("site", &event.site),
        ("vm", &event.vm),
    ] {
        if let Some(value) = value {
            add(name, value);
        }
    }
    add("text", &event.text);
    format!("{{{}}}", fields.join(","))
}
