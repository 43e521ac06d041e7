//! What placement extensions said is heeded.

use super::{Found, Rule};
use holdfast_model::advice::{Advised, Fallback, Said};
use holdfast_model::id::{HostName, VmName};
use holdfast_model::plan::{Plan, Write};
use holdfast_model::vm::{Owner, Runner};
use holdfast_model::world::World;

/// No VM goes to a host that an extension ruled out, when it was asked about the two last.
pub(super) fn check(world: &World, plan: &Plan, found: &mut Found) {
    let writes = plan.steps.iter().flat_map(|step| &step.writes);
    for write in writes {
        let Write::Owner { vm, owner, .. } = write else {
            continue;
        };
        let old = world.vms.get(vm).and_then(|view| view.owner.as_ref());
        let Some(host) = chosen(old.map(|old| &old.value), owner) else {
            continue;
        };
        if let Some(why) = last_word(plan, vm, host).and_then(|(advised, at)| refused(advised, at))
        {
            found.add(Rule::HeedsExtensions, format!("{vm} goes to {host}: {why}"));
        }
    }
}

/// The host that was chosen by this write, if one was.
fn chosen<'o>(old: Option<&Owner>, new: &'o Owner) -> Option<&'o HostName> {
    let known = |runner: &Runner| {
        old.is_some_and(|old| {
            old.possible_runners()
                .any(|other| other.host == runner.host)
        })
    };
    let runners = [new.incoming.as_ref(), new.holder.as_ref()];
    let mut fresh = runners
        .into_iter()
        .flatten()
        .filter(|runner| !known(runner));
    fresh.next().map(|runner| &runner.host)
}

fn last_word<'p>(plan: &'p Plan, vm: &VmName, host: &HostName) -> Option<(&'p Advised, usize)> {
    let about = plan
        .advised
        .iter()
        .rev()
        .filter(|advised| advised.vm == *vm);
    let mut asked = about.filter_map(|advised| {
        let at = advised.hosts.iter().position(|asked| asked == host)?;
        Some((advised, at))
    });
    asked.next()
}

fn refused(advised: &Advised, at: usize) -> Option<String> {
    advised.advice.iter().find_map(|advice| match &advice.said {
        Said::Answer { refusals, .. } => refusals
            .get(at)?
            .as_ref()
            .map(|words| format!("extension {} says {words}", advice.extension)),
        Said::Nothing {
            then: Fallback::Closed,
            reason,
        } => Some(format!(
            "extension {} said nothing: {reason}",
            advice.extension
        )),
        Said::Nothing {
            then: Fallback::Open,
            ..
        } => None,
    })
}
