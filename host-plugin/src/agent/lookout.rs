//! Looks after peers whose session was closed and whose storage plane was not: what the guard sees in their
//! heartbeat slots is told under this host's session, and the leader's request to release is written into
//! their mailboxes. What is told when is `holdfast_core::lease::lookout`.

use super::life::Life;
use super::records::WriteError;
use super::target::Tools;
use crate::guard::protocol::{Answer, Call};
use holdfast_core::lease::lookout::{Case, Lookout, is_news, sighting};
use holdfast_model::host::StoragePlane;
use holdfast_model::id::{HostName, Incarnation};
use holdfast_model::lease::Sighting;
use holdfast_model::policy::Policy;
use holdfast_model::time::Instant;
use holdfast_model::world::Seen;
use holdfast_store::cache::Cache;
use holdfast_store::guards::{HostWrite, encode};
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// While there is a case, its slot is looked at this often: each look costs a write and a read.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// A case that is older than this, in milliseconds, is of a host that goes on without its session.
const NEW_MS: u64 = 30_000;
/// Its slot is looked at this often.
const SELDOM_MS: u64 = 1_000;
const LOOK_SELDOM: Duration = Duration::from_millis(SELDOM_MS);

/// Looks for ever.
pub async fn look_out(tools: Tools, mut cache: Cache, mut life: watch::Receiver<Life>) {
    let mut lookout = Lookout::default();
    let mut looked = Looked::new();
    loop {
        let open = match &*life.borrow_and_update() {
            Life::Open(open) if open.acknowledged.is_some() => open
                .storage
                .clone()
                .map(|plane| (open.incarnation.clone(), plane)),
            _ => None,
        };
        let mut cases = Vec::new();
        if let Some((incarnation, plane)) = open {
            cases = look(
                &tools,
                &cache,
                &mut lookout,
                &mut looked,
                &incarnation,
                &plane,
            )
            .await;
        }
        let now = (tools.clock)();
        let pause = match cases.iter().any(|case| is_new(case, now)) {
            true => LOOK_EVERY,
            false => LOOK_SELDOM,
        };
        tokio::select! {
            () = cache.changed() => {}
            Ok(()) = life.changed() => {}
            () = tokio::time::sleep(pause), if !cases.is_empty() => {}
        }
    }
}

fn is_new(case: &Case, now: Instant) -> bool {
    now.since(case.closed) < NEW_MS
}

/// When each host's slot was looked at last.
type Looked = BTreeMap<HostName, Instant>;
type Told = BTreeMap<HostName, Seen<Sighting>>;

async fn look(
    tools: &Tools,
    cache: &Cache,
    lookout: &mut Lookout,
    looked: &mut Looked,
    incarnation: &Incarnation,
    plane: &StoragePlane,
) -> Vec<Case> {
    let own = tools.records.host();
    let (cases, told, policy) = cache.read(|view| {
        let cases = lookout.cases(own, &plane.volume, &view.fences);
        let told: Told = view
            .hosts
            .get(own)
            .map(|host| host.saw.clone())
            .unwrap_or_default();
        (cases, told, known_policy(view))
    });
    for (host, seen) in &told {
        if cases.iter().all(|case| case.host != *host) {
            let write = HostWrite::ForgetSaw {
                of: host.clone(),
                expect: seen.revision,
            };
            tell(tools, incarnation, host, write, None).await;
        }
    }
    for case in &cases {
        let now = (tools.clock)();
        let last = looked.get(&case.host).copied().unwrap_or_default();
        if !is_new(case, now) && now.since(last) < SELDOM_MS {
            continue;
        }
        looked.insert(case.host.clone(), now);
        if let Some(mail) = lookout.mail(case, own, (tools.clock)()) {
            let slot = case.slot;
            if let Err(error) = tools.guard.call(Call::Send { slot, mail }).await {
                tracing::warn!(host = %case.host, %error, "its mailbox was not written to");
            }
        }
        let observe = Call::Observe {
            slot: case.slot,
            incarnation: case.incarnation.clone(),
            closed: case.closed,
        };
        let Ok(Answer::Observed {
            finding,
            wait_ms: declared,
        }) = tools.guard.call(observe).await
        else {
            continue;
        };
        let (wait_ms, quiet_ms) = silences(policy.as_ref(), &case.host, declared);
        let Some(next) = sighting(case, finding, wait_ms, quiet_ms) else {
            continue;
        };
        let before = told.get(&case.host);
        if is_news(before.map(|seen| &seen.value), &next) {
            tracing::info!(host = %case.host, found = ?next.found, "looked at its heartbeat slot");
            let wanted = encode(&next);
            let write = HostWrite::Saw {
                of: case.host.clone(),
                sighting: next,
                expect: before.map(|seen| seen.revision),
            };
            tell(tools, incarnation, &case.host, write, Some(wanted)).await;
        }
    }
    cases
}

