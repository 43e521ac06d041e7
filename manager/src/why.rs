//! Why a VM or a host is where and how it is: the planner's own words, the records behind them,
//! and for "why not there?" a trial run of the planner. Read only.

mod advice;

pub use advice::{Heard, NoAnswer, OfHost, Question, Voice, heard};

use crate::extensions::Extensions;
use crate::status::{Context, build};
use holdfast_core::planner::plan_with;
use holdfast_model::event::{Event, EventKind};
use holdfast_model::fence_device::{FenceDevice, Means};
use holdfast_model::host::{HostSpec, SessionState, VmReport};
use holdfast_model::id::{DeviceName, HostName, ManagerName, OpId, Revision, VmName};
use holdfast_model::op::{Op, Request};
use holdfast_model::plan::{Plan, Report, Subject, Write};
use holdfast_model::probe::Vantage;
use holdfast_model::status::{Host, Probed, Vm};
use holdfast_model::time::{Instant, UnixMs};
use holdfast_model::vm::Owner;
use holdfast_model::world::Seen;
use holdfast_store::view::View;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use std::sync::Arc;

/// When and for whom the planner is asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Now, by this manager's clock.
    pub now: Instant,
    /// Now, for people.
    pub wall: UnixMs,
    /// Since when its view is fresh; none if it is not.
    pub view_since: Option<Instant>,
    /// This manager.
    pub manager: ManagerName,
    /// What it finds itself that asks hosts directly; none before it has.
    pub probes: Option<Vantage>,
    /// Its extensions: they are asked as they are in a decision, and nothing of it is kept.
    pub extensions: Arc<Extensions>,
}

/// Asks the planner what it would do and what it waits for. Nothing is executed: any manager can
/// ask, under the epoch of whoever leads.
pub fn explain(view: &View, asked: &Asked) -> Plan {
    if view.can_plan().is_err() {
        return Plan::default();
    }
    let epoch = view
        .leader_epoch
        .as_ref()
        .map_or(Revision(0), |epoch| epoch.revision);
    let since = asked.view_since.unwrap_or(asked.now);
    let mut world = view.world(asked.now, asked.wall, since, epoch, &asked.manager);
    let own = asked.probes.iter().cloned();
    let own = own.map(|vantage| (asked.manager.clone(), vantage));
    world.probes.extend(own);
    plan_with(&world, &asked.extensions.trial())
}

/// Everything about one VM.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WhyVm {
    /// Its line of the status.
    pub vm: Vm,
    /// In words, most important first.
    pub because: Vec<String>,
    /// What the planner found and waits for.
    pub reports: Vec<Report>,
    /// Who may run it.
    pub owner: Option<Owner>,
    /// What hosts said of it.
    pub said: Vec<(HostName, VmReport)>,
    /// Why it is not on the host that was asked about.
    pub not_on: Option<NotOn>,
    /// What placement extensions say of it; none without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Heard>,
}

/// Why a VM is not on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotOn {
    /// The host.
    pub host: HostName,
    /// The host could take it.
    pub possible: bool,
    /// In words.
    pub reason: String,
}

/// Everything about one host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WhyHost {
    /// Its line of the status.
    pub host: Host,
    /// In words, most important first.
    pub because: Vec<String>,
    /// What the planner found and waits for.
    pub reports: Vec<Report>,
    /// Desired.
    pub spec: Option<HostSpec>,
    /// The VMs it holds or receives.
    pub vms: Vec<VmName>,
}

