//! The libvirt back end of [`VmDriver`].
//!
//! - [`connection`]: opens the connections, notices their loss, opens them again
//! - [`departure`]: a migrated domain's end, seen early
//! - [`domains`]: which domains are ours
//! - [`lane`]: calls with a bound, on threads that can be left behind
//! - [`event_loop`]: libvirt's own event loop
//! - [`translate`]: states and errors

mod bounds;
mod connection;
mod departure;
mod domains;
mod event_loop;
mod lane;
mod sever;
mod translate;

#[cfg(test)]
mod tests;

use super::ffi::{self, Sink};
use super::{
    DomainRef, DriverError, DriverEvent, Events, Left, MigrateTarget, SeenDomain, VmDriver,
};
use crate::domain_xml::stamp::{Phase, Stamp};
use async_trait::async_trait;
use connection::Lanes;
use domains::{Ours, write_stamp};
use holdfast_model::host::{Capacity, LibvirtState};
use holdfast_model::id::ClusterName;
use lane::Lane;
pub use lane::on_thread;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::unbounded_channel;
use translate::Failure;
use virt::connect::Connect;
use virt::domain::Domain as Handle;
use virt_sys as sys;

/// Where libvirtd is and what is ours there.
#[derive(Debug, Clone)]
pub struct LibvirtConfig {
    /// libvirt's connection URI.
    pub uri: String,
    /// Only domains stamped with this cluster are seen.
    pub cluster: ClusterName,
    /// Where libvirt keeps its domains' process ids.
    pub run_dir: PathBuf,
}

/// The libvirt back end.
pub struct LibvirtDriver {
    shared: Arc<Shared>,
    ours: Arc<Ours>,
}

/// The call that migrates a domain.
type Migration = Pin<Box<dyn Future<Output = Result<Left, DriverError>> + Send>>;

struct Shared {
    uri: String,
    now: RwLock<(Option<Arc<Lanes>>, LibvirtState)>,
    /// A call had no answer: look whether the connection still stands.
    doubt: Notify,
}

impl Shared {
    /// libvirt's built-in test hypervisor: no processes, no daemon.
    fn is_test(&self) -> bool {
        self.uri.starts_with("test:")
    }

    fn set(&self, lanes: Option<Lanes>, state: LibvirtState) {
        let old = {
            let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, (lanes.map(Arc::new), state))
        };
        // Closing says goodbye to the daemon, which may not answer: not on this thread.
        let _ = std::thread::Builder::new()
            .name("libvirt-close".into())
            .spawn(move || drop(old));
    }

    fn lose(&self, reason: String, sink: &Sink) {
        let state = LibvirtState::Unreachable {
            reason: reason.clone(),
        };
        let news = self.state() != state;
        self.set(None, state);
        if news {
            tracing::warn!(
                reason,
                uri = self.uri,
                "libvirt is not reachable: VMs run on, none is started or moved, and a host that \
                 comes up takes no part yet; start libvirtd, or correct `uri` of [libvirt] in \
                 host.toml; trying on"
            );
            let _ = sink.events.send(DriverEvent::Lost { reason });
        }
    }

    fn state(&self) -> LibvirtState {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        now.1.clone()
    }

    fn lanes(&self) -> Result<Arc<Lanes>, DriverError> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        match (&now.0, &now.1) {
            (Some(lanes), _) => Ok(Arc::clone(lanes)),
            (None, LibvirtState::Unreachable { reason }) => Err(DriverError::Unreachable {
                reason: reason.clone(),
            }),
            (None, LibvirtState::Connected) => Err(DriverError::Unreachable {
                reason: "not connected yet".to_owned(),
            }),
        }
    }
}

impl LibvirtDriver {
    /// Starts connecting and returns at once; the first event tells that it worked. Must be called
    /// inside of a tokio runtime.
    ///
    /// # Errors
    /// If libvirt's event loop cannot be started, in words.
    pub fn start(config: LibvirtConfig) -> Result<(Self, Events), String> {
        event_loop::start()?;
        let (events, receiver) = unbounded_channel();
        let (closed, closed_receiver) = unbounded_channel();
        let reason = "not connected yet".to_owned();
        let shared = Arc::new(Shared {
            uri: config.uri,
            now: RwLock::new((None, LibvirtState::Unreachable { reason })),
            doubt: Notify::new(),
        });
        let sink = Sink { events, closed };
        tokio::spawn(connection::keep(Arc::clone(&shared), sink, closed_receiver));
        let driver = Self {
            shared,
            ours: Arc::new(Ours::new(config.cluster, config.run_dir)),
        };
        Ok((driver, receiver))
    }

