//! The hosts that an instance was told of, and where among them those of a question are.
//!
//! ```text
//! question ─> places: which of the table each candidate and each peer is ─> numbers for the guest
//!         └─ one is not there, or is told otherwise ─> another table, which the guest is told first
//! ```
//! What is known of a host is what the question says: of a candidate of that name, else of the first peer that is
//! there. Others that were told before stay, so that questions about other hosts do not take turns in telling.

use holdfast_model::advice::{Labels, Question};
use holdfast_model::id::{HostName, SiteName};
use std::collections::HashMap;
use std::sync::Arc;

/// Hosts of other questions that stay in a table, with those of this one.
const MOST: usize = 4_096;

/// What is told of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub name: HostName,
    pub site: Option<SiteName>,
    pub labels: Arc<Labels>,
}

/// What a question says of a host.
#[derive(Clone, Copy)]
struct Fact<'q> {
    name: &'q HostName,
    site: &'q Option<SiteName>,
    labels: &'q Arc<Labels>,
}

impl Host {
    fn of(fact: Fact<'_>) -> Self {
        Self {
            name: fact.name.clone(),
            site: fact.site.clone(),
            labels: Arc::clone(fact.labels),
        }
    }

    /// Whether it is told so. Labels that are equal become the same ones: that is all that is looked at next time.
    fn is_told(&mut self, fact: Fact<'_>) -> bool {
        if self.site != *fact.site {
            return false;
        }
        if !Arc::ptr_eq(&self.labels, fact.labels) {
            if *self.labels != **fact.labels {
                return false;
            }
            self.labels = Arc::clone(fact.labels);
        }
        true
    }
}

/// Which hosts of the table a question is about.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Of each candidate, in the question's order.
    pub candidates: Vec<u32>,
    /// Of each peer.
    pub peers: Vec<u32>,
}

/// All hosts that an instance was told of, no two of one name.
#[derive(Debug, Default)]
pub(super) struct Table {
    hosts: Vec<Host>,
    by_name: HashMap<HostName, u32>,
}

impl Table {
    /// As they are given; of two with one name, the first.
    pub(super) fn of(hosts: impl IntoIterator<Item = Host>) -> Self {
        let mut table = Self::default();
        hosts.into_iter().for_each(|host| table.add(host));
        table
    }

    /// Those of a question, and behind them the others that were told before, up to a bound.
    pub(super) fn for_question(&self, question: &Question) -> Self {
        let mut table = Self::of(facts(question).map(Host::of));
        for host in &self.hosts {
            if table.hosts.len() >= MOST {
                break;
            }
            table.add(host.clone());
        }
        table
    }

    fn add(&mut self, host: Host) {
        let next = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        let place = self.by_name.entry(host.name.clone()).or_insert(next);
        if *place == next {
            self.hosts.push(host);
        }
    }

    /// In the order in which they are told.
    pub(super) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Finds the hosts of a question. False: not all are there as the question has them. What `places` held of the
    /// question before is where they are looked for first.
    pub(super) fn find(&mut self, question: &Question, places: &mut Places) -> bool {
        let Places { candidates, peers } = places;
        candidates.resize(question.candidates.len(), 0);
        peers.resize(question.vm.peers.len(), 0);
        let mut next = 0;
        for (candidate, place) in question.candidates.iter().zip(candidates) {
            let fact = Fact {
                name: &candidate.host,
                site: &candidate.site,
                labels: &candidate.labels,
            };
            // Most questions are about the hosts of the one before.
            if !self.is_at(*place, fact) {
                let Some(found) = self.place(question, fact, [*place, next]) else {
                    return false;
                };
                *place = found;
            }
            next = place.saturating_add(1);
        }
        for (peer, place) in question.vm.peers.iter().zip(peers) {
            let fact = Fact {
                name: &peer.host,
                site: &peer.site,
                labels: &peer.labels,
            };
            let Some(found) = self.place(question, fact, [*place, *place]) else {
                return false;
            };
            *place = found;
        }
        true
    }

    /// Whether it is there, with the very labels that it was found with before.
    fn is_at(&self, place: u32, fact: Fact<'_>) -> bool {
        self.hosts.get(place as usize).is_some_and(|host| {
            host.name == *fact.name
                && host.site == *fact.site
                && Arc::ptr_eq(&host.labels, fact.labels)
        })
    }

    /// Where a host is, if it is told as the question has it. The guesses are tried first.
    fn place(&mut self, question: &Question, fact: Fact<'_>, guesses: [u32; 2]) -> Option<u32> {
        let is_it = |guess: &u32| {
            let host = self.hosts.get(*guess as usize);
            host.is_some_and(|host| host.name == *fact.name)
        };
        let guessed = guesses.into_iter().find(is_it);
        let found = guessed.or_else(|| self.by_name.get(fact.name).copied())?;
        let host = self.hosts.get_mut(found as usize)?;
        if host.is_told(fact) {
            return Some(found);
        }
        // A question that says two things of one host means the first of them.
        let meant = facts(question).find(|each| each.name == fact.name)?;
        host.is_told(meant).then_some(found)
    }
}

