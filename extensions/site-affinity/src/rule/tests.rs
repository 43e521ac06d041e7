use holdfast_extension::placement::{Candidate, Filter, Label, Peer, Purpose, Verdict, Vm};

use super::filter::Spread;
use super::score::score;

fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
    let label = |(key, value): &(&str, &str)| Label {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    pairs.iter().map(label).collect()
}

/// `a1` is a host of site `a`.
fn host(name: &str, rack: Option<&str>) -> Candidate {
    Candidate {
        host: name.to_owned(),
        site: name[..1].to_owned(),
        labels: rack.map_or(Vec::new(), |rack| labels(&[("rack", rack)])),
        memory_mib: 1000,
        memory_free_mib: 500,
        vcpus: 8,
        vcpus_used: 0,
        vms: 0,
    }
}

fn peer(on: &Candidate) -> Peer {
    Peer {
        name: format!("peer-on-{}", on.host),
        host: on.host.clone(),
        site: on.site.clone(),
        labels: on.labels.clone(),
    }
}

fn vm(spread: Option<&str>, peers: Vec<Peer>) -> Vm {
    Vm {
        name: "web".to_owned(),
        memory_mib: 100,
        vcpus: 1,
        priority: 0,
        preferred_site: Some("a".to_owned()),
        group: Some("web".to_owned()),
        labels: spread.map_or(Vec::new(), |spread| labels(&[("spread", spread)])),
        peers,
        last_host: None,
        purpose: Purpose::Start,
    }
}

fn ranked(vm: &Vm, mut hosts: Vec<Candidate>) -> Vec<String> {
    hosts.sort_by(|x, y| score(vm, y).total_cmp(&score(vm, x)));
    hosts.into_iter().map(|host| host.host).collect()
}

#[test]
fn racks_come_before_hosts_before_the_site_before_memory() {
    let (a1, a2) = (host("a1", Some("r1")), host("a2", Some("r1")));
    let (a3, b1) = (host("a3", Some("r2")), host("b1", Some("r1")));
    let mut a4 = a3.clone();
    (a4.host, a4.memory_free_mib) = ("a4".to_owned(), 900);
    let with = vm(None, vec![peer(&a1)]);
    let hosts = vec![a1.clone(), a2, a3, a4, b1];
    assert_eq!(ranked(&with, hosts), ["a4", "a3", "b1", "a2", "a1"]);
}

#[test]
fn numbers_stay_within_0_and_100() {
    let mut all_free = host("a1", None);
    all_free.memory_free_mib = 2000;
    assert_eq!(score(&vm(None, Vec::new()), &all_free), 100.0);
    let mut odd = host("b1", None);
    (odd.memory_mib, odd.memory_free_mib) = (0, 0);
    let many = vec![peer(&odd); 50];
    let least = score(&vm(None, many), &odd);
    assert!((0.0..5.0).contains(&least), "{least}");
}

#[test]
fn a_label_forbids_what_is_otherwise_only_worse() {
    let (a1, a2, b1) = (
        host("a1", Some("r1")),
        host("a2", Some("r1")),
        host("b1", None),
    );
    let hosts = [a1.clone(), a2, b1];
    let may = |spread: Option<&str>| -> Vec<bool> {
        let verdicts = Spread::filter(&vm(spread, vec![peer(&a1)]), &hosts).expect("verdicts");
        verdicts
            .iter()
            .map(|verdict| matches!(verdict, Verdict::May))
            .collect()
    };
    assert_eq!(may(None), [true, true, true]);
    assert_eq!(may(Some("host")), [false, true, true]);
    assert_eq!(may(Some("rack")), [false, false, false]);
    // Nobody to share with.
    let alone = Spread::filter(&vm(Some("rack"), Vec::new()), &hosts).expect("verdicts");
    assert!(alone.iter().all(|verdict| matches!(verdict, Verdict::May)));
    let odd = Spread::filter(&vm(Some("racks"), Vec::new()), &hosts).expect_err("refused");
    assert_eq!(
        odd,
        "label `spread` of web is `racks`; it can be `host` or `rack`"
    );
}
