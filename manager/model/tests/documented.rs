//! The records that docs/extensions.md shows to authors of event handlers are those that are written.
#![allow(clippy::unwrap_used)]

use holdfast_model::fence::FenceRecord;
use holdfast_model::host::{HostSpec, HostState, Session, VmReport};
use holdfast_model::vm::{Owner, VmSpec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const DOCS: &str = include_str!("../../../docs/extensions.md");

/// The first JSON object of a key's row, with words where the text has dots.
fn shown(key: &str) -> Value {
    let row = DOCS
        .lines()
        .find(|line| line.starts_with(&format!("| `{key}` |")));
    let row = row.unwrap_or_else(|| panic!("docs/extensions.md has no row `{key}`"));
    let (_, from) = row.split_once("`{").unwrap();
    let (object, _) = from.split_once('`').unwrap();
    let text = format!("{{{object}");
    let text = text
        .replace("{…}", r#"{"kind": "released"}"#)
        .replace('…', "x");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{key}: {error}: {text}"))
}

/// What is shown is read as the record, and written again as it is shown.
fn is_one<T: Serialize + DeserializeOwned>(key: &str, more: Value) {
    let shown = shown(key);
    let mut whole = shown.clone();
    let object = whole.as_object_mut().unwrap();
    object.extend(more.as_object().unwrap().clone());
    let record: T = serde_json::from_value(whole).unwrap_or_else(|error| panic!("{key}: {error}"));
    let written = serde_json::to_value(record).unwrap();
    for (field, value) in shown.as_object().unwrap() {
        // What is not said is left out.
        let nothing = *value == json!({}) && written.get(field).is_none();
        assert!(
            nothing || written[field] == *value,
            "{key}: {field}: {written}"
        );
    }
}

#[test]
fn records_are_as_they_are_shown() {
    is_one::<Owner>("vms/V/owner", json!({}));
    let uuid = "11111111-2222-3333-4444-555555555555";
    is_one::<VmSpec>(
        "vms/V/spec",
        json!({"uuid": uuid, "domain_xml": "<domain/>"}),
    );
    is_one::<HostSpec>("hosts/H/spec", json!({}));
    is_one::<HostState>("hosts/H/state", json!({"boot_id": "b"}));
    let bounds = json!({"runner_deadline_ms": 1, "kill_bound_ms": 1, "watchdog_bound_ms": 0});
    is_one::<Session>(
        "hosts/H/session",
        json!({"machine_id": "m", "bounds": bounds, "guard": "working", "version": "1"}),
    );
    is_one::<VmReport>("hosts/H/vms/V", json!({}));
    is_one::<FenceRecord>("fences/H/LIFE", json!({}));
}
