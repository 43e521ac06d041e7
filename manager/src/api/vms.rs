//! Changes to VMs. Lasting wishes go into the spec; move and restart are requests that the leader
//! answers once.

use super::input::{Asker, Body, Name, Options, name};
use super::problem::Problem;
use super::reads::{no_such_host, no_such_vm};
use super::write::{Asking, Change, Decided, Outcome, carry_out};
use super::{App, Look};
use crate::status::{build, note_unleased};
use crate::vm_file::{VmFile, check_site};
use axum::Json;
use axum::extract::State;
use holdfast_model::id::{HostName, OpId, Revision, VmName, VmUuid};
use holdfast_model::op::Request;
use holdfast_model::status::{Vm, VmState};
use holdfast_model::vm::{Rest, VmSpec};
use holdfast_model::world::Seen;
use holdfast_store::keyspace::Key;
use std::sync::Arc;

type Answer = Result<Json<Outcome>, Problem>;

/// Who asks, whether as a trial, and the other options.
pub(super) fn asking(
    Asker(by): Asker,
    options: Options,
    more: &[&str],
) -> Result<(Asking, Options), Problem> {
    let known: Vec<&str> = ["dry_run"].iter().chain(more).copied().collect();
    let options = options.only(&known)?;
    let asking = Asking {
        by,
        dry_run: options.flag("dry_run")?,
        revision: options.number::<i64>("revision")?.map(Revision),
    };
    Ok((asking, options))
}

/// A new id for a request.
pub(super) fn op_id() -> Result<OpId, Problem> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    name(&format!("op-{}", &id[..12]))
}

fn fresh_uuid() -> Result<VmUuid, Problem> {
    name(&uuid::Uuid::new_v4().hyphenated().to_string())
}

fn spec_of<'a>(look: &'a Look<'_>, vm: &VmName) -> Result<&'a Seen<VmSpec>, Problem> {
    let spec = look.view.vms.get(vm).and_then(|vm| vm.spec.as_ref());
    spec.ok_or_else(|| no_such_vm(look, vm))
}

fn line_of(look: &Look<'_>, vm: &VmName) -> Option<Vm> {
    build(look.view, &look.context)
        .vms
        .into_iter()
        .find(|line| line.name == *vm)
}

fn not_possible(detail: String) -> Problem {
    Problem::new("not-possible", detail)
}

/// `PUT /v1/vms/{V}?revision=N`: creates or changes it.
pub async fn apply(
    State(app): State<Arc<App>>,
    Name(vm): Name<VmName>,
    asker: Asker,
    options: Options,
    Body(file): Body<VmFile>,
) -> Answer {
    let (asking, _) = asking(asker, options, &["revision"])?;
    let fresh = fresh_uuid()?;
    carry_out(&app, &asking, |look| {
        decide_apply(look, &vm, &file, &fresh, &asking)
    })
    .await
}

