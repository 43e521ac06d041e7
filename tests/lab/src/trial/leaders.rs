//! Putting the leading manager and etcd's leader where a trial wants to lose them.

use std::time::Duration;

use serde_json::Value;

use super::cluster::Cluster;
use crate::error::{LabError, Result};
use crate::run::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

/// The machine of the leading manager.
pub fn leading_manager(cluster: &Cluster) -> Result<String> {
    cluster.wait("a manager to lead", LIMIT, |status| match &status.leader {
        Some(leader) => Ok(leader.name.to_string()),
        None => Err("nobody leads".into()),
    })
}

/// Makes the manager and the etcd member on a machine the leaders.
pub fn lead_from(cluster: &Cluster, machine: &str) -> Result<()> {
    move_etcd_leader(cluster, machine)?;
    if leading_manager(cluster)? == machine {
        return Ok(());
    }
    let others: Vec<String> = cluster
        .lab
        .layout()
        .controls()
        .map(|each| each.name.clone())
        .filter(|name| name != machine)
        .collect();
    for other in &others {
        cluster.lab.stop_service(other, "manager")?;
    }
    let leads = cluster.wait(
        &format!("{machine} to lead"),
        LIMIT,
        |status| match &status.leader {
            Some(leader) if leader.name.as_str() == machine => Ok(()),
            Some(leader) => Err(format!("{} leads", leader.name)),
            None => Err("nobody leads".into()),
        },
    );
    for other in &others {
        cluster.lab.start_service(other, "manager")?;
    }
    leads
}

struct Member {
    id: u64,
    leader: u64,
    endpoint: String,
}

fn members(cluster: &Cluster, from: &str) -> Result<Vec<Member>> {
    let endpoints: Vec<String> = cluster
        .lab
        .layout()
        .controls()
        .map(|each| format!("http://{}:2379", each.address))
        .collect();
    let endpoints = format!("--endpoints={}", endpoints.join(","));
    let argv = ["etcdctl", &endpoints, "endpoint", "status", "-w", "json"];
    let out = cluster
        .lab
        .exec(from, &argv, Duration::from_secs(20))?
        .ok("etcdctl")?;
    let list: Vec<Value> = serde_json::from_str(&out.stdout)
        .map_err(|error| LabError::Refused(format!("etcdctl printed no JSON: {error}")))?;
    let number = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_u64);
    Ok(list
        .iter()
        .filter_map(|each| {
            Some(Member {
                id: number(each, "/Status/header/member_id")?,
                leader: number(each, "/Status/leader")?,
                endpoint: each.get("Endpoint")?.as_str()?.to_owned(),
            })
        })
        .collect())
}

/// Makes the etcd member on a machine the leader.
pub fn move_etcd_leader(cluster: &Cluster, machine: &str) -> Result<()> {
    let address = &cluster.lab.layout().machine(machine)?.address;
    wait_until(&format!("etcd's leader on {machine}"), LIMIT, "", || {
        let members = members(cluster, machine).map_err(|error| error.to_string())?;
        let wanted = members
            .iter()
            .find(|each| each.endpoint.contains(address.as_str()));
        let Some(wanted) = wanted else {
            return Err(format!("{machine} does not answer"));
        };
        if wanted.leader == wanted.id {
            return Ok(());
        }
        let Some(leader) = members.iter().find(|each| each.id == wanted.leader) else {
            return Err("etcd has no leader".into());
        };
        let endpoint = format!("--endpoints={}", leader.endpoint);
        let id = format!("{:x}", wanted.id);
        let argv = ["etcdctl", &endpoint, "move-leader", &id];
        let moved = cluster.lab.exec(machine, &argv, Duration::from_secs(20));
        match moved.and_then(|out| out.ok("etcdctl move-leader")) {
            Ok(_) => Err("just moved".into()),
            Err(error) => Err(error.to_string()),
        }
    })
}
