//! What stands on a lease volume, for people.

use super::super::paint::{Line, Tone, table};
use holdfast_lease::survey::{Damage, Slot, Survey};
use holdfast_model::lease::{Ask, Claim, Heartbeat, Holder, HostPhase, Mail, Superblock};
use holdfast_model::time::UnixMs;

pub(super) fn draw(found: &Survey) -> String {
    let Superblock {
        cluster,
        class,
        layout,
        created_ms,
    } = &found.superblock;
    let mut out = Line::new()
        .add(Tone::Bold, format!("lease volume {}", found.volume))
        .text(format!(
            "  cluster {cluster}  class {class}  {} B sectors  made {}",
            layout.sector_size,
            crate::wall::moment(UnixMs(*created_ms)),
        ))
        .draw();
    out += "\n";
    for run in runs(&found.damaged) {
        out += &(Line::new().add(Tone::Bad, "damaged  ").text(run).draw() + "\n");
    }
    let used = format!(
        "\nhosts  {} of {} slots, VMs {} of {}\n",
        found.hosts.len(),
        layout.hosts_max,
        found.claims.len(),
        layout.vms_max
    );
    out += &used;
    if !found.hosts.is_empty() {
        let heads = [
            "SLOT",
            "HOST",
            "PHASE",
            "COUNTER",
            "EVERY",
            "DEADLINE",
            "INCARNATION",
        ];
        out += &table(&heads, found.hosts.iter().map(host_row).collect());
    }
    if !found.mail.is_empty() {
        out += &table(
            &["SLOT", "TO", "MESSAGE", "ASKS", "BY"],
            found.mail.iter().map(mail_row).collect(),
        );
    }
    if !found.claims.is_empty() {
        let heads = ["SLOT", "VM", "GENERATION", "HOLDER", "INCOMING"];
        out += &table(&heads, found.claims.iter().map(claim_row).collect());
    }
    out
}

/// Neighbours with the same trouble are one line: a volume that was cut short has thousands of them.
fn runs(damaged: &[Damage]) -> Vec<String> {
    let one_run = |a: &Damage, b: &Damage| {
        b.sector == a.sector + 1 && a.kind == b.kind && a.problem == b.problem
    };
    let runs = damaged
        .chunk_by(one_run)
        .filter_map(|run| Some((run.first()?, run.last()?)));
    let words = |(first, last): (&Damage, &Damage)| {
        let (kind, problem) = (first.kind, &first.problem);
        match first.sector == last.sector {
            true => format!("sector {} ({kind} {}): {problem}", first.sector, first.slot),
            false => format!(
                "sectors {} to {} ({kind} {} to {}), each: {problem}",
                first.sector, last.sector, first.slot, last.slot
            ),
        }
    };
    runs.map(words).collect()
}

fn plain(text: impl ToString) -> (Tone, String) {
    (Tone::Plain, text.to_string())
}

fn host_row(slot: &Slot<Heartbeat>) -> Vec<(Tone, String)> {
    let host = &slot.record;
    vec![
        plain(slot.slot),
        plain(&host.host),
        match host.phase {
            HostPhase::Holding => (Tone::Good, "holding".to_owned()),
            HostPhase::Released => (Tone::Dim, "released".to_owned()),
        },
        plain(host.counter),
        plain(format!("{} ms", host.period_ms)),
        plain(format!("{} ms", host.runner_deadline_ms)),
        (Tone::Dim, host.incarnation.to_string()),
    ]
}

fn mail_row(slot: &Slot<Mail>) -> Vec<(Tone, String)> {
    let Ask::Release = slot.record.ask;
    vec![
        plain(slot.slot),
        plain(&slot.record.to),
        plain(slot.record.message),
        plain("release everything"),
        plain(&slot.record.by),
    ]
}

fn claim_row(slot: &Slot<Claim>) -> Vec<(Tone, String)> {
    let runner = |runner: &Option<Holder>| match runner {
        Some(runner) => plain(&runner.host),
        None => (Tone::Dim, "-".to_owned()),
    };
    vec![
        plain(slot.slot),
        plain(&slot.record.vm),
        plain(slot.record.generation),
        runner(&slot.record.holder),
        runner(&slot.record.incoming),
    ]
}