fn decide_apply(
    look: &Look<'_>,
    vm: &VmName,
    file: &VmFile,
    fresh: &VmUuid,
    asking: &Asking,
) -> Result<Decided, Problem> {
    let invalid = |error: String| Problem::new("invalid", error);
    let present = look.view.vms.get(vm).and_then(|vm| vm.spec.as_ref());
    let current = present.map(|spec| spec.revision);
    asking.still(&format!("VM {vm}"), current)?;
    if present.is_some_and(|spec| spec.value.deleting) {
        return Err(not_possible(format!(
            "{vm} is being removed; wait until it is gone"
        )));
    }
    let spec = file
        .spec(Some(vm), present.map(|spec| &spec.value), fresh)
        .map_err(|error| invalid(error.to_string()))?;
    let policy = look.view.policy.as_ref().map(|policy| &*policy.value);
    check_site(&spec, policy).map_err(|error| invalid(error.to_string()))?;
    if let Some(other) = look
        .view
        .uuids
        .get(&spec.uuid)
        .filter(|other| other.value != *vm)
    {
        return Err(Problem::new(
            "duplicate",
            format!(
                "the UUID {} of {vm} is that of VM {}; give {vm} one of its own (`uuidgen`) in its \
                 domain XML, or remove the other",
                spec.uuid, other.value
            ),
        )
        .with("other", other.value.as_str()));
    }
    let key = Key::VmSpec(vm.clone());
    let mut change = match present {
        Some(present) if present.value == spec => {
            return Ok(Decided::Nothing(format!("{vm} is unchanged")));
        }
        Some(present) => {
            Change::new(format!("change VM {vm}")).put(key, &spec, Some(present.revision))
        }
        None => Change::new(format!("create VM {vm}"))
            .put(key, &spec, None)
            .put(Key::Uuid(spec.uuid.clone()), &spec.name, None),
    };
    let running = line_of(look, vm).is_some_and(|line| line.host.is_some());
    if running && present.is_some_and(|present| present.value.domain_xml != spec.domain_xml) {
        change.warnings.push(format!(
            "{vm} runs: its new domain XML takes effect at its next start (`holdfast vm restart \
             {vm}`)"
        ));
    }
    let news = present.is_none_or(|present| present.value.storage_lease != spec.storage_lease);
    if news {
        change.warnings.extend(note_unleased(look.view, &spec));
    }
    change.vm = Some(vm.clone());
    Ok(Decided::Write(change))
}

/// `DELETE /v1/vms/{V}`: stops it if it runs, and removes it from Holdfast. Disks stay.
pub async fn delete(
    State(app): State<Arc<App>>,
    Name(vm): Name<VmName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &["revision"])?;
    carry_out(&app, &asking, |look| {
        let present = spec_of(look, &vm)?;
        asking.still(&format!("VM {vm}"), Some(present.revision))?;
        if present.value.deleting {
            return Ok(Decided::Nothing(format!("{vm} is being removed already")));
        }
        let spec = VmSpec {
            run: false,
            deleting: true,
            ..present.value.clone()
        };
        let mut change = Change::new(format!("remove VM {vm}")).put(
            Key::VmSpec(vm.clone()),
            &spec,
            Some(present.revision),
        );
        change.vm = Some(vm.clone());
        if let Some(host) = line_of(look, &vm).and_then(|line| line.host) {
            change
                .warnings
                .push(format!("it runs on {host} and is stopped first"));
        }
        change
            .warnings
            .push("its disks stay where they are".to_owned());
        Ok(Decided::Write(change))
    })
    .await
}

/// `POST /v1/vms/{V}/start`.
pub async fn start(
    State(app): State<Arc<App>>,
    Name(vm): Name<VmName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &[])?;
    carry_out(&app, &asking, |look| {
        let present = spec_of(look, &vm)?;
        if present.value.deleting {
            return Err(not_possible(format!(
                "{vm} is being removed, so it cannot be started"
            )));
        }
        let owner = look.view.vms.get(&vm).and_then(|vm| vm.owner.as_ref());
        let rests = owner.is_some_and(|owner| {
            let serial = present.value.run_serial;
            let slept = |rest: &Rest| match rest {
                Rest::GuestShutdown { run_serial } => serial <= *run_serial,
            };
            owner.value.rest.as_ref().is_some_and(slept)
        });
        if present.value.run && !rests {
            let line = line_of(look, &vm);
            let state = line.map_or_else(String::new, |line| {
                let host = line
                    .host
                    .map(|host| format!(" on {host}"))
                    .unwrap_or_default();
                format!(": it is {}{host}", crate::why::word(&line.state))
            });
            return Ok(Decided::Nothing(format!("{vm} should run already{state}")));
        }
        let run_serial = present.value.run_serial + 1;
        let spec = VmSpec {
            run: true,
            run_serial,
            ..present.value.clone()
        };
        let mut change = Change::new(format!("start VM {vm}")).put(
            Key::VmSpec(vm.clone()),
            &spec,
            Some(present.revision),
        );
        change.vm = Some(vm.clone());
        Ok(Decided::Write(change))
    })
    .await
}

