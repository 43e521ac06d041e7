//! Where a VM is, by the cluster's records.

use holdfast_extension::http::json_text;
use serde_json::Value;

/// Where it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Nobody has it: none.
    pub host: Option<String>,
    /// None: the host's own record does not say.
    pub site: Option<String>,
}

/// Who holds the VM, and where that is. While it moves live that is still the source.
///
/// # Errors
/// If a record is not what it should be.
pub fn place(vm: &str, read: impl Fn(&str) -> Option<String>) -> Result<Place, String> {
    let nowhere = Place {
        host: None,
        site: None,
    };
    let Some(owner) = read(&format!("vms/{vm}/owner")) else {
        return Ok(nowhere);
    };
    let Some(host) = text(&owner, &format!("vms/{vm}/owner"), "/holder/host")? else {
        return Ok(nowhere);
    };
    let key = format!("hosts/{host}/spec");
    let site = match read(&key) {
        Some(spec) => text(&spec, &key, "/site")?,
        None => None,
    };
    Ok(Place {
        host: Some(host),
        site,
    })
}

fn text(record: &str, key: &str, pointer: &str) -> Result<Option<String>, String> {
    let value: Value =
        serde_json::from_str(record).map_err(|error| format!("{key} is no JSON: {error}"))?;
    match value.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        // A holder that is none has no host at all.
        Some(_) => Err(format!("{key}: {pointer} is no text")),
    }
}

/// JSON of it.
pub fn told(vm: &str, place: &Place) -> String {
    let word = |text: &Option<String>| text.as_deref().map_or("null".to_owned(), json_text);
    format!(
        "{{\"vm\":{},\"host\":{},\"site\":{}}}",
        json_text(vm),
        word(&place.host),
        word(&place.site)
    )
}
