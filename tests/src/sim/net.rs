//! Who reaches whom. Links are cut in one direction at a time; a host can be cut off by itself.

use holdfast_model::id::{HostName, SiteName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where a process runs: at a site, on a host of it or on a machine of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The site.
    pub site: SiteName,
    /// The host, if it is one.
    pub host: Option<HostName>,
}

/// One end of a cut.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Everything at a site, its hosts included.
    Site(SiteName),
    /// One host.
    Host(HostName),
    /// Everything but the other end.
    Rest,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(site) => write!(f, "{site}"),
            Self::Host(host) => write!(f, "{host}"),
            Self::Rest => f.write_str("all"),
        }
    }
}

/// The cuts in force.
#[derive(Debug, Clone, Default)]
pub struct Net {
    cuts: BTreeSet<(End, End)>,
    /// Added to every message, in milliseconds.
    delays: BTreeMap<(End, End), u64>,
    changes: u64,
}

impl Net {
    /// How often the cuts changed so far.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: End, to: End) {
        self.changes += 1;
        self.cuts.insert((from, to));
    }

    /// Slows one direction down.
    pub fn slow(&mut self, from: End, to: End, ms: u64) {
        self.delays.insert((from, to), ms);
    }

    /// Mends both directions between two ends.
    pub fn heal(&mut self, a: &End, b: &End) {
        self.changes += 1;
        for link in [(a.clone(), b.clone()), (b.clone(), a.clone())] {
            self.cuts.remove(&link);
            self.delays.remove(&link);
        }
    }

    /// Mends everything.
    pub fn heal_all(&mut self) {
        self.changes += 1;
        self.cuts.clear();
        self.delays.clear();
    }

    /// Nothing is cut, and nothing is slow.
    pub fn is_whole(&self) -> bool {
        self.cuts.is_empty() && self.delays.is_empty()
    }

    /// Whether a message gets from one place to another.
    pub fn passes(&self, from: &Place, to: &Place) -> bool {
        self.cuts.is_empty() || from == to || !self.cuts.iter().any(|link| is_on(link, from, to))
    }

    /// How much longer a message takes than usual, in milliseconds.
    pub fn delay_ms(&self, from: &Place, to: &Place) -> u64 {
        if self.delays.is_empty() {
            return 0;
        }
        let delays = self.delays.iter();
        let on_the_way = delays.filter(|(link, _)| from != to && is_on(link, from, to));
        on_the_way.map(|(_, ms)| *ms).max().unwrap_or(0)
    }

    /// Whether messages get through in both directions.
    pub fn connects(&self, a: &Place, b: &Place) -> bool {
        self.passes(a, b) && self.passes(b, a)
    }
}

fn is_on((a, b): &(End, End), from: &Place, to: &Place) -> bool {
    match (a, b) {
        (End::Rest, b) => covers(b, to) && !covers(b, from),
        (a, End::Rest) => covers(a, from) && !covers(a, to),
        (a, b) => covers(a, from) && covers(b, to),
    }
}

fn covers(end: &End, place: &Place) -> bool {
    match end {
        End::Site(site) => place.site == *site,
        End::Host(host) => place.host.as_ref() == Some(host),
        End::Rest => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(site: &str, host: Option<&str>) -> Place {
        Place {
            site: site.parse().expect("a name"),
            host: host.map(|host| host.parse().expect("a name")),
        }
    }

    #[test]
    fn cuts_have_a_direction_and_hosts_can_be_alone() {
        let (a, b) = (place("a", None), place("b", None));
        let (a1, a2) = (place("a", Some("a1")), place("a", Some("a2")));
        let site = |name: &str| End::Site(name.parse().expect("a name"));
        let mut net = Net::default();
        net.cut(site("a"), site("b"));
        assert!(!net.passes(&a1, &b) && net.passes(&b, &a1) && net.passes(&a1, &a));
        net.heal_all();
        let host = End::Host("a1".parse().expect("a name"));
        net.cut(host.clone(), End::Rest);
        net.cut(End::Rest, host.clone());
        assert!(!net.passes(&a1, &a2) && !net.passes(&a2, &a1) && !net.passes(&b, &a1));
        assert!(net.passes(&a1, &a1) && net.connects(&a2, &b));
        net.heal(&host, &End::Rest);
        assert!(net.connects(&a1, &b));
    }
}
