//! What is preferred: four parts that add up to 100.

use holdfast_extension::placement::{Candidate, Peer, Vm};

use super::{same_host, same_rack};

/// For a rack without a peer; the more peers, the less.
const RACK_POINTS: f64 = 60.0;
/// For a host without a peer; the more peers, the less.
const HOST_POINTS: f64 = 20.0;
/// For the preferred site.
const SITE_POINTS: f64 = 15.0;
/// For a host that would be all free; in proportion.
const MEMORY_POINTS: f64 = 5.0;

/// A rack without a peer outweighs everything else together with one peer in the rack.
pub fn score(vm: &Vm, host: &Candidate) -> f64 {
    let shared = |with: fn(&Peer, &Candidate) -> bool| {
        let peers = vm.peers.iter().filter(|peer| with(peer, host)).count();
        1.0 + peers as f64
    };
    let at_home = vm
        .preferred_site
        .as_ref()
        .is_none_or(|site| *site == host.site);
    let free = host.memory_free_mib as f64 / host.memory_mib.max(1) as f64;
    RACK_POINTS / shared(same_rack)
        + HOST_POINTS / shared(same_host)
        + if at_home { SITE_POINTS } else { 0.0 }
        + MEMORY_POINTS * free.min(1.0)
}
