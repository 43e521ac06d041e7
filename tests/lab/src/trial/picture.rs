//! Pictures of a failover and of moves, for a terminal of 100 columns.
//!
//! ```text
//!  db1   a1 > b2  ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▓▓███  6.1 s
//! ```

use std::fmt::Write;

use anstyle::{AnsiColor, Reset, Style};

use super::fail::{Failover, VmFailover};
use super::home::VmMove;

/// Columns of the bars.
const WIDTH: u64 = 54;

struct Phase {
    sign: char,
    style: Style,
    says: &'static str,
}

fn phases() -> [Phase; 5] {
    let phase = |sign, colour: AnsiColor, says| Phase {
        sign,
        style: colour.on_default(),
        says,
    };
    [
        phase('.', AnsiColor::BrightBlack, "power gone, nobody knows"),
        phase(
            '░',
            AnsiColor::Yellow,
            "lost: no heartbeats, waiting for proof",
        ),
        phase('▒', AnsiColor::Magenta, "proven stopped, being granted"),
        phase('▓', AnsiColor::Cyan, "granted, QEMU comes up"),
        phase(
            '█',
            AnsiColor::Green,
            "running, until the guest's own first write",
        ),
    ]
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

/// Lanes per VM, the fastest first, with the phases in colours and a legend.
pub fn failover_picture(failover: &Failover) -> String {
    let mut text = String::new();
    let end = failover
        .vms
        .values()
        .map(|vm| vm.first_write_ms)
        .max()
        .unwrap_or(1)
        .max(1);
    let scale = |ms: u64| (ms.min(end) * WIDTH) / end;
    let mut lanes: Vec<(&String, &VmFailover)> = failover.vms.iter().collect();
    lanes.sort_by_key(|(name, vm)| (vm.first_write_ms, name.as_str()));
    let width = lanes
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(2)
        .max(2);
    let bold = Style::new().bold();
    let _ = writeln!(
        text,
        "{bold}  {:width$}  was   now   {}{Reset}",
        "VM",
        ruler(end)
    );
    for (name, vm) in &lanes {
        let _ = write!(text, "  {name:width$}  {:<5} {:<5} ", vm.from, vm.to);
        lane(&mut text, vm, &scale);
        let _ = writeln!(text, " {bold}{:>7}{Reset}", seconds(vm.first_write_ms));
    }
    let _ = writeln!(text);
    for phase in phases() {
        let Phase { sign, style, says } = phase;
        let _ = writeln!(text, "  {style}{sign}{sign}{sign}{Reset} {says}");
    }
    let _ = writeln!(text);
    let _ = writeln!(
        text,
        "{bold}  {:width$}     lost    proven   granted   running  first write   (T+ms){Reset}",
        "VM"
    );
    let show = |ms: Option<u64>| ms.map_or("-".to_owned(), |ms| ms.to_string());
    for (name, vm) in &lanes {
        let _ = writeln!(
            text,
            "  {name:width$} {:>8}  {:>8}  {:>8}  {:>8}  {:>11}",
            show(vm.lost_ms),
            show(vm.proven_ms),
            show(vm.granted_ms),
            show(vm.running_ms),
            vm.first_write_ms
        );
    }
    text
}

fn ruler(end: u64) -> String {
    let mut line = String::from("T+0");
    let label = seconds(end);
    let half = seconds(end / 2);
    let gap = (WIDTH as usize / 2).saturating_sub(line.len());
    line.push_str(&" ".repeat(gap));
    line.push_str(&half);
    let gap = (WIDTH as usize).saturating_sub(line.chars().count() + label.len());
    line.push_str(&" ".repeat(gap));
    line.push_str(&label);
    line
}

fn lane(text: &mut String, vm: &VmFailover, scale: &impl Fn(u64) -> u64) {
    let ends = [
        vm.lost_ms,
        vm.proven_ms,
        vm.granted_ms,
        vm.running_ms,
        Some(vm.first_write_ms),
    ];
    let mut at = 0;
    let last = scale(vm.first_write_ms).max(1);
    for (phase, end) in phases().iter().zip(ends) {
        let Some(end) = end else { continue };
        let to = scale(end).min(last);
        let cells = to.saturating_sub(at);
        if cells > 0 {
            let bar: String = std::iter::repeat_n(phase.sign, cells as usize).collect();
            let _ = write!(text, "{}{bar}{Reset}", phase.style);
            at = to;
        }
    }
    let _ = write!(text, "{}", " ".repeat((WIDTH - at.min(WIDTH)) as usize));
}

/// A table of live migrations.
pub fn moves_picture<'a>(moves: impl IntoIterator<Item = (&'a String, &'a VmMove)>) -> String {
    let mut text = String::new();
    let bold = Style::new().bold();
    let green = AnsiColor::Green.on_default();
    let _ = writeln!(
        text,
        "{bold}  VM              from     to       away for{Reset}"
    );
    for (name, done) in moves {
        let _ = writeln!(
            text,
            "  {name:<15} {:<8} {green}{:<8}{Reset} {:>5} ms",
            done.from, done.to, done.downtime_ms
        );
    }
    text
}
