//! Where a virtual machine goes: ruling hosts out, and ranking them.
//!
//! [`rule!`](crate::rule) is enough for who looks at one host at a time. A [`Rule`] is told of the hosts once, and works
//! out of them what questions need; a question is then columns of numbers, in which hosts are indices.

pub mod v0_1;

use crate::bindings::placing;
use crate::panics;
use std::cell::RefCell;
use std::thread::LocalKey;

pub use placing::holdfast::placement::types::{
    Candidates, Judgement, KnownHost as Host, Label, Peer, Purpose, Refusal, Vm,
};

/// Rules hosts out and ranks them. Export the type with [`export_rule!`](crate::export_rule), or take
/// [`rule!`](crate::rule) if one host at a time is enough.
pub trait Rule: Sized + 'static {
    /// What questions need to know of the hosts. Which others are among them, and their order, must make no difference
    /// to any answer.
    fn prepare(hosts: Vec<Host>) -> Self;

    /// Which candidates may not take the machine, and which rather. An error says why no answer is possible.
    fn judge(&self, vm: &Vm, candidates: &Candidates) -> Result<Judgement, String>;
}

/// Whether a host may take the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    May,
    /// Not, and why: operators read this. One short sentence.
    MayNot(String),
}

/// A host that could take the machine.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Which of the hosts it is: a [`Peer`] names its host so too.
    pub index: u32,
    /// What was told of it.
    pub host: &'a Host,
    /// All hosts that were told of.
    pub hosts: &'a [Host],
    /// Its memory, in MiB.
    pub memory_mib: u64,
    /// What is left of it once the machine is there, in MiB.
    pub memory_free_mib: u64,
    /// Its CPUs.
    pub vcpus: u32,
    /// vCPUs of the machines that are there, or on their way, without this one.
    pub vcpus_used: u32,
    /// The machines that are there, or on their way.
    pub vms: u32,
}

impl<'a> Candidate<'a> {
    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&'a str> {
        self.host.label(key)
    }

    /// Whether the peer is on this very host.
    pub fn has(&self, peer: &Peer) -> bool {
        self.index == peer.host
    }

    /// The host that a peer is on, which need not be a candidate.
    pub fn host_of(&self, peer: &Peer) -> &'a Host {
        &self.hosts[peer.host as usize]
    }
}

impl Candidates {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// One by one, in their order; `hosts` are those of [`Rule::prepare`].
    pub fn each<'a>(&'a self, hosts: &'a [Host]) -> impl Iterator<Item = Candidate<'a>> {
        self.hosts
            .iter()
            .enumerate()
            .map(move |(at, index)| Candidate {
                index: *index,
                host: &hosts[*index as usize],
                hosts,
                memory_mib: self.memory_mib[at],
                memory_free_mib: self.memory_free_mib[at],
                vcpus: self.vcpus[at],
                vcpus_used: self.vcpus_used[at],
                vms: self.vms[at],
            })
    }
}

fn find<'a>(labels: &'a [Label], key: &str) -> Option<&'a str> {
    let label = labels.iter().find(|label| label.key == key)?;
    Some(&label.value)
}

impl Vm {
    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }
}

impl Host {
    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }
}

/// Where an exported rule is kept between questions.
#[doc(hidden)]
pub type Kept<T> = &'static LocalKey<RefCell<Option<T>>>;

#[doc(hidden)]
pub fn prepare<T: Rule>(kept: Kept<T>, hosts: Vec<Host>) {
    panics::begin();
    // The one before makes room first: there is no more memory than for one.
    kept.take();
    kept.set(Some(T::prepare(hosts)));
}

#[doc(hidden)]
pub fn judge<T: Rule>(
    kept: Kept<T>,
    vm: &Vm,
    candidates: &Candidates,
) -> Result<Judgement, String> {
    panics::begin();
    kept.with_borrow(|rule| match rule {
        Some(rule) => rule.judge(vm, candidates),
        None => T::prepare(Vec::new()).judge(vm, candidates),
    })
}