/// `POST /v1/vms/{V}/stop`: asks the guest to shut down; destroys it after the policy's grace.
pub async fn stop(
    State(app): State<Arc<App>>,
    Name(vm): Name<VmName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &[])?;
    carry_out(&app, &asking, |look| {
        let present = spec_of(look, &vm)?;
        if !present.value.run {
            return Ok(Decided::Nothing(format!("{vm} should be off already")));
        }
        let spec = VmSpec {
            run: false,
            ..present.value.clone()
        };
        let mut change = Change::new(format!("stop VM {vm}")).put(
            Key::VmSpec(vm.clone()),
            &spec,
            Some(present.revision),
        );
        change.vm = Some(vm.clone());
        Ok(Decided::Write(change))
    })
    .await
}

/// A request about a VM that has to run.
fn request(
    look: &Look<'_>,
    vm: &VmName,
    what: &str,
    id: &OpId,
    by: &str,
    request: Request,
) -> Result<Decided, Problem> {
    spec_of(look, vm)?;
    let pending = look.view.ops.values().find(|op| match &op.value.request {
        Request::Move { vm: other, .. } | Request::Restart { vm: other } => other == vm,
        Request::ConfirmOff { .. } => false,
    });
    if let Some(op) = pending {
        let detail = format!(
            "a request of {} for {vm} is pending already; `holdfast why vm {vm}` says what it \
             waits for",
            op.value.by
        );
        return Err(not_possible(detail));
    }
    let line = line_of(look, vm);
    let off = line
        .as_ref()
        .filter(|line| matches!(line.state, VmState::Stopped | VmState::Waiting));
    if let Some(line) = off {
        let state = crate::why::word(&line.state);
        let advice = if line.state == VmState::Stopped {
            format!("start it with `holdfast vm start {vm}`")
        } else {
            format!("`holdfast why vm {vm}` says what it waits for")
        };
        return Err(not_possible(format!(
            "{vm} is {state}, so there is no {what}; {advice}"
        )));
    }
    let mut change = Change::new(format!("{what} of VM {vm}")).ask(id, by, request);
    change.vm = Some(vm.clone());
    Ok(Decided::Write(change))
}

/// `POST /v1/vms/{V}/restart`: stops it and starts it again.
pub async fn restart(
    State(app): State<Arc<App>>,
    Name(vm): Name<VmName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, _) = asking(asker, options, &[])?;
    let id = op_id()?;
    carry_out(&app, &asking, |look| {
        let what = Request::Restart { vm: vm.clone() };
        request(look, &vm, "restart", &id, &asking.by, what)
    })
    .await
}

/// `POST /v1/vms/{V}/move?to=H`: migrates it live; to the best host if none is named.
pub async fn move_vm(
    State(app): State<Arc<App>>,
    Name(vm): Name<VmName>,
    asker: Asker,
    options: Options,
) -> Answer {
    let (asking, options) = asking(asker, options, &["to"])?;
    let to = options.name::<HostName>("to")?;
    let id = op_id()?;
    carry_out(&app, &asking, |look| {
        spec_of(look, &vm)?;
        if let Some(to) = &to {
            if !look.view.hosts.contains_key(to) {
                return Err(no_such_host(look, to));
            }
            if line_of(look, &vm).is_some_and(|line| line.host.as_ref() == Some(to)) {
                return Ok(Decided::Nothing(format!("{vm} is on {to} already")));
            }
        }
        let what = to
            .as_ref()
            .map_or("move".to_owned(), |to| format!("move to {to}"));
        let asked = Request::Move {
            vm: vm.clone(),
            to: to.clone(),
        };
        request(look, &vm, &what, &id, &asking.by, asked)
    })
    .await
}
