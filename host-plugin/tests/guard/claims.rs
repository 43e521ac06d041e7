//! The VMs' claims on a real lease volume, by direct I/O.

use super::bench::{Agent, DEADLINE_MS, Vm, life, until};
use super::lease::{Leased, valid_storage};
use holdfast_core::lease::claim::Wanted;
use holdfast_core::lease::slots::{Found, window};
use holdfast_host::guard::claims::ClaimState;
use holdfast_host::guard::protocol::{Answer, Call, KillReason};
use holdfast_model::id::Generation;
use holdfast_model::lease::{Claim, Holder, Record};

pub const SLOT: u32 = 5;

fn holder(host: &str, incarnation: &str) -> Holder {
    Holder {
        host: host.parse().expect("a name"),
        incarnation: life(incarnation),
    }
}

pub fn wanted(vm: &Vm, generation: u64, follows: &[(u64, Holder)]) -> Box<Wanted> {
    let follows = follows.iter();
    Box::new(Wanted {
        vm: vm.name.parse().expect("a name"),
        uuid: vm.uuid.parse().expect("a UUID"),
        generation: Generation(generation),
        holder: holder("h1", "i1"),
        follows: follows
            .map(|(generation, holder)| (Generation(*generation), holder.clone()))
            .collect(),
    })
}

fn done(agent: &mut Agent, call: impl Fn() -> Call) -> ClaimState {
    until("the claim is done", || match agent.call(call()) {
        Ok(Answer::Claim {
            state: ClaimState::UnderWay,
        }) => None,
        Ok(Answer::Claim { state }) => Some(state),
        other => panic!("{other:?}"),
    })
}

pub fn claim(agent: &mut Agent, slot: Option<u32>, wanted: &Wanted) -> ClaimState {
    let wanted = Box::new(wanted.clone());
    done(agent, || Call::Claim {
        slot,
        wanted: wanted.clone(),
    })
}

impl Leased {
    fn number(&self, slot: u32) -> u64 {
        let number = self.volume.superblock().layout.claim(slot);
        number.expect("a slot")
    }

    pub fn claim_in(&self, slot: u32) -> Option<Claim> {
        match self.volume.read(self.number(slot)).map(|s| s.record) {
            Ok(Record::Claim(found)) => found,
            other => panic!("{other:?}"),
        }
    }

    fn write_claim(&self, slot: u32, claim: Option<Claim>) {
        let written = self
            .volume
            .write(self.number(slot), 9, Record::Claim(claim));
        written.expect("written");
    }

    /// A VM that runs under a claim in [`SLOT`].
    fn with_a_claim(&self) -> (Agent, Vm) {
        let mut vm = Vm::leased("a");
        vm.slot = Some(SLOT);
        let mut agent = self.armed();
        let own = wanted(&vm, 4, &[]);
        assert_eq!(claim(&mut agent, Some(SLOT), &own), ClaimState::Held);
        assert_eq!(agent.watch(&vm), Ok(Answer::Done));
        (agent, vm)
    }

    pub fn armed(&self) -> Agent {
        let mut agent = self.bench.connect();
        agent.arm_in("i1", 60_000, Some(0)).expect("armed");
        valid_storage(&mut agent);
        agent
    }
}

#[test]
fn a_claim_is_written_read_back_and_refused_to_who_does_not_know_it() {
    let leased = Leased::new();
    let vm = Vm::leased("a");
    let mut agent = leased.bench.connect();
    let first = wanted(&vm, 4, &[]);
    let early = Call::Claim {
        slot: Some(SLOT),
        wanted: first.clone(),
    };
    assert!(agent.call(early).is_err(), "nothing is armed");
    agent.arm_in("i1", DEADLINE_MS, Some(0)).expect("armed");
    let ClaimState::Window { found } = claim(&mut agent, None, &first) else {
        panic!("no window");
    };
    let free = window(&first.uuid, 8).into_iter();
    assert_eq!(
        found,
        free.map(|slot| (slot, Found::Free)).collect::<Vec<_>>()
    );
    assert_eq!(claim(&mut agent, Some(SLOT), &first), ClaimState::Held);
    let stands = leased.claim_in(SLOT).expect("a claim");
    assert_eq!(stands.generation, Generation(4));
    assert_eq!(stands.holder, Some(holder("h1", "i1")));
    assert_eq!(
        claim(&mut agent, Some(SLOT), &first),
        ClaimState::Held,
        "again"
    );
    // A grant of a control plane that has forgotten the one before.
    let refused = claim(
        &mut agent,
        Some(SLOT),
        &wanted(&vm, 6, &[(5, holder("h2", "i7"))]),
    );
    let ClaimState::Refused {
        reason,
        stands: Some(unknown),
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("restored from a backup"), "{reason}");
    assert_eq!(*unknown, stands);
    assert_eq!(leased.claim_in(SLOT), Some(stands));
    let knows = wanted(&vm, 6, &[(5, holder("h2", "i7")), (4, holder("h1", "i1"))]);
    assert_eq!(claim(&mut agent, Some(SLOT), &knows), ClaimState::Held);
    // Found by its UUID; freed when it is gone.
    let Answer::Claim { state: _ } = agent
        .call(Call::Claim {
            slot: None,
            wanted: knows.clone(),
        })
        .expect("asked")
    else {
        panic!("no answer");
    };
    let ClaimState::Window { found } = claim(&mut agent, None, &knows) else {
        panic!("no window");
    };
    let uuid = knows.uuid.clone();
    assert!(
        found.contains(&(SLOT, Found::Of { uuid: uuid.clone() })),
        "{found:?}"
    );
    let freed = done(&mut agent, || Call::FreeClaim {
        slot: SLOT,
        uuid: uuid.clone(),
    });
    assert_eq!(freed, ClaimState::Freed);
    assert_eq!(leased.claim_in(SLOT), None);
    let refused = claim(&mut agent, Some(99), &knows);
    assert!(matches!(refused, ClaimState::Refused { .. }), "{refused:?}");
}

