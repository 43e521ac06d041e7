//! Lets a machine go only to hosts that have the label which its label `needs` names, and prefers emptier hosts.

use holdfast_extension::placement::{Candidate, Verdict, Vm};

// Remove the one that the extension does not do.
holdfast_extension::rule! {
    may: may,
    score: score,
}

/// Whether the host may take the machine.
fn may(vm: &Vm, host: &Candidate<'_>) -> Verdict {
    match vm.label("needs") {
        Some(needed) if host.label(needed).is_none() => {
            Verdict::MayNot(format!("it has no label `{needed}`"))
        }
        _ => Verdict::May,
    }
}

/// From 0 to 100: the higher, the rather.
fn score(_vm: &Vm, host: &Candidate<'_>) -> f64 {
    f64::from(100 - host.vms.min(100))
}
