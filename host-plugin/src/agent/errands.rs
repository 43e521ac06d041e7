//! What asks fencing devices of other hosts from this one, where the policy lets agents (`askers`): the seam, and
//! `hosts/H/fencing`, by which the leader knows what this host has for it, and operators what it asked. The program
//! `holdfast-host` brings the rest:
//! what the library links, the guard locks into memory.

use super::life::Life;
use super::records::{Records, WriteError};
use async_trait::async_trait;
use holdfast_model::asking::{AskMeans, HostAsks};
use holdfast_model::id::Incarnation;
use holdfast_model::requests::Newest;
use holdfast_store::cache::{Cache, Clock};
use holdfast_store::guards::{HostWrite, encode};
use holdfast_store::keyspace::Key;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// It is looked at this often whether there is news.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Does what the leader has this host's agent ask.
#[async_trait]
pub trait Errands: Send + Sync {
    /// This start of the agent: another one does nothing that was meant for it.
    fn life(&self) -> &str;

    /// What is here for asking devices, at present.
    fn means(&self) -> AskMeans;

    /// The newest that extensions had it send and run.
    fn newest(&self) -> Newest {
        Newest::default()
    }

    /// Does them until the agent ends.
    async fn keep(
        &self,
        records: Records,
        clock: Clock,
        watched: Cache,
        stop: watch::Receiver<bool>,
    );
}

/// Does errands for ever, and tells what this host has for them; none: takes away what an agent with another
/// configuration has told.
pub async fn keep_for_ever(
    errands: Option<Arc<dyn Errands>>,
    records: Records,
    clock: Clock,
    watched: Cache,
    stop: watch::Receiver<bool>,
) {
    let Some(errands) = errands else {
        return tell_for_ever(None, &records).await;
    };
    let telling = tell_for_ever(Some(&*errands), &records);
    let keeping = errands.keep(records.clone(), clock, watched, stop);
    tokio::join!(telling, keeping);
}

/// Tells for ever; ends once there is nothing to tell and that is known.
async fn tell_for_ever(errands: Option<&dyn Errands>, records: &Records) {
    let mut told: Option<HostAsks> = None;
    loop {
        if let Some(incarnation) = present(records) {
            let record = errands.map(|errands| HostAsks {
                incarnation: incarnation.clone(),
                life: errands.life().to_owned(),
                means: errands.means(),
                newest: errands.newest(),
            });
            if record.is_none() || record != told {
                match write(records, &incarnation, record.as_ref()).await {
                    Ok(()) if record.is_none() => return,
                    Ok(()) => told = record,
                    Err(error) => {
                        tracing::debug!(%error, "what devices can be asked with is not told yet")
                    }
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// This life, if it may write.
fn present(records: &Records) -> Option<Incarnation> {
    match records.life() {
        Life::Open(open) if open.acknowledged.is_some() => Some(open.incarnation),
        _ => None,
    }
}

async fn write(
    records: &Records,
    incarnation: &Incarnation,
    record: Option<&HostAsks>,
) -> Result<(), WriteError> {
    let key = Key::HostAsks(records.host().clone());
    let there = records.read(&key).await?;
    let wanted = record.map(encode);
    if there.as_ref().map(|item| &item.value) == wanted.as_ref() {
        return Ok(());
    }
    let writes = [HostWrite::Asks {
        record: record.cloned(),
        expect: there.map(|item| item.revision),
    }];
    let written = records.write(incarnation, &writes, &key, wanted.as_deref());
    written.await.map(drop)
}
