//! Asks fencing devices of other hosts for the leader, where the policy lets agents and `fence.toml` names what it
//! takes. In this program and not in the library: the guard shares that, and locks all that it links into memory.
//!
//! ```text
//! errands/HOST/DEVICE ─> for this start of the agent? own session, own state, policy ─take─> off ─> status ─> answer
//! ```
//! - `file`: that file
//! - `extensions`: those for fencing, on this host
//!
//! How an errand is done is `holdfast_fence`'s, which managers share; what is to be done about one is
//! `holdfast_core::errand`'s.

#[cfg(feature = "extensions")]
mod extensions;
pub mod file;

use async_trait::async_trait;
use holdfast_core::errand::{AgentView, Duty, Memory, agent_duty, standing_at};
#[cfg(feature = "extensions")]
use holdfast_fence::Book;
use holdfast_fence::errand::{self, Doer};
use holdfast_fence::requests::Requests;
use holdfast_fence::{Desk, DevicesByMeans, FenceAgents, FenceDevices, FencingHere};
use holdfast_host::agent::errands::Errands;
use holdfast_host::agent::life::Life;
use holdfast_host::agent::records::Records;
use holdfast_host::config::Config;
use holdfast_model::asking::AskMeans;
use holdfast_model::errand::Errand;
use holdfast_model::files::FenceFile;
use holdfast_model::id::{Incarnation, Revision};
use holdfast_model::requests::Newest;
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;
use holdfast_store::StoreError;
use holdfast_store::api::{Store, TxnOutcome};
use holdfast_store::cache::{Cache, Clock};
use holdfast_store::errands::{self, Standing};
use holdfast_store::view::View;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Times that one is tried to be taken: a heartbeat of this host in between makes that fail.
const TAKES: usize = 5;
/// For that heartbeat to be acknowledged.
const ACKNOWLEDGED_IN: Duration = Duration::from_millis(50);

/// Why nothing is asked about other hosts.
const NO_SESSION: &str =
    "this host has no session that holds, or the leader holds something against it";

/// What this host asks devices with.
pub struct Asking {
    life: String,
    devices: Arc<dyn FenceDevices>,
    #[cfg(feature = "extensions")]
    extensions: Arc<extensions::Extensions>,
    /// What is written down of requests and programs; none: nothing can be.
    requests: Option<Arc<dyn Requests>>,
}

impl Asking {
    /// As the file says; none: it names nothing.
    #[cfg(feature = "extensions")]
    pub fn of(config: &Config, file: FenceFile) -> Option<Self> {
        let extensions = Arc::new(extensions::Extensions::new(config, &file));
        let targets = file.targets.keys().cloned().collect();
        let journal = extensions::journal(&file);
        let web = journal
            .clone()
            .map(|journal| extensions::web(&file, journal));
        let requests = journal.clone().map(|journal| journal as Arc<dyn Requests>);
        let book = journal.map(|journal| journal as Book);
        let here: Arc<dyn FencingHere> = extensions.clone();
        let agents = programs(&file);
        let devices = DevicesByMeans::new(agents, here, web.as_ref(), book.as_ref(), targets);
        let is_any = devices.means().is_some_and(|means| !means.is_empty());
        is_any.then(|| Self {
            life: fresh_life(),
            devices: Arc::new(devices),
            extensions,
            requests,
        })
    }

    /// As the file says; none: it names nothing. No extension runs in this build.
    #[cfg(not(feature = "extensions"))]
    pub fn of(_: &Config, file: FenceFile) -> Option<Self> {
        let here: Arc<dyn FencingHere> = Arc::new(NoExtensions);
        let targets = file.targets.keys().cloned().collect();
        let devices = DevicesByMeans::new(programs(&file), here, None, None, targets);
        let is_any = devices.means().is_some_and(|means| !means.is_empty());
        is_any.then(|| Self {
            life: fresh_life(),
            devices: Arc::new(devices),
            requests: None,
        })
    }

    /// Gets extensions ready until the agent ends.
    #[cfg(feature = "extensions")]
    async fn keep_extensions(
        &self,
        records: &Records,
        watched: Cache,
        stop: watch::Receiver<bool>,
    ) {
        self.extensions.keep(records.store(), watched, stop).await;
    }

    #[cfg(not(feature = "extensions"))]
    async fn keep_extensions(&self, _: &Records, _: Cache, _: watch::Receiver<bool>) {}
}

