//! What is preferred: four parts that add up to 100.

use holdfast_extension::placement::{Candidates, Vm};

use super::hosts::{Hosts, Shared};

/// For a rack without a peer; the more peers, the less.
const RACK_POINTS: f64 = 60.0;
/// For a host without a peer; the more peers, the less.
const HOST_POINTS: f64 = 20.0;
/// For the preferred site.
const SITE_POINTS: f64 = 15.0;
/// For a host that would be all free; in proportion.
const MEMORY_POINTS: f64 = 5.0;

/// For each candidate. A rack without a peer outweighs everything else together with one peer in the rack.
pub fn scores(hosts: &Hosts, shared: &Shared, vm: &Vm, candidates: &Candidates) -> Vec<f64> {
    // None is at home at a site where no host is.
    let home = vm.preferred_site.as_deref().map(|site| hosts.site(site));
    let memory = candidates
        .memory_free_mib
        .iter()
        .zip(&candidates.memory_mib);
    let each = candidates.hosts.iter().zip(memory);
    each.map(|(host, (free_mib, all_mib))| {
        let place = hosts.place(*host);
        let at_home = home.is_none_or(|home| home == Some(place.site));
        let free = *free_mib as f64 / (*all_mib).max(1) as f64;
        part(RACK_POINTS, shared.rack(place.rack))
            + part(HOST_POINTS, shared.host(*host))
            + if at_home { SITE_POINTS } else { 0.0 }
            + MEMORY_POINTS * free.min(1.0)
    })
    .collect()
}

/// What is left of the points beside so many peers.
fn part(points: f64, peers: u32) -> f64 {
    match peers {
        0 => points,
        peers => points / (1.0 + f64::from(peers)),
    }
}
