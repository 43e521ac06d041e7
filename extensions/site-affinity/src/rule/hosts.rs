//! Where hosts stand, as numbers: of two in one rack these are the same.

use std::collections::BTreeMap;

use holdfast_extension::placement::{Host, Peer};

use super::RACK;

/// What was told of the hosts.
pub struct Hosts {
    places: Vec<Place>,
    /// Sites by their numbers.
    sites: Vec<String>,
    /// How many racks there are.
    racks: usize,
}

/// Where a host stands.
#[derive(Clone, Copy)]
pub struct Place {
    pub site: u32,
    /// What is lost together. A host whose rack nobody named is taken for a rack of its own; racks of two sites are
    /// two, even if they bear one name.
    pub rack: u32,
    /// Whether somebody named its rack.
    pub is_named: bool,
}

impl Hosts {
    pub fn of(hosts: &[Host]) -> Self {
        let mut sites = BTreeMap::new();
        let mut named = BTreeMap::new();
        let mut racks = 0;
        let places = hosts.iter().map(|host| {
            let next = sites.len() as u32;
            let site = *sites.entry(host.site.as_str()).or_insert(next);
            let label = host.label(RACK);
            let own = racks;
            let rack = match label {
                Some(rack) => *named.entry((site, rack)).or_insert(own),
                None => own,
            };
            racks += u32::from(rack == own);
            Place {
                site,
                rack,
                is_named: label.is_some(),
            }
        });
        let places = places.collect();
        let mut by_number: Vec<_> = sites.into_iter().collect();
        by_number.sort_by_key(|(_, number)| *number);
        Self {
            places,
            sites: by_number
                .into_iter()
                .map(|(site, _)| site.to_owned())
                .collect(),
            racks: racks as usize,
        }
    }

    /// Where that host stands.
    pub fn place(&self, host: u32) -> Place {
        self.places[host as usize]
    }

    /// The number of a site, if a host is there.
    pub fn site(&self, name: &str) -> Option<u32> {
        let at = self.sites.iter().position(|site| site == name)?;
        Some(at as u32)
    }
}

/// How many peers are on each host and in each rack. Empty if there is none.
pub struct Shared {
    hosts: Vec<u32>,
    racks: Vec<u32>,
}

impl Shared {
    pub fn with(hosts: &Hosts, peers: &[Peer]) -> Self {
        if peers.is_empty() {
            return Self {
                hosts: Vec::new(),
                racks: Vec::new(),
            };
        }
        let mut shared = Self {
            hosts: vec![0; hosts.places.len()],
            racks: vec![0; hosts.racks],
        };
        for peer in peers {
            shared.hosts[peer.host as usize] += 1;
            shared.racks[hosts.place(peer.host).rack as usize] += 1;
        }
        shared
    }

    /// Peers on that host.
    pub fn host(&self, host: u32) -> u32 {
        self.hosts.get(host as usize).copied().unwrap_or(0)
    }

    /// Peers in that rack.
    pub fn rack(&self, rack: u32) -> u32 {
        self.racks.get(rack as usize).copied().unwrap_or(0)
    }
}
