use holdfast_extension::placement::v0_1::{self, Filter};
use holdfast_extension::placement::{Candidates, Host, Judgement, Label, Peer, Purpose, Rule, Vm};

use super::Affinity;

#[path = "../../examples/native/plain.rs"]
mod plain;

fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
    let label = |(key, value): &(&str, &str)| Label {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    pairs.iter().map(label).collect()
}

/// `a1` is a host of site `a`.
fn host(name: &str, rack: Option<&str>) -> Host {
    Host {
        name: name.to_owned(),
        site: name[..1].to_owned(),
        labels: rack.map_or(Vec::new(), |rack| labels(&[("rack", rack)])),
    }
}

/// All of them, with 1,000 MiB each and so much left.
fn candidates(free_mib: &[u64]) -> Candidates {
    let count = free_mib.len();
    Candidates {
        hosts: (0..count as u32).collect(),
        memory_mib: vec![1_000; count],
        memory_free_mib: free_mib.to_vec(),
        vcpus: vec![8; count],
        vcpus_used: vec![0; count],
        vms: vec![0; count],
    }
}

fn vm(spread: Option<&str>, on: &[u32]) -> Vm {
    let peer = |host: &u32| Peer {
        name: format!("peer-on-{host}"),
        host: *host,
    };
    Vm {
        name: "web".to_owned(),
        memory_mib: 100,
        vcpus: 1,
        priority: 0,
        preferred_site: Some("a".to_owned()),
        group: Some("web".to_owned()),
        labels: spread.map_or(Vec::new(), |spread| labels(&[("spread", spread)])),
        peers: on.iter().map(peer).collect(),
        last_host: None,
        purpose: Purpose::Start,
    }
}

fn judged(hosts: &[Host], vm: &Vm, candidates: &Candidates) -> Result<Judgement, String> {
    Affinity::prepare(hosts.to_vec()).judge(vm, candidates)
}

#[test]
fn racks_come_before_hosts_before_the_site_before_memory() {
    let hosts = [
        host("a1", Some("r1")),
        host("a2", Some("r1")),
        host("a3", Some("r2")),
        host("a4", Some("r2")),
        host("b1", Some("r1")),
    ];
    let asked = candidates(&[500, 500, 500, 900, 500]);
    let scores = judged(&hosts, &vm(None, &[0]), &asked)
        .expect("an answer")
        .scores;
    let mut ranked: Vec<usize> = (0..hosts.len()).collect();
    ranked.sort_by(|x, y| scores[*y].total_cmp(&scores[*x]));
    let ranked: Vec<&str> = ranked.iter().map(|at| hosts[*at].name.as_str()).collect();
    assert_eq!(ranked, ["a4", "a3", "b1", "a2", "a1"]);
}

#[test]
fn numbers_stay_within_0_and_100() {
    let hosts = [host("a1", None)];
    let most = judged(&hosts, &vm(None, &[]), &candidates(&[2_000])).expect("an answer");
    assert_eq!(most.scores, [100.0]);
    let mut odd = candidates(&[0]);
    odd.memory_mib = vec![0];
    let least = judged(&[host("b1", None)], &vm(None, &[0; 50]), &odd).expect("an answer");
    assert!((0.0..5.0).contains(&least.scores[0]), "{:?}", least.scores);
}

#[test]
fn a_label_forbids_what_is_otherwise_only_worse() {
    let hosts = [
        host("a1", Some("r1")),
        host("a2", Some("r1")),
        host("b1", None),
    ];
    let asked = candidates(&[500; 3]);
    let refused = |spread: Option<&str>, on: &[u32]| -> Vec<(u32, String)> {
        let judged = judged(&hosts, &vm(spread, on), &asked).expect("an answer");
        let refused = judged.refused.into_iter();
        refused.map(|each| (each.candidate, each.why)).collect()
    };
    assert_eq!(refused(None, &[0]), []);
    let there = (0, "peer-on-0 of its group is there".to_owned());
    assert_eq!(refused(Some("host"), &[0]), [there]);
    let in_it = "peer-on-0 of its group is in that rack".to_owned();
    let unknown = "it has no label `rack`, and no rack may be shared".to_owned();
    assert_eq!(
        refused(Some("rack"), &[0]),
        [(0, in_it.clone()), (1, in_it), (2, unknown)]
    );
    // Nobody to share with.
    assert_eq!(refused(Some("rack"), &[]), []);
    let odd = judged(&hosts, &vm(Some("racks"), &[]), &asked).expect_err("refused");
    assert_eq!(
        odd,
        "label `spread` of web is `racks`; it can be `host` or `rack`"
    );
}

