//! The demo's figures: a stable JSON and a closing summary.

use std::collections::BTreeMap;
use std::fmt::Write;

use anstyle::{AnsiColor, Reset, Style};
use holdfast_lab::proof::Proof;
use holdfast_lab::trial::{Failover, Homecoming, VmFailover, VmMove, median};
use serde::Serialize;

/// What `demo --json` writes. Its shape is an interface.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    profile: String,
    vms: usize,
    power_off_at: u64,
    detected_ms: Option<u64>,
    proven_ms: Option<u64>,
    rto_ms: Spread,
    bound_ms: u64,
    overlaps: usize,
    lost_writes: u64,
    migration: VmMove,
    failback: Failback,
    phases: BTreeMap<String, VmFailover>,
}

#[derive(Debug, Serialize)]
struct Spread {
    min: u64,
    median: u64,
    max: u64,
    per_vm: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct Failback {
    migrated: usize,
    restarted: usize,
    downtime_ms: BTreeMap<String, u64>,
}

impl Figures {
    pub(crate) fn new(
        profile: String,
        vms: usize,
        bound_ms: u64,
        migration: VmMove,
        failover: Failover,
        homecoming: Homecoming,
        proof: &Proof,
    ) -> Self {
        let (min, median, max) = failover.rto_ms();
        let per_vm = |vm: (&String, &VmFailover)| (vm.0.clone(), vm.1.first_write_ms);
        let downtime = |vm: (&String, &VmMove)| (vm.0.clone(), vm.1.downtime_ms);
        Self {
            profile,
            vms,
            power_off_at: failover.power_off_at,
            detected_ms: failover.detected_ms,
            proven_ms: failover.proven_ms,
            rto_ms: Spread {
                min,
                median,
                max,
                per_vm: failover.vms.iter().map(per_vm).collect(),
            },
            bound_ms,
            overlaps: proof.overlaps,
            lost_writes: proof.lost_writes,
            migration,
            failback: Failback {
                migrated: homecoming.moves.len(),
                restarted: homecoming.restarted.len(),
                downtime_ms: homecoming.moves.iter().map(downtime).collect(),
            },
            phases: failover.vms,
        }
    }

    /// Nothing ran twice, nothing was restarted on the way home, no acknowledged write is lost.
    pub(crate) fn holds(&self) -> bool {
        self.overlaps == 0 && self.lost_writes == 0 && self.failback.restarted == 0
    }

    pub(crate) fn summary(&self) -> String {
        let (bold, dim) = (Style::new().bold(), AnsiColor::BrightBlack.on_default());
        let verdict = |good: bool| match good {
            true => AnsiColor::Green.on_default().bold(),
            false => AnsiColor::Red.on_default().bold(),
        };
        let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
        let maybe = |ms: Option<u64>| ms.map_or("-".to_owned(), seconds);
        let mut text = String::new();
        let mut line = |name: &str, good: bool, value: String, note: &str| {
            let style = verdict(good);
            let _ = writeln!(
                text,
                "  {name:<30}{style}{value:<12}{Reset}{dim}{note}{Reset}"
            );
        };
        line(
            "VMs that ran twice",
            self.overlaps == 0,
            self.overlaps.to_string(),
            "by the guests' own signs",
        );
        line(
            "acknowledged writes lost",
            self.lost_writes == 0,
            self.lost_writes.to_string(),
            "by the Linux guests' disks",
        );
        line(
            "site lost, noticed after",
            true,
            maybe(self.detected_ms),
            "heartbeats missing",
        );
        line(
            "proven stopped after",
            true,
            maybe(self.proven_ms),
            "the taker's wait; nothing starts before",
        );
        let note = format!(
            "first {}, last {}",
            seconds(self.rto_ms.min),
            seconds(self.rto_ms.max)
        );
        line(
            "first guest write, median",
            true,
            seconds(self.rto_ms.median),
            &note,
        );
        line(
            "what `holdfast rto` promised",
            self.rto_ms.median <= self.bound_ms,
            seconds(self.bound_ms),
            "without the guest's own boot",
        );
        let restarted = self.failback.restarted;
        line(
            "went home live",
            restarted == 0,
            self.failback.migrated.to_string(),
            &format!("{restarted} restarted"),
        );
        let away = median(self.failback.downtime_ms.values().copied()).unwrap_or(0);
        line(
            "  away for, median",
            true,
            format!("{away} ms"),
            "last sign there to first sign here",
        );
        format!(
            "\n{bold}Summary ({} profile, {} VMs){Reset}\n{text}\n{bold}Try next{Reset}\n  \
             cargo xtask demo --keep            the same, and the lab stays up\n  \
             cargo xtask lab cli status         what an operator sees\n  \
             cargo xtask lab cli timeline       the incident, told by the cluster itself\n  \
             cargo xtask lab cli why vm db-a    why a VM is where it is\n  \
             cargo xtask lab cut a b            cut the link between the sites\n",
            self.profile, self.vms
        )
    }
}
