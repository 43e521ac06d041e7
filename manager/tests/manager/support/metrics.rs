//! A scraper of `/metrics`.

use super::{BOUND, Manager};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What was told: each series, as it is written, with its value.
pub type Told = BTreeMap<String, f64>;

impl Manager {
    /// What `/metrics` says, which has to be well-formed.
    pub async fn scrape(&self) -> Told {
        let url = format!("{}/metrics", self.url);
        let call = tokio::task::spawn_blocking(move || {
            let config = ureq::Agent::config_builder().timeout_global(Some(BOUND));
            let agent = ureq::Agent::new_with_config(config.build());
            let mut response = agent.get(&url).call().expect("an answer");
            let kind = response.headers().get("content-type").expect("a type");
            assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
            response.body_mut().read_to_string().expect("a text")
        });
        read(&call.await.expect("the call does not panic"))
    }

    /// Scrapes until it is told what is wanted.
    pub async fn until_told(&self, what: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        let mut last = Told::new();
        let poll = async {
            loop {
                last = self.scrape().await;
                if wanted(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let came = tokio::time::timeout(BOUND, poll).await.is_ok();
        assert!(came, "waited for {what} in vain; last: {last:#?}");
        last
    }
}

/// Each metric stands there once, with help and a type, and its series below it; each series once.
fn read(text: &str) -> Told {
    let mut told = Told::new();
    let mut metrics = BTreeSet::new();
    let (mut helped, mut typed) = ("", ("", ""));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (metric, help) = rest.split_once(' ').expect("words");
            assert!(metrics.insert(metric), "{metric} twice");
            assert!(help.ends_with('.'), "{help}");
            helped = metric;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed = rest.split_once(' ').expect("a type");
            assert_eq!(typed.0, helped);
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let metric = series.split('{').next().expect("a name");
            assert_eq!(metric, typed.0, "{line}");
            assert!(metric.starts_with("holdfast_"), "{line}");
            assert_eq!(metric.ends_with("_total"), typed.1 == "counter", "{line}");
            let value = value.parse().expect("a number");
            assert_eq!(told.insert(series.to_owned(), value), None, "{line}");
        }
    }
    told
}
