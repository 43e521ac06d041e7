//! `holdfast ext logs`: what extensions wrote, wherever they ran.

use super::super::args::Output;
use super::super::client::{FromEach, Silent};
use super::super::error::CliError;
use super::super::paint::{Line, Tone};
use super::super::{Session, hint, print, print_json};
use crate::wall::moment;
use holdfast_model::id::ExtensionName;
use holdfast_model::time::UnixMs;
use serde_json::{Value, json};

impl Session {
    /// Lines stay where they were written: all managers are asked for theirs.
    pub(in super::super) fn ext_logs(
        &self,
        name: &ExtensionName,
        shadow: bool,
    ) -> Result<(), CliError> {
        let query = match shadow {
            true => "?shadow=true",
            false => "",
        };
        let path = format!("/extensions/{name}/log{query}");
        let FromEach {
            by_manager,
            shared,
            silent,
        } = self.client.get_from_each(&path)?;
        let managers: Vec<String> = by_manager.keys().cloned().collect();
        let told = match shared {
            Some(told) => told,
            None => {
                json!({"managers": managers, "silent": silent, "lines": merged(by_manager, "lines")})
            }
        };
        if self.output == Output::Json {
            return print_json(&told);
        }
        let none = Vec::new();
        let lines = told["lines"].as_array().unwrap_or(&none);
        for line in lines {
            print(&(drawn(line).draw() + "\n"))?;
        }
        let who = match shadow {
            true => format!("the shadow of {name}"),
            false => name.to_string(),
        };
        match told["hosts"].as_array() {
            Some(hosts) if hosts.is_empty() => hint(&format!("no host asks {who}")),
            Some(_) => hint(&format!(
                "the newest warnings and errors of {who} on each host that asks it, as of the last minute; what is \
                 less serious stays there"
            )),
            None if lines.is_empty() => {
                hint(&format!(
                    "{who} has written nothing on {}",
                    managers.join(", ")
                ));
            }
            None => {}
        }
        tell_silent(&silent, "its lines, if it has any, are missing");
        Ok(())
    }
}

/// What all managers have in a list of this name, in the order of its time, each with its manager.
pub(super) fn merged(
    by_manager: impl IntoIterator<Item = (String, Value)>,
    list: &str,
) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    for (manager, mut told) in by_manager {
        let Some(lines) = told[list].as_array_mut() else {
            continue;
        };
        for mut line in std::mem::take(lines) {
            line["manager"] = manager.clone().into();
            all.push(line);
        }
    }
    // Those of one manager stay in their order.
    all.sort_by_key(|line| line["at"].as_u64());
    all
}

fn drawn(line: &Value) -> Line {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let at = moment(UnixMs(line["at"].as_u64().unwrap_or_default()));
    let level = text("level");
    let tone = tone_of(&level);
    let place = match text("host") {
        host if host.is_empty() => text("manager"),
        host => host,
    };
    Line::new()
        .add(Tone::Dim, format!("{at}  {place:<8}  "))
        .add(tone, format!("{level:<5}  "))
        .text(text("text"))
}

/// How a line of this level is drawn.
pub(super) fn tone_of(level: &str) -> Tone {
    match level {
        "error" => Tone::Bad,
        "warn" => Tone::Warn,
        "debug" => Tone::Dim,
        _ => Tone::Plain,
    }
}

/// Managers that did not answer, and what is missing for that.
pub(super) fn tell_silent(silent: &[Silent], missing: &str) {
    for Silent { manager, why } in silent {
        let text = format!("{manager} does not answer ({why}): {missing}");
        hint(&Line::new().add(Tone::Warn, "note: ").text(text).draw());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_managers_are_one_list() {
        let line = |at: u64, text: &str| json!({"at": at, "level": "info", "text": text});
        let told = |lines: Vec<Value>| json!({"lines": lines});
        let by_manager = [
            (
                "m-a".to_owned(),
                told(vec![line(1, "one"), line(3, "three"), line(3, "third")]),
            ),
            ("m-b".to_owned(), told(vec![line(2, "two")])),
            ("m-c".to_owned(), json!({})),
        ];
        let all = merged(by_manager, "lines");
        let short = all.iter().map(|line| drawn(line).plain());
        let short: Vec<String> = short.map(|line| line[24..].trim().to_owned()).collect();
        assert_eq!(
            short,
            [
                "m-a       info   one",
                "m-b       info   two",
                "m-a       info   three",
                "m-a       info   third",
            ]
        );
    }
}
