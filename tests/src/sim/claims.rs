//! The VMs' claims on the lease volume: the production's rule, around calls to the storage that may be
//! late, fail or be read without a quorum.
//!
//! ```text
//! agent: claim ─> guard: read ─> rule ─> write ─> read back ─> agent: create, or not
//! guard, every LOOK_MS: read what it holds ─> older: write again; newer: kill
//! ```

use super::claim_sectors::ClaimsFound;
use super::ctx::Ctx;
use super::event::Event;
use super::machine::{Machine, News};
use super::san::{Io, IoEnd};
use holdfast_core::lease::claim::{Again, ClaimError, Wanted, claim, look_again};
use holdfast_model::id::VmName;
use holdfast_model::lease::Claim;
use holdfast_model::time::Instant;
use std::collections::BTreeMap;

/// Between two looks at what is held, in milliseconds.
const LOOK_MS: u64 = 2_000;

/// Why a VM is not claimed.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// In words.
    pub reason: String,
    /// The claim that stands there, if the grant knows nothing of it.
    pub stands: Option<Box<Claim>>,
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            stands: None,
        }
    }
}

/// The guard's claims.
#[derive(Default)]
pub struct Claims {
    /// Asked for by the agent, and not done.
    asked: BTreeMap<VmName, Asked>,
    /// Of domains that are watched. In the guard's table: they outlive its process.
    held: BTreeMap<VmName, (u64, Wanted)>,
    looking: bool,
    next_look: Instant,
}

struct Asked {
    wanted: Wanted,
    /// When its sector was asked for.
    read_at: u64,
    /// What was written and is to be read back.
    written: Option<Claim>,
}

impl Claims {
    /// What a guard's process knew by heart is gone.
    pub(super) fn process_gone(&mut self) {
        self.asked.clear();
        self.looking = false;
    }
}

impl Machine {
    /// The agent wants a claim to stand on the volume. False: the guard is not there.
    pub fn claim(&mut self, ctx: &mut Ctx, wanted: Wanted) -> bool {
        let life = &wanted.holder.incarnation;
        if !self.guard_answers(ctx) || !self.deadline.accepts(life) {
            return false;
        }
        let vm = wanted.vm.clone();
        let asked = Asked {
            wanted,
            read_at: ctx.now,
            written: None,
        };
        self.claims.asked.insert(vm.clone(), asked);
        let call = self.call(Io::ReadClaims(vec![vm]));
        ctx.io(call);
        true
    }

    /// What the guard watches from now on under a claim of this life.
    pub fn holds(&mut self, vm: &VmName, wanted: Wanted) {
        if let Some(domain) = self.domains.get(vm) {
            self.claims.held.insert(vm.clone(), (domain.id, wanted));
        }
    }

    /// Looks at what is held, when it is time.
    pub(super) fn look_at_claims(&mut self, ctx: &mut Ctx) {
        let now = self.local(ctx);
        let watched = &self.watched;
        let held = &mut self.claims.held;
        held.retain(|vm, (domain, _)| watched.get(vm).is_some_and(|w| w.domain == *domain));
        if self.claims.looking || now < self.claims.next_look || self.claims.held.is_empty() {
            return;
        }
        self.claims.looking = true;
        self.claims.next_look = now.plus(LOOK_MS);
        let vms = self.claims.held.keys().cloned().collect();
        let call = self.call(Io::ReadClaims(vms));
        ctx.io(call);
    }

    /// When to look next.
    pub(super) fn next_claims(&self) -> Option<Instant> {
        let waits = !self.claims.held.is_empty() && !self.claims.looking;
        waits.then_some(self.claims.next_look)
    }