/// About one VM, but for what extensions say of it ([`heard`]); none if there is no such VM.
pub fn vm(
    view: &View,
    asked: &Asked,
    context: &Context<'_>,
    name: &VmName,
    not_on: Option<&HostName>,
) -> Option<WhyVm> {
    let status = build(view, context);
    let line = status.vms.into_iter().find(|vm| vm.name == *name)?;
    let record = view.vms.get(name)?;
    let owner = record.owner.as_ref().map(|owner| owner.value.clone());
    let reports = about(context.reports, &Subject::Vm(name.clone()));
    let said: Vec<(HostName, VmReport)> = view
        .hosts
        .iter()
        .filter_map(|(host, seen)| Some((host.clone(), seen.vms.get(name)?.value.clone())))
        .collect();
    let mut because = vec![headline(&line, reports.is_empty())];
    for report in &reports {
        because.extend(report_lines(report, context.now));
    }
    if let Some(owner) = &owner {
        because.extend(owner_lines(owner));
    }
    for (host, report) in &said {
        because.push(format!(
            "{host} says of generation {}: {}",
            report.generation,
            state_words(report)
        ));
    }
    for op in view
        .ops
        .values()
        .filter(|op| concerns(&op.value.request, name))
    {
        because.push(format!(
            "a request of {} is pending: {}",
            op.value.by, op.value.id
        ));
    }
    let not_on = not_on.map(|host| why_not(view, asked, &line, host));
    Some(WhyVm {
        vm: line,
        because,
        reports,
        owner,
        said,
        not_on,
        extensions: None,
    })
}

fn probe_line(probed: &Probed) -> String {
    let (by, site, seconds) = (&probed.by, &probed.site, probed.silent_ms as f64 / 1000.0);
    match probed.silent {
        true => format!("{by} at {site} asks it directly, in vain for {seconds:.1} s"),
        false => format!("{by} at {site} asks it directly; answered {seconds:.1} s ago"),
    }
}

/// About one host; none if there is no such host.
pub fn host(view: &View, context: &Context<'_>, name: &HostName) -> Option<WhyHost> {
    let status = build(view, context);
    let line = status.hosts.into_iter().find(|host| host.name == *name)?;
    let record = view.hosts.get(name)?;
    let reports = about(context.reports, &Subject::Host(name.clone()));
    let mut because = vec![match (&line.state, line.reason.as_str()) {
        (None, reason) => format!("{name} is not a member yet: {reason}"),
        (Some(state), "") => format!("{name} is {}", word(state)),
        (Some(state), reason) => format!("{name} is {}: {reason}", word(state)),
    }];
    if let (Some(session), Some(silence_ms)) = (&record.session, line.silence_ms) {
        let what = match session.value.state {
            SessionState::Open => "renewed",
            SessionState::Closed => "closed by a leader",
        };
        because.push(format!(
            "its session was {what} {:.1} s ago; the control plane is {}",
            silence_ms as f64 / 1000.0,
            word(&line.planes.control)
        ));
    }
    because.extend(line.probes.iter().map(probe_line));
    for report in &reports {
        because.extend(report_lines(report, context.now));
    }
    if let Some(session) = &record.session {
        let bounds = &session.value.bounds;
        because.push(format!(
            "it stops its VMs {} ms after its last acknowledged heartbeat (+ {} ms kill, + {} ms \
             watchdog); its guard is {}",
            bounds.runner_deadline_ms,
            bounds.kill_bound_ms,
            bounds.watchdog_bound_ms,
            word(&session.value.guard)
        ));
    }
    for fence in view
        .fences
        .values()
        .filter(|fence| fence.value.host == *name)
    {
        because.push(format!(
            "its life {} is closed: {}",
            fence.value.incarnation, fence.value.evidence
        ));
    }
    because.extend(device_lines(view, name));
    because.push(format!(
        "libvirt: {}; storage: {}",
        line.libvirt, line.storage
    ));
    let runs = |owner: &Owner| owner.possible_runners().any(|runner| runner.host == *name);
    let vms = view
        .vms
        .iter()
        .filter(|(_, vm)| vm.owner.as_ref().is_some_and(|owner| runs(&owner.value)))
        .map(|(name, _)| name.clone())
        .collect();
    let spec = record.spec.as_ref().map(|spec| spec.value.clone());
    Some(WhyHost {
        host: line,
        because,
        reports,
        spec,
        vms,
    })
}

