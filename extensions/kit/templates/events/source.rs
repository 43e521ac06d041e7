//! Tells a webhook when hosts are fenced.

use holdfast_extension::events::{Event, Handle};
use holdfast_extension::{http, log};

struct Teller;

impl Handle for Teller {
    fn handle(events: &[Event]) -> Result<(), String> {
        // Pass over kinds that are not known: there will be more.
        let fenced = events.iter().filter(|event| event.kind == "host-fenced");
        let fenced: Vec<&str> = fenced.map(|event| event.text.as_str()).collect();
        if fenced.is_empty() {
            return Ok(());
        }
        // All in one request, since a site's loss has hundreds and a call may send few.
        let body = format!("{{\"text\":{}}}", http::json_text(&fenced.join("\n")));
        let answer = http::post("hook", "/", &body).map_err(|error| error.words())?;
        // What it did not take, nobody was told: the same events come again.
        if !(200..300).contains(&answer.status) {
            return Err(format!("the hook answered {}", answer.status));
        }
        log::info("the hook was told");
        Ok(())
    }
}

holdfast_extension::export_events!(Teller);