    /// A call on one of the lanes; one without an answer raises doubt about the connection.
    async fn call<T: Send + 'static>(
        &self,
        lane: fn(&Lanes) -> &Lane,
        name: &'static str,
        bound: Duration,
        call: impl FnOnce(&Connect) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, DriverError> {
        let lanes = self.shared.lanes()?;
        let result = lane(&lanes).call(name, bound, call).await;
        if let Err(DriverError::OutcomeUnknown { .. } | DriverError::Unreachable { .. }) = result {
            self.shared.doubt.notify_one();
        }
        result
    }

    /// It has left for good: it is not seen here any more while libvirt tidies up after it.
    fn depart(&self, domain: &DomainRef, migration: Migration) {
        let departed = self.ours.depart(domain.uuid.clone());
        let vm = domain.vm.clone();
        tokio::spawn(async move {
            match migration.await {
                Ok(_) => tracing::debug!(%vm, "libvirt has tidied up after its migration"),
                Err(error) => {
                    tracing::warn!(%vm, %error, "libvirt after a migration that was complete");
                }
            }
            drop(departed);
        });
    }

    /// A call about one domain.
    async fn on_domain<T: Send + 'static>(
        &self,
        lane: fn(&Lanes) -> &Lane,
        name: &'static str,
        bound: Duration,
        domain: &DomainRef,
        call: impl FnOnce(&Handle, Stamp) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, DriverError> {
        let (ours, domain) = (Arc::clone(&self.ours), domain.clone());
        let find = move |connection: &Connect| {
            let (handle, stamp) = ours.look_up(connection, &domain)?;
            call(&handle, stamp)
        };
        self.call(lane, name, bound, find).await
    }
}

#[async_trait]
impl VmDriver for LibvirtDriver {
    fn state(&self) -> LibvirtState {
        self.shared.state()
    }

    async fn list(&self) -> Result<Vec<SeenDomain>, DriverError> {
        let ours = Arc::clone(&self.ours);
        let call = move |c: &Connect| ours.list(c);
        self.call(|l| &l.monitor, "list", bounds::LIST, call).await
    }

    async fn find(&self, domain: &DomainRef) -> Result<SeenDomain, DriverError> {
        let (ours, wanted) = (Arc::clone(&self.ours), domain.clone());
        let call = move |connection: &Connect| {
            let (handle, stamp) = ours.look_up(connection, &wanted)?;
            let seen = ours.see(&handle, stamp)?;
            seen.ok_or(Failure::NoSuchDomain(wanted))
        };
        self.call(|l| &l.monitor, "find", bounds::SHORT, call).await
    }

    fn has_processes(&self) -> bool {
        !self.shared.is_test()
    }

    async fn capacity(&self) -> Result<Capacity, DriverError> {
        let call = |c: &Connect| Ok(c.get_node_info()?);
        let node = self.call(|l| &l.monitor, "capacity", bounds::SHORT, call);
        let node = node.await?;
        Ok(Capacity {
            memory_mib: node.memory / 1024,
            cpus: node.cpus,
        })
    }

    async fn create_paused(&self, xml: &str) -> Result<(), DriverError> {
        let xml = xml.to_owned();
        let is_test = self.shared.is_test();
        let call = move |c: &Connect| {
            // The test driver refuses the flag before libvirt 10; nothing runs in it anyway.
            let flag = match is_test {
                true => 0,
                false => sys::VIR_DOMAIN_START_PAUSED,
            };
            let handle = Handle::create_xml(c, &xml, flag)?;
            if is_test {
                handle.suspend()?;
            }
            Ok(())
        };
        self.call(|l| &l.control, "create", bounds::CREATE, call)
            .await
    }

    async fn resume(&self, domain: &DomainRef) -> Result<(), DriverError> {
        let call = |handle: &Handle, stamp: Stamp| {
            handle.resume()?;
            if stamp.phase == Phase::Created {
                let started = Stamp {
                    phase: Phase::Started,
                    ..stamp
                };
                // It runs, which is what was asked for; the agent stamps it later.
                let _ = write_stamp(handle, &started);
            }
            Ok(())
        };
        self.on_domain(|l| &l.control, "resume", bounds::SHORT, domain, call)
            .await
    }

    async fn shutdown(&self, domain: &DomainRef) -> Result<(), DriverError> {
        let call = |handle: &Handle, _| {
            handle.shutdown()?;
            Ok(())
        };
        self.on_domain(|l| &l.control, "shutdown", bounds::SHORT, domain, call)
            .await
    }

    async fn destroy(&self, domain: &DomainRef) -> Result<(), DriverError> {
        let call = |handle: &Handle, _| Ok(handle.destroy()?);
        self.on_domain(|l| &l.urgent, "destroy", bounds::DESTROY, domain, call)
            .await
    }