/// Its fencing devices, and what the journal says of each last: only the leader has the answers themselves.
fn device_lines(view: &View, name: &HostName) -> Vec<String> {
    let policy = view.policy.as_ref().map(|seen| &seen.value.fencing);
    let devices = policy.map(|policy| policy.devices_of(name));
    let devices = devices.unwrap_or_default();
    let alone = devices.len() == 1;
    let line =
        |(device, how): &(&DeviceName, &FenceDevice)| device_line(view, name, device, how, alone);
    devices.iter().map(line).collect()
}

/// `alone`: it is the only one of that host.
fn device_line(
    view: &View,
    name: &HostName,
    device: &DeviceName,
    how: &FenceDevice,
    alone: bool,
) -> String {
    // As the planner and its memory put it; no name is followed by these unless it ends there.
    let named = [" ", ","].map(|end| format!("fencing device {device}{end}"));
    let of_power = |(_, event): &(&String, &Event)| {
        let power = matches!(event.kind, EventKind::PowerAsked | EventKind::PowerAnswered);
        power
            && event.host.as_ref() == Some(name)
            && named.iter().any(|named| event.text.contains(named))
    };
    let last = view.events.iter().rev().find(of_power);
    let last = last.map_or("not asked as far as the journal goes", |(_, event)| {
        &event.text
    });
    let mut words: Vec<String> = how.means().iter().map(Means::to_string).collect();
    if !alone {
        words.push(format!("order {}", how.order));
    }
    if how.all_of {
        words.push("with the others that have `all_of`".to_owned());
    }
    if !how.from.is_empty() {
        let sites: Vec<&str> = how.from.iter().map(|site| site.as_str()).collect();
        words.push(format!("asked from {}", sites.join(", ")));
    }
    if !how.askers.is_empty() {
        let askers: Vec<String> = how.askers.iter().map(ToString::to_string).collect();
        words.push(format!("asked by {}", askers.join(" or ")));
    }
    format!("fencing device {device} ({}): {last}", words.join(", "))
}

fn about(reports: &[Report], subject: &Subject) -> Vec<Report> {
    reports
        .iter()
        .filter(|report| report.subject == *subject)
        .cloned()
        .collect()
}

fn headline(vm: &Vm, with_reason: bool) -> String {
    let at = vm
        .host
        .as_ref()
        .map(|host| format!(" on {host}"))
        .unwrap_or_default();
    let why = if with_reason && !vm.reason.is_empty() {
        format!(": {}", vm.reason)
    } else {
        String::new()
    };
    format!("{} is {}{at}{why}", vm.name, word(&vm.state))
}

fn report_lines(report: &Report, now: Instant) -> Vec<String> {
    let mut lines = vec![match report.until {
        Some(until) => format!(
            "{} ({:.1} s left)",
            report.text,
            until.since(now) as f64 / 1000.0
        ),
        None => report.text.clone(),
    }];
    let refused = report.refused.iter();
    lines.extend(refused.map(|(host, reason)| format!("not on {host}: {reason}")));
    lines
}

fn owner_lines(owner: &Owner) -> Vec<String> {
    let mut lines = vec![format!(
        "generation {} was decided because: {}",
        owner.generation, owner.reason
    )];
    let failures = &owner.failures;
    if failures.in_a_row > 0 {
        let times = match failures.in_a_row {
            1 => "once".to_owned(),
            n => format!("{n} times in a row"),
        };
        lines.push(format!(
            "it failed {times}; it is tried again by itself, each time later. Mend what the host \
             names, or the VM with `holdfast vm apply -f FILE`"
        ));
    }
    for (host, failed) in &failures.per_host {
        lines.push(format!("its last failure on {host}: {}", failed.reason));
    }
    if owner.placed_by_hand {
        lines.push("an operator put it where it is: failback leaves it there".to_owned());
    }
    lines
}

