//! The cluster as an operator sees it, through `holdfast … -o json`.

use std::time::Duration;

use holdfast_model::event::Event;
use holdfast_model::status::{SiteState, Status, Vm, VmState};

use crate::clock;
use crate::error::{LabError, Result};
use crate::guest::{Guest, GuestKind, GuestSpec};
use crate::lab::Lab;
use crate::run::{Poll, wait_until};

/// A lab's cluster.
#[derive(Clone, Copy)]
pub struct Cluster<'l> {
    /// The lab it runs in.
    pub lab: &'l Lab,
}

/// A VM a trial wants.
#[derive(Debug, Clone)]
pub struct VmWish {
    /// Its name.
    pub name: String,
    /// Where it belongs.
    pub site: &'static str,
    /// Higher first.
    pub priority: i32,
    /// What runs inside.
    pub kind: GuestKind,
}

/// How often an extension was asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Calls {
    /// Since the managers were started.
    pub asked: u64,
    /// Of them, those without an answer.
    pub failed: u64,
}

/// Where to look when the cluster does not do what it should.
const HINT: &str =
    "`cargo xtask lab cli status`, `… lab logs b-ctl manager`, `… lab logs b1 agent`";

impl<'l> Cluster<'l> {
    /// The cluster of a lab.
    pub fn of(lab: &'l Lab) -> Self {
        Self { lab }
    }

    /// `holdfast status`
    pub fn status(&self) -> Result<Status> {
        let value = self.lab.cli_json(&["status"])?;
        serde_json::from_value(value).map_err(|error| unreadable("status", &error))
    }

    /// `holdfast events`, oldest first.
    pub fn events(&self) -> Result<Vec<Event>> {
        let value = self.lab.cli_json(&["events", "--limit", "2000"])?;
        let list = match value {
            serde_json::Value::Object(mut page) => page
                .remove("items")
                .or_else(|| page.remove("events"))
                .unwrap_or_default(),
            list => list,
        };
        let mut events: Vec<Event> =
            serde_json::from_value(list).map_err(|error| unreadable("events", &error))?;
        events.sort_by_key(|event| event.at);
        Ok(events)
    }

    /// One VM of a status.
    pub fn vm(&self, name: &str) -> Result<Vm> {
        let vms = self.status()?.vms;
        vms.into_iter()
            .find(|vm| vm.name.as_str() == name)
            .ok_or_else(|| LabError::Unknown {
                kind: "VM",
                name: name.into(),
                known: "`cargo xtask lab cli vm list` shows them".into(),
            })
    }

    /// Makes VMs and waits until each has given a sign of life.
    pub fn run_vms(&self, wishes: &[VmWish], limit: Duration) -> Result<Vec<Guest>> {
        let mut guests = Vec::new();
        for wish in wishes {
            let mut spec = GuestSpec::new(&wish.name, wish.kind, wish.site);
            spec.priority = wish.priority;
            guests.push(self.lab.add_guest(spec, true)?);
        }
        let names: Vec<&str> = wishes.iter().map(|wish| wish.name.as_str()).collect();
        self.wait_running(&names, limit)?;
        Ok(guests)
    }

    /// What an extension was asked, by all managers together.
    pub fn calls_of(&self, extension: &str) -> Result<Calls> {
        let mut all = Calls::default();
        for manager in self.lab.layout().controls() {
            let argv = ["ext", "show", extension];
            let shown = self.lab.cli_json_of(&manager.name, &argv)?;
            let number = |of: &str| shown["costs"][of].as_u64().unwrap_or_default();
            all.asked += number("calls");
            all.failed += number("failed");
        }
        Ok(all)
    }

    /// Waits until the status satisfies a condition.
    pub fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&Status) -> Poll<T>,
    ) -> Result<T> {
        wait_until(what, limit, HINT, || match self.status() {
            Ok(status) => condition(&status),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Waits until these VMs are reported running, and each has given a sign after that: a report comes before the
    /// guest's first one, and what a fault does to a guest is judged by its signs.
    pub fn wait_running(&self, names: &[&str], limit: Duration) -> Result<()> {
        self.wait_reported(names, limit)?;
        // Names come again from trial to trial, and so do their signs in the observer's log.
        let since_ms = clock::now_ms();
        let mut log = self.lab.observer_log()?;
        for name in names {
            log.wait_for_beat(name, since_ms, limit)?;
        }
        Ok(())
    }

    fn wait_reported(&self, names: &[&str], limit: Duration) -> Result<()> {
        self.wait("all VMs to run", limit, |status| {
            let late: Vec<String> = names
                .iter()
                .filter_map(
                    |name| match status.vms.iter().find(|vm| vm.name.as_str() == *name) {
                        Some(vm) if vm.state == VmState::Running => None,
                        Some(vm) => Some(format!("{name} {:?}: {}", vm.state, vm.reason)),
                        None => Some(format!("{name} is not known")),
                    },
                )
                .collect();
            if late.is_empty() {
                Ok(())
            } else {
                Err(late.join("; "))
            }
        })
    }

    /// Waits until all sites with hosts are online, and each host has said what it can take.
    pub fn wait_sites_online(&self, limit: Duration) -> Result<()> {
        self.wait("all hosts to be online", limit, |status| {
            let sites = status.sites.iter().filter(|site| !site.witness);
            let mut late: Vec<String> = sites
                .filter(|site| site.state != SiteState::Online)
                .map(|site| format!("site {} is {:?}", site.name, site.state))
                .collect();
            let new = status.hosts.iter().filter(|host| host.memory_mib.1 == 0);
            late.extend(new.map(|host| format!("{} has not reported yet", host.name)));
            match (late.is_empty(), status.sites.len()) {
                (true, 2..) => Ok(()),
                (true, _) => Err("the policy is not applied yet".into()),
                (false, _) => Err(late.join("; ")),
            }
        })
    }
}

fn unreadable(what: &str, error: &serde_json::Error) -> LabError {
    LabError::Refused(format!(
        "`holdfast {what} -o json` printed what cannot be read: {error}"
    ))
}
