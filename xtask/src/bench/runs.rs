//! The series of runs behind each figure.

use std::time::Duration;

use holdfast_lab::guest::GuestKind;
use holdfast_lab::trial::{
    Cluster, Failover, VmWish, lead_from, leading_manager, lose, lose_site, move_vm,
    watch_homecoming,
};
use holdfast_lab::{Lab, LabError, LabOptions, Progress, Result, clock, wait_until};

use super::Figure;

pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// How often, and under which bounds.
pub(super) struct Plan {
    pub runs: usize,
    pub profile: String,
    pub hosts_per_site: usize,
    /// How many VMs are lost; each measurement has its own number otherwise.
    pub vms: Option<usize>,
    /// Whatever the number of runs: the last series goes on until this time is over.
    pub at_least: Duration,
}

impl Plan {
    /// Does something in a lab of its own; the lab goes either way.
    pub(super) fn in_lab<T>(
        &self,
        progress: &Progress,
        work: impl FnOnce(&Cluster) -> Result<T>,
    ) -> Result<T> {
        let profile = self.profile.clone();
        let options = LabOptions {
            vms: 0,
            linux_vms: 0,
            profile,
            hosts_per_site: self.hosts_per_site,
            // A fault that is repeated waits for the host to be back each time.
            hold_down_ms: 3_000,
            ..LabOptions::default()
        };
        let lab = Lab::up(options, &Progress::silent())?;
        let cluster = Cluster::of(&lab);
        let result = cluster
            .wait_sites_online(PATIENCE)
            .and_then(|()| work(&cluster));
        if result.is_err() {
            tell_status(&lab, progress);
        }
        let down = lab.down();
        let value = result?;
        down.map(|()| value)
    }
}

/// What a cluster looks like in which something did not come to be.
pub(super) fn tell_status(lab: &Lab, progress: &Progress) {
    let text = lab.cli(&["status"]).map(|out| out.stdout);
    progress.line(&text.unwrap_or_default());
}

/// Boot-sector guests: what is measured is not their boot.
pub(super) fn wishes(count: usize, site: &'static str) -> Vec<VmWish> {
    let wish = |number| VmWish {
        name: format!("vm{number}"),
        site,
        priority: 10,
        kind: GuestKind::BootSector,
    };
    (1..=count).map(wish).collect()
}

pub(super) fn failover_figures(what: &str, all: &[Failover]) -> Vec<Figure> {
    let of = |pick: &dyn Fn(&Failover) -> u64| all.iter().map(pick).collect::<Vec<u64>>();
    let name = |part: &str| format!("{what}: {part}");
    vec![
        Figure::of(
            &name("power-off to noticed"),
            of(&|f| f.detected_ms.unwrap_or(0)),
        ),
        Figure::of(
            &name("power-off to proven stopped"),
            of(&|f| f.proven_ms.unwrap_or(0)),
        ),
        Figure::of(
            &name("power-off to first guest sign, first VM"),
            of(&|f| f.rto_ms().0),
        ),
        Figure::of(
            &name("power-off to first guest sign, median VM"),
            of(&|f| f.rto_ms().1),
        ),
        Figure::of(
            &name("power-off to first guest sign, last VM"),
            of(&|f| f.rto_ms().2),
        ),
    ]
}

/// libvirtd is not done with a domain until some time after its migration; a start there meanwhile
/// would be refused.
pub(super) fn tidied_up(cluster: &Cluster, host: &str) -> Result<()> {
    wait_until("libvirtd to be done with what left", PATIENCE, "", || {
        let argv = ["virsh", "-q", "list", "--all"];
        let list = cluster.lab.exec(host, &argv, Duration::from_secs(10));
        match list.map_err(|error| error.to_string())?.stdout.trim() {
            "" => Ok(()),
            left => Err(left.to_owned()),
        }
    })
}

/// VMs are gathered on a1 by draining the other hosts of its site; then a1 loses power.
pub(super) fn failover(plan: &Plan, progress: &Progress) -> Result<Vec<Figure>> {
    let mut all = Vec::new();
    let count = plan.vms.unwrap_or(4);
    for run in 1..=plan.runs {
        let name = format!("run {run} of {}", plan.runs);
        all.push(progress.step(&name, || {
            plan.in_lab(progress, |cluster| {
                gather(cluster, &wishes(count, "a"))?;
                lose(cluster, &["a1"], PATIENCE)
            })
        })?);
    }
    Ok(failover_figures(&format!("host with {count} VMs"), &all))
}