fn state_words(report: &VmReport) -> String {
    use holdfast_model::host::RunState;
    match &report.state {
        RunState::Exited { how } => crate::status::exit_words(how),
        RunState::MigrationFailed { reason } => format!("migration failed: {reason}"),
        RunState::Unknown { reason } => format!("unknown: {reason}"),
        other => word(other),
    }
}

/// An enum's word as it is stored.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    let tagged = value.get("state").or_else(|| value.get("kind"));
    let text = tagged.unwrap_or(&value).as_str().unwrap_or_default();
    text.replace('-', " ")
}

fn concerns(request: &Request, name: &VmName) -> bool {
    match request {
        Request::Move { vm, .. } | Request::Restart { vm } => vm == name,
        Request::ConfirmOff { .. } => false,
    }
}

/// Runs the planner on a copy of the view in which somebody asks to move the VM, to this host or to any.
fn trial_of_move(view: &View, asked: &Asked, vm: &VmName, to: Option<&HostName>) -> Option<Plan> {
    let id = OpId::from_str("why-not").ok()?;
    let mut trial = view.clone();
    trial.ops.retain(|_, op| !concerns(&op.value.request, vm));
    let op = Op {
        id: id.clone(),
        by: "trial".to_owned(),
        request: Request::Move {
            vm: vm.clone(),
            to: to.cloned(),
        },
    };
    let seen = Seen {
        value: op,
        revision: view.revision,
        seen_at: asked.now,
    };
    trial.ops.insert(id, seen);
    Some(explain(&trial, asked))
}

/// Whether the VM could go there, and why not.
fn why_not(view: &View, asked: &Asked, line: &Vm, host: &HostName) -> NotOn {
    let say = |possible: bool, reason: String| NotOn {
        host: host.clone(),
        possible,
        reason,
    };
    if line.host.as_ref() == Some(host) {
        return say(true, format!("it is on {host}"));
    }
    if !view.hosts.contains_key(host) {
        return say(
            false,
            "there is no such host; `holdfast host list` shows them".to_owned(),
        );
    }
    let present = explain(view, asked);
    let refused = present
        .reports
        .iter()
        .filter(|report| report.subject == Subject::Vm(line.name.clone()))
        .flat_map(|report| &report.refused);
    if let Some((_, reason)) = refused.clone().find(|(refused, _)| refused == host) {
        return say(false, reason.clone());
    }
    let Some(answer) = trial_of_move(view, asked, &line.name, Some(host)) else {
        return say(false, "this manager cannot ask".to_owned());
    };
    if let Some((possible, reason)) = answered(&answer, line, host) {
        return say(possible, reason);
    }
    let waits = answer
        .reports
        .iter()
        .find(|report| report.subject == Subject::Vm(line.name.clone()))
        .map(|report| report.text.replace(" asked for by trial", ""));
    say(
        false,
        waits.unwrap_or_else(|| "the VM is not running, so it cannot be moved".to_owned()),
    )
}

/// What the planner did about the request, if it did something.
fn answered(answer: &Plan, line: &Vm, host: &HostName) -> Option<(bool, String)> {
    for step in &answer.steps {
        let mine = |event: &&holdfast_model::event::Event| event.vm.as_ref() == Some(&line.name);
        for event in step.events.iter().filter(mine) {
            if event.kind == EventKind::OpRefused {
                let reason = event
                    .text
                    .split_once("refused: ")
                    .map_or(&*event.text, |(_, r)| r);
                let reason = reason.strip_prefix(&format!("{host}: ")).unwrap_or(reason);
                return Some((false, reason.to_owned()));
            }
        }
        let goes = step.writes.iter().any(|write| match write {
            Write::Owner { vm, owner, .. } => {
                *vm == line.name && owner.incoming.as_ref().is_some_and(|to| to.host == *host)
            }
            _ => false,
        });
        if goes {
            let text = "it could take it: nothing calls for a move. `holdfast vm move` does it";
            return Some((true, text.to_owned()));
        }
    }
    None
}
