//! On what a guest boots: storage that is of use, and a claim that stands there. What must never be is seen here.

use super::claim_sectors::Stands;
use super::ctx::Ctx;
use super::truth::Span;
use holdfast_model::host::StorageState;
use holdfast_model::id::{HostName, VmName};
use holdfast_model::lease::StorageClass;
use holdfast_model::vm::Owner;

/// Once claims were lost by an operator's doing, starts that had claimed before are on their way for this long, in
/// milliseconds: as long as a call to libvirt may take.
const FORGIVEN_MS: u64 = 120_000;

/// So long after a host has told that its storage is of no use every leader goes by it, in milliseconds: one whose view
/// is late does not plan, and one that was stopped in the middle of a plan is soon followed by another.
const TOLD_MS: u64 = 30_000;

impl Ctx {
    /// What a host's report says of its storage; what it says of one that has changed since is late.
    pub(super) fn storage_is_told(&mut self, host: &HostName, storage: &StorageState) {
        let unfit = matches!(
            storage,
            StorageState::Unusable { .. } | StorageState::Unknown { .. }
        );
        if let Some(told) = self.truth.unfit.get_mut(host) {
            let now = self.now;
            *told = unfit.then(|| told.unwrap_or(now));
        }
    }

    /// A guest is about to boot: is this a place for it?
    pub(super) fn check_storage(&mut self, vm: &VmName, span: &Span) {
        let told = self.truth.unfit.get(&span.host).copied().flatten();
        let granted = self.truth.granted.get(vm);
        let granted = granted.filter(|(generation, _)| *generation == span.generation);
        if let (Some(told), Some((_, granted))) = (told, granted)
            && told + TOLD_MS < *granted
        {
            self.violation(format!(
                "no-start-on-bad-storage: {vm} boots on {} (generation {}), which had told for {} ms that its \
                 storage is of no use when it was granted",
                span.host,
                span.generation,
                granted - told
            ));
        }
    }

    /// What stood in VMs' sectors is gone by an operator's doing.
    pub(super) fn claims_are_gone(&mut self) {
        self.truth.claims_forgiven_until = self.now + FORGIVEN_MS;
    }

    /// A guest is about to boot: under a storage lease its claim of this very grant is what the storage has last, so
    /// that what this host read and wrote there was no stale copy.
    pub(super) fn check_claimed(&mut self, vm: &VmName, span: &Span, owner: Option<&Owner>) {
        let leased = owner.is_some_and(|owner| {
            owner.generation == span.generation && owner.lease == StorageClass::Quorum
        });
        if !leased || self.san.lost || self.now < self.truth.claims_forgiven_until {
            return;
        }
        let claim = match self.san.newest(vm) {
            Some(Stands::Claim(claim) | Stands::Damaged { was: claim, .. }) => Some(claim),
            None => None,
        };
        let own = claim.is_some_and(|claim| {
            claim.generation == span.generation
                && claim.holder.as_ref().is_some_and(|holder| {
                    holder.host == span.host
                        && Some(&holder.incarnation) == span.incarnation.as_ref()
                })
        });
        if !own {
            let text = format!(
                "no-start-without-claim: {vm} boots on {} (generation {}) and the storage has {claim:?}",
                span.host, span.generation
            );
            self.violation(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::verbs::carry_out;
    use crate::sim::Sim;
    use crate::sim::agent::name;
    use holdfast_model::lease::{Claim, Holder};

    /// One site, two hosts with slots on a lease volume, `web` running on the first.
    fn cluster() -> Sim {
        let mut sim = Sim::default();
        let lines = [
            "site a",
            "volume quorum",
            "host a1 site=a",
            "host a2 site=a",
            "advance 1s",
            "vm web memory=512",
            "advance 10s",
            "expect vm web running on a1",
            "expect runs-once",
        ];
        for line in lines {
            carry_out(&mut sim, line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        sim
    }

    /// Its guest boots on the other host as well, under the same grant. Whether that breaks an invariant of this name.
    fn boots(sim: &mut Sim, wanted: &str) -> bool {
        let vm: VmName = name("web");
        let mut span = sim.ctx.truth.spans[&vm][0].clone();
        span.host = name("a2");
        span.incarnation = Some(name("a2-1"));
        span.domain = sim.ctx.new_domain();
        sim.ctx.begin(&vm, span, None);
        let mut violations = sim.ctx.truth.violations.iter();
        let wanted = format!("{wanted}: ");
        violations.any(|text| text.starts_with(&wanted))
    }

    #[test]
    fn a_start_where_storage_is_of_no_use_is_seen() {
        const NAME: &str = "no-start-on-bad-storage";
        let mut sim = cluster();
        carry_out(&mut sim, "storage a2 unusable").expect("a host");
        sim.advance(TOLD_MS + 1_000);
        assert!(!boots(&mut sim, NAME), "it was granted before");
        let vm: VmName = name("web");
        let (generation, _) = sim.ctx.truth.granted[&vm];
        let now = sim.ctx.now;
        sim.ctx.truth.granted.insert(vm.clone(), (generation, now));
        assert!(boots(&mut sim, NAME));
        sim.ctx.truth.violations.clear();
        carry_out(&mut sim, "storage a2 synced").expect("a host");
        assert!(!boots(&mut sim, NAME), "it is of use again");
    }

    #[test]
    fn a_start_without_its_claim_is_seen() {
        const NAME: &str = "no-start-without-claim";
        let mut sim = cluster();
        assert!(boots(&mut sim, NAME), "a1's stands there");
        sim.ctx.truth.violations.clear();
        sim.ctx.claims_are_gone();
        assert!(!boots(&mut sim, NAME), "an operator emptied it");
    }

    #[test]
    fn one_that_takes_a_damaged_sector_is_seen() {
        let mut sim = cluster();
        let vm: VmName = name("web");
        let (generation, _) = sim.ctx.truth.granted[&vm];
        let claim = |host: &str| Claim {
            vm: name("web"),
            uuid: name("7b6a1c9e-0000-4000-8000-000000000001"),
            generation,
            holder: Some(Holder {
                host: name(host),
                incarnation: name(&format!("{host}-1")),
            }),
            incoming: None,
        };
        let other: HostName = name("a2");
        sim.ctx.check_claim(&other, &claim("a2"), sim.ctx.now);
        carry_out(&mut sim, "claim web torn").expect("a claim");
        sim.ctx.check_claim(&name("a1"), &claim("a1"), u64::MAX);
        sim.ctx.check_claim(&other, &claim("a2"), sim.ctx.now);
        let none: &[String] = &[];
        assert_eq!(sim.ctx.truth.violations, none, "its own, and read before");
        sim.ctx.check_claim(&other, &claim("a2"), sim.ctx.now + 1);
        let found = &sim.ctx.truth.violations;
        assert!(found[0].starts_with("damaged-is-not-free: "), "{found:?}");
    }
}
