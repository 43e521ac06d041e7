//! Damage to the lease volume: sectors, its end, all of it.

use std::time::Duration;

use holdfast_model::status::Plane;

use super::checks::{runs_on, same_grant, wait_lease, wait_told};
use super::{THREE_TTLS, expect, host_of, small, with_vms};
use crate::clock::now_ms;
use crate::configs::LEASE_VOLUME;
use crate::error::{LabError, Result};
use crate::lab::Lab;
use crate::run::wait_until;
use crate::trial::Cluster;

/// More than a default profile's deadline.
const A_DEADLINE: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(30);
/// Several heartbeats: a guard that has not met the damage by then has written over it.
const MET_WITHIN: Duration = Duration::from_secs(15);
/// How often the damage is done at most.
const TRIES: u32 = 6;

/// What is done to the sectors of all hosts, by name; `V` is the volume, `OTHER` another cluster's. A host's
/// slots begin at its third sector.
const DAMAGE: [(&str, &str); 4] = [
    (
        "zeroed",
        "dd if=/dev/zero of=$V bs=4096 seek=2 count=64 conv=notrunc,fsync",
    ),
    (
        "foreign",
        "dd if=$OTHER of=$V bs=4096 skip=2 seek=2 count=64 conv=notrunc,fsync",
    ),
    (
        "flipped",
        "for n in $(seq 2 65); do printf 'other bytes' | \
         dd of=$V bs=1 seek=$((n * 4096 + 20)) conv=notrunc; done; sync $V",
    ),
    (
        "torn",
        "dd if=$V of=/run/older bs=4096 count=66; sleep 3; \
         for n in $(seq 2 65); do dd if=/run/older of=$V bs=128 \
         skip=$((n * 32)) seek=$((n * 32)) count=1 conv=notrunc; done; sync $V",
    ),
];

pub(super) fn damaged(lab: &Lab) -> Result<()> {
    with_vms(lab, &[small("vol", "a")], |cluster| {
        let host = host_of(cluster, "vol")?;
        wait_lease(cluster, &host, Plane::Valid)?;
        let other = format!("{LEASE_VOLUME}.other");
        lease(cluster, &host, &["create", &other, "--cluster", "other"])?;
        for (name, script) in DAMAGE {
            sectors(cluster, &host, name, script)?;
        }
        on_host(cluster, &host, &format!("rm {other}"))?;
        cut_short(cluster, &host)?;
        away(cluster, &host)
    })
}

/// Their owners write them anew; nobody else's word is lost, and nothing stops. A guard looks at its slot right
/// before it writes there; damage that comes between the two is gone before anybody can have met it, and is
/// done again.
fn sectors(cluster: &Cluster, host: &str, name: &str, script: &str) -> Result<()> {
    let before = cluster.vm("vol")?;
    let log = cluster.lab.log_path(host, "guard")?;
    let read = || std::fs::read_to_string(&log).map_err(LabError::io("read", &log));
    let known = read()?.len();
    let since_ms = now_ms();
    // The guard of this host has met it, and has written its slot over.
    let met = || {
        on_host(cluster, host, script)?;
        let what = format!("{name} sectors to be met");
        wait_until(&what, MET_WITHIN, "", || {
            let text = read().map_err(|error| error.to_string())?;
            let news = text.get(known..).unwrap_or_default();
            match news.contains("its slot is damaged; it is written anew") {
                true => Ok(()),
                false => Err(format!("the guard says {news:?}")),
            }
        })
    };
    let mut tries = 1;
    loop {
        match met() {
            Err(LabError::TimedOut { .. }) if tries < TRIES => tries += 1,
            result => break result?,
        }
    }
    runs_on(cluster, &before, since_ms, A_DEADLINE)?;
    wait_lease(cluster, host, Plane::Valid)?;
    same_grant(cluster, &before)
}

/// The file ends after the first heartbeat slots: the claims of VMs are beyond its end. What is there goes on,
/// and once all of it is back nothing has been lost.
fn cut_short(cluster: &Cluster, host: &str) -> Result<()> {
    let before = cluster.vm("vol")?;
    let since_ms = now_ms();
    on_host(cluster, host, "cp $V /run/whole; truncate -s 32768 $V")?;
    let seen = lease(cluster, host, &["show", LEASE_VOLUME])?;
    expect(seen.contains("cut short"), || {
        format!("`holdfast lease show` says nothing of an early end: {seen}")
    })?;
    runs_on(cluster, &before, since_ms, THREE_TTLS)?;
    on_host(
        cluster,
        host,
        "dd if=/run/whole of=$V bs=4096 conv=notrunc,fsync",
    )?;
    wait_lease(cluster, host, Plane::Valid)?;
    same_grant(cluster, &before)
}

/// It is gone: the plane lapses, nothing stops, and it is told.
fn away(cluster: &Cluster, host: &str) -> Result<()> {
    let before = cluster.vm("vol")?;
    on_host(cluster, host, "mv $V $V.away")?;
    wait_lease(cluster, host, Plane::Lapsed)?;
    wait_told(cluster, "lease-lapsed", "")?;
    on_host(cluster, host, "mv $V.away $V")?;
    wait_lease(cluster, host, Plane::Valid)?;
    same_grant(cluster, &before)
}

fn on_host(cluster: &Cluster, host: &str, script: &str) -> Result<()> {
    let script = format!("set -e; V={LEASE_VOLUME}; OTHER={LEASE_VOLUME}.other; {script}");
    let out = cluster.lab.exec(host, &["sh", "-c", &script], LIMIT)?;
    out.ok("on the volume").map(drop)
}

/// `holdfast lease …` on a host; what it prints.
fn lease(cluster: &Cluster, host: &str, argv: &[&str]) -> Result<String> {
    let program = cluster.lab.options().bin_dir.join("holdfast");
    let program = program.to_string_lossy();
    let argv: Vec<&str> = [&*program, "lease"].iter().chain(argv).copied().collect();
    let out = cluster.lab.exec(host, &argv, LIMIT)?;
    Ok(out.ok("holdfast lease")?.stdout)
}
