//! The hard rule: the label `spread`.

use holdfast_extension::placement::{Candidate, Filter, Peer, Verdict, Vm};

use super::{RACK, same_host, same_rack};

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
