//! What the demo does, step by step.

use std::time::Duration;

use holdfast_lab::guest::GuestKind;
use holdfast_lab::trial::{
    Cluster, VmWish, failover_picture, lead_from, lose_site, move_vm, moves_picture,
    watch_homecoming,
};
use holdfast_lab::{Lab, LabError, Progress, Result, report};

use super::figures::Figures;

/// A cold start on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Healing, two hold-downs and eight migrations.
const HOMECOMING: Duration = Duration::from_secs(300);

/// Four VMs per site, two priorities; one of each site is Linux with a journal on its disk.
fn wishes() -> Vec<VmWish> {
    let mut wishes = Vec::new();
    for site in ["a", "b"] {
        for (name, priority, kind) in [
            ("db", 20, GuestKind::Linux),
            ("app", 20, GuestKind::BootSector),
            ("web", 10, GuestKind::BootSector),
            ("batch", 10, GuestKind::BootSector),
        ] {
            wishes.push(VmWish {
                name: format!("{name}-{site}"),
                site,
                priority,
                kind,
            });
        }
    }
    wishes
}

/// Runs the VMs, moves one, loses site a, brings it back, proves what happened. `show` takes what
/// is worth reading.
pub(crate) fn site_story(
    lab: &Lab,
    progress: &Progress,
    show: &mut dyn FnMut(&str),
) -> Result<Figures> {
    let cluster = Cluster::of(lab);
    progress.step("all hosts online", || cluster.wait_sites_online(PATIENCE))?;
    let wishes = wishes();
    progress.step("eight VMs, four at home at each site", || {
        cluster.run_vms(&wishes, PATIENCE)
    })?;
    show_status(lab, show)?;

    let moved = progress.step("move web-b live to the other host of its site", || {
        let from = cluster
            .vm("web-b")?
            .host
            .map(|host| host.to_string())
            .unwrap_or_default();
        let to = if from == "b1" { "b2" } else { "b1" };
        move_vm(&cluster, "web-b", to, PATIENCE)
    })?;
    show(&format!(
        "\n{}",
        moves_picture([(&"web-b".to_owned(), &moved)])
    ));

    progress.step(
        "make site a the one that hurts: manager and etcd lead there",
        || lead_from(&cluster, "a-ctl"),
    )?;
    let bound_ms = bound(lab)?;
    let failover = progress.step("SITE A LOSES POWER; wait for its VMs at site b", || {
        lose_site(&cluster, "a", PATIENCE)
    })?;
    show(&format!("\n{}", failover_picture(&failover)));
    show_status(lab, show)?;

    progress.step("site a gets its power back", || lab.power_on_site("a"))?;
    progress.step("storage heals", || lab.wait_storage_in_sync(PATIENCE))?;
    let names: Vec<&str> = failover.vms.keys().map(String::as_str).collect();
    let homecoming = progress.step("hold-down, then home by live migration", || {
        watch_homecoming(&cluster, "a", &names, HOMECOMING, |_| {})
    })?;
    show(&format!("\n{}", moves_picture(&homecoming.moves)));
    show_status(lab, show)?;

    let proof = progress.step("proof: what the guests themselves say", || lab.proof())?;
    show(&format!("\n{}", report::proof(&proof)));
    Ok(Figures::new(
        lab.options().profile.clone(),
        wishes.len(),
        bound_ms,
        moved,
        failover,
        homecoming,
        &proof,
    ))
}

/// The product's own screen, with its colours: whoever shows the story takes them away where they
/// are not wanted.
fn show_status(lab: &Lab, show: &mut dyn FnMut(&str)) -> Result<()> {
    let mut command = lab.cli_command(&["status"]);
    command.env("CLICOLOR_FORCE", "1").env("COLUMNS", "100");
    let out = command
        .output()
        .map_err(LabError::io("start", "holdfast status"))?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        return Err(LabError::Refused(format!(
            "`holdfast status` failed: {said}"
        )));
    }
    show(&format!("\n{}", String::from_utf8_lossy(&out.stdout)));
    Ok(())
}

/// What `holdfast rto` promises for the loss of a site.
fn bound(lab: &Lab) -> Result<u64> {
    let rto = lab.cli_json(&["rto"])?;
    let bounds = rto.get("bounds").and_then(|bounds| bounds.as_array());
    let of_site = bounds.into_iter().flatten().find(|bound| {
        bound.get("failure").and_then(|failure| failure.as_str()) == Some("site-loss")
    });
    of_site
        .and_then(|bound| bound.get("total_ms"))
        .and_then(|total| total.as_u64())
        .ok_or_else(|| LabError::Refused("`holdfast rto` names no bound for a site loss".into()))
}
