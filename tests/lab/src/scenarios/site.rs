//! A site lost and come back.

use super::{PATIENCE, expect, small, wish, with_vms};
use crate::error::Result;
use crate::guest::GuestKind;
use crate::lab::Lab;
use crate::trial::{lead_from, lose_site, watch_homecoming};

pub(super) fn loss_and_return(lab: &Lab) -> Result<()> {
    let mut vms = vec![
        wish("sa-db", "a", GuestKind::Linux),
        small("sa-1", "a"),
        small("sa-2", "a"),
    ];
    vms[0].priority = 20;
    vms.push(small("sb-1", "b"));
    with_vms(lab, &vms, |cluster| {
        lead_from(cluster, "a-ctl")?;
        let untouched = cluster.vm("sb-1")?;
        lab.hit_site("a")?;
        let failover = lose_site(cluster, "a", PATIENCE)?;
        for (name, vm) in &failover.vms {
            expect(vm.to.starts_with('b'), || format!("{name} is on {}", vm.to))?;
            let order = [vm.proven_ms, vm.granted_ms, vm.running_ms];
            let told = order.iter().flatten().count() == 3;
            expect(told && order.is_sorted(), || {
                format!("{name}: {order:?} is no order")
            })?;
        }
        expect(failover.vms.len() == 3, || {
            format!("{:?} were on site a", failover.vms.keys())
        })?;
        // Its host may be proven stopped some heartbeats after the other, and nobody waits for that; in the plan that
        // proves it, it cannot be granted yet.
        let first = failover.vms.get("sa-db").cloned().unwrap_or_default();
        let in_order = failover
            .vms
            .values()
            .all(|vm| first.granted_ms <= vm.granted_ms || vm.granted_ms <= first.proven_ms);
        expect(in_order, || {
            format!("sa-db has the highest priority, could be granted and was not: {failover:?}")
        })?;
        let now = cluster.vm("sb-1")?;
        expect(now.generation == untouched.generation, || {
            "sb-1 was touched".into()
        })?;

        lab.power_on_site("a")?;
        lab.wait_storage_in_sync(PATIENCE)?;
        let names: Vec<&str> = failover.vms.keys().map(String::as_str).collect();
        let homecoming = watch_homecoming(cluster, "a", &names, PATIENCE * 2, |_| {})?;
        expect(homecoming.restarted.is_empty(), || {
            format!("{:?} were restarted on the way home", homecoming.restarted)
        })
    })
}