/// Looks at one host after the other.
#[doc(hidden)]
pub fn one_by_one(
    hosts: &[Host],
    vm: &Vm,
    candidates: &Candidates,
    may: Option<fn(&Vm, &Candidate<'_>) -> Verdict>,
    score: Option<fn(&Vm, &Candidate<'_>) -> f64>,
) -> Judgement {
    let mut judgement = Judgement {
        refused: Vec::new(),
        scores: Vec::new(),
    };
    if let Some(may) = may {
        for (candidate, host) in (0..).zip(candidates.each(hosts)) {
            if let Verdict::MayNot(why) = may(vm, &host) {
                judgement.refused.push(Refusal { candidate, why });
            }
        }
    }
    if let Some(score) = score {
        judgement.scores.reserve_exact(candidates.len());
        let scores = candidates.each(hosts).map(|host| score(vm, &host));
        judgement.scores.extend(scores);
    }
    judgement
}

/// Exports a type that implements [`placement::Rule`](crate::placement::Rule).
#[macro_export]
macro_rules! export_rule {
    ($type:ty) => {
        const _: () = {
            ::std::thread_local! {
                static KEPT: ::std::cell::RefCell<::std::option::Option<$type>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }
            struct Exported;
            impl $crate::bindings::placing::exports::holdfast::placement::rule::Guest for Exported {
                fn prepare(hosts: ::std::vec::Vec<$crate::placement::Host>) {
                    $crate::placement::prepare(&KEPT, hosts)
                }
                fn judge(
                    vm: $crate::placement::Vm,
                    candidates: $crate::placement::Candidates,
                ) -> ::std::result::Result<$crate::placement::Judgement, ::std::string::String>
                {
                    $crate::placement::judge(&KEPT, &vm, &candidates)
                }
            }
            $crate::bindings::placing::export_placing!(
                Exported with_types_in $crate::bindings::placing
            );
        };
    };
}

/// The whole of an extension that looks at one host at a time. `may` says whether it may take the machine, with a
/// [`Verdict`](crate::placement::Verdict), and `score` how much rather, with a number from 0 to 100; one of them may be
/// left out. Each is a closure, or a function, of [`Vm`](crate::placement::Vm) and
/// [`Candidate`](crate::placement::Candidate).
#[macro_export]
macro_rules! rule {
    (may: $may:expr, score: $score:expr $(,)?) => {
        $crate::rule!(@ ::std::option::Option::Some($may), ::std::option::Option::Some($score));
    };
    (may: $may:expr $(,)?) => {
        $crate::rule!(@ ::std::option::Option::Some($may), ::std::option::Option::None);
    };
    (score: $score:expr $(,)?) => {
        $crate::rule!(@ ::std::option::Option::None, ::std::option::Option::Some($score));
    };
    (@ $may:expr, $score:expr) => {
        const _: () = {
            struct OneByOne(::std::vec::Vec<$crate::placement::Host>);
            impl $crate::placement::Rule for OneByOne {
                fn prepare(hosts: ::std::vec::Vec<$crate::placement::Host>) -> Self {
                    Self(hosts)
                }
                fn judge(
                    &self,
                    vm: &$crate::placement::Vm,
                    candidates: &$crate::placement::Candidates,
                ) -> ::std::result::Result<$crate::placement::Judgement, ::std::string::String>
                {
                    let may: ::std::option::Option<
                        fn(
                            &$crate::placement::Vm,
                            &$crate::placement::Candidate<'_>,
                        ) -> $crate::placement::Verdict,
                    > = $may;
                    let score: ::std::option::Option<
                        fn(&$crate::placement::Vm, &$crate::placement::Candidate<'_>) -> f64,
                    > = $score;
                    Ok($crate::placement::one_by_one(
                        &self.0, vm, candidates, may, score,
                    ))
                }
            }
            $crate::export_rule!(OneByOne);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, disk: Option<&str>) -> Host {
        let label = |value: &str| Label {
            key: "disk".to_owned(),
            value: value.to_owned(),
        };
        Host {
            name: name.to_owned(),
            site: "a".to_owned(),
            labels: disk.map(label).into_iter().collect(),
        }
    }

    #[test]
    fn hosts_are_looked_at_by_their_indices() {
        let hosts = [
            host("a", None),
            host("b", Some("ssd")),
            host("c", Some("hdd")),
        ];
        let vm = Vm {
            name: "web".to_owned(),
            memory_mib: 1,
            vcpus: 1,
            priority: 0,
            preferred_site: None,
            group: None,
            labels: Vec::new(),
            peers: vec![Peer {
                name: "db".to_owned(),
                host: 2,
            }],
            last_host: None,
            purpose: Purpose::Start,
        };
        let candidates = Candidates {
            hosts: vec![2, 0],
            memory_mib: vec![30, 10],
            memory_free_mib: vec![3, 1],
            vcpus: vec![4, 4],
            vcpus_used: vec![0, 0],
            vms: vec![7, 9],
        };
        let may = |vm: &Vm, host: &Candidate<'_>| match host.label("disk") {
            Some(disk) if host.has(&vm.peers[0]) => {
                Verdict::MayNot(format!("{} is on {disk}", host.host_of(&vm.peers[0]).name))
            }
            _ => Verdict::May,
        };
        let judged = one_by_one(
            &hosts,
            &vm,
            &candidates,
            Some(may),
            Some(|_, host| f64::from(host.vms)),
        );
        assert_eq!(judged.scores, [7.0, 9.0]);
        let refused: Vec<_> = judged
            .refused
            .iter()
            .map(|each| (each.candidate, &*each.why))
            .collect();
        assert_eq!(refused, [(0, "c is on hdd")]);
    }
}