/// Runs these VMs, all of them on a1.
pub(super) fn gather(cluster: &Cluster, wishes: &[VmWish]) -> Result<()> {
    cluster.run_vms(wishes, PATIENCE)?;
    let others: Vec<String> = cluster
        .lab
        .layout()
        .hypervisors()
        .filter(|machine| machine.site == "a" && machine.name != "a1")
        .map(|machine| machine.name.clone())
        .collect();
    let tell = |verb: &str| {
        others.iter().try_for_each(|host| {
            let said = cluster.lab.cli(&["host", verb, host])?;
            said.ok(&format!("holdfast host {verb}")).map(drop)
        })
    };
    tell("drain")?;
    cluster.wait("all VMs on a1", PATIENCE, |status| {
        let there = status.vms.iter().filter(|vm| {
            vm.host.as_ref().is_some_and(|host| host.as_str() == "a1")
                && vm.state == holdfast_model::status::VmState::Running
        });
        match there.count() {
            all if all == wishes.len() => Ok(()),
            some => Err(format!("{some} of {}", wishes.len())),
        }
    })?;
    tell("resume")?;
    cluster.wait_sites_online(PATIENCE)?;
    others.iter().try_for_each(|host| tidied_up(cluster, host))
}

pub(super) fn site(plan: &Plan, progress: &Progress) -> Result<Vec<Figure>> {
    let mut all = Vec::new();
    let count = plan.vms.unwrap_or(8);
    let (mut away, mut restarted) = (Vec::new(), 0);
    for run in 1..=plan.runs {
        let name = format!("run {run} of {}", plan.runs);
        let (failover, home) = progress.step(&name, || {
            plan.in_lab(progress, |cluster| {
                cluster.run_vms(&wishes(count, "a"), PATIENCE)?;
                lead_from(cluster, "a-ctl")?;
                let failover = lose_site(cluster, "a", PATIENCE)?;
                cluster.lab.power_on_site("a")?;
                cluster.lab.wait_storage_in_sync(PATIENCE)?;
                let names: Vec<&str> = failover.vms.keys().map(String::as_str).collect();
                let home = watch_homecoming(cluster, "a", &names, PATIENCE, |_| {})?;
                Ok((failover, home))
            })
        })?;
        away.extend(home.moves.values().map(|done| done.downtime_ms));
        restarted += home.restarted.len();
        all.push(failover);
    }
    if restarted > 0 {
        return Err(LabError::Refused(format!(
            "{restarted} VMs were restarted on the way home"
        )));
    }
    let mut figures = failover_figures(&format!("site with {count} VMs and both leaders"), &all);
    figures.push(Figure::of("going home live: silence per VM", away));
    Ok(figures)
}

pub(super) fn manager(plan: &Plan, progress: &Progress) -> Result<Vec<Figure>> {
    plan.in_lab(progress, |cluster| {
        let mut alone = Vec::new();
        let mut both = Vec::new();
        for run in 1..=plan.runs {
            let name = format!("run {run} of {}", plan.runs);
            progress.step(&name, || {
                let leader = leading_manager(cluster)?;
                let other = if leader == "witness" {
                    "a-ctl"
                } else {
                    "witness"
                };
                holdfast_lab::trial::move_etcd_leader(cluster, other)?;
                alone.push(takeover(cluster, &leader, false)?);
                let leader = leading_manager(cluster)?;
                holdfast_lab::trial::move_etcd_leader(cluster, &leader)?;
                both.push(takeover(cluster, &leader, true)?);
                Ok(())
            })?;
        }
        Ok(vec![
            Figure::of("leading manager killed: until another leads", alone),
            Figure::of("killed together with etcd's leader", both),
        ])
    })
}

