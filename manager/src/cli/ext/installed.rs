//! Extensions in the cluster: installed, looked at, removed.

use super::super::args::Sure;
use super::super::client::Verb;
use super::super::error::CliError;
use super::super::paint::{Line, Tone, table};
use super::super::{Session, confirm, hint};
use super::package::Package;
use super::versions::{before, rollout, shadow_lines};
use crate::api::extensions::Wanted;
use crate::api::write::Outcome;
use crate::extensions::{Shown, digest};
use crate::wall::moment;
use clap::{Args, ValueEnum};
use holdfast_model::advice::Fallback;
use holdfast_model::extension::{
    ExtensionKind, Installed, LimitsAsked, RECORD_BYTES_MAX, RECORDS_MAX, Rights,
};
use holdfast_model::id::ExtensionName;
use holdfast_model::standing::{CallCosts, Readiness};
use holdfast_strict::nearest;
use std::path::PathBuf;
use std::time::Duration;

/// Compiling a component takes seconds, for some languages on a slow machine minutes.
pub(super) const INSTALL: Duration = Duration::from_secs(360);

/// `holdfast ext install`
#[derive(Debug, Args)]
pub struct InstallArguments {
    /// Its folder (with extension.toml and the built component), or the component
    #[arg(value_name = "DIR|FILE")]
    pub path: PathBuf,
    /// Its manifest, if it is not the extension.toml beside the component
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Its signature, if it is not the extension.sig beside the manifest
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// What happens when it gives no answer: VMs wait, or are placed without it. A rank is always done without
    #[arg(long, value_enum, default_value_t = Then::Closed)]
    pub on_failure: Then,
    /// CPU time of one call in milliseconds, instead of what the manifest says
    #[arg(long, value_name = "MS")]
    pub cpu_ms: Option<u64>,
    /// Memory in MiB, instead of what the manifest says
    #[arg(long, value_name = "MIB")]
    pub memory_mib: Option<u64>,
    /// Do not grant this right, though it asks for it; in the words of `it may newly: …`. Can be given several times
    #[arg(long, value_name = "RIGHT")]
    pub without: Vec<String>,
    /// Take a component of more than 8 MiB, and up to 32
    #[arg(long)]
    pub allow_large: bool,
    /// Try it beside the installed version: asked the same, compared, not heeded (placement, storage checks)
    #[arg(long)]
    pub shadow: bool,
    /// Have all sites use it at once, and not the rest only when it is ready at the first
    #[arg(long, conflicts_with = "shadow")]
    pub all_at_once: bool,
    /// Grant what it asks for without being asked
    #[command(flatten)]
    pub sure: Sure,
}

/// What happens without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Then {
    /// VMs wait: for rules that must hold
    Closed,
    /// They are placed without it, and it is told
    Open,
}

impl Session {
    pub(in super::super) fn ext_install(
        &self,
        arguments: &InstallArguments,
    ) -> Result<(), CliError> {
        let large = arguments.allow_large;
        let package = Package::read(&arguments.path, arguments.manifest.as_deref(), large)?;
        let signed = package.signed(arguments.signature.as_deref())?;
        let Package { manifest, wasm, .. } = package;
        let name = manifest.name.clone();
        let digest = digest(&wasm);
        let wanted = Wanted {
            granted: granted(&manifest.rights, &arguments.without)?,
            digest: digest.clone(),
            limits: LimitsAsked {
                cpu_ms: arguments.cpu_ms,
                memory_mib: arguments.memory_mib,
                ..LimitsAsked::default()
            },
            then: match arguments.on_failure {
                Then::Closed => Fallback::Closed,
                Then::Open => Fallback::Open,
            },
            manifest,
            signed,
        };
        // Of a trial nothing is stored.
        // A manager of before does not know the second option: it is named only where it is meant.
        let dry = match arguments.sure.dry.dry_run {
            true => "&dry_run=true",
            false => "",
        };
        let upload = format!("/components/{digest}?large={large}{dry}");
        let sent = self.client.upload(&upload, &wasm, INSTALL);
        if let Err(CliError::Unreachable { .. }) = &sent {
            hint("`holdfast ext check`, `ext test` and `ext chaos` need no manager");
        }
        sent?;
        let path = match arguments.shadow {
            true => format!("/extensions/{name}/shadow"),
            false => format!("/extensions/{name}"),
        };
        let change = |path: &str| -> Result<Outcome, CliError> {
            let client = self.client.patient(INSTALL);
            client.change(Verb::Put, path, Some(&wanted))
        };
        let (trial, path) = match arguments.all_at_once {
            true => (
                format!("{path}?all_at_once=true&dry_run=true"),
                format!("{path}?all_at_once=true"),
            ),
            false => (format!("{path}?dry_run=true"), path),
        };
        let trial = change(&trial)?;
        if arguments.sure.dry.dry_run || !trial.changed {
            return self.tell(&trial);
        }
        let newly = trial
            .warnings
            .iter()
            .any(|text| text.starts_with("it may newly"));
        if newly && !arguments.sure.yes {
            confirm::can_ask()?;
            confirm::confirm(&trial.text, &trial.warnings, name.as_str())?;
        }
        self.tell(&change(&path)?)
    }

