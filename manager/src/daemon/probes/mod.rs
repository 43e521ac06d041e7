//! Probes: this manager asks every host directly whether it is there, and tells the others of those that
//! have fallen silent.
//!
//! ```text
//! cache ─orders─> thread: ask, hear, count ──> vantage ──> World::probes, while this manager leads
//!                                          └─> opinion ──> managers/M/probes, when it changes
//! ```
//! What counts as silence is `holdfast_core::probe`'s business, what follows from it the planner's. Asking is on
//! a thread of its own, so that nothing else in this process makes it late; it finds out by itself if it is.

mod asker;
mod tell;
#[cfg(test)]
mod tests;

pub use tell::{make_key, run};

use holdfast_model::id::{HostName, Incarnation, ManagerName, SiteName};
use holdfast_model::probe::{Opinion, ProbeKey, Vantage};
use holdfast_model::timing::Timing;
use holdfast_model::world::World;
use holdfast_probe::Digest;
use holdfast_store::cache::Clock;
use holdfast_store::view::View;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};

/// Whom to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Orders {
    timing: Timing,
    key: Option<ProbeKey>,
    hosts: BTreeMap<HostName, Target>,
}

/// A host that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    incarnation: Incarnation,
    boot: Digest,
    address: SocketAddr,
}

impl Orders {
    /// Every host that says where it answers, in its present life.
    fn of(view: &View) -> Self {
        let timing = match &view.policy {
            Some(policy) => policy.value.timing.resolve(),
            None => holdfast_model::policy::TimingPolicy::default().resolve(),
        };
        let target = |host: &holdfast_model::world::HostView| {
            let (session, report) = (&host.session.as_ref()?.value, &host.report.as_ref()?.value);
            let address = (report.probe).filter(|_| report.incarnation == session.incarnation)?;
            Some(Target {
                incarnation: session.incarnation.clone(),
                boot: Digest::of_boot(&session.boot_id),
                address,
            })
        };
        let hosts = view.hosts.iter().filter(|_| timing.probe_suspect_ms > 0);
        Self {
            key: view.probe_key.as_ref().map(|seen| seen.value.clone()),
            hosts: hosts
                .filter_map(|(name, host)| Some((name.clone(), target(host)?)))
                .collect(),
            timing,
        }
    }
}

/// What this manager finds.
pub struct Prober {
    name: ManagerName,
    site: SiteName,
    vantage: Mutex<Option<Vantage>>,
    opinion: watch::Sender<Opinion>,
    changed: Notify,
}

impl Prober {
    /// Nobody is asked yet.
    pub fn new(name: ManagerName, site: SiteName) -> Arc<Self> {
        let nothing = Opinion {
            site: site.clone(),
            silent: BTreeMap::new(),
        };
        Arc::new(Self {
            name,
            site,
            vantage: Mutex::default(),
            opinion: watch::Sender::new(nothing),
            changed: Notify::new(),
        })
    }

    /// Waits until a host has fallen silent, or is heard again.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What this manager finds now; none before it has asked.
    pub fn vantage(&self) -> Option<Vantage> {
        let vantage = self.vantage.lock();
        vantage.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, with what the others said.
    pub fn all(&self, view: &View) -> BTreeMap<ManagerName, Vantage> {
        let mut all = view.vantages(&self.name);
        let own = self.vantage().into_iter();
        all.extend(own.map(|vantage| (self.name.clone(), vantage)));
        all
    }

    /// Gives a world what this manager finds now.
    pub fn complete(&self, world: &mut World) {
        let own = self.vantage().into_iter();
        let own = own.map(|vantage| (self.name.clone(), vantage));
        world.probes.extend(own);
    }

    fn found(&self, vantage: Vantage, opinion: Opinion) {
        *self.vantage.lock().unwrap_or_else(PoisonError::into_inner) = Some(vantage);
        let lives = |opinion: &Opinion| -> Vec<(HostName, Incarnation)> {
            let silent = opinion.silent.iter();
            silent
                .map(|(host, silent)| (host.clone(), silent.incarnation.clone()))
                .collect()
        };
        let news = self.opinion.send_if_modified(|known| {
            let news = lives(known) != lives(&opinion);
            // How long it lasts by now is of no news to anybody, and is right when there is.
            *known = opinion;
            news
        });
        if news {
            self.changed.notify_one();
        }
    }

    /// Asks until the orders end. On a thread of its own.
    fn ask(&self, mut orders: watch::Receiver<Orders>, clock: &Clock) {
        let mut asker = asker::Asker::default();
        // An error means that nobody gives orders any more.
        while orders.has_changed().is_ok() {
            let now_ordered = orders.borrow_and_update().clone();
            asker.turn(clock, &now_ordered);
            let observer = asker.observer();
            let opinion = observer.opinion(&self.site, &now_ordered.timing);
            self.found(observer.vantage(&self.site), opinion);
            std::thread::sleep(asker::pause(&now_ordered.timing));
        }
    }
}
