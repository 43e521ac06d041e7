//! The rule as one writes it down who has all of a host at hand: by names and labels, one candidate at a time. What the
//! extension says is held against it, and what it costs is the measure for what the sandbox costs.

use holdfast_extension::placement::v0_1::{Candidate, Filter, Peer, Verdict, Vm};

/// The operator's label for where in a site a host stands.
const RACK: &str = "rack";
const RACK_POINTS: f64 = 60.0;
const HOST_POINTS: f64 = 20.0;
const SITE_POINTS: f64 = 15.0;
const MEMORY_POINTS: f64 = 5.0;

/// Whether the peer is on this very host.
fn same_host(peer: &Peer, host: &Candidate) -> bool {
    peer.host == host.host
}

/// Whether what takes down the peer's rack takes down this host. A host whose rack nobody named is taken for a
/// rack of its own. Racks of two sites are two, even if they bear one name.
fn same_rack(peer: &Peer, host: &Candidate) -> bool {
    let labelled = || {
        host.label(RACK)
            .is_some_and(|rack| peer.label(RACK) == Some(rack))
    };
    same_host(peer, host) || (peer.site == host.site && labelled())
}

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

/// Rules out what a machine's label `spread` forbids.
pub struct Spread;

impl Filter for Spread {
    fn filter(vm: &Vm, candidates: &[Candidate]) -> Result<Vec<Verdict>, String> {
        let rule = match vm.label("spread") {
            None => |_: &Vm, _: &Candidate| Verdict::May,
            Some("host") => not_on_the_host,
            Some(RACK) => not_in_the_rack,
            Some(other) => {
                return Err(format!(
                    "label `spread` of {} is `{other}`; it can be `host` or `rack`",
                    vm.name
                ));
            }
        };
        Ok(candidates.iter().map(|host| rule(vm, host)).collect())
    }
}

fn not_on_the_host(vm: &Vm, host: &Candidate) -> Verdict {
    verdict(vm.peers.iter().find(|peer| same_host(peer, host)), |peer| {
        format!("{peer} of its group is there")
    })
}

fn not_in_the_rack(vm: &Vm, host: &Candidate) -> Verdict {
    let shared = vm.peers.iter().find(|peer| same_rack(peer, host));
    match host.label(RACK) {
        // Nobody knows what it shares.
        None if !vm.peers.is_empty() => {
            Verdict::MayNot("it has no label `rack`, and no rack may be shared".to_owned())
        }
        _ => verdict(shared, |peer| {
            format!("{peer} of its group is in that rack")
        }),
    }
}

fn verdict(peer: Option<&Peer>, why: impl Fn(&str) -> String) -> Verdict {
    peer.map_or(Verdict::May, |peer| Verdict::MayNot(why(&peer.name)))
}