fn fresh_life() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The programs of the file; tells what is wrong with them.
fn programs(file: &FenceFile) -> Arc<FenceAgents> {
    let agents = FenceAgents::new(file.fence_agents.clone(), file.fence_secrets.clone());
    for fault in agents.faults() {
        tracing::warn!("{fault}");
    }
    Arc::new(agents)
}

#[cfg(not(feature = "extensions"))]
struct NoExtensions;

#[cfg(not(feature = "extensions"))]
impl FencingHere for NoExtensions {
    fn ready(&self) -> std::collections::BTreeSet<holdfast_model::id::ExtensionName> {
        Default::default()
    }
}

#[async_trait]
impl Errands for Asking {
    fn life(&self) -> &str {
        &self.life
    }

    fn means(&self) -> AskMeans {
        self.devices.means().unwrap_or_default()
    }

    fn newest(&self) -> Newest {
        let requests = self.requests.as_ref();
        requests.map_or_else(Newest::default, |all| {
            Newest::of(all.newest(), all.programs())
        })
    }

    async fn keep(
        &self,
        records: Records,
        clock: Clock,
        watched: Cache,
        stop: watch::Receiver<bool>,
    ) {
        let agent = Agent {
            life: self.life.clone(),
            desk: Desk::new(self.devices.clone(), clock.clone()),
            records: records.clone(),
            clock,
            watched: watched.subscribe(),
        };
        let doing = errand::run(Arc::new(agent), watched.subscribe(), stop.clone());
        tokio::join!(doing, self.keep_extensions(&records, watched, stop));
    }
}

/// This host's agent, as it does errands.
struct Agent {
    life: String,
    desk: Desk,
    records: Records,
    clock: Clock,
    watched: Cache,
}

impl Agent {
    /// The session, if a heartbeat of it was acknowledged and it holds long enough yet.
    fn session(&self) -> Option<(Incarnation, Revision)> {
        match self.records.life() {
            Life::Open(open) if (self.clock)() < open.may_act_until() => {
                let revision = open.acknowledged?.revision;
                Some((open.incarnation, revision))
            }
            _ => None,
        }
    }

    /// What is proven with it when one is taken. It may have become worse since that was decided.
    fn standing(&self) -> Option<Standing> {
        let host = self.records.host();
        let (life, session) = self.session()?;
        let state = self.watched.read(|view| {
            let state = view.hosts.get(host)?.state.as_ref();
            standing_at(state, &life)
        });
        Some(Standing {
            host: host.clone(),
            session,
            state: state?,
        })
    }
}

#[async_trait]
impl Doer for Agent {
    fn store(&self) -> &dyn Store {
        self.records.store()
    }

    fn now(&self) -> Instant {
        (self.clock)()
    }

    fn desk(&self) -> &Desk {
        &self.desk
    }

    fn duty(&self, view: &View, errand: &Errand, memory: &Memory) -> Duty {
        let host = self.records.host();
        let session = self.session().map(|(incarnation, _)| incarnation);
        let own = view.hosts.get(host);
        let me = AgentView {
            host,
            life: &self.life,
            session: session.as_ref(),
            state: own
                .and_then(|own| own.state.as_ref())
                .map(|seen| &seen.value),
            policy: view.policy_in_force().ok().flatten(),
        };
        agent_duty(me, errand, memory)
    }

    async fn take(&self, errand: &Seen<Errand>) -> Result<TxnOutcome, StoreError> {
        let mut last = None;
        for _ in 0..TAKES {
            let standing = self.standing();
            if last.is_some() && standing.as_ref() == last.as_ref().map(|(before, _)| before) {
                break;
            }
            let Some(own) = standing else { break };
            let take = errands::take_as(&errand.value, errand.revision, &own);
            match self.records.store().txn(take).await? {
                TxnOutcome::Refused(at) => last = Some((own, TxnOutcome::Refused(at))),
                committed => return Ok(committed),
            }
            // It may have been a heartbeat of its own, whose acknowledgement is on its way.
            tokio::time::sleep(ACKNOWLEDGED_IN).await;
        }
        match last {
            Some((_, refused)) => Ok(refused),
            None => Err(StoreError::Unavailable {
                tried: "nothing".to_owned(),
                reason: NO_SESSION.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
