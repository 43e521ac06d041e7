//! Events this host writes, for people: that a VM runs, and that the guard stopped one.

use super::life::Life;
use super::target::Tools;
use crate::guard::protocol::{KillReason, Killed};
use holdfast_model::event::{Event, EventKind};
use holdfast_model::id::{Generation, VmName};
use holdfast_model::time::UnixMs;
use holdfast_store::clock::wall;
use holdfast_store::guards::{HostWrite, encode, event_id};
use holdfast_store::keyspace::Key;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// Tells events of one millisecond apart.
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn event(tools: &Tools, kind: EventKind, vm: &VmName, at: UnixMs, text: String) -> Event {
    let host = tools.records.host();
    Event {
        at,
        actor: host.to_string(),
        kind,
        host: Some(host.clone()),
        site: Some(tools.config.site.clone()),
        vm: Some(vm.clone()),
        generation: None,
        text,
    }
}

fn write(event: Event) -> HostWrite {
    let id = event_id(&event, NUMBER.fetch_add(1, Ordering::Relaxed));
    HostWrite::Event { id, event }
}

/// A VM's vCPUs were set going at that time.
pub fn vm_running(tools: &Tools, vm: &VmName, generation: Generation, at: UnixMs) -> HostWrite {
    let text = format!(
        "{vm} runs on {}, generation {generation}",
        tools.records.host()
    );
    let event = event(tools, EventKind::VmRunning, vm, at, text);
    write(Event {
        generation: Some(generation),
        ..event
    })
}

/// Tells of what the guard stopped, once there is a session again to tell it under.
pub async fn tell_fenced(tools: Tools, mut fenced: UnboundedReceiver<Killed>) {
    while let Some(killed) = fenced.recv().await {
        let (vm, generation) = (killed.vm, killed.generation);
        let why = match killed.why {
            KillReason::Lapsed => "this host could not renew its session in time",
            KillReason::PassedOver => "the lease volume knows a newer holder of it",
        };
        let text = format!(
            "{}: the guard stopped {vm}, generation {generation}: {why}",
            tools.records.host()
        );
        let told = Event {
            generation: Some(generation),
            ..event(&tools, EventKind::SelfFenced, &vm, wall(), text)
        };
        let bytes = encode(&told);
        let HostWrite::Event { id, event } = write(told) else {
            continue;
        };
        let key = Key::Event(id.clone());
        let writes = [HostWrite::Event { id, event }];
        loop {
            if let Life::Open(open) = tools.records.life()
                && open.acknowledged.is_some()
            {
                let written = tools
                    .records
                    .write(&open.incarnation, &writes, &key, Some(&bytes));
                match written.await {
                    Ok(_) => break,
                    Err(error) => tracing::debug!(%error, "an event is not written yet"),
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
