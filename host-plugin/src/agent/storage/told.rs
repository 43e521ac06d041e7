//! `hosts/H/extensions`: how the storage check that is an extension does here. For people.

use super::super::life::Life;
use super::super::records::WriteError;
use super::super::target::Tools;
use super::Check;
use holdfast_model::id::{Incarnation, Revision};
use holdfast_model::standing::{HostExtensions, OnHost, Readiness};
use holdfast_store::guards::{HostWrite, encode};
use holdfast_store::keyspace::Key;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// It is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What calls cost and what was logged is told this often; how it stands, at once.
const DETAILS_EVERY: Duration = Duration::from_secs(60);

/// This host asks none: what an agent with another configuration told of one is taken away.
pub async fn nothing(tools: Tools) {
    loop {
        if let Some(incarnation) = present(&tools) {
            match write(&tools, &incarnation, None).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%error, "the old record of extensions is still there")
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// This life, if it may write.
fn present(tools: &Tools) -> Option<Incarnation> {
    match tools.records.life() {
        Life::Open(open) if open.acknowledged.is_some() => Some(open.incarnation),
        _ => None,
    }
}

async fn write(
    tools: &Tools,
    incarnation: &Incarnation,
    record: Option<&HostExtensions>,
) -> Result<(), WriteError> {
    let key = Key::HostExtensions(tools.records.host().clone());
    let there = tools.records.read(&key).await?;
    let wanted = record.map(encode);
    if there.as_ref().map(|item| &item.value) == wanted.as_ref() {
        return Ok(());
    }
    let expect: Option<Revision> = there.map(|item| item.revision);
    let writes = [HostWrite::Extensions {
        record: record.cloned(),
        expect,
    }];
    let written = tools
        .records
        .write(incarnation, &writes, &key, wanted.as_deref());
    written.await.map(drop)
}

/// Tells for ever.
pub async fn tell_for_ever(check: Arc<dyn Check>, tools: Tools) {
    let mut told: Option<(HostExtensions, Instant)> = None;
    loop {
        let incarnation = present(&tools);
        let found = incarnation.and_then(|incarnation| check.told(&incarnation));
        let news = found.filter(|record| is_news(record, told.as_ref()));
        if let Some(record) = news {
            match write(&tools, &record.incarnation, Some(&record)).await {
                Ok(()) => told = Some((record, Instant::now())),
                Err(error) => tracing::debug!(%error, "how extensions do is not told yet"),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Which shadow stands how there.
fn shadow(there: &OnHost) -> Option<(String, Readiness)> {
    let shadow = there.shadow.as_ref()?;
    Some((shadow.digest.clone(), shadow.readiness.clone()))
}

fn is_news(record: &HostExtensions, told: Option<&(HostExtensions, Instant)>) -> bool {
    let Some((told, at)) = told else { return true };
    let stands = |record: &HostExtensions| -> Vec<_> {
        let each = record.extensions.values();
        each.map(|there| (there.readiness.clone(), shadow(there)))
            .collect()
    };
    told.incarnation != record.incarnation
        || stands(told) != stands(record)
        || (told != record && at.elapsed() >= DETAILS_EVERY)
}
