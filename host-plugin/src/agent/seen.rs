//! What libvirt shows over time: the last list, what vanished since the one before, and how it
//! ended.
//!
//! A list and an event may arrive in either order. So a domain that vanished without a word is
//! held back for a moment: only then does it count as crashed.

use crate::driver::{Activity, SeenDomain, StopKind};
use holdfast_core::guardian::{EndKind, Ended};
use holdfast_model::id::{Generation, Incarnation, VmName, VmUuid};
use holdfast_model::time::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// How long the word about an end may be late, in milliseconds.
const WORD_LATE_MS: u64 = 700;

/// A migration may bring a domain before the watch brings the record that announces it, in
/// milliseconds: the store's own bound on how far a watch may lag unnoticed.
const RECORD_LATE_MS: u64 = 3_000;

/// The domains of this host over time.
#[derive(Default)]
pub struct Seen {
    /// The last list; none while libvirt does not answer.
    domains: Option<BTreeMap<VmName, SeenDomain>>,
    /// The same, kept while libvirt does not answer.
    last: BTreeMap<VmName, SeenDomain>,
    /// How domains ended, by the events of libvirt.
    words: BTreeMap<VmUuid, StopKind>,
    /// What vanished and has no word yet, and until when it is waited for.
    vanished: BTreeMap<VmName, (Instant, SeenDomain)>,
    /// Events may have been lost since the last list.
    deaf: bool,
    /// When each domain of the last list was seen first.
    since: BTreeMap<VmName, Instant>,
}

impl Seen {
    /// The last list, if libvirt answered.
    pub fn domains(&self) -> Option<&BTreeMap<VmName, SeenDomain>> {
        self.domains.as_ref()
    }

    /// VMs whose end is not told yet.
    pub fn held(&self) -> BTreeSet<VmName> {
        self.vanished.keys().cloned().collect()
    }

    /// Domains that arrived a moment ago and were never this life's: their record may be under way.
    pub fn arriving(&self, own: Option<&Incarnation>, now: Instant) -> BTreeSet<VmName> {
        let arriving = |(vm, seen): &(&VmName, &SeenDomain)| {
            let since = self.since.get(*vm).copied().unwrap_or(now);
            own.is_some_and(|own| *own != seen.stamp.incarnation)
                && seen.activity != Activity::Running
                && now.since(since) < RECORD_LATE_MS
        };
        let domains = self.domains.iter().flatten().filter(arriving);
        domains.map(|(vm, _)| vm.clone()).collect()
    }

    /// When to look at them again.
    pub fn wake_at(&self) -> Option<Instant> {
        self.vanished.values().map(|(until, _)| *until).min()
    }

    /// An event told how a domain ended.
    pub fn stopped(&mut self, uuid: VmUuid, how: StopKind) {
        self.words.insert(uuid, how);
    }

    /// A domain with that UUID is about to be created: what was said of an earlier one is not
    /// about it.
    pub fn begins(&mut self, uuid: &VmUuid) {
        self.words.remove(uuid);
    }

    /// The connection was lost, and events with it.
    pub fn lost(&mut self) {
        self.domains = None;
        self.deaf = true;
    }

    /// It was migrated away: not here any more, whatever the last list said.
    pub fn left(&mut self, vm: &VmName) {
        self.last.remove(vm);
        if let Some(domains) = &mut self.domains {
            domains.remove(vm);
        }
    }

    /// A new list.
    pub fn listed(&mut self, list: Vec<SeenDomain>, now: Instant) {
        let mut domains: BTreeMap<VmName, SeenDomain> = BTreeMap::new();
        for seen in list {
            let vm = seen.stamp.vm.clone();
            match domains.get(&vm) {
                // Two domains of one VM cannot come from here; the higher grant is looked at, and
                // the other one when it is gone.
                Some(other) if other.stamp.generation > seen.stamp.generation => {
                    tracing::error!(%vm, uuid = %seen.uuid, "a second domain of this VM is here");
                }
                _ => drop(domains.insert(vm, seen)),
            }
        }
        let until = match self.deaf {
            true => now,
            false => now.plus(WORD_LATE_MS),
        };
        for (vm, before) in std::mem::take(&mut self.last) {
            let still = domains
                .get(&vm)
                .is_some_and(|after| is_same(&before, after));
            if !still {
                self.vanished.insert(vm, (until, before));
            }
        }
        self.deaf = false;
        let since = |vm: &VmName| (vm.clone(), self.since.get(vm).copied().unwrap_or(now));
        self.since = domains.keys().map(since).collect();
        self.last = domains.clone();
        self.domains = Some(domains);
    }

    /// The ends that are known by now. VMs in `busy` have a call under way, which knows better.
    pub fn ends(&mut self, now: Instant, busy: &BTreeSet<VmName>) -> Vec<(VmName, Ended)> {
        let mut ends = Vec::new();
        let words = &mut self.words;
        self.vanished.retain(|vm, (until, before)| {
            if busy.contains(vm) {
                return true;
            }
            let word = words.remove(&before.uuid);
            if word.is_none() && now < *until {
                return true;
            }
            let ended = Ended {
                generation: before.stamp.generation,
                how: end_of(word),
            };
            ends.push((vm.clone(), ended));
            false
        });
        ends
    }

    /// The end of a grant is known by other means.
    pub fn explained(&mut self, vm: &VmName, generation: Generation) {
        self.vanished.retain(|name, (_, before)| {
            let is_it = name == vm && before.stamp.generation <= generation;
            !is_it
        });
    }
}

fn is_same(before: &SeenDomain, after: &SeenDomain) -> bool {
    let process = match (before.process, after.process) {
        (Some(before), Some(after)) => before == after,
        _ => true,
    };
    before.uuid == after.uuid && process
}

