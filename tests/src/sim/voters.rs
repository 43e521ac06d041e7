//! The store's members: one voter per site, a leader among them, and which of them serve.
//!
//! A voter serves while it is connected to a leader that is connected to a majority. That is all
//! of Raft that a client can tell, but for the time an election takes.

use super::net::{Net, Place};
use holdfast_model::id::SiteName;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The voters.
#[derive(Debug, Clone, Default)]
pub struct Voters {
    /// Each with whether it is alive.
    alive: BTreeMap<SiteName, bool>,
    leader: Option<SiteName>,
    /// Who serves, as it was found out last: asked with every message.
    serving: RefCell<Serving>,
}

/// Which voters serve while neither they nor the cuts change.
#[derive(Debug, Clone, Default)]
struct Serving {
    /// Of the network; none: to be found out.
    changes: Option<u64>,
    sites: BTreeSet<SiteName>,
}

/// Where a site's voter stands: on a machine of its own.
pub fn voter_place(site: &SiteName) -> Place {
    Place {
        site: site.clone(),
        host: None,
    }
}

impl Voters {
    /// Adds a living voter at a site. The first one leads.
    pub fn add(&mut self, site: SiteName) {
        self.serving.take();
        self.leader.get_or_insert_with(|| site.clone());
        self.alive.insert(site, true);
    }

    /// Power.
    pub fn set_alive(&mut self, site: &SiteName, alive: bool) {
        self.serving.take();
        if let Some(entry) = self.alive.get_mut(site) {
            *entry = alive;
        }
    }

    /// Whether its process runs.
    pub fn is_alive(&self, site: &SiteName) -> bool {
        self.alive.get(site).copied().unwrap_or(false)
    }

    /// Who leads.
    pub fn leader(&self) -> Option<&SiteName> {
        self.leader.as_ref()
    }

    /// Looks at the leader after a change. True: there is none now, and an election begins.
    pub fn check(&mut self, net: &Net) -> bool {
        let holds = self
            .leader
            .as_ref()
            .is_some_and(|leader| self.has_majority(net, leader));
        if !holds {
            self.leader = None;
            self.serving.take();
        }
        !holds
    }

    /// Elects whoever can be.
    pub fn elect(&mut self, net: &Net) {
        if self.leader.is_none() {
            self.serving.take();
            let mut sites = self.alive.keys();
            self.leader = sites.find(|site| self.has_majority(net, site)).cloned();
        }
    }

    fn has_majority(&self, net: &Net, site: &SiteName) -> bool {
        let is_alive = |site: &SiteName| self.alive.get(site).copied().unwrap_or(false);
        let connected = self.alive.keys().filter(|other| {
            is_alive(other) && net.connects(&voter_place(site), &voter_place(other))
        });
        is_alive(site) && connected.count() * 2 > self.alive.len()
    }

    /// Whether a voter answers clients.
    pub fn serves(&self, net: &Net, site: &SiteName) -> bool {
        let mut serving = self.serving.borrow_mut();
        if serving.changes != Some(net.changes()) {
            let sites = self.alive.keys().filter(|site| self.does_serve(net, site));
            *serving = Serving {
                changes: Some(net.changes()),
                sites: sites.cloned().collect(),
            };
        }
        serving.sites.contains(site)
    }

    fn does_serve(&self, net: &Net, site: &SiteName) -> bool {
        let is_alive = self.alive.get(site).copied().unwrap_or(false);
        is_alive
            && self.leader.as_ref().is_some_and(|leader| {
                self.has_majority(net, leader)
                    && net.connects(&voter_place(site), &voter_place(leader))
            })
    }

    /// The voter a client's call gets to, its own site's first; whether or not the answer gets
    /// back.
    pub fn route<'v>(&'v self, net: &Net, from: &'v Place) -> Option<&'v SiteName> {
        let own = std::iter::once(&from.site);
        let passes = |site| net.is_whole() || net.passes(from, &voter_place(site));
        own.chain(self.alive.keys())
            .find(|site| self.serves(net, site) && passes(site))
    }
}

#[cfg(test)]
mod tests {
    use super::super::net::End;
    use super::*;

    fn site(name: &str) -> SiteName {
        name.parse().expect("a name")
    }

    fn three() -> Voters {
        let mut voters = Voters::default();
        for name in ["a", "b", "w"] {
            voters.add(site(name));
        }
        voters
    }

    #[test]
    fn the_side_with_the_witness_serves() {
        let (mut voters, mut net) = (three(), Net::default());
        for (x, y) in [("a", "b"), ("a", "w")] {
            net.cut(End::Site(site(x)), End::Site(site(y)));
            net.cut(End::Site(site(y)), End::Site(site(x)));
        }
        assert!(voters.check(&net), "a led and is alone now");
        assert!(!voters.serves(&net, &site("b")));
        voters.elect(&net);
        assert_eq!(voters.leader(), Some(&site("b")));
        assert!(voters.serves(&net, &site("w")) && !voters.serves(&net, &site("a")));
        assert_eq!(voters.route(&net, &voter_place(&site("a"))), None);
    }

    #[test]
    fn a_cut_between_two_leaves_all_served_through_the_third() {
        let (mut voters, mut net) = (three(), Net::default());
        net.cut(End::Site(site("a")), End::Site(site("b")));
        net.cut(End::Site(site("b")), End::Site(site("a")));
        assert!(!voters.check(&net), "a has w");
        let client = voter_place(&site("b"));
        assert_eq!(voters.route(&net, &client), Some(&site("w")));
    }

    #[test]
    fn two_of_three_dead_serve_nobody() {
        let (mut voters, net) = (three(), Net::default());
        voters.set_alive(&site("a"), false);
        voters.set_alive(&site("w"), false);
        assert!(voters.check(&net));
        voters.elect(&net);
        assert_eq!(voters.leader(), None);
        voters.set_alive(&site("w"), true);
        voters.elect(&net);
        assert!(voters.serves(&net, &site("b")));
    }
}
