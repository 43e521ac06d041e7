//! Power lost everywhere at once.

use holdfast_model::event::{Event, EventKind};
use holdfast_model::status::Vm;

use super::watch::never_twice;
use super::{PATIENCE, expect, remove, small, wish, with_vms, with_whole_policy};
use crate::clock;
use crate::configs;
use crate::error::Result;
use crate::guest::{GuestKind, GuestSpec};
use crate::lab::Lab;
use crate::trial::Cluster;

/// A guest that journals has written not longer ago than this when the power goes.
const WRITING_MS: u64 = 1_500;

/// Every process of every machine is killed while guests write and a VM is being started; then all
/// machines have power again, on the same disks, and nobody does anything more.
pub(super) fn everything(lab: &Lab) -> Result<()> {
    // A Linux guest that was moved live while it booted waited for its disk for ever: emulation had lost the interrupt.
    // Going home has scenarios of its own.
    let policy = configs::policy_toml(lab.options());
    let stays = policy.replace("[failback]\n", "[failback]\nenabled = false\n");
    with_whole_policy(lab, &stays, || lose_everything(lab))
}

fn lose_everything(lab: &Lab) -> Result<()> {
    let mut wishes = vec![
        wish("pwa-db", "a", GuestKind::Linux),
        wish("pwb-db", "b", GuestKind::Linux),
        small("pwa-1", "a"),
        small("pwa-2", "a"),
        small("pwb-1", "b"),
    ];
    wishes[0].priority = 20;
    wishes[1].priority = 20;
    let names: Vec<String> = wishes.iter().map(|wish| wish.name.clone()).collect();
    with_vms(lab, &wishes, |cluster| {
        let before: Vec<Vm> = names
            .iter()
            .map(|name| cluster.vm(name))
            .collect::<Result<_>>()?;
        let machines: Vec<&str> = lab
            .layout()
            .machines
            .iter()
            .map(|m| m.name.as_str())
            .collect();
        // The last thing etcd and an agent are told of.
        lab.add_guest(GuestSpec::new("pw-late", GuestKind::BootSector, "b"), true)?;
        for site in ["a", "b"] {
            lab.hit_site(site)?;
        }
        let off = lab.power_off(&machines)?;
        let log = lab.observer_log()?;
        for name in ["pwa-db", "pwb-db"] {
            let last = log.last_beat(name).map_or(0, |beat| beat.at_ms);
            expect(last + WRITING_MS > off.at_ms, || {
                format!(
                    "{name} was not writing: last {last}, power gone at {}",
                    off.at_ms
                )
            })?;
        }
        let on_unix_ms = clock::unix_ms();
        lab.power_on(&machines)?;
        let mut running: Vec<&str> = names.iter().map(String::as_str).collect();
        running.push("pw-late");
        let mut log = lab.observer_log()?;
        for name in &running {
            log.wait_for_beat(name, off.gone_ms, PATIENCE)?;
        }
        cluster.wait_running(&running, PATIENCE)?;
        once_by_priority(cluster, &before, on_unix_ms)?;
        lab.wait_storage_in_sync(PATIENCE)?;
        never_twice(&lab.proof()?, "pw-late")?;
        remove(cluster, "pw-late")
    })
}

/// Each was granted once (a live move home is none of that), and of the VMs of one host none before one
/// of a higher priority.
fn once_by_priority(cluster: &Cluster, before: &[Vm], since_unix_ms: u64) -> Result<()> {
    let granted =
        |event: &&Event| event.kind == EventKind::VmGranted && event.at.0 >= since_unix_ms;
    let events = cluster.events()?;
    let order: Vec<&Vm> = events
        .iter()
        .filter(granted)
        .filter_map(|event| before.iter().find(|vm| Some(&vm.name) == event.vm.as_ref()))
        .collect();
    for vm in before {
        let granted = order.iter().filter(|granted| granted.name == vm.name);
        let granted = granted.count();
        expect(granted == 1, || {
            format!("{} was granted {granted} times", vm.name)
        })?;
    }
    for (index, first) in order.iter().enumerate() {
        let late = order[index..]
            .iter()
            .find(|late| late.host == first.host && late.priority > first.priority);
        expect(late.is_none(), || {
            format!(
                "{} was granted before {:?}",
                first.name,
                late.map(|late| &late.name)
            )
        })?;
    }
    Ok(())
}
