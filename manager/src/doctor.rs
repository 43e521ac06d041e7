//! What etcd and the lease volume say of the same VMs, side by side: where they do not agree, one of the
//! two was set back to an older state, or is damaged. Pure; it changes nothing.

use holdfast_lease::survey::Survey;
use holdfast_model::id::{Generation, HostName, VmName};
use holdfast_model::lease::{Claim, Kind};
use holdfast_model::status::{Condition, Severity, Status, Vm, VmState};
use serde::Serialize;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// What the managers say is wrong.
    pub conditions: Vec<Condition>,
    /// VMs, if a volume was looked at.
    pub vms: Vec<Compared>,
    /// VMs' sectors that cannot be believed: slot and problem.
    pub damaged: Vec<(u64, String)>,
}

/// One VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Which.
    pub vm: VmName,
    /// By etcd: the last grant, and who has it.
    pub store: Option<Grant>,
    /// By the lease volume: the last claim, and whose it is.
    pub volume: Option<Grant>,
    /// What follows.
    pub verdict: Verdict,
}

/// A generation and its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// The fencing token.
    pub generation: Generation,
    /// Who has it.
    pub host: Option<HostName>,
}

/// What follows from the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// They agree.
    Agrees,
    /// It has no claim: it never ran under a storage lease.
    Unclaimed,
    /// The claim is of an earlier grant, and the VM does not run: the next start takes it.
    Earlier,
    /// The claim is of an earlier grant, and the VM runs: its host writes its own again within seconds.
    Hidden,
    /// The claim is newer, or of the same grant by another host: etcd was set back.
    SetBack,
    /// etcd knows no such VM.
    Unknown,
}

impl Verdict {
    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::Agrees | Self::Unclaimed | Self::Earlier => Severity::Info,
            Self::Hidden | Self::Unknown => Severity::Warning,
            Self::SetBack => Severity::Critical,
        }
    }

    /// In words, with what to do.
    pub fn words(self) -> &'static str {
        match self {
            Self::Agrees => "agrees",
            Self::Unclaimed => "never ran under a storage lease",
            Self::Earlier => "off; the next start takes the claim",
            Self::Hidden => {
                "a late write hides its claim; its host writes it again within seconds. If this stays, \
                 the guard of that host cannot write to the volume"
            }
            Self::SetBack => {
                "the volume knows a newer owner: etcd was restored from a backup. Nothing is started on \
                 it; as soon as that host is heard of, or proven off, the record is put right (`holdfast \
                 why vm`)"
            }
            Self::Unknown => {
                "etcd knows no such VM: made after the backup that etcd was restored from, or deleted a \
                 moment ago. If it runs, apply its definition again"
            }
        }
    }
}

/// Lays the two side by side.
pub fn examine(status: &Status, survey: Option<&Survey>) -> Diagnosis {
    let conditions = status.conditions.iter().cloned();
    let claims = survey.map_or(&[][..], |survey| &survey.claims);
    let of = |vm: &Vm| {
        let mut claims = claims.iter().map(|slot| &slot.record);
        claims.find(|claim| claim.vm == vm.name)
    };
    let mut vms: Vec<Compared> = Vec::new();
    if survey.is_some() {
        vms.extend(status.vms.iter().map(|vm| compare(vm, of(vm))));
    }
    let unknown = |claim: &&Claim| !status.vms.iter().any(|vm| vm.name == claim.vm);
    let unknown = claims.iter().map(|slot| &slot.record).filter(unknown);
    vms.extend(unknown.map(|claim| Compared {
        vm: claim.vm.clone(),
        store: None,
        volume: Some(grant_of(claim)),
        verdict: Verdict::Unknown,
    }));
    let damaged = survey.map_or(&[][..], |survey| &survey.damaged).iter();
    let damaged = damaged.filter(|damage| damage.kind == Kind::Claim);
    Diagnosis {
        conditions: conditions.collect(),
        vms,
        damaged: damaged.map(|d| (d.slot, d.problem.clone())).collect(),
    }
}

fn compare(vm: &Vm, claim: Option<&Claim>) -> Compared {
    let off = matches!(vm.state, VmState::Stopped | VmState::Waiting);
    let store = Grant {
        generation: vm.generation,
        host: vm.host.clone().filter(|_| !off),
    };
    let volume = claim.map(grant_of);
    let verdict = match &volume {
        None => Verdict::Unclaimed,
        Some(claim) if claim.generation > store.generation => Verdict::SetBack,
        Some(claim) if claim.generation < store.generation => match vm.state {
            VmState::Running | VmState::Paused if vm.lease.contains("storage") => Verdict::Hidden,
            _ => Verdict::Earlier,
        },
        Some(claim) => match (&claim.host, &store.host) {
            (Some(claim), Some(store)) if claim != store => Verdict::SetBack,
            _ => Verdict::Agrees,
        },
    };
    Compared {
        vm: vm.name.clone(),
        store: Some(store),
        volume,
        verdict,
    }
}

fn grant_of(claim: &Claim) -> Grant {
    Grant {
        generation: claim.generation,
        host: claim.holder.as_ref().map(|holder| holder.host.clone()),
    }
}

impl Diagnosis {
    /// The worst of it.
    pub fn severity(&self) -> Severity {
        let conditions = self.conditions.iter().map(|condition| condition.severity);
        let vms = self.vms.iter().map(|vm| vm.verdict.severity());
        let damaged = self.damaged.iter().map(|_| Severity::Warning);
        let all = conditions.chain(vms).chain(damaged);
        all.max().unwrap_or(Severity::Info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::lease::Holder;

    fn vm(generation: u64, host: Option<&str>, state: VmState) -> Vm {
        Vm {
            name: "web".parse().expect("a name"),
            uuid: None,
            state,
            host: host.map(|host| host.parse().expect("a name")),
            site: None,
            preferred_site: None,
            generation: Generation(generation),
            lease: "control+storage".to_owned(),
            reason: String::new(),
            priority: 0,
        }
    }

    fn claim(generation: u64, host: &str) -> Claim {
        Claim {
            vm: "web".parse().expect("a name"),
            uuid: "uuid".parse().expect("a UUID"),
            generation: Generation(generation),
            holder: Some(Holder {
                host: host.parse().expect("a name"),
                incarnation: "life".parse().expect("a name"),
            }),
            incoming: None,
        }
    }

    #[test]
    fn what_disagrees_is_told_apart() {
        use VmState::{Running, Stopped};
        for (vm, claim, verdict) in [
            (vm(4, Some("a1"), Running), None, Verdict::Unclaimed),
            (
                vm(4, Some("a1"), Running),
                Some(claim(4, "a1")),
                Verdict::Agrees,
            ),
            (
                vm(4, Some("a1"), Running),
                Some(claim(3, "a2")),
                Verdict::Hidden,
            ),
            (vm(4, None, Stopped), Some(claim(3, "a2")), Verdict::Earlier),
            (
                vm(4, Some("a1"), Running),
                Some(claim(9, "b1")),
                Verdict::SetBack,
            ),
            (
                vm(4, Some("a1"), Running),
                Some(claim(4, "b1")),
                Verdict::SetBack,
            ),
            (vm(4, None, Stopped), Some(claim(4, "b1")), Verdict::Agrees),
        ] {
            let found = compare(&vm, claim.as_ref());
            assert_eq!(found.verdict, verdict, "{vm:?} {claim:?}");
        }
    }
}
