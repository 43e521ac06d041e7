//! The schemas say what the readers say: both are asked about the same keys, words and files.

use super::*;
use holdfast_strict::{Format, TextError, read};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

const POLICY: &str = include_str!("../packaging/policy.toml");
const MANAGER: &str = include_str!("../packaging/manager.toml");
const HOST: &str = include_str!("../../host-plugin/packaging/host.toml");
const FENCE: &str = include_str!("../../host-plugin/packaging/fence.toml");
const VM: &str = "name = \"web1\"\nrun = true\nmemory_mib = 64\nvcpus = 1\npriority = 10\n\
    preferred_site = \"a\"\nsite_rule = \"must\"\nspread = \"web\"\nstorage_lease = false\n\
    on_io_error = \"leave\"\n\
    labels = { needs = \"gpu\" }\n\
    domain_xml = \"<domain/>\"\ndomain_xml_file = \"web1.xml\"\n";

const EXTENSION: &str = "name = \"x\"\nversion = \"1.0.0\"\nkind = \"events\"\nsummary = \"Tells.\"\n\
    [limits]\ncpu_ms = 5000\nwall_ms = 1\nmemory_mib = 32\nanswer_kib = 1\nrequests = 64\n\
    [rights]\nlog = true\nstate = [\"vms/\"]\nprograms = []\npaths = []\ncommands = []\n\
    http = { webhook = [\"POST /\"] }\n";

/// A shipped file with every key that is commented out.
fn with_all_keys(text: &str) -> Value {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && rest.contains(" = ") => rest.to_owned(),
        Some(rest) if rest.starts_with('[') => rest.to_owned(),
        _ => line.to_owned(),
    };
    let text: Vec<String> = text.lines().map(line).collect();
    toml::from_str(&text.join("\n")).expect("TOML")
}

/// As far as these schemas go: types, keys, words, items.
fn check(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types = &schema["type"];
    let allowed = types.is_null() || *types == *kind || is_in(types, &json!(kind));
    if !allowed {
        return Err(format!("{at} is {kind}, not {types}"));
    }
    if let (Some(words), Some(word)) = (words(schema), value.as_str())
        && !words.iter().any(|known| known == word)
    {
        return Err(format!("{at} is {word}, none of {words:?}"));
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(key) {
            Some(known) => check(known, inner, &format!("{at}.{key}"))?,
            None if entry(schema).is_some() => {
                let entry = entry(schema).unwrap_or(&Value::Null);
                check(entry, inner, &format!("{at}.{key}"))?;
            }
            None if schema["additionalProperties"] == false => {
                return Err(format!("{at}.{key} is unknown"));
            }
            None => return Err(format!("{at} lets unknown keys through")),
        }
    }
    for inner in value.as_array().into_iter().flatten() {
        check(&schema["items"], inner, &format!("{at}[]"))?;
    }
    let missing = |key: &&Value| key.as_str().is_some_and(|key| value.get(key).is_none());
    match schema["required"]
        .as_array()
        .and_then(|all| all.iter().find(missing))
    {
        Some(key) if value.is_object() => Err(format!("{at} lacks {key}")),
        _ => Ok(()),
    }
}

/// What an entry of a map is, whose keys are names that people give.
fn entry(schema: &Value) -> Option<&Value> {
    let by_name = schema["patternProperties"].as_object();
    let by_name = by_name.and_then(|patterns| patterns.values().next());
    by_name.or(Some(&schema["additionalProperties"]).filter(|any| any.is_object()))
}

fn is_in(list: &Value, value: &Value) -> bool {
    list.as_array().is_some_and(|list| list.contains(value))
}

/// The words of an enumeration.
fn words(schema: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(list) = schema["enum"].as_array() {
        return Some(list.iter().filter_map(text).collect());
    }
    let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array())?;
    let each = |choice: &Value| words(choice).or_else(|| Some(vec![text(&choice["const"])?]));
    Some(choices.iter().filter_map(each).flatten().collect())
}

/// What the reader expects instead of an unknown word.
fn known(error: &TextError) -> Vec<String> {
    let advice = error.advice.as_deref().unwrap_or_default();
    let list = advice
        .split_once("nown here: ")
        .map_or("", |(_, list)| list);
    list.split(", ").map(str::to_owned).collect()
}

/// Puts `value` where `path` says (`[]`: an array's only item) and has it read.
fn ask<T: DeserializeOwned>(path: &[String], value: Value) -> TextError {
    let document = path
        .iter()
        .rev()
        .fold(value, |inner, key| match key.as_str() {
            "[]" => json!([inner]),
            key => json!({ key: inner }),
        });
    let text = document.to_string();
    match read::<T>(&text, Format::Json, "x.json") {
        Ok(_) => panic!("{text} is accepted"),
        Err(error) => error,
    }
}