    /// Sectors were read; none if that failed.
    pub(super) fn claims_read(
        &mut self,
        ctx: &mut Ctx,
        vms: Vec<VmName>,
        found: Option<ClaimsFound>,
    ) {
        let one = vms.first().filter(|_| vms.len() == 1);
        if let Some(vm) = one.filter(|vm| self.claims.asked.contains_key(*vm)) {
            let vm = vm.clone();
            return self.asked_read(ctx, &vm, found);
        }
        self.claims.looking = false;
        let Some(found) = found else { return };
        for vm in vms {
            let Some((domain, own)) = self.claims.held.get(&vm) else {
                continue;
            };
            let (there, what) = match found.get(&vm) {
                Some(Ok(claim)) => (Some(claim), "was hidden"),
                None => (None, "was hidden"),
                Some(Err(why)) if why.is_damage() => (None, "is damaged"),
                Some(Err(_)) => continue,
            };
            match look_again(there, own) {
                Again::Held => {}
                Again::WriteAgain => {
                    let text = format!("guard: the claim of {vm} {what}; it is written again");
                    ctx.log(&self.name, text);
                    // Its own, whatever has become of the sector.
                    let call = self.call(Io::WriteClaim(Box::new(of(own)), 0));
                    ctx.io(call);
                }
                Again::PassedOver => {
                    let doomed = vec![(vm.clone(), *domain)];
                    let text =
                        format!("guard: the storage knows a newer holder of {vm}; killing it");
                    ctx.log(&self.name, text);
                    self.kill_these(ctx, doomed);
                }
            }
        }
    }

    fn asked_read(&mut self, ctx: &mut Ctx, vm: &VmName, found: Option<ClaimsFound>) {
        let Some(asked) = self.claims.asked.get_mut(vm) else {
            return;
        };
        let Some(found) = found else {
            return self.claimed(ctx, vm, Err("the lease volume cannot be read".into()));
        };
        if let Some(written) = &asked.written {
            let stands = found.get(vm).and_then(|there| there.as_ref().ok()) == Some(written);
            let lost = || "the claim is not what was written".into();
            return self.claimed(ctx, vm, stands.then_some(()).ok_or_else(lost));
        }
        let there = match found.get(vm) {
            Some(Ok(there)) => Some(there),
            Some(Err(why)) => {
                let reason = format!("its sector on the lease volume cannot be read: {why}");
                return self.claimed(ctx, vm, Err(reason.as_str().into()));
            }
            None => None,
        };
        match claim(there, &asked.wanted) {
            Ok(next) => {
                asked.written = Some(next.clone());
                let read_at = asked.read_at;
                let call = self.call(Io::WriteClaim(Box::new(next), read_at));
                ctx.io(call);
            }
            Err(error) => {
                let reason = error.to_string();
                let stands = match error {
                    ClaimError::Unknown { found, .. } => Some(found),
                    ClaimError::OtherVm { .. } => None,
                };
                self.claimed(ctx, vm, Err(Refusal { reason, stands }));
            }
        }
    }

    /// A claim was written, or not.
    pub(super) fn claim_written(&mut self, ctx: &mut Ctx, claim: &Claim, done: bool) {
        let asked = self.claims.asked.get(&claim.vm);
        if asked.and_then(|asked| asked.written.as_ref()) != Some(claim) {
            return;
        }
        let vm = claim.vm.clone();
        match done {
            true => {
                let call = self.call(Io::ReadClaims(vec![vm]));
                ctx.io(call);
            }
            false => {
                self.claimed(ctx, &vm, Err("the lease volume cannot be written".into()));
            }
        }
    }

    fn claimed(&mut self, ctx: &mut Ctx, vm: &VmName, result: Result<(), Refusal>) {
        if let Some(asked) = self.claims.asked.remove(vm) {
            let generation = asked.wanted.generation;
            let vm = vm.clone();
            self.tell(
                ctx,
                News::Claimed {
                    vm,
                    generation,
                    result,
                },
            );
        }
    }

    fn kill_these(&mut self, ctx: &mut Ctx, doomed: Vec<(VmName, u64)>) {
        self.dying.extend(doomed.iter().map(|(_, domain)| domain));
        let ms = super::bounds::KILL_MS + ctx.kill_extra_ms;
        ctx.after(ms, Event::Killed(self.name.clone(), self.boot, doomed));
    }
}

/// A claim of that grant.
fn of(own: &Wanted) -> Claim {
    Claim {
        vm: own.vm.clone(),
        uuid: own.uuid.clone(),
        generation: own.generation,
        holder: Some(own.holder.clone()),
        incoming: None,
    }
}

/// A call about claims has ended.
pub(super) fn ended(m: &mut Machine, ctx: &mut Ctx, end: IoEnd) {
    match end {
        IoEnd::ClaimsRead(vms, found) => m.claims_read(ctx, vms, found),
        IoEnd::ClaimWritten(claim, done) => m.claim_written(ctx, &claim, done),
        IoEnd::Written(_) | IoEnd::Read(_) => {}
    }
}
