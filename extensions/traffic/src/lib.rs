//! Tells a router where VMs are: `PUT /vms/NAME` with `{"vm": …, "host": …, "site": …}`; both `null` while nobody has it.
//!
//! An event only says that something may have changed. What is sent is what the records say now: an event that comes
//! twice, or late, sends nothing that is not so.

mod place;
#[cfg(test)]
mod tests;

use holdfast_extension::events::{Event, Handle};
use holdfast_extension::http;
use holdfast_extension::state;
use place::{place, told};
use std::collections::BTreeSet;

/// The role that a router is bound to.
const ROUTER: &str = "router";

struct Traffic;

impl Handle for Traffic {
    fn handle(events: &[Event]) -> Result<(), String> {
        let read = |key: &str| state::get(key).map(|entry| entry.value);
        tell(events, read, |path, body| {
            http::send(ROUTER, http::Method::Put, path, Some(body))
        })
    }
}

/// Tells it of every VM that an event is about, each once. All are tried, whatever becomes of the first.
fn tell(
    events: &[Event],
    read: impl Fn(&str) -> Option<String>,
    mut put: impl FnMut(&str, &str) -> Result<http::Response, http::Error>,
) -> Result<(), String> {
    let vms: BTreeSet<&str> = events
        .iter()
        .filter_map(|event| event.vm.as_deref())
        .filter(|vm| is_name(vm))
        .collect();
    let mut wrong = Vec::new();
    for vm in vms {
        let now = match place(vm, &read) {
            Ok(now) => now,
            Err(why) => {
                wrong.push(why);
                continue;
            }
        };
        match put(&format!("/vms/{vm}"), &told(vm, &now)) {
            Ok(answer) if (200..300).contains(&answer.status) => {}
            Ok(answer) => wrong.push(format!("{vm}: {ROUTER} answered {}", answer.status)),
            Err(http::Error::NoTarget(_)) => {
                return Err(format!(
                    "no router is bound: `[extensions.traffic] bind = {{ {ROUTER} = \"TARGET\" }}` in the policy"
                ));
            }
            Err(error) => wrong.push(format!("{vm}: {}", error.words())),
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("; ")),
    }
}

/// A VM's name fits into a path and a key as it is; what does not is none.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

holdfast_extension::export_events!(Traffic);