fn end_of(word: Option<StopKind>) -> EndKind {
    let crashed = |reason: &str| EndKind::Crashed {
        reason: reason.to_owned(),
    };
    match word {
        Some(StopKind::Shutdown) => EndKind::GuestShutdown,
        Some(StopKind::Migrated) => EndKind::MigratedAway,
        Some(StopKind::Crashed) => crashed("the guest or QEMU crashed"),
        Some(StopKind::Failed) => crashed("QEMU died or was killed"),
        Some(StopKind::Destroyed) => crashed("somebody destroyed it through libvirt"),
        Some(StopKind::Saved) => crashed("somebody saved it to a file through libvirt"),
        None => crashed("it vanished while libvirt could not be listened to"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain_xml::stamp::{Phase, Stamp};
    use crate::process::ProcessId;

    const UUID: &str = "11111111-2222-3333-4444-555555555555";

    fn domain(generation: u64, pid: u32) -> SeenDomain {
        SeenDomain {
            stamp: Stamp {
                cluster: "c1".parse().expect("a name"),
                vm: "web".parse().expect("a name"),
                generation: Generation(generation),
                incarnation: "i1".parse().expect("a name"),
                phase: Phase::Started,
            },
            uuid: UUID.parse().expect("a UUID"),
            activity: Activity::Running,
            process: Some(ProcessId {
                pid,
                start_ticks: 1,
            }),
        }
    }

    fn kinds(ends: Vec<(VmName, Ended)>) -> Vec<(u64, EndKind)> {
        let kind = |(_, ended): (VmName, Ended)| (ended.generation.0, ended.how);
        ends.into_iter().map(kind).collect()
    }

    #[test]
    fn the_word_about_an_end_may_come_before_or_after_the_list() {
        for word_first in [true, false] {
            let mut seen = Seen::default();
            let uuid: VmUuid = UUID.parse().expect("a UUID");
            seen.listed(vec![domain(3, 7)], Instant(0));
            if word_first {
                seen.stopped(uuid.clone(), StopKind::Shutdown);
            }
            seen.listed(vec![], Instant(10));
            if !word_first {
                assert_eq!(kinds(seen.ends(Instant(20), &BTreeSet::new())), []);
                assert_eq!(seen.held().len(), 1, "not judged yet");
                seen.stopped(uuid, StopKind::Shutdown);
            }
            let ends = seen.ends(Instant(30), &BTreeSet::new());
            assert_eq!(kinds(ends), [(3, EndKind::GuestShutdown)]);
            assert!(seen.held().is_empty());
        }
    }

    #[test]
    fn without_a_word_it_counts_as_crashed_at_once_only_if_words_may_be_lost() {
        let mut seen = Seen::default();
        seen.listed(vec![domain(3, 7)], Instant(0));
        seen.listed(vec![], Instant(10));
        let none = BTreeSet::new();
        assert_eq!(kinds(seen.ends(Instant(11), &none)), []);
        let until = seen.wake_at().expect("a time");
        let ends = kinds(seen.ends(until, &none));
        assert!(
            matches!(ends[..], [(3, EndKind::Crashed { .. })]),
            "{ends:?}"
        );

        seen.listed(vec![domain(4, 8)], Instant(20));
        seen.lost();
        assert_eq!(seen.domains(), None);
        seen.listed(vec![], Instant(30));
        let ends = kinds(seen.ends(Instant(30), &none));
        assert!(
            matches!(ends[..], [(4, EndKind::Crashed { .. })]),
            "{ends:?}"
        );
    }

    #[test]
    fn a_takeover_is_no_end_and_another_process_is_one() {
        let mut seen = Seen::default();
        seen.listed(vec![domain(3, 7)], Instant(0));
        seen.listed(vec![domain(4, 7)], Instant(10));
        assert!(seen.held().is_empty(), "restamped");
        seen.listed(vec![domain(4, 8)], Instant(20));
        assert_eq!(seen.held().len(), 1);
    }

    #[test]
    fn what_a_migration_brought_is_given_a_moment_and_no_more() {
        let mut seen = Seen::default();
        let mut arrived = domain(3, 7);
        arrived.activity = Activity::PausedMigration;
        seen.listed(vec![arrived.clone()], Instant(100));
        seen.listed(vec![arrived], Instant(200));
        let (own, peer) = ("own".parse().ok(), "i1".parse().ok());
        assert_eq!(seen.arriving(own.as_ref(), Instant(3_099)).len(), 1);
        assert_eq!(seen.arriving(own.as_ref(), Instant(3_100)).len(), 0);
        assert_eq!(
            seen.arriving(peer.as_ref(), Instant(200)).len(),
            0,
            "its own"
        );
        assert_eq!(
            seen.arriving(None, Instant(200)).len(),
            0,
            "no session: nothing may stay"
        );
        seen.listed(vec![domain(3, 7)], Instant(300));
        assert_eq!(
            seen.arriving(own.as_ref(), Instant(300)).len(),
            0,
            "it runs"
        );
    }

    #[test]
    fn a_call_under_way_knows_better() {
        let mut seen = Seen::default();
        seen.listed(vec![domain(3, 7)], Instant(0));
        seen.listed(vec![], Instant(10));
        let busy = BTreeSet::from(["web".parse().expect("a name")]);
        assert_eq!(kinds(seen.ends(Instant(9_999), &busy)), []);
        seen.explained(&"web".parse().expect("a name"), Generation(3));
        assert_eq!(kinds(seen.ends(Instant(9_999), &BTreeSet::new())), []);
    }
}