    pub(in super::super) fn ext_list(&self) -> Result<(), CliError> {
        self.shown::<Vec<Shown>>("/extensions", |all, wide| list(all, wide))
    }

    pub(in super::super) fn ext_show(&self, name: &ExtensionName) -> Result<(), CliError> {
        self.shown::<Shown>(&format!("/extensions/{name}"), |shown, _| one(shown))
    }

    pub(in super::super) fn ext_remove(
        &self,
        name: &ExtensionName,
        sure: Sure,
    ) -> Result<(), CliError> {
        self.if_sure(
            Verb::Delete,
            &format!("/extensions/{name}"),
            name.as_str(),
            sure,
        )
    }
}

/// What is asked for, without these.
fn granted(asked: &Rights, without: &[String]) -> Result<Rights, CliError> {
    let unknown = |line: &String| {
        let lines = asked.lines();
        let advice = match nearest(line, lines.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if lines.is_empty() => "it asks for nothing".to_owned(),
            None => format!("it asks for: {}", lines.join(", ")),
        };
        CliError::Usage(format!(
            "--without `{line}`: it does not ask for that, or it is there twice; {advice}"
        ))
    };
    let each = without.iter();
    each.map(|line| (line, line.trim()))
        .try_fold(asked.clone(), |left, (line, words)| {
            left.without(words).ok_or_else(|| unknown(line))
        })
}

pub(super) fn state(readiness: &Readiness, installed: &str) -> (Tone, String) {
    match readiness {
        Readiness::Ready { digest } if digest == installed => (Tone::Good, "ready".to_owned()),
        Readiness::Ready { digest } => (
            Tone::Busy,
            format!("still the one before ({})", short(digest)),
        ),
        Readiness::Resting { why, .. } => (
            Tone::Bad,
            format!("failed too often, not asked for a while: {why}"),
        ),
        Readiness::Loading => (Tone::Busy, "being loaded".to_owned()),
        Readiness::Failed { why, before } => (
            Tone::Bad,
            match before {
                None => why.clone(),
                Some(before) => format!("{why}; the one before ({}) is asked on", short(before)),
            },
        ),
    }
}

pub(super) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn list(all: &[Shown], wide: bool) -> String {
    if all.is_empty() {
        return "no extension is installed; `holdfast ext install DIR` installs one\n".to_owned();
    }
    let mut heads = vec![
        "EXTENSION",
        "VERSION",
        "KIND",
        "ON FAILURE",
        "READY ON",
        "CPU P99",
        "DOES",
    ];
    if wide {
        heads.extend(["DIGEST", "BY"]);
    }
    let rows = all.iter().map(|each| {
        let installed = &each.installed;
        let (tone, ready) = ready_on(each);
        let plain = |text: &str| (Tone::Plain, text.to_owned());
        let costs = dearest(each);
        let mut row = vec![
            plain(installed.manifest.name.as_str()),
            plain(&installed.manifest.version),
            plain(installed.manifest.kind.word()),
            plain(on_failure(installed)),
            (tone, ready),
            plain(&share(costs.cpu_p99_us, costs.cpu_p99_percent)),
            plain(&installed.manifest.summary),
        ];
        if wide {
            row.push((Tone::Dim, short(&installed.digest).to_owned()));
            row.push(plain(&installed.by));
        }
        row
    });
    table(&heads, rows.collect())
}

/// On how many of those that ask it.
fn ready_on(each: &Shown) -> (Tone, String) {
    let ready = |there: &&Readiness| matches!(there, Readiness::Ready { digest } if *digest == each.installed.digest);
    let (count, all, of) = match each.installed.manifest.kind {
        ExtensionKind::StorageCheck => {
            let there = each.hosts.values();
            let there = there.filter_map(|there| there.readiness.as_ref());
            (there.filter(ready).count(), each.hosts.len(), "hosts")
        }
        _ => {
            let there = each.managers.values();
            let all = each.managers.len() + each.away.len();
            (there.filter(ready).count(), all, "managers")
        }
    };
    let tone = match count == all && count > 0 {
        true => Tone::Good,
        false => Tone::Warn,
    };
    (tone, format!("{count}/{all} {of}"))
}

/// What its calls cost where they cost most.
fn dearest(each: &Shown) -> &CallCosts {
    let hosts = each.hosts.values().map(|there| &there.costs);
    let all = hosts.chain([&each.costs]);
    all.max_by_key(|costs| costs.cpu_p99_us)
        .unwrap_or(&each.costs)
}

/// Only for placement is there a choice.
fn on_failure(installed: &Installed) -> &'static str {
    match installed.manifest.kind {
        ExtensionKind::StorageCheck => "storage is unknown",
        ExtensionKind::Events => "told twice more, then dropped",
        ExtensionKind::Fencing => "the leases decide",
        ExtensionKind::Placement => fallback(installed.then),
    }
}

