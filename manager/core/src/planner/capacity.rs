//! What hosts and links carry: memory, vCPUs, starts and migrations under way.

use super::facts::{report_of, resolution, site_of};
use holdfast_model::host::RunState;
use holdfast_model::id::{HostName, SiteName, VmName};
use holdfast_model::vm::{Owner, VmSpec};
use holdfast_model::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// What one host carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct HostLoad {
    /// Memory of the VMs granted to it or on their way to it, in MiB.
    pub memory_mib: u64,
    /// Their vCPUs.
    pub vcpus: u32,
    /// Grants that do not run yet.
    pub starts: u32,
    /// Live migrations in or out.
    pub migrations: u32,
    /// VMs granted to it or on their way to it.
    pub vms: u32,
    /// VMs per spread group.
    pub spread: BTreeMap<String, u32>,
}

static NOTHING: HostLoad = HostLoad {
    memory_mib: 0,
    vcpus: 0,
    starts: 0,
    migrations: 0,
    vms: 0,
    spread: BTreeMap::new(),
};

/// What everything carries. Keeps each VM's share so that a decision can replace it.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    hosts: BTreeMap<HostName, HostLoad>,
    links: BTreeMap<(SiteName, SiteName), u32>,
    shares: BTreeMap<VmName, Vec<Share>>,
    /// The VMs of each spread group, with their hosts.
    groups: BTreeMap<String, BTreeSet<(VmName, HostName)>>,
}

#[derive(Debug, Clone)]
enum Share {
    Place {
        host: HostName,
        memory_mib: u64,
        vcpus: u32,
        spread: Option<String>,
    },
    Start(HostName),
    Migration(HostName),
    Link((SiteName, SiteName)),
}

impl Load {
    /// The load as the world has it.
    pub fn of(world: &World) -> Self {
        let mut load = Self::default();
        for (name, vm) in &world.vms {
            if let Some(owner) = &vm.owner {
                load.replace(world, name, &owner.value);
            }
        }
        load
    }

    /// What a host carries.
    pub fn host(&self, host: &HostName) -> &HostLoad {
        self.hosts.get(host).unwrap_or(&NOTHING)
    }

    /// The VMs of a spread group that have a host, by name; one that may be on two hosts comes twice.
    pub fn members(&self, group: &str) -> impl Iterator<Item = (&VmName, &HostName)> {
        let members = self.groups.get(group).into_iter().flatten();
        members.map(|(vm, host)| (vm, host))
    }

    /// Migrations between the site of a host and another one.
    pub fn link(&self, world: &World, from: &HostName, to: Option<&SiteName>) -> u32 {
        site_of(world, from)
            .zip(to)
            .and_then(|(from, to)| self.links.get(&link_key(from, to)?).copied())
            .unwrap_or(0)
    }

    /// Counts a VM as its owner record says, instead of what it counted before.
    pub fn replace(&mut self, world: &World, vm: &VmName, owner: &Owner) {
        for share in self.shares.remove(vm).unwrap_or_default() {
            self.count(vm, &share, false);
        }
        let shares = shares(world, vm, owner);
        for share in &shares {
            self.count(vm, share, true);
        }
        self.shares.insert(vm.clone(), shares);
    }

    /// Counts a VM at a host as well that will start there once it is stopped where it is.
    pub fn promise(&mut self, vm: &VmName, spec: &VmSpec, host: &HostName) {
        let promised = [
            Share::Place {
                host: host.clone(),
                memory_mib: spec.memory_mib,
                vcpus: spec.vcpus,
                spread: spec.spread.clone(),
            },
            Share::Start(host.clone()),
        ];
        for share in &promised {
            self.count(vm, share, true);
        }
        self.shares.entry(vm.clone()).or_default().extend(promised);
    }

    fn count(&mut self, vm: &VmName, share: &Share, add: bool) {
        let change = |n: &mut u32, by: u32| {
            *n = if add {
                n.saturating_add(by)
            } else {
                n.saturating_sub(by)
            };
        };
        match share {
            Share::Place {
                host,
                memory_mib,
                vcpus,
                spread,
            } => {
                let load = self.hosts.entry(host.clone()).or_default();
                load.memory_mib = if add {
                    load.memory_mib.saturating_add(*memory_mib)
                } else {
                    load.memory_mib.saturating_sub(*memory_mib)
                };
                change(&mut load.vcpus, *vcpus);
                change(&mut load.vms, 1);
                if let Some(group) = spread {
                    change(load.spread.entry(group.clone()).or_default(), 1);
                    let members = self.groups.entry(group.clone()).or_default();
                    let member = (vm.clone(), host.clone());
                    match add {
                        true => members.insert(member),
                        false => members.remove(&member),
                    };
                }
            }
            Share::Start(host) => {
                change(&mut self.hosts.entry(host.clone()).or_default().starts, 1)
            }
            Share::Migration(host) => {
                change(
                    &mut self.hosts.entry(host.clone()).or_default().migrations,
                    1,
                );
            }
            Share::Link(key) => change(self.links.entry(key.clone()).or_default(), 1),
        }
    }
}

fn shares(world: &World, vm: &VmName, owner: &Owner) -> Vec<Share> {
    let spec = world
        .vms
        .get(vm)
        .and_then(|v| v.spec.as_ref())
        .map(|spec| &spec.value);
    let mut shares = Vec::new();
    for runner in owner.possible_runners() {
        if resolution(world, vm, owner, runner).is_some() {
            continue;
        }
        shares.push(Share::Place {
            host: runner.host.clone(),
            memory_mib: spec.map_or(0, |spec| spec.memory_mib),
            vcpus: spec.map_or(0, |spec| spec.vcpus),
            spread: spec.and_then(|spec| spec.spread.clone()),
        });
    }
    match (&owner.holder, &owner.incoming) {
        (Some(from), Some(to)) => {
            shares.push(Share::Migration(from.host.clone()));
            shares.push(Share::Migration(to.host.clone()));
            let ends = site_of(world, &from.host).zip(site_of(world, &to.host));
            let link = ends.and_then(|(from, to)| link_key(from, to));
            shares.extend(link.map(Share::Link));
        }
        (Some(holder), None) => {
            let state = report_of(world, vm, owner.generation, holder).map(|report| &report.state);
            if matches!(state, None | Some(RunState::Starting)) {
                shares.push(Share::Start(holder.host.clone()));
            }
        }
        (None, _) => {}
    }
    shares
}

/// The link between two sites, the same in both directions; none within a site.
fn link_key(a: &SiteName, b: &SiteName) -> Option<(SiteName, SiteName)> {
    match a.cmp(b) {
        std::cmp::Ordering::Less => Some((a.clone(), b.clone())),
        std::cmp::Ordering::Greater => Some((b.clone(), a.clone())),
        std::cmp::Ordering::Equal => None,
    }
}
