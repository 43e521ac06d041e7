//! Storage that something else than the built-in checks looks at.

use super::bench::{Bench, name, until};
use crate::agent::storage::Check;
use crate::config::{StorageCheck, StorageSection};
use holdfast_model::host::{HostReport, RunState, StorageState};
use holdfast_model::id::Incarnation;
use holdfast_model::standing::{HostExtensions, OnHost};
use holdfast_store::keyspace::Key;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

/// Far beyond the test.
const LONG_MS: u64 = 600_000;

/// Says what the test says.
struct Puppet {
    state: Mutex<StorageState>,
    changed: Notify,
}

impl Puppet {
    fn says(&self, state: StorageState) {
        *self.state.lock().expect("no panic in between") = state;
        self.changed.notify_one();
    }
}

#[async_trait::async_trait]
impl Check for Puppet {
    fn bound(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn check(&self) -> StorageState {
        self.state.lock().expect("no panic in between").clone()
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    fn told(&self, incarnation: &Incarnation) -> Option<HostExtensions> {
        Some(HostExtensions {
            incarnation: incarnation.clone(),
            extensions: [(name("puppet"), OnHost::default())].into(),
            paths: [name("storage")].into(),
            commands: Default::default(),
        })
    }
}

fn bench(check: StorageCheck, by: Option<Arc<Puppet>>) -> Bench {
    let mut bench = Bench::new(LONG_MS);
    bench.config.storage = StorageSection {
        path: Some("/".into()),
        check,
        extension: Some(name("puppet")),
        ..StorageSection::default()
    };
    bench.storage_check = by.map(|by| by as Arc<dyn Check>);
    bench
}

async fn reported(bench: &Bench, wanted: &StorageState) {
    until(&format!("{wanted:?}"), || {
        let report: HostReport = bench.get(&Key::HostReport(name("h1")))?;
        (report.storage == *wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_is_reported_and_nothing_stops_for_what_is_not_known() {
    let puppet = Arc::new(Puppet {
        state: Mutex::new(StorageState::Synced),
        changed: Notify::new(),
    });
    let mut bench = bench(StorageCheck::Extension, Some(Arc::clone(&puppet)));
    bench.start();
    reported(&bench, &StorageState::Synced).await;
    bench.run_vm(1).await;
    let unknown = StorageState::Unknown {
        reason: "it is not installed".to_owned(),
    };
    puppet.says(unknown.clone());
    reported(&bench, &unknown).await;
    let running = bench.report().map(|report| report.state);
    assert_eq!(running, Some(RunState::Running));
    let key = Key::HostExtensions(name("h1"));
    until("how it does here", || bench.get::<HostExtensions>(&key)).await;
    bench.stop().await;
    // With another check in its file it asks none any more.
    bench.config.storage.check = StorageCheck::None;
    bench.start();
    until("the record to be gone", || {
        let there: Option<HostExtensions> = bench.get(&key);
        there.is_none().then_some(())
    })
    .await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_extensions_does_not_know() {
    let mut bench = bench(StorageCheck::Extension, None);
    bench.start();
    let reason = "an extension is to check it, and this agent was built without them";
    reported(
        &bench,
        &StorageState::Unknown {
            reason: reason.to_owned(),
        },
    )
    .await;
    bench.stop().await;
}
