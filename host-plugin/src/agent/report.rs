//! What this host says of itself: written when it changes, under the session.

use super::life::Life;
use super::records::WriteError;
use super::target::Tools;
use crate::config::CapacitySection;
use holdfast_model::host::{Capacity, HostReport, LeaseState, LibvirtState, StorageState};
use holdfast_store::guards::{HostWrite, encode};
use holdfast_store::keyspace::Key;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The parts are looked at this often; nothing is written unless one changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the machine has is asked for again after this long.
const CAPACITY_EVERY: u32 = 60;

/// What others find out, and is told here.
type Parts = (
    watch::Receiver<StorageState>,
    watch::Receiver<LeaseState>,
    watch::Receiver<Option<SocketAddr>>,
);

/// Reports for ever.
pub async fn report_for_ever(
    tools: Tools,
    mut life: watch::Receiver<Life>,
    (mut storage, mut lease, mut probe): Parts,
) {
    let mut written: Option<HostReport> = None;
    let mut capacity: Option<Capacity> = None;
    let mut looks = 0u32;
    let labels = Arc::new(tools.config.labels.clone());
    loop {
        let libvirt = tools.driver.state();
        looks = looks.wrapping_add(1);
        if libvirt == LibvirtState::Connected
            && (capacity.is_none() || looks.is_multiple_of(CAPACITY_EVERY))
            && let Ok(found) = tools.driver.capacity().await
        {
            capacity = Some(found);
        }
        let open = match &*life.borrow_and_update() {
            Life::Open(open) if open.acknowledged.is_some() => Some(open.incarnation.clone()),
            _ => None,
        };
        if let Some(incarnation) = open {
            let report = HostReport {
                incarnation,
                libvirt,
                capacity: counted(capacity.unwrap_or_default(), tools.config.capacity),
                storage: storage.borrow_and_update().clone(),
                migrate_address: tools.config.libvirt.migrate_address.clone(),
                lease: lease.borrow_and_update().clone(),
                probe: *probe.borrow_and_update(),
                labels: Arc::clone(&labels),
            };
            if written.as_ref() != Some(&report) {
                match write(&tools, &report).await {
                    Ok(()) => written = Some(report),
                    Err(error) => tracing::debug!(%error, "the host's report is not written yet"),
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = storage.changed() => {}
            _ = lease.changed() => {}
            // Its sender ends where nothing is answered at all.
            Ok(()) = probe.changed() => {}
        }
    }
}

async fn write(tools: &Tools, report: &HostReport) -> Result<(), WriteError> {
    let key = Key::HostReport(tools.records.host().clone());
    let there = tools.records.read(&key).await?;
    let wanted = encode(report);
    if there.as_ref().is_some_and(|item| item.value == wanted) {
        return Ok(());
    }
    let expect = there.map(|item| item.revision);
    let writes = [HostWrite::Report {
        report: report.clone(),
        expect,
    }];
    let (records, incarnation) = (&tools.records, &report.incarnation);
    let written = records.write(incarnation, &writes, &key, Some(&wanted));
    written.await?;
    tracing::info!(?report, "reported");
    Ok(())
}

fn counted(found: Capacity, by_hand: CapacitySection) -> Capacity {
    Capacity {
        memory_mib: by_hand.memory_mib.unwrap_or(found.memory_mib),
        cpus: by_hand.cpus.unwrap_or(found.cpus),
    }
}
