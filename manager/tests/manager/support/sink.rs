//! A webhook on loopback: takes what it is sent, refuses it, or hangs.

use super::BOUND;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use holdfast_manager::daemon::Web;
use holdfast_manager::daemon::web::{Recent, WebTargets};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mood {
    Takes,
    Refuses,
    Hangs,
}

/// Its bodies are kept, whatever it does with them.
#[derive(Clone)]
pub struct Sink {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    taken: watch::Sender<Vec<Value>>,
    asked: watch::Sender<BTreeMap<Mood, usize>>,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let sink = Self {
            address: listener.local_addr().expect("an address"),
            mood: Arc::new(Mutex::new(Mood::Takes)),
            taken: watch::Sender::default(),
            asked: watch::Sender::default(),
        };
        let app = Router::new().fallback(take).with_state(sink.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        sink
    }

    pub fn is(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }

    /// How managers reach it, by the name `sink`.
    pub fn web(&self, timeout_ms: u64) -> Web {
        let text = format!(
            "url = \"http://{}/hook\"\ntimeout_ms = {timeout_ms}\n",
            self.address
        );
        let target = toml::from_str(&text).expect("a target");
        let targets = BTreeMap::from([("sink".parse().expect("a name"), target)]);
        Arc::new(WebTargets::new(
            targets,
            PathBuf::new(),
            Arc::new(Recent::default()),
        ))
    }

    /// The words of all events that it took, in the order in which they came.
    pub fn texts(&self) -> Vec<String> {
        let taken = self.taken.borrow();
        let events = taken.iter().flat_map(|body| body["events"].as_array());
        let text = |event: &Value| event["text"].as_str().unwrap_or_default().to_owned();
        events.flatten().map(text).collect()
    }

    pub fn bodies(&self) -> Vec<Value> {
        self.taken.borrow().clone()
    }

    /// Waits until what it took is so.
    pub async fn until(&self, what: &str, good: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut taken = self.taken.subscribe();
        let wait = async {
            while !good(&self.texts()) {
                taken.changed().await.expect("the sender is here");
            }
        };
        let came = tokio::time::timeout(BOUND, wait).await;
        let texts = self.texts();
        assert!(came.is_ok(), "{what} never came: {texts:#?}");
        texts
    }

    /// Waits until it was asked more often than so in this mood; how often.
    pub async fn asked_more_than(&self, count: usize, mood: Mood) -> usize {
        let often = |asked: &BTreeMap<Mood, usize>| asked.get(&mood).copied().unwrap_or(0);
        let mut asked = self.asked.subscribe();
        let wait = asked.wait_for(|asked| often(asked) > count);
        let came = tokio::time::timeout(BOUND, wait).await;
        let came = came.expect("it is asked again");
        often(&came.expect("the sender is here"))
    }
}

async fn take(State(sink): State<Sink>, body: String) -> StatusCode {
    let mood = *sink.mood.lock().expect("no panic");
    sink.asked
        .send_modify(|asked| *asked.entry(mood).or_default() += 1);
    match mood {
        Mood::Takes => {
            let body: Value = serde_json::from_str(&body).expect("JSON");
            sink.taken.send_modify(|taken| taken.push(body));
            StatusCode::NO_CONTENT
        }
        Mood::Refuses => StatusCode::INTERNAL_SERVER_ERROR,
        Mood::Hangs => {
            // Longer than any test.
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            StatusCode::NO_CONTENT
        }
    }
}