/// What a question says of hosts: of candidates first.
fn facts(question: &Question) -> impl Iterator<Item = Fact<'_>> {
    let candidates = question.candidates.iter().map(|each| Fact {
        name: &each.host,
        site: &each.site,
        labels: &each.labels,
    });
    let peers = question.vm.peers.iter().map(|peer| Fact {
        name: &peer.host,
        site: &peer.site,
        labels: &peer.labels,
    });
    candidates.chain(peers)
}

/// The hosts of a question, as they are told.
pub(crate) fn hosts_of(question: &Question) -> Vec<Host> {
    Table::of(facts(question).map(Host::of)).hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::advice::{Candidate, Peer, VmFacts};

    fn labels(rack: &str) -> Arc<Labels> {
        Arc::new([("rack".to_owned(), rack.to_owned())].into())
    }

    fn question(hosts: &[(&str, &str)]) -> Question {
        let candidate = |(host, rack): &(&str, &str)| Candidate {
            host: host.parse().expect("a name"),
            site: None,
            labels: labels(rack),
            memory_mib: 1,
            memory_free_mib: 1,
            vcpus: 1,
            vcpus_used: 1,
            vms: 1,
        };
        Question {
            vm: VmFacts {
                name: "web".parse().expect("a name"),
                memory_mib: 1,
                vcpus: 1,
                priority: 0,
                preferred_site: None,
                group: None,
                labels: Labels::new(),
                peers: Vec::new(),
                last_host: None,
                live: false,
            },
            candidates: hosts.iter().map(candidate).collect(),
        }
    }

    fn peer(host: &str, rack: &str) -> Peer {
        Peer {
            name: "other".parse().expect("a name"),
            host: host.parse().expect("a name"),
            site: None,
            labels: labels(rack),
        }
    }

    fn names(table: &Table) -> Vec<&str> {
        table
            .hosts()
            .iter()
            .map(|host| host.name.as_str())
            .collect()
    }

    /// The places of a question's candidates, then of its peers; none if it has to be told.
    fn found(table: &mut Table, question: &Question) -> Option<(Vec<u32>, Vec<u32>)> {
        let mut places = Places {
            candidates: vec![7; 2],
            peers: Vec::new(),
        };
        let found = table.find(question, &mut places);
        found.then_some((places.candidates, places.peers))
    }

    #[test]
    fn what_is_not_told_yet_or_otherwise_is_told_and_the_others_stay() {
        let first = question(&[("a", "r1"), ("b", "r2"), ("c", "r3")]);
        let mut table = Table::default();
        assert_eq!(found(&mut table, &first), None);
        let mut table = table.for_question(&first);
        assert_eq!(found(&mut table, &first), Some((vec![0, 1, 2], vec![])));
        let some = question(&[("c", "r3"), ("a", "r1")]);
        assert_eq!(found(&mut table, &some), Some((vec![2, 0], vec![])));

        let mut joined = question(&[("b", "r2"), ("d", "r1")]);
        assert_eq!(found(&mut table, &joined), None);
        let mut table = table.for_question(&joined);
        assert_eq!(names(&table), ["b", "d", "a", "c"]);
        // Only a peer is there.
        joined.vm.peers = vec![peer("c", "r3")];
        assert_eq!(found(&mut table, &joined), Some((vec![0, 1], vec![3])));
        joined.vm.peers = vec![peer("e", "r3")];
        assert_eq!(found(&mut table, &joined), None);

        let moved = question(&[("a", "r9")]);
        assert_eq!(found(&mut table, &moved), None);
        let mut table = table.for_question(&moved);
        assert_eq!(names(&table), ["a", "b", "d", "c"]);
        assert_eq!(found(&mut table, &moved), Some((vec![0], vec![])));
        assert_eq!(found(&mut table, &first), None);
    }

    #[test]
    fn a_site_is_told_as_well() {
        let mut asked = question(&[("a", "r1")]);
        let mut table = Table::default().for_question(&asked);
        asked.candidates[0].site = Some("b".parse().expect("a name"));
        assert_eq!(found(&mut table, &asked), None);
    }

    #[test]
    fn a_question_that_says_two_things_of_a_host_means_the_first() {
        let mut asked = question(&[("a", "r1")]);
        asked.vm.peers = vec![peer("a", "r2"), peer("b", "r3"), peer("b", "r4")];
        for before in [question(&[]), question(&[("a", "r2"), ("b", "r4")])] {
            let mut table = Table::default().for_question(&before);
            assert_eq!(found(&mut table, &asked), None);
            let mut table = table.for_question(&asked);
            assert_eq!(found(&mut table, &asked), Some((vec![0], vec![0, 1, 1])));
            assert_eq!(table.hosts()[0].labels, labels("r1"));
            assert_eq!(table.hosts()[1].labels, labels("r3"));
        }
    }

    #[test]
    fn there_is_an_end_to_what_is_told() {
        let name = |n: usize| Host {
            name: format!("h{n}").parse().expect("a name"),
            site: None,
            labels: Arc::default(),
        };
        let large = Table::of((0..2 * MOST).map(name));
        assert_eq!(large.hosts().len(), 2 * MOST);
        let next = large.for_question(&question(&[("new", "r1")]));
        assert_eq!(next.hosts().len(), MOST);
        assert_eq!(names(&next)[..2], ["new", "h0"]);
    }
}