    async fn restamp(&self, domain: &DomainRef, stamp: &Stamp) -> Result<(), DriverError> {
        let stamp = stamp.clone();
        let call = move |handle: &Handle, _| write_stamp(handle, &stamp);
        self.on_domain(|l| &l.control, "restamp", bounds::SHORT, domain, call)
            .await
    }

    /// Over a connection of its own: the call takes as long as the migration.
    async fn migrate(&self, domain: &DomainRef, to: &MigrateTarget) -> Result<Left, DriverError> {
        let uri = self.shared.uri.clone();
        let connection = lane::on_thread("migrate", bounds::OPEN, move || {
            connection::open_one(&uri).map_err(|e| e.message().to_owned())
        });
        // Nothing was asked for yet.
        let connection = connection.await.and_then(|opened| opened);
        let connection = connection.map_err(|reason| DriverError::Unreachable { reason })?;
        let lane = Lane::new(vec![Arc::new(connection)]);
        let (ours, wanted) = (Arc::clone(&self.ours), domain.clone());
        let held = lane.call("find", bounds::SHORT, move |connection| {
            let (handle, stamp) = ours.look_up(connection, &wanted)?;
            ours.departure(&handle, stamp)
        });
        // Only to know of its end sooner: what is wrong with the domain, the migration itself says.
        let departure = held.await.ok().flatten();
        let (ours, wanted, target) = (Arc::clone(&self.ours), domain.clone(), to.clone());
        let call = move |connection: &Connect| {
            let (handle, _) = ours.look_up(connection, &wanted)?;
            let flags = migrate_flags(&target);
            ffi::migrate(&handle, &target.connect_uri, &target.data_uri, flags)?;
            Ok(Left::Told)
        };
        let bound = Duration::from_millis(to.bound_ms);
        let mut migration: Migration = Box::pin(async move {
            lane.call("migrate", bound + bounds::MIGRATE_EXTRA, call)
                .await
        });
        let departs = async {
            match departure {
                Some(departure) => departure.ended(bound).await,
                None => false,
            }
        };
        tokio::select! {
            result = &mut migration => return result,
            true = departs => {
                self.depart(domain, migration);
                return Ok(Left::Exited);
            }
            () = tokio::time::sleep(bound) => {}
        }
        tracing::warn!(vm = %domain.vm, "the migration takes longer than its bound; aborting it");
        if let Err(error) = self.abort_migration(domain, Some(to)).await {
            tracing::warn!(vm = %domain.vm, %error, "aborting the migration");
        }
        migration.await
    }

    async fn is_migrating(&self, domain: &DomainRef) -> Result<bool, DriverError> {
        let call = |handle: &Handle, _| {
            let job = handle.get_job_info()?;
            let running = [sys::VIR_DOMAIN_JOB_BOUNDED, sys::VIR_DOMAIN_JOB_UNBOUNDED];
            Ok(running.contains(&(job.r#type as u32)))
        };
        self.on_domain(|l| &l.monitor, "job info", bounds::SHORT, domain, call)
            .await
    }

    /// A QEMU that hangs in sending to a host that is gone is helped out of it.
    async fn abort_migration(
        &self,
        domain: &DomainRef,
        to: Option<&MigrateTarget>,
    ) -> Result<(), DriverError> {
        let call = |handle: &Handle, _| Ok(ffi::abort_job(handle)?);
        let abort = self.on_domain(|l| &l.urgent, "abort", bounds::SHORT, domain, call);
        let mut abort = std::pin::pin!(abort);
        if let Ok(answer) = tokio::time::timeout(sever::AFTER, &mut abort).await {
            return answer;
        }
        if let Some(to) = to.map(|to| &to.data_uri) {
            match sever::sever(to).await {
                Ok(count) => tracing::warn!(
                    vm = %domain.vm, to, count,
                    "QEMU does not answer while it sends there: its connections were dropped"
                ),
                Err(error) => tracing::error!(
                    vm = %domain.vm, to, error,
                    "QEMU does not answer while it sends there; until the kernel gives the connection up \
                     the guest may stand still"
                ),
            }
        }
        abort.await
    }
}

/// Paused on arrival: whether the destination may run is decided by the owner record, not by
/// whether a last message of libvirt's protocol got through.
fn migrate_flags(target: &MigrateTarget) -> u32 {
    let flags = sys::VIR_MIGRATE_LIVE
        | sys::VIR_MIGRATE_PEER2PEER
        | sys::VIR_MIGRATE_PAUSED
        | sys::VIR_MIGRATE_ABORT_ON_ERROR
        | sys::VIR_MIGRATE_CHANGE_PROTECTION
        | sys::VIR_MIGRATE_AUTO_CONVERGE;
    match target.tls {
        true => flags | sys::VIR_MIGRATE_TLS,
        false => flags,
    }
}