/// Every table and every enumeration of the schema, held against the reader. How many there were.
fn agree<T: DeserializeOwned>(schema: &Value, path: &mut Vec<String>) -> usize {
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    if let Some(words) = words(schema) {
        let read = known(&ask::<T>(path, json!("zzz")));
        assert_eq!(sorted(words), sorted(read), "{path:?}");
        return 1;
    }
    let mut count = 0;
    if let Some(keys) = schema["properties"].as_object() {
        let read = known(&ask::<T>(path, json!({"zzz": 1})));
        assert_eq!(
            sorted(keys.keys().cloned().collect()),
            sorted(read),
            "{path:?}"
        );
        count += 1;
        for (key, inner) in keys {
            path.push(key.clone());
            count += agree::<T>(inner, path);
            path.pop();
        }
    }
    if let Some(entry) = entry(schema) {
        path.push("zzz".to_owned());
        count += agree::<T>(entry, path);
        path.pop();
    }
    if schema["items"].is_object() {
        path.push("[]".to_owned());
        count += agree::<T>(&schema["items"], path);
        path.pop();
    }
    count
}

#[test]
fn schemas_and_readers_know_the_same_keys_and_words() {
    let value = |of| schema(of).to_value();
    assert_eq!(agree::<Policy>(&value(SchemaOf::Policy), &mut vec![]), 17);
    assert_eq!(agree::<VmFile>(&value(SchemaOf::Vm), &mut vec![]), 3);
    assert_eq!(agree::<HostFile>(&value(SchemaOf::Host), &mut vec![]), 12);
    assert_eq!(
        agree::<ManagerFile>(&value(SchemaOf::Manager), &mut vec![]),
        4
    );
    assert_eq!(agree::<FenceFile>(&value(SchemaOf::Fence), &mut vec![]), 2);
    let extension = value(SchemaOf::Extension);
    assert_eq!(agree::<Manifest>(&extension, &mut vec![]), 4);
    let requests = &extension["properties"]["limits"]["properties"]["requests"];
    assert_eq!(requests["maximum"], 64);
}

/// Every key of the schema that the document has not, tables included.
fn undocumented(schema: &Value, document: &Value, at: &str) -> Vec<String> {
    let empty = Map::new();
    let keys = schema["properties"].as_object().unwrap_or(&empty);
    let inner = |(key, inner): (&String, &Value)| match document.get(key) {
        None => vec![format!("{at}{key}")],
        Some(value) => undocumented(inner, value, &format!("{at}{key}.")),
    };
    let mut missing: Vec<String> = keys.iter().flat_map(inner).collect();
    // Of a map, whatever stands there shows all that an entry may have.
    if let (Some(entries), Some(entry)) = (document.as_object(), entry(schema)) {
        if entries.is_empty() {
            missing.push(format!("{at}*"));
        }
        let inner =
            |(key, value): (&String, &Value)| undocumented(entry, value, &format!("{at}{key}."));
        missing.extend(entries.iter().flat_map(inner));
    }
    missing
}

#[test]
fn shipped_files_pass_with_every_key_and_leave_none_out() {
    for (of, text) in [
        (SchemaOf::Policy, POLICY),
        (SchemaOf::Manager, MANAGER),
        (SchemaOf::Host, HOST),
        (SchemaOf::Fence, FENCE),
        (SchemaOf::Vm, VM),
        (SchemaOf::Extension, EXTENSION),
    ] {
        let schema = schema(of).to_value();
        let document = with_all_keys(text);
        assert_eq!(check(&schema, &document, ""), Ok(()), "{of:?}");
        assert_eq!(undocumented(&schema, &document, ""), Vec::<String>::new());
        // The reader agrees, on the very same document.
        let text = document.to_string();
        let result = match of {
            SchemaOf::Policy => read::<Policy>(&text, Format::Json, "x").map(drop),
            SchemaOf::Vm => read::<VmFile>(&text, Format::Json, "x").map(drop),
            SchemaOf::Host => read::<HostFile>(&text, Format::Json, "x").map(drop),
            SchemaOf::Manager => read::<ManagerFile>(&text, Format::Json, "x").map(drop),
            SchemaOf::Fence => read::<FenceFile>(&text, Format::Json, "x").map(drop),
            SchemaOf::Extension => read::<Manifest>(&text, Format::Json, "x").map(drop),
        };
        assert_eq!(result, Ok(()), "{of:?}");
    }
}

#[test]
fn bad_files_are_refused_by_the_schema_too() {
    let policy = schema(SchemaOf::Policy).to_value();
    for (text, says) in [
        (
            "[timing]\nheartbeat_s = 1",
            ".timing.heartbeat_s is unknown",
        ),
        (
            "[timing]\nheartbeat_ms = \"1s\"",
            ".timing.heartbeat_ms is string",
        ),
        ("[timing]\nprofile = \"quick\"", ".timing.profile is quick"),
        ("[[sites]]\nwitness = true", ".sites[] lacks \"name\""),
        ("[tming]", ".tming is unknown"),
    ] {
        let document: Value = toml::from_str(text).expect("TOML");
        let error = check(&policy, &document, "").expect_err(text);
        assert!(error.starts_with(says), "{text}: {error}");
    }
    let host = schema(SchemaOf::Host).to_value();
    let error = check(
        &host,
        &json!({"cluster": "c", "name": "a1", "site": "a"}),
        "",
    );
    assert_eq!(error, Err(" lacks \"etcd\"".to_owned()));
    // Names and addresses carry their own rules.
    assert_eq!(host["properties"]["name"]["maxLength"], 63);
    let url = &host["properties"]["etcd"]["properties"]["endpoints"]["items"]["pattern"];
    assert_eq!(*url, "^http://[^ /]+:[0-9]+/*$");
}
