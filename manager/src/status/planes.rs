//! The two planes: VMs that only one of them protects, and quorums that may end on different sides.

use super::Scene;
use super::conditions::{Found, listed, vms_words};
use holdfast_model::id::SiteName;
use holdfast_model::lease::StorageClass;
use holdfast_model::policy::Policy;
use holdfast_model::status::{Quorum, Severity, Status};
use holdfast_model::timing::{Profile, Timing};
use holdfast_model::vm::VmSpec;
use holdfast_store::view::View;
use std::collections::BTreeSet;

impl Scene<'_> {
    pub(super) fn planes(&self, status: &Status, found: &mut Found) {
        self.unleased(found);
        let Some(policy) = self.view.policy.as_ref().map(|policy| &policy.value) else {
            return;
        };
        for cut in apart(policy, &status.quorum) {
            found.add(Severity::Warning, "quorums-apart", cut.words());
        }
    }

    /// VMs that run without a storage lease, where the bounds are made for VMs that have one.
    fn unleased(&self, found: &mut Found) {
        if !is_impatient(&self.timing) {
            return;
        }
        let held = self.view.vms.iter().filter(|(_, vm)| {
            let owner = vm.owner.as_ref().map(|owner| &owner.value);
            owner.is_some_and(|o| o.holder.is_some() && o.lease == StorageClass::Plain)
        });
        let names: Vec<&str> = held.map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            let text = format!(
                "{} without a storage lease: {}. {}",
                vms_words(names.len()),
                listed(&names),
                ways_out(&self.timing)
            );
            found.add(Severity::Info, "no-storage-lease", text);
        }
    }
}

/// Whether hosts stop what has only its session sooner than `patient` does, which is made for that.
fn is_impatient(timing: &Timing) -> bool {
    timing.runner_deadline_ms < Timing::of(Profile::Patient).runner_deadline_ms
}

fn ways_out(timing: &Timing) -> String {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    format!(
        "An etcd that does not answer for {} s stops such a VM, however well it is. Give it a lease (a lease volume in \
         every host.toml, and no `storage_lease = false` in its definition; from its next start or move on), or give \
         it {} s: `profile = \"patient\"` in [timing] of the policy",
        seconds(timing.runner_deadline_ms),
        seconds(Timing::of(Profile::Patient).runner_deadline_ms)
    )
}

/// What an operator should know who gives a VM this definition: only the control plane will protect it, and the bounds
/// are not made for that.
pub(crate) fn note_unleased(view: &View, spec: &VmSpec) -> Option<String> {
    let timing = view.policy.as_ref()?.value.timing.resolve();
    let mut sessions = view.hosts.values().filter_map(|host| host.session.as_ref());
    let volume = sessions.any(|session| session.value.has_storage_plane());
    (spec.run && is_impatient(&timing) && !(spec.storage_lease && volume)).then(|| {
        format!(
            "{} will have no storage lease. {}",
            spec.name,
            ways_out(&timing)
        )
    })
}

/// A site that may be cut off from the others, and who goes on then.
struct Cut<'a> {
    site: &'a SiteName,
    /// At that site: etcd; otherwise the storage. The other one is at the rest.
    etcd_here: bool,
}

impl Cut<'_> {
    fn words(&self) -> String {
        let site = self.site;
        let (here, there) = match self.etcd_here {
            true => ("etcd", "the storage"),
            false => ("the storage", "etcd"),
        };
        format!(
            "when site {site} is cut off from the others, {here} goes on at {site} and {there} at the others: on \
             neither side can a VM be started, and what stops stays down. Put the third copy of the storage and the \
             voter of etcd that decides at the same place, one that fails with neither site; [storage] arbiter_site \
             of the policy says where the third copy is now"
        )
    }
}

/// Sites that leave etcd's majority on one side and the storage's on the other when they are cut off. Storage as
/// Holdfast is made for: a copy at each of the two sites with VMs, and a third one, or an arbiter, that decides.
/// Nothing is said while it is not known where that is, or where every voter is.
fn apart<'a>(policy: &'a Policy, quorum: &Quorum) -> Vec<Cut<'a>> {
    let Some(arbiter) = &policy.storage.arbiter_site else {
        return Vec::new();
    };
    let members = quorum.members.iter();
    let voters: Option<Vec<&SiteName>> = members.map(|member| member.site.as_ref()).collect();
    let Some(voters) = voters.filter(|voters| !voters.is_empty()) else {
        return Vec::new();
    };
    let majority = voters.len() / 2 + 1;
    let with_vms = policy.sites.iter().filter(|site| !site.witness);
    let copies: BTreeSet<&SiteName> = with_vms.map(|site| &site.name).collect();
    let cut = |site: &'a SiteName| {
        let voters_here = voters.iter().filter(|at| **at == site).count();
        let etcd_here = voters_here >= majority;
        let etcd_there = voters.len() - voters_here >= majority;
        // Two copies of three are together: a site that has none of its own cannot have them.
        let storage_here = arbiter == site && copies.contains(site);
        let apart = (etcd_here && !storage_here) || (etcd_there && storage_here);
        apart.then_some(Cut { site, etcd_here })
    };
    let sites = policy.sites.iter().map(|site| &site.name);
    sites.filter_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::status::Member;
    use serde_json::json;

    fn told(arbiter: Option<&str>, voters: &[Option<&str>]) -> Vec<(String, bool)> {
        let policy = json!({
            "sites": [{"name": "a"}, {"name": "b"}, {"name": "w", "witness": true}],
            "storage": {"arbiter_site": arbiter},
        });
        let policy: Policy = serde_json::from_value(policy).expect("a policy");
        policy.check().expect("it can work");
        let members = voters.iter().map(|site| Member {
            name: "etcd".to_owned(),
            site: site.map(|site| site.parse().expect("a name")),
            healthy: true,
        });
        let quorum = Quorum {
            healthy: true,
            members: members.collect(),
        };
        let cuts = apart(&policy, &quorum);
        let told = cuts.iter().map(|cut| (cut.site.to_string(), cut.etcd_here));
        told.collect()
    }

    #[test]
    fn quorums_that_end_on_different_sides_are_found() {
        let (a, b, w) = (Some("a"), Some("b"), Some("w"));
        let none: Vec<(String, bool)> = Vec::new();
        let cut = |site: &str, etcd_here| vec![(site.to_owned(), etcd_here)];
        for (arbiter, voters, cuts) in [
            // The witness decides for both.
            (w, vec![a, b, w], none.clone()),
            (w, vec![a, a, b, b, w], none.clone()),
            // The third copy stands at a, and the witness decides for etcd.
            (a, vec![a, b, w], cut("a", false)),
            // Both are decided at a.
            (a, vec![a, a, b], none.clone()),
            // Cut off, a has etcd and the witness has the storage's third copy.
            (w, vec![a, a, b], cut("a", true)),
            // All that decides for etcd stands at the witness, where no copy is.
            (w, vec![w], cut("w", true)),
            // Without a majority anywhere nothing ends on the wrong side.
            (w, vec![a, b], none.clone()),
            // Not known.
            (None, vec![a, a, b], none.clone()),
            (w, vec![a, None, b], none.clone()),
            (w, vec![], none.clone()),
        ] {
            assert_eq!(
                told(arbiter, &voters),
                cuts,
                "third copy at {arbiter:?}, voters at {voters:?}"
            );
        }
    }

    #[test]
    fn only_what_stops_sooner_than_patient_is_impatient() {
        let found = [Profile::Fast, Profile::Default, Profile::Patient]
            .map(|profile| is_impatient(&Timing::of(profile)));
        assert_eq!(found, [true, true, false]);
    }
}
