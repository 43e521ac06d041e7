//! Tells one handler, batch by batch, on a task of its own: that it is slow is nobody else's business.

use super::super::{Shared, Web};
use super::queue::{Queue, Waiting};
use super::records::Picture;
use crate::extensions::{Extensions, Hearing};
use holdfast_extension_host::events::Told;
use holdfast_extension_host::outside::Records;
use holdfast_extension_host::{CallError, Reach};
use holdfast_model::extension::Rights;
use holdfast_model::id::{ExtensionName, TargetName};
use holdfast_store::cache::{Cache, Clock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Events of one call.
const BATCH: usize = 50;
/// So long they are gathered.
const GATHER: Duration = Duration::from_millis(250);
/// Waits before the second and the third attempt; then a batch is dropped.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// Looks again so often whether it can be told here.
const LOOK: Duration = Duration::from_secs(1);

/// One handler, as long as this manager leads.
pub(super) struct Line {
    pub queue: Arc<Queue>,
    task: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        // A call that is under way ends by itself, within its limits.
        self.task.abort();
    }
}

impl Line {
    /// Begins to tell it what comes into its queue.
    pub(super) fn start(name: ExtensionName, queue: Queue, shared: &Shared, cache: Cache) -> Self {
        let queue = Arc::new(queue);
        let teller = Teller {
            name,
            extensions: shared.extensions.clone(),
            web: shared.web.clone(),
            cache,
            clock: shared.clock.clone(),
        };
        let task = tokio::spawn({
            let queue = queue.clone();
            async move { teller.run(&queue).await }
        });
        Self { queue, task }
    }
}

struct Teller {
    name: ExtensionName,
    extensions: Arc<Extensions>,
    web: Option<Web>,
    cache: Cache,
    clock: Clock,
}

impl Teller {
    async fn run(&self, queue: &Queue) {
        loop {
            queue.some().await;
            if queue.len() < BATCH {
                tokio::time::sleep(GATHER).await;
            }
            let batch = queue.take(BATCH);
            let outcome = self.tell(&batch).await;
            if let Err(why) = &outcome {
                tracing::warn!(extension = %self.name, events = batch.len(), why, "events are dropped");
            }
            queue.done(&batch, outcome);
        }
    }

    /// Until it has taken the batch, or failed too often.
    async fn tell(&self, batch: &[Waiting]) -> Result<(), String> {
        let events: Arc<[Told]> = batch.iter().map(|each| each.event.clone()).collect();
        let mut again = AGAIN.iter();
        loop {
            // What waits meanwhile is bounded, and what is pushed out is counted.
            let Some(hearing) = self.extensions.hearing(&self.name) else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            match self.call(hearing, events.clone()).await {
                Ok(()) => return Ok(()),
                Err(CallError::Resting { .. }) => tokio::time::sleep(LOOK).await,
                Err(error) => match again.next() {
                    Some(wait) => {
                        tracing::debug!(extension = %self.name, %error, "events are told again");
                        tokio::time::sleep(*wait).await;
                    }
                    None => return Err(error.to_string()),
                },
            }
        }
    }

    /// Once, on a thread of its own: a guest that computes or waits holds up nothing.
    async fn call(&self, hearing: Hearing, events: Arc<[Told]>) -> Result<(), CallError> {
        let Hearing {
            handler,
            rights,
            costs,
        } = hearing;
        let reach = Reach {
            records: self.records(&rights),
            rights,
            bound: self.bound(),
            web: self.web.clone(),
            ..Reach::default()
        };
        let (tell, told) = oneshot::channel();
        let work = move || {
            let called = handler.handle(&events, reach);
            if !matches!(called.answer, Err(CallError::Resting { .. })) {
                let failure = called.answer.as_ref().err().map(ToString::to_string);
                costs.count(called.cost.cpu, called.cost.memory_bytes, failure);
            }
            // Nobody waits for it if this manager does not lead any more.
            tell.send(called.answer).ok();
        };
        let thread = std::thread::Builder::new().name(format!("tell-{}", self.name));
        let started = thread.spawn(work);
        started.map_err(|error| CallError::Host(format!("no thread for it: {error}")))?;
        let lost = |_| Err(CallError::Host("the call was lost".to_owned()));
        told.await.unwrap_or_else(lost)
    }

    /// What the cluster looks like, for one that may read it.
    fn records(&self, rights: &Rights) -> Option<Arc<dyn Records>> {
        if rights.state.is_empty() {
            return None;
        }
        let now = (self.clock)();
        Some(Arc::new(self.cache.read(|view| Picture::of(view, now))))
    }

    /// The operator's names for its roles, as the policy has them now.
    fn bound(&self) -> BTreeMap<TargetName, TargetName> {
        self.cache
            .read(|view| {
                let policy = view.policy.as_ref()?;
                let own = policy.value.extensions.get(&self.name)?;
                Some(own.bind.clone())
            })
            .unwrap_or_default()
    }
}