#[test]
fn a_vm_that_was_passed_over_is_killed_although_both_planes_are_valid() {
    let leased = Leased::new();
    let mut vm = Vm::leased("a");
    vm.slot = Some(SLOT);
    let mut other = Vm::leased("bb");
    let mut agent = leased.armed();
    let own = wanted(&vm, 4, &[]);
    assert_eq!(claim(&mut agent, Some(SLOT), &own), ClaimState::Held);
    assert_eq!(agent.watch(&vm), Ok(Answer::Done));
    assert_eq!(agent.watch(&other), Ok(Answer::Done));
    let newer = Claim {
        generation: Generation(5),
        holder: Some(holder("h2", "i9")),
        ..leased.claim_in(SLOT).expect("a claim")
    };
    leased.write_claim(SLOT, Some(newer.clone()));
    let (over, killed) = agent.stopped();
    assert_eq!(over, None, "the life goes on");
    let [killed] = &killed[..] else {
        panic!("{killed:?}");
    };
    assert_eq!(
        (killed.vm.as_str(), killed.why),
        ("a", KillReason::PassedOver)
    );
    vm.assert_killed();
    assert!(other.child.is_alive());
    assert_eq!(leased.claim_in(SLOT), Some(newer), "it is left alone");
}

#[test]
fn a_claim_that_was_hidden_or_damaged_is_written_again() {
    let leased = Leased::new();
    let (_agent, mut vm) = leased.with_a_claim();
    let stands = leased.claim_in(SLOT).expect("a claim");
    let back = || {
        let again = || match leased.volume.read(leased.number(SLOT)).map(|s| s.record) {
            Ok(Record::Claim(Some(claim))) => (claim == stands).then_some(()),
            _ => None,
        };
        until("the claim stands there again", again);
    };
    // A write of an earlier holder that landed late.
    let older = Claim {
        generation: Generation(3),
        holder: Some(holder("h2", "i9")),
        ..stands.clone()
    };
    leased.write_claim(SLOT, Some(older));
    back();
    let file = std::fs::File::options().write(true).open(&leased.path);
    let size = u64::from(leased.volume.superblock().layout.sector_size);
    std::os::unix::fs::FileExt::write_all_at(
        &file.expect("the volume"),
        &vec![0; usize::try_from(size).expect("a size")],
        leased.number(SLOT) * size,
    )
    .expect("written");
    assert!(
        leased.volume.read(leased.number(SLOT)).is_err(),
        "it is damaged"
    );
    back();
    assert!(vm.child.is_alive());
}

/// It runs at a real-time priority: what it does not leave alone nobody else gets.
#[test]
fn a_guard_whose_life_is_over_leaves_the_cpu_alone() {
    let leased = Leased::new();
    let (_agent, mut vm) = leased.with_a_claim();
    leased.ask_to_release(0, "i1");
    vm.assert_killed();
    let pause = std::time::Duration::from_secs(1);
    // Its claim was due to be looked at again within two.
    std::thread::sleep(2 * pause);
    let before = leased.bench.effort();
    std::thread::sleep(pause);
    let after = leased.bench.effort();
    let (woken, ticks) = (after.0 - before.0, after.1 - before.1);
    assert!(
        woken < 60 && ticks < 10,
        "in a second it woke up {woken} times and took the CPU for {ticks} ticks"
    );
}