/// The question as the first version of the contract has it.
fn plainly(hosts: &[Host], vm: &Vm, asked: &Candidates) -> (v0_1::Vm, Vec<v0_1::Candidate>) {
    let labels = |labels: &[Label]| -> Vec<v0_1::Label> {
        let label = |label: &Label| v0_1::Label {
            key: label.key.clone(),
            value: label.value.clone(),
        };
        labels.iter().map(label).collect()
    };
    let peer = |peer: &Peer| v0_1::Peer {
        name: peer.name.clone(),
        host: hosts[peer.host as usize].name.clone(),
        site: hosts[peer.host as usize].site.clone(),
        labels: labels(&hosts[peer.host as usize].labels),
    };
    let candidate = |at: usize| {
        let host = &hosts[asked.hosts[at] as usize];
        v0_1::Candidate {
            host: host.name.clone(),
            site: host.site.clone(),
            labels: labels(&host.labels),
            memory_mib: asked.memory_mib[at],
            memory_free_mib: asked.memory_free_mib[at],
            vcpus: asked.vcpus[at],
            vcpus_used: asked.vcpus_used[at],
            vms: asked.vms[at],
        }
    };
    let plain = v0_1::Vm {
        name: vm.name.clone(),
        memory_mib: vm.memory_mib,
        vcpus: vm.vcpus,
        priority: vm.priority,
        preferred_site: vm.preferred_site.clone(),
        group: vm.group.clone(),
        labels: labels(&vm.labels),
        peers: vm.peers.iter().map(peer).collect(),
        last_host: vm.last_host.clone(),
        purpose: v0_1::Purpose::Start,
    };
    (plain, (0..asked.hosts.len()).map(candidate).collect())
}

/// A number below `n`, from a seed.
fn draw(seed: &mut u64, n: u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % n
}

/// What is worked out once says what names and labels say, to the letter.
#[test]
fn it_says_what_the_plain_rule_says() {
    let mut seed = 1;
    for _ in 0..2_000 {
        let racks = ["r1", "r2", "r3"];
        let hosts: Vec<Host> = (0..1 + draw(&mut seed, 12))
            .map(|n| {
                let site = ["a", "b"][draw(&mut seed, 2) as usize];
                let rack = racks.get(draw(&mut seed, 4) as usize).copied();
                host(&format!("{site}{n}"), rack)
            })
            .collect();
        let some = |seed: &mut u64, most: u64| -> Vec<u32> {
            let mut on: Vec<u32> = (0..hosts.len() as u32).collect();
            on.retain(|_| draw(seed, 8) < most);
            on
        };
        let mut asked = candidates(&vec![0; hosts.len()]);
        asked.memory_free_mib = hosts.iter().map(|_| draw(&mut seed, 1_200)).collect();
        asked.hosts = some(&mut seed, 7);
        let mut on = some(&mut seed, 3);
        on.extend(some(&mut seed, 1));
        let spread = [None, Some("host"), Some("rack")][draw(&mut seed, 3) as usize];
        let mut vm = vm(spread, &on);
        vm.preferred_site =
            [None, Some("a".to_owned()), Some("c".to_owned())][draw(&mut seed, 3) as usize].clone();
        let judged = judged(&hosts, &vm, &asked).expect("an answer");
        let (vm, candidates) = plainly(&hosts, &vm, &asked);
        let scores: Vec<f64> = candidates
            .iter()
            .map(|host| plain::score(&vm, host))
            .collect();
        assert_eq!(judged.scores, scores);
        let verdicts = plain::Spread::filter(&vm, &candidates).expect("verdicts");
        let plainly = (0..)
            .zip(verdicts)
            .filter_map(|(at, verdict)| match verdict {
                v0_1::Verdict::May => None,
                v0_1::Verdict::MayNot(why) => Some((at, why)),
            });
        let refused = judged
            .refused
            .into_iter()
            .map(|each| (each.candidate, each.why));
        assert_eq!(
            refused.collect::<Vec<_>>(),
            plainly.collect::<Vec<(u32, String)>>()
        );
    }
}
