//! The hard rule: the label `spread`.

use holdfast_extension::placement::{Candidates, Refusal, Vm};

use super::RACK;
use super::hosts::{Hosts, Shared};

/// Those that a machine's label `spread` forbids.
pub fn refused(
    hosts: &Hosts,
    shared: &Shared,
    vm: &Vm,
    candidates: &Candidates,
) -> Result<Vec<Refusal>, String> {
    let why: fn(&Hosts, &Shared, &Vm, u32) -> Option<String> = match vm.label("spread") {
        None => return Ok(Vec::new()),
        Some("host") => not_on_the_host,
        Some(RACK) => not_in_the_rack,
        Some(other) => {
            return Err(format!(
                "label `spread` of {} is `{other}`; it can be `host` or `rack`",
                vm.name
            ));
        }
    };
    if vm.peers.is_empty() {
        return Ok(Vec::new());
    }
    let refusal = |(candidate, host): (u32, &u32)| {
        let why = why(hosts, shared, vm, *host)?;
        Some(Refusal { candidate, why })
    };
    Ok((0..).zip(&candidates.hosts).filter_map(refusal).collect())
}

fn not_on_the_host(_: &Hosts, shared: &Shared, vm: &Vm, host: u32) -> Option<String> {
    if shared.host(host) == 0 {
        return None;
    }
    let peer = vm.peers.iter().find(|peer| peer.host == host)?;
    Some(format!("{} of its group is there", peer.name))
}

fn not_in_the_rack(hosts: &Hosts, shared: &Shared, vm: &Vm, host: u32) -> Option<String> {
    let place = hosts.place(host);
    if !place.is_named {
        // Nobody knows what it shares.
        return Some("it has no label `rack`, and no rack may be shared".to_owned());
    }
    if shared.rack(place.rack) == 0 {
        return None;
    }
    let in_it = |host: u32| hosts.place(host).rack == place.rack;
    let peer = vm.peers.iter().find(|peer| in_it(peer.host))?;
    Some(format!("{} of its group is in that rack", peer.name))
}
