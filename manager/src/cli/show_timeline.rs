//! Incidents as lanes: one bar per VM, from the first sign to the VM running again.
//!
//! ```text
//! VM    MOVE     0                        4.2 s  PROVEN  GRANTED  RUNNING
//! vm1   a1→b1    ░░░░░░░░░░░░░░░░▒▓▓▓█            3.00     3.01     3.60
//! ```

use super::paint::{Line, Tone, seconds, table, width};
use crate::timeline::{HostLane, Incident, IncidentKind, Mark, Phase, VmLane};
use crate::wall::moment;

/// Columns for a name.
const NAME: usize = 14;
/// Columns for "from→to".
const MOVE: usize = 15;
/// Columns for one figure.
const FIGURE: usize = 9;

/// A list of all incidents, newest last.
pub fn list(incidents: &[Incident]) -> String {
    if incidents.is_empty() {
        return "no incidents in the events that are kept\n".to_owned();
    }
    let rows = incidents.iter().map(|incident| {
        let time = |ms: Option<u64>| ms.map_or("-".to_owned(), seconds);
        let (tone, state) = match incident.duration_ms {
            Some(ms) => (Tone::Good, format!("over after {}", seconds(ms))),
            None => (Tone::Warn, "goes on".to_owned()),
        };
        vec![
            (Tone::Plain, incident.id.clone()),
            (tone_of(incident.kind), incident.title.clone()),
            (
                Tone::Plain,
                format!("{}/{}", incident.summary.done, incident.summary.vms),
            ),
            (Tone::Plain, time(incident.summary.median_ms)),
            (Tone::Plain, time(incident.summary.slowest_ms)),
            (tone, state),
        ]
    });
    table(
        &["INCIDENT", "WHAT", "VMS", "MEDIAN", "SLOWEST", "STATE"],
        rows.collect(),
    )
}

fn tone_of(kind: IncidentKind) -> Tone {
    match kind {
        IncidentKind::SiteLoss | IncidentKind::HostLoss => Tone::Bad,
        IncidentKind::VmRestart | IncidentKind::FalseAlarm => Tone::Warn,
        IncidentKind::Moves => Tone::Busy,
    }
}

/// One incident in lanes.
pub fn lanes(incident: &Incident) -> String {
    lanes_at(incident, width())
}

fn lanes_at(incident: &Incident, width: usize) -> String {
    let mut out = Line::new()
        .add(tone_of(incident.kind), &incident.title)
        .add(
            Tone::Dim,
            format!("   {}   {}", incident.id, moment(incident.started_at)),
        )
        .draw()
        + "\n";
    out += &(summary(incident).draw() + "\n\n");
    let phases = figures(incident.kind);
    let bar = width
        .saturating_sub(NAME + MOVE + 2 + FIGURE * phases.len())
        .max(10);
    let span_ms = span(incident);
    out += &(head(phases, bar, span_ms).draw() + "\n");
    for lane in &incident.hosts {
        out += &(host_line(lane, phases, bar, span_ms).draw() + "\n");
    }
    let mut vms: Vec<&VmLane> = incident.vms.iter().collect();
    vms.sort_by_key(|lane| (end_of(lane).unwrap_or(u64::MAX), lane.vm.clone()));
    for lane in vms {
        out += &(vm_line(lane, phases, bar, span_ms).draw() + "\n");
    }
    for lane in &incident.hosts {
        out.extend(kills(lane, incident).map(|line| line.draw() + "\n"));
    }
    out + "\n" + &legend(incident.kind).draw() + "\n"
}

fn summary(incident: &Incident) -> Line {
    let summary = &incident.summary;
    let what = if incident.kind == IncidentKind::Moves {
        "moved"
    } else {
        "running again"
    };
    let tone = if summary.done == summary.vms {
        Tone::Good
    } else {
        Tone::Warn
    };
    let mut line = Line::new().add(
        tone,
        format!("{} of {} VMs {what}", summary.done, summary.vms),
    );
    if let (Some(median), Some(slowest)) = (summary.median_ms, summary.slowest_ms) {
        line = line.text(format!(
            "; median {}, slowest {}",
            seconds(median),
            seconds(slowest)
        ));
    }
    match incident.duration_ms {
        Some(_) => line,
        None => line.add(Tone::Warn, "; it goes on"),
    }
}

/// The phases whose times stand in columns.
fn figures(kind: IncidentKind) -> &'static [Phase] {
    match kind {
        IncidentKind::Moves => &[Phase::Moving, Phase::Moved],
        IncidentKind::VmRestart => &[Phase::Granted, Phase::Running],
        IncidentKind::FalseAlarm => &[Phase::Back],
        IncidentKind::HostLoss | IncidentKind::SiteLoss => {
            &[Phase::Proven, Phase::Granted, Phase::Running]
        }
    }
}

/// What the bars' width stands for: up to the last mark that belongs to the outage.
fn span(incident: &Incident) -> u64 {
    let vms = incident.vms.iter().flat_map(|lane| &lane.marks);
    let hosts = incident.hosts.iter().flat_map(|lane| &lane.marks);
    let back = incident.kind == IncidentKind::FalseAlarm;
    let marks = vms
        .chain(hosts)
        .filter(|mark| back || mark.phase != Phase::Back);
    marks.map(|mark| mark.at_ms).max().unwrap_or(0).max(1)
}

fn end_of(lane: &VmLane) -> Option<u64> {
    lane.at(Phase::Running).or(lane.at(Phase::Moved))
}