/// Kills the leading manager, and the etcd member beside it, and waits for the next leader's own
/// word.
fn takeover(cluster: &Cluster, leader: &str, with_etcd: bool) -> Result<u64> {
    use holdfast_model::event::EventKind;
    let (boottime, unix) = (clock::now_ms(), clock::unix_ms());
    let killed_ms = if with_etcd {
        let etcd = cluster.lab.kill(leader, "etcd")?;
        cluster.lab.stop_service(leader, "manager")?;
        etcd.at_ms
    } else {
        let proof = cluster.lab.kill(leader, "manager")?;
        cluster.lab.stop_service(leader, "manager")?;
        proof.at_ms
    };
    let killed_unix = unix + killed_ms.saturating_sub(boottime);
    let elected = wait_until("another manager to lead", PATIENCE, "", || {
        let events = cluster.events().map_err(|error| error.to_string())?;
        let found = events.iter().find(|event| {
            event.kind == EventKind::LeaderElected
                && event.at.0 >= killed_unix
                && event.actor != leader
        });
        found
            .map(|event| event.at.0)
            .ok_or_else(|| "nobody has said so".to_owned())
    })?;
    cluster.lab.start_service(leader, "manager")?;
    cluster.wait("all managers and voters", PATIENCE, |status| {
        let away = status.quorum.members.iter().chain(&status.managers);
        match away.filter(|member| !member.healthy).count() {
            0 => Ok(()),
            n => Err(format!("{n} do not answer")),
        }
    })?;
    Ok(elected.saturating_sub(killed_unix))
}

pub(super) fn migration(plan: &Plan, progress: &Progress) -> Result<Vec<Figure>> {
    plan.in_lab(progress, |cluster| {
        cluster.run_vms(&wishes(1, "a"), PATIENCE)?;
        let (mut away, mut total) = (Vec::new(), Vec::new());
        let (mut virsh_away, mut virsh_total) = (Vec::new(), Vec::new());
        for run in 1..=plan.runs {
            let name = format!("run {run} of {}", plan.runs);
            progress.step(&name, || {
                let from = cluster.vm("vm1")?.host.map(|host| host.to_string());
                let to = if from.as_deref() == Some("a1") {
                    "b1"
                } else {
                    "a1"
                };
                let done = move_vm(cluster, "vm1", to, PATIENCE)?;
                away.push(done.downtime_ms);
                total.extend(done.total_ms);
                let plain = virsh(cluster, run)?;
                virsh_away.push(plain.away_ms);
                virsh_total.push(plain.total_ms);
                Ok(())
            })?;
        }
        Ok(vec![
            Figure::of("live migration: silence of the guest", away),
            Figure::of("live migration: request to first sign there", total),
            Figure::of("the same by virsh alone: silence of the guest", virsh_away),
            Figure::of(
                "the same by virsh alone: request to first sign there",
                virsh_total,
            ),
        ])
    })
}

/// A migration without Holdfast.
struct Plain {
    away_ms: u64,
    total_ms: u64,
}

/// A guest that Holdfast knows nothing of, started and migrated by virsh between the same hosts.
fn virsh(cluster: &Cluster, run: usize) -> Result<Plain> {
    let name = format!("plain{run}");
    let spec = holdfast_lab::guest::GuestSpec::new(&name, GuestKind::BootSector, "a");
    let guest = cluster.lab.add_guest(spec, false)?;
    let xml = guest.xml_file.to_string_lossy().into_owned();
    let limit = Duration::from_secs(60);
    cluster
        .lab
        .exec("a1", &["virsh", "-q", "create", &xml], limit)?
        .ok("virsh create")?;
    let mut log = cluster.lab.observer_log()?;
    let first = log.wait_for_beat(&name, 0, limit)?;
    let address = &cluster.lab.layout().machine("b1")?.address;
    let (uri, data) = (
        format!("qemu+tcp://{address}/system"),
        format!("tcp://{address}"),
    );
    let argv = [
        "virsh", "-q", "migrate", "--live", "--p2p", &name, &uri, &data,
    ];
    let asked_at = clock::now_ms();
    cluster.lab.exec("a1", &argv, limit)?.ok("virsh migrate")?;
    log.wait_for_beat_on(&name, "b1", first.at_ms, limit)?;
    let proof = cluster.lab.proof()?;
    let stays = proof
        .vms
        .into_iter()
        .find(|vm| vm.vm == name)
        .map(|vm| vm.stays);
    cluster
        .lab
        .exec("b1", &["virsh", "-q", "destroy", &name], limit)?
        .ok("virsh destroy")?;
    match stays.as_deref() {
        Some([.., before, now]) => Ok(Plain {
            away_ms: now.first_ms.saturating_sub(before.last_ms),
            total_ms: now.first_ms.saturating_sub(asked_at),
        }),
        _ => Err(LabError::Refused(format!(
            "{name} was heard from one host only"
        ))),
    }
}
