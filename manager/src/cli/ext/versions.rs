//! Versions of an extension besides the installed one: its shadow, and the one before it.

use super::super::Session;
use super::super::args::Sure;
use super::super::client::Verb;
use super::super::error::CliError;
use super::super::paint::{Line, Tone};
use super::installed::{INSTALL, last_failure, share, short, state};
use crate::extensions::ShadowShown;
use crate::wall::moment;
use holdfast_model::extension::Installed;
use holdfast_model::id::ExtensionName;
use holdfast_model::rollout::Rollout;
use holdfast_model::shadow::{Difference, ShadowStanding};

impl Session {
    pub(in super::super) fn ext_promote(
        &self,
        name: &ExtensionName,
        sure: Sure,
    ) -> Result<(), CliError> {
        let path = format!("/extensions/{name}/promote");
        self.patient().post_if_sure(&path, name.as_str(), sure)
    }

    pub(in super::super) fn ext_rollback(
        &self,
        name: &ExtensionName,
        sure: Sure,
    ) -> Result<(), CliError> {
        let path = format!("/extensions/{name}/rollback");
        self.patient().post_if_sure(&path, name.as_str(), sure)
    }

    pub(in super::super) fn ext_remove_shadow(
        &self,
        name: &ExtensionName,
        sure: Sure,
    ) -> Result<(), CliError> {
        let path = format!("/extensions/{name}/shadow");
        self.if_sure(Verb::Delete, &path, name.as_str(), sure)
    }

    /// The component is looked at again, and compiled where it was not yet.
    fn patient(&self) -> Session {
        Session {
            client: self.client.patient(INSTALL),
            output: self.output,
        }
    }
}

/// What `ext rollback` goes back to.
pub(super) fn before(before: &Installed) -> Line {
    Line::new().text(format!(
        "  before      {} ({}), installed by {} at {}; `holdfast ext rollback {}` goes back to it",
        before.manifest.version,
        short(&before.digest),
        before.by,
        moment(before.at),
        before.manifest.name
    ))
}

/// Who has it, while not all have.
pub(super) fn rollout(rollout: &Rollout) -> Line {
    Line::new().text("  rollout     ").add(
        Tone::Busy,
        format!(
            "site {} has it first; the others ask the version before until all there are ready with it",
            rollout.first
        ),
    )
}

/// The version that is tried, how it does, and in what it differs.
pub(super) fn shadow_lines(shown: &ShadowShown) -> Vec<Line> {
    let candidate = &shown.candidate;
    let version = candidate.manifest.version.as_str();
    let head = Line::new()
        .text("  shadow      ")
        .add(Tone::Bold, version)
        .text(format!(
            " ({}, {:.1} KiB), by {} at {}: asked after the installed one, compared, not heeded",
            short(&candidate.digest),
            candidate.bytes as f64 / 1024.0,
            candidate.by,
            moment(candidate.at)
        ));
    let mut lines = vec![head];
    if !shown.newly.is_empty() {
        let newly = format!("    may newly  {}", shown.newly.join(", "));
        lines.push(Line::new().text(newly));
    }
    let managers = shown.managers.iter();
    let managers = managers.map(|(name, there)| (name.as_str(), there));
    let hosts = shown.hosts.iter();
    let hosts = hosts.map(|(name, there)| (name.as_str(), there));
    for (place, there) in managers.chain(hosts) {
        lines.extend(standing(place, there, &candidate.digest));
    }
    lines
}

fn standing(place: &str, there: &ShadowStanding, digest: &str) -> Vec<Line> {
    let (tone, words) = state(&there.readiness, digest);
    let counts = there.counts;
    let mut lines = vec![
        Line::new()
            .text(format!("    {place:<9} "))
            .add(tone, words)
            .text(format!("; asked {} times: ", counts.asked))
            .add(
                tone_of(counts.differed),
                format!("{} agreed, {} differed", counts.agreed, counts.differed),
            )
            .text(", ")
            .add(
                tone_of(counts.failed),
                format!("{} without an answer", counts.failed),
            )
            .text(format!("; {} skipped", counts.skipped)),
    ];
    if counts.differed > 0 {
        lines.push(Line::new().text(format!(
            "              of what differed: other verdicts {}, another order {}, another first choice {}",
            counts.other_verdicts, counts.other_order, counts.other_first
        )));
    }
    if counts.asked > 0 {
        lines.push(Line::new().text(format!(
            "              CPU {:.1} ms in the middle, {} at most (p99)",
            there.costs.cpu_p50_us as f64 / 1_000.0,
            share(there.costs.cpu_p99_us, there.costs.cpu_p99_percent)
        )));
    }
    lines.extend(last_failure(&there.costs));
    lines.extend(there.differences.iter().flat_map(difference));
    lines
}

fn tone_of(bad: u64) -> Tone {
    match bad {
        0 => Tone::Plain,
        _ => Tone::Warn,
    }
}

fn difference(found: &Difference) -> Vec<Line> {
    let about = match &found.vm {
        Some(vm) => format!("{vm} on "),
        None => String::new(),
    };
    let at = moment(found.at);
    let each = found.hosts.iter().map(|two| {
        Line::new()
            .add(Tone::Dim, format!("      {at}  "))
            .text(format!(
                "{about}{}: {}; the shadow: {}",
                two.host, two.installed, two.shadow
            ))
    });
    let mut lines: Vec<Line> = each.collect();
    if found.more_hosts > 0 {
        let more = format!("      {at}  {about}{} more", found.more_hosts);
        lines.push(Line::new().add(Tone::Dim, more));
    }
    lines
}