fn head(phases: &[Phase], bar: usize, span_ms: u64) -> Line {
    let end = seconds(span_ms);
    let scale = format!("{:<1$}{end}", "0", bar.saturating_sub(end.chars().count()));
    let mut line = Line::new()
        .add(Tone::Dim, format!("{:<NAME$} {:<MOVE$} ", "", "FROM → TO"))
        .add(Tone::Dim, scale);
    for phase in phases {
        line = line.add(Tone::Dim, format!("{:>FIGURE$}", crate::why::word(phase)));
    }
    line
}

fn column(at_ms: u64, bar: usize, span_ms: u64) -> usize {
    let last = bar.saturating_sub(1) as u64;
    usize::try_from(at_ms.min(span_ms) * last / span_ms).unwrap_or(0)
}

/// What is drawn from a phase on, until the next.
fn stroke(phase: Phase) -> (Tone, &'static str) {
    match phase {
        Phase::Lost | Phase::Exited => (Tone::Bad, "░"),
        Phase::Proven => (Tone::Warn, "▒"),
        Phase::Granted | Phase::Moving => (Tone::Busy, "▓"),
        Phase::Running | Phase::Moved | Phase::NotMoved | Phase::Back => (Tone::Good, "█"),
        Phase::Stopped => (Tone::Dim, "·"),
    }
}

fn is_end(phase: Phase) -> bool {
    matches!(stroke(phase).1, "█" | "·")
}

fn draw_bar(mut line: Line, marks: &[Mark], bar: usize, span_ms: u64, goes_on: bool) -> Line {
    let mut at = 0;
    for (index, mark) in marks.iter().enumerate() {
        let start = column(mark.at_ms, bar, span_ms).max(at).min(bar - 1);
        line = line.text(" ".repeat(start - at));
        at = start;
        let next = marks.get(index + 1);
        let until = match next {
            Some(next) => column(next.at_ms, bar, span_ms),
            None if is_end(mark.phase) => at + 1,
            None if goes_on => bar,
            None => at + 1,
        };
        let (tone, stroke) = stroke(mark.phase);
        let length = until.clamp(at, bar) - at;
        line = line.add(tone, stroke.repeat(length));
        at += length;
    }
    line.text(" ".repeat(bar.saturating_sub(at)))
}

fn add_figures(mut line: Line, phases: &[Phase], at: impl Fn(Phase) -> Option<u64>) -> Line {
    for phase in phases {
        let text = at(*phase).map_or("-".to_owned(), |ms| format!("{:.2}", ms as f64 / 1000.0));
        line = line.text(format!("{text:>FIGURE$}"));
    }
    line
}

fn host_line(lane: &HostLane, phases: &[Phase], bar: usize, span_ms: u64) -> Line {
    let name = Line::new()
        .add(Tone::Bold, format!("host {}", lane.host))
        .fit(NAME);
    let site = lane
        .site
        .as_ref()
        .map_or(String::new(), |site| format!("site {site}"));
    let line = name.text(" ").add(Tone::Dim, format!("{site:<MOVE$} "));
    let marks: Vec<Mark> = lane
        .marks
        .iter()
        .filter(|mark| mark.at_ms <= span_ms && mark.phase != Phase::Back)
        .map(|mark| match mark.phase {
            // What follows the proof is the VMs' part.
            Phase::Proven => Mark {
                phase: Phase::Stopped,
                ..*mark
            },
            _ => *mark,
        })
        .collect();
    let line = draw_bar(line, &marks, bar, span_ms, true);
    add_figures(line, phases, |phase| lane.at(phase))
}

fn vm_line(lane: &VmLane, phases: &[Phase], bar: usize, span_ms: u64) -> Line {
    let host = |host: &Option<holdfast_model::id::HostName>| {
        host.as_ref().map_or("?".to_owned(), ToString::to_string)
    };
    let way = format!("{} → {}", host(&lane.from), host(&lane.to));
    let line = Line::new()
        .text(lane.vm.as_str())
        .fit(NAME)
        .text(" ")
        .text(Line::new().text(way).fit(MOVE).plain())
        .text(" ");
    let line = draw_bar(line, &lane.marks, bar, span_ms, !lane.is_done());
    add_figures(line, phases, |phase| lane.at(phase))
}

/// What a lost host's guard stopped before anybody else could start it.
fn kills(lane: &HostLane, incident: &Incident) -> Option<Line> {
    let left = incident.vms.iter();
    let left = left.filter(|vm| vm.from.as_ref() == Some(&lane.host));
    let killed: Vec<u64> = left.filter_map(|vm| vm.killed_ms).collect();
    let last_ms = killed.iter().max()?;
    let vms = match killed.len() {
        1 => "1 VM".to_owned(),
        n => format!("{n} VMs"),
    };
    let text = format!(
        "the guard on {} stopped {vms} there, the last after {}, by its own clock",
        lane.host,
        seconds(*last_ms)
    );
    Some(Line::new().add(Tone::Dim, text))
}

fn legend(kind: IncidentKind) -> Line {
    let words: &[(Phase, &str)] = match kind {
        IncidentKind::Moves => &[(Phase::Moving, "moving"), (Phase::Moved, "there")],
        IncidentKind::VmRestart => &[
            (Phase::Exited, "ended"),
            (Phase::Granted, "starting"),
            (Phase::Running, "running"),
        ],
        _ => &[
            (Phase::Lost, "silent, waiting for proof"),
            (Phase::Proven, "proven stopped"),
            (Phase::Granted, "starting elsewhere"),
            (Phase::Running, "running"),
        ],
    };
    let mut line = Line::new();
    for (phase, text) in words {
        let (tone, stroke) = stroke(*phase);
        line = line
            .add(tone, stroke.repeat(2))
            .add(Tone::Dim, format!(" {text}  "));
    }
    line.add(Tone::Dim, "(seconds)")
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
