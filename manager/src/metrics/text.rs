//! The text format of Prometheus, version 0.0.4: what every scraper reads.

use std::fmt::Write;

/// For the header of an answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the values of a metric do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// They go up and down.
    Gauge,
    /// They go up, and begin anew when the manager does. The name ends in `_total`.
    Counter,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

/// A value with its labels. An empty label counts as none.
pub(super) fn sample<const N: usize>(labels: [(&'static str, &str); N], value: f64) -> Sample {
    let labels = labels.into_iter();
    Sample {
        labels: labels.map(|(name, text)| (name, text.to_owned())).collect(),
        value,
    }
}

/// 1 if it is so.
pub(super) fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// Milliseconds as seconds.
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// What is being written.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// A metric with all of its values; nothing if there are none.
    pub(super) fn metric(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample>,
    ) {
        let word = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.line(format_args!("# HELP {name} {help}"));
            self.line(format_args!("# TYPE {name} {word}"));
        }
        for Sample { labels, value } in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
                .collect();
            match labels.is_empty() {
                true => self.line(format_args!("{name} {value}")),
                false => self.line(format_args!("{name}{{{}}} {value}", labels.join(","))),
            }
        }
    }

    /// One value without labels.
    pub(super) fn value(&mut self, kind: Kind, name: &str, help: &str, value: f64) {
        self.metric(kind, name, help, [sample([], value)]);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.0.write_fmt(line);
        self.0.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    text.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out_and_what_has_no_value_is_not_there() {
        let mut text = Text::default();
        text.metric(Kind::Gauge, "none", "Nothing.", []);
        text.metric(
            Kind::Gauge,
            "some",
            "Something.",
            [sample([("a", "x\"} 1\n\\"), ("b", "")], 0.25)],
        );
        text.value(Kind::Counter, "all_total", "Everything.", 12_345_678.0);
        assert_eq!(
            text.finish(),
            "# HELP some Something.\n# TYPE some gauge\nsome{a=\"x\\\"} 1\\n\\\\\",b=\"\"} 0.25\n\
             # HELP all_total Everything.\n# TYPE all_total counter\nall_total 12345678\n"
        );
    }
}
