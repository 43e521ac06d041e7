//! How this host's own client stands to the bricks, as it shows under `.meta` of its mount:
//! `grep -H "^connected" /srv/holdfast/.meta/graphs/active/VOLUME-client-0/private …`
//!
//! ```text
//! /srv/holdfast/.meta/graphs/active/vmstore-client-0/private:connected = 1
//! ```

use holdfast_extension::storage_check::Answer;

/// Whether it is connected to all that the command names.
pub(crate) fn answer(text: &str) -> Answer {
    let mut named = 0;
    let mut away = Vec::new();
    for line in text.lines() {
        let Some((file, value)) = line.split_once(":connected") else {
            continue;
        };
        named += 1;
        let client = file
            .trim_end_matches("/private")
            .rsplit('/')
            .next()
            .unwrap_or(file);
        match value.trim_start_matches([' ', '=']).trim_end() {
            "1" => {}
            "0" => away.push(client),
            other => return Answer::Unknown(format!("{client}: connected is `{other}`")),
        }
    }
    match (named, away.is_empty()) {
        (0, _) => Answer::Unknown("client names no brick".to_owned()),
        (_, true) => Answer::Yes,
        (_, false) => Answer::No(format!(
            "this host has no connection to {}",
            away.join(", ")
        )),
    }
}