fn fallback(then: Fallback) -> &'static str {
    match then {
        Fallback::Closed => "closed: VMs wait",
        Fallback::Open => "open: without it",
    }
}

pub(super) fn share(us: u64, percent: u64) -> String {
    format!("{:.1} ms ({percent} %)", us as f64 / 1_000.0)
}

fn one(shown: &Shown) -> String {
    let Shown {
        installed,
        rights,
        not_granted,
        managers,
        away,
        hosts,
        costs,
        bound,
        told,
        shadow,
        signer,
    } = shown;
    let manifest = &installed.manifest;
    let limits = installed.limits();
    let mut lines = vec![
        Line::new()
            .add(Tone::Bold, manifest.name.as_str())
            .text(format!(
                " {}, {}: {}",
                manifest.version, manifest.kind, manifest.summary
            )),
        Line::new().text(format!(
            "  component   {} ({:.1} KiB), installed by {} at {}",
            short(&installed.digest),
            installed.bytes as f64 / 1024.0,
            installed.by,
            moment(installed.at)
        )),
        Line::new().text(format!("  on failure  {}", on_failure(installed))),
        Line::new().text(format!(
            "  may         {}",
            if rights.is_empty() {
                "compute".to_owned()
            } else {
                rights.join(", ")
            }
        )),
        Line::new().text(format!(
            "  limits      {} ms of CPU, {} ms, {} MiB, {} KiB, {} requests a call",
            limits.cpu_ms, limits.wall_ms, limits.memory_mib, limits.answer_kib, limits.requests
        )),
    ];
    if !not_granted.is_empty() {
        // Where it was asked for: what it may is above.
        let refused = format!("  not granted {}", not_granted.join(", "));
        let place = lines.len() - 1;
        lines.insert(place, Line::new().add(Tone::Warn, refused));
    }
    if !installed.rights().state.is_empty() {
        lines.push(Line::new().text(format!(
            "  records     {RECORDS_MAX}, or {} KiB of them, in one look",
            RECORD_BYTES_MAX >> 10
        )));
    }
    lines.extend(installed.before.as_deref().map(before));
    lines.extend(installed.rollout.as_ref().map(rollout));
    if installed.manifest.kind != ExtensionKind::StorageCheck {
        lines.push(Line::new().text(format!("  cost here   {}", cost(costs))));
        lines.extend(last_failure(costs));
    }
    if let Some(signed) = &installed.signed {
        let key = signed.key.short();
        lines.push(Line::new().text(match signer {
            Some(name) => format!("  signed by   {name} ({key})"),
            None => format!("  signed by   {key}, whom the policy does not name"),
        }));
    }
    if !bound.is_empty() {
        let each = bound.iter().map(|(role, name)| format!("{role} to {name}"));
        let bound: Vec<String> = each.collect();
        lines.push(Line::new().text(format!("  bound       {}", bound.join(", "))));
    }
    if let Some(so_far) = told {
        let line = Line::new().text(format!(
            "  events      {} told, {} dropped",
            so_far.told, so_far.dropped
        ));
        lines.push(match &so_far.behind {
            Some(why) => line
                .text(", the last of them because: ")
                .add(Tone::Warn, why),
            None => line,
        });
    }
    for (manager, readiness) in managers {
        let (tone, words) = state(readiness, &installed.digest);
        lines.push(
            Line::new()
                .text(format!("  {manager:<10}  "))
                .add(tone, words),
        );
    }
    for manager in away {
        let words = "does not answer: it has this version when it is back";
        lines.push(
            Line::new()
                .text(format!("  {:<10}  ", manager.as_str()))
                .add(Tone::Warn, words),
        );
    }
    for (host, there) in hosts {
        let (tone, words) = match &there.readiness {
            Some(readiness) => state(readiness, &installed.digest),
            None => (Tone::Busy, "it has not heard of it".to_owned()),
        };
        lines.push(Line::new().text(format!("  {host:<10}  ")).add(tone, words));
        lines.push(Line::new().text(format!("              {}", cost(&there.costs))));
        lines.extend(last_failure(&there.costs));
    }
    lines.extend(shadow.iter().flat_map(shadow_lines));
    lines
        .iter()
        .map(|line| line.clone().draw() + "\n")
        .collect()
}

fn cost(costs: &CallCosts) -> String {
    format!(
        "{} calls, {} without an answer; CPU {:.1} ms in the middle, {} at most (p99); {} KiB ({} %)",
        costs.calls,
        costs.failed,
        costs.cpu_p50_us as f64 / 1_000.0,
        share(costs.cpu_p99_us, costs.cpu_p99_percent),
        costs.memory_kib,
        costs.memory_percent
    )
}

pub(super) fn last_failure(costs: &CallCosts) -> Option<Line> {
    let why = costs.last_failure.as_ref()?;
    Some(Line::new().text("  last failure  ").add(Tone::Warn, why))
}