/// The policy in force; none if it cannot be read here and never could be. The built-in one if none was written.
fn known_policy(view: &View) -> Option<Policy> {
    let policy = view.policy_in_force().ok()?;
    Some(policy.cloned().unwrap_or_default())
}

/// The silences that count, as [`sighting`] takes them, by the policy and by what the heartbeat of that life declares.
/// Without a policy only what it declares is known, and no silence is long enough if it declares nothing; nor is it
/// known whether anybody may be asked to switch its host off.
fn silences(
    policy: Option<&Policy>,
    host: &HostName,
    declared_ms: Option<u64>,
) -> (u64, Option<u64>) {
    let Some(policy) = policy else {
        return (declared_ms.unwrap_or(u64::MAX), None);
    };
    let timing = policy.timing.resolve();
    let wait_ms = timing.taker_wait_ms.max(declared_ms.unwrap_or(0));
    (wait_ms, policy.fencing.quiet_ms(host, &timing))
}

async fn tell(
    tools: &Tools,
    incarnation: &Incarnation,
    of: &HostName,
    write: HostWrite,
    wanted: Option<Vec<u8>>,
) {
    let records = &tools.records;
    let key = Key::HostSaw(records.host().clone(), of.clone());
    let writes = [write];
    let written = records.write(incarnation, &writes, &key, wanted.as_deref());
    match written.await {
        // Its own last write is not in the view yet: the next look knows.
        Ok(_) | Err(WriteError::Changed) => {}
        Err(error) => tracing::warn!(host = %of, %error, "a sighting was not told"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::id::Revision;
    use holdfast_store::api::{Batch, Change, KeyValue};

    fn see(view: &mut View, revision: i64, policy: &[u8]) {
        let revision = Revision(revision);
        let item = KeyValue {
            key: Key::Policy.path(),
            value: policy.to_vec(),
            revision,
        };
        let changes = vec![Change::Put(item)];
        view.apply(&Batch { revision, changes }, Instant(1));
    }

    #[test]
    fn a_policy_that_never_could_be_read_is_not_the_built_in_one() {
        let host: HostName = "a1".parse().expect("a name");
        let silences = |view: &View, declared_ms| {
            let policy = known_policy(view);
            super::silences(policy.as_ref(), &host, declared_ms)
        };
        let mut view = View::default();
        let built_in = Policy::default().timing.resolve();
        assert_eq!(silences(&view, None), (built_in.taker_wait_ms, None));
        see(&mut view, 1, br#"{"from_the_future": 1}"#);
        assert_eq!(silences(&view, Some(2_750)), (2_750, None), "as declared");
        assert_eq!(silences(&view, None), (u64::MAX, None), "none is enough");
        let mut policy = Policy::default();
        let device = serde_json::json!({"agent": "fence_x"});
        let device = serde_json::from_value(device).expect("a device");
        let name = "a1".parse().expect("a name");
        policy.fencing.devices.insert(name, device);
        see(&mut view, 2, &encode(&policy));
        let as_read = (built_in.taker_wait_ms, Some(built_in.runner_deadline_ms));
        assert_eq!(silences(&view, Some(1)), as_read);
        see(&mut view, 3, br#"{"from_the_future": 2}"#);
        assert_eq!(silences(&view, Some(1)), as_read, "the last one");
    }
}
