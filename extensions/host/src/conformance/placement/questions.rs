//! Made-up clusters to ask a placement extension about: everyday ones, and odd ones that real clusters have.

use super::super::PlacementSetup;
use super::labelled::labelled;
use crate::placement::Host;
use holdfast_model::advice::{Candidate, Labels, Peer, Question, VmFacts};
use holdfast_model::id::{HostName, NAME_MAX, NameError, SiteName, VmName};
use std::str::FromStr;
use std::sync::Arc;

/// A question with what is special about it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// In a few words.
    pub name: String,
    /// It has nothing odd in it: "I cannot say" is no good answer to it.
    pub plain: bool,
    /// What is asked.
    pub question: Question,
}

/// The largest everyday question: what limits are held against.
pub(super) const MANY: usize = 100;
/// Its name.
pub(super) const MANY_NAME: &str = "100 candidates";
/// Most labels that one host can have.
pub(super) const LABELS_MAX: usize = 16;

/// All of them, those with its author's labels at the end. None is beyond what operators can configure.
pub(super) fn all(setup: Option<&PlacementSetup>) -> Result<Vec<Asked>, NameError> {
    let mut all = made_up()?;
    if let Some(setup) = setup {
        all.extend(labelled(setup)?);
    }
    Ok(all)
}

fn made_up() -> Result<Vec<Asked>, NameError> {
    let plain = |name: &str, hosts| {
        Ok(Asked {
            name: name.to_owned(),
            plain: true,
            question: question(hosts)?,
        })
    };
    let odd = |name: &str, question| Asked {
        name: name.to_owned(),
        plain: false,
        question,
    };
    Ok(vec![
        plain("1 candidate", 1)?,
        plain("2 candidates", 2)?,
        plain(MANY_NAME, MANY)?,
        odd("no labels", no_labels(question(4)?)),
        odd("no site", no_site(with_peers(question(4)?, 2, 1)?)),
        odd("no group", no_group(question(4)?)),
        odd("63-character names", long_names(4)?),
        odd(
            "all peers on one host",
            with_peers(question(MANY)?, 50, usize::MAX)?,
        ),
        odd("a peer on every host", with_peers(question(20)?, 20, 1)?),
        odd(
            "peers on hosts that are no candidates",
            peers_elsewhere(question(4)?)?,
        ),
        odd("no memory left", no_memory_left(question(4)?)),
        odd("a host that reports nothing", empty_host(question(4)?)),
        odd("very large hosts", large_hosts(question(4)?)),
        odd("a live migration", live(question(4)?)),
        odd("labels that ask for something", asking(question(20)?)),
        odd("labels that make no sense", senseless(question(4)?)),
        odd("as many labels as there can be", many_labels(question(20)?)),
    ])
}

fn name<T: FromStr<Err = NameError>>(text: &str) -> Result<T, NameError> {
    text.parse()
}

fn host(n: usize) -> Result<HostName, NameError> {
    name(&format!("h{n:05}"))
}

fn site(n: usize) -> Result<SiteName, NameError> {
    name(["a", "b"][n % 2])
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// So many hosts, in turn at site a and site b, two in each rack, filled to different degrees.
pub(super) fn question(hosts: usize) -> Result<Question, NameError> {
    let candidate = |n: usize| -> Result<Candidate, NameError> {
        let used = n as u32 % 30;
        Ok(Candidate {
            host: host(n)?,
            site: Some(site(n)?),
            labels: Arc::new(labels(&[("rack", &format!("r{}", n / 4))])),
            memory_mib: 65_536,
            memory_free_mib: 1_024 * (60 - u64::from(used)),
            vcpus: 32,
            vcpus_used: 2 * used,
            vms: used,
        })
    };
    Ok(Question {
        vm: VmFacts {
            name: name("web-1")?,
            memory_mib: 2_048,
            vcpus: 2,
            priority: 10,
            preferred_site: Some(site(0)?),
            group: Some("web".to_owned()),
            labels: Labels::default(),
            peers: Vec::new(),
            last_host: None,
            live: false,
        },
        candidates: (0..hosts).map(candidate).collect::<Result<_, _>>()?,
    })
}

/// So many VMs of the group are there already: on every `apart`th candidate, or all on the first one.
pub(super) fn with_peers(
    mut question: Question,
    peers: usize,
    apart: usize,
) -> Result<Question, NameError> {
    let hosts = question.candidates.len().max(1);
    for n in 0..peers {
        let at = if apart == usize::MAX { 0 } else { n * apart };
        let Some(there) = question.candidates.get(at % hosts) else {
            break;
        };
        question.vm.peers.push(Peer {
            name: name(&format!("peer-{n}"))?,
            host: there.host.clone(),
            site: there.site.clone(),
            labels: Arc::clone(&there.labels),
        });
    }
    Ok(question)
}

pub(super) fn each_host(
    mut question: Question,
    change: impl Fn(usize, &mut Candidate),
) -> Question {
    let hosts = question.candidates.iter_mut().enumerate();
    hosts.for_each(|(n, host)| change(n, host));
    question
}

fn no_labels(question: Question) -> Question {
    each_host(question, |_, host| host.labels = Arc::default())
}

fn no_site(mut question: Question) -> Question {
    question.vm.preferred_site = None;
    question.vm.peers.iter_mut().for_each(|peer| {
        peer.site = None;
        peer.labels = Arc::default();
    });
    each_host(question, |_, host| host.site = None)
}

fn no_group(mut question: Question) -> Question {
    question.vm.group = None;
    question
}

fn long_names(hosts: usize) -> Result<Question, NameError> {
    let long = |begin: String| format!("{begin}{}", "x".repeat(NAME_MAX - begin.len()));
    let mut question = question(hosts)?;
    for (n, each) in question.candidates.iter_mut().enumerate() {
        each.host = name(&long(format!("h{n}-")))?;
        each.site = Some(name(&long(format!("s{}-", n % 2)))?);
        let (key, value) = (long(format!("key{n}-")), long(format!("value{n}-")));
        each.labels = Arc::new(labels(&[(&key, &value)]));
    }
    question.vm.name = name(&long("vm-".to_owned()))?;
    question.vm.group = Some(long("group-".to_owned()));
    question.vm.preferred_site = Some(name(&long("s0-".to_owned()))?);
    question.vm.last_host = question.candidates.last().map(|each| each.host.clone());
    question.vm.labels = labels(&[(&long("key0-".to_owned()), &long("value0-".to_owned()))]);
    Ok(question)
}

fn peers_elsewhere(mut question: Question) -> Result<Question, NameError> {
    for n in 0..3 {
        question.vm.peers.push(Peer {
            name: name::<VmName>(&format!("peer-{n}"))?,
            host: host(90_000 + n)?,
            site: Some(name("elsewhere")?),
            labels: Arc::default(),
        });
    }
    question.vm.last_host = Some(host(90_000)?);
    Ok(question)
}

fn no_memory_left(question: Question) -> Question {
    each_host(question, |_, host| host.memory_free_mib = 0)
}

/// As one that has just joined: zero of everything, and what is divided by it is no number.
fn empty_host(question: Question) -> Question {
    each_host(question, |n, host| {
        if n == 0 {
            host.memory_mib = 0;
            host.memory_free_mib = 0;
            host.vcpus = 0;
            host.vcpus_used = 0;
            host.vms = 0;
        }
    })
}

fn large_hosts(question: Question) -> Question {
    each_host(question, |_, host| {
        host.memory_mib = 64 << 20;
        host.memory_free_mib = 48 << 20;
        host.vcpus = 4_096;
        host.vcpus_used = 40_000;
        host.vms = 10_000;
    })
}

fn live(mut question: Question) -> Question {
    question.vm.live = true;
    question.vm.last_host = question.candidates.first().map(|host| host.host.clone());
    question
}

/// With the labels that the extensions of this project heed; those of others do not mind.
fn asking(mut question: Question) -> Question {
    question.vm.labels = labels(&[("needs", "gpu"), ("spread", "rack"), ("tier", "gold")]);
    each_host(question, |n, host| {
        if n % 2 == 0 {
            host.labels = Arc::new(labels(&[("gpu", "a100"), ("rack", "r1"), ("tier", "gold")]));
        }
    })
}

fn senseless(mut question: Question) -> Question {
    question.vm.labels = labels(&[("needs", "-"), ("spread", "-"), ("tier", "-")]);
    question
}

fn many_labels(mut question: Question) -> Question {
    let many: Labels = (0..LABELS_MAX)
        .map(|n| (format!("{n:063}"), "v".repeat(NAME_MAX)))
        .collect();
    question.vm.labels = many.clone();
    let many = Arc::new(many);
    each_host(question, |_, host| host.labels = Arc::clone(&many))
}

/// Hosts that no question is about, before those that are given, between them and behind them. One of them stands at
/// no site, and the others have labels that extensions of this project heed.
pub(super) fn among_others(own: Vec<Host>) -> Vec<Host> {
    let others = ["y-0", "y-1", "y-2"].into_iter().enumerate();
    let mut others = others.filter_map(|(n, text)| {
        let pairs = [("gpu", "a100"), ("rack", "r0"), ("tier", "gold")];
        Some(Host {
            name: name(text).ok()?,
            site: site(n).ok().filter(|_| n < 2),
            labels: Arc::new(labels(&pairs[..pairs.len() - n])),
        })
    });
    let mut all: Vec<Host> = others.next().into_iter().collect();
    let middle = own.len() / 2;
    for (n, host) in own.into_iter().enumerate() {
        if n == middle {
            all.extend(others.next());
        }
        all.push(host);
    }
    all.extend(others);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::advice::label_fault;

    #[test]
    fn none_is_beyond_what_can_be_configured() {
        let all = all(None).expect("good names");
        let many = all.iter().find(|asked| asked.name == MANY_NAME);
        assert_eq!(
            many.map(|asked| asked.question.candidates.len()),
            Some(MANY)
        );
        for asked in all {
            let hosts = asked.question.candidates.iter().map(|each| &*each.labels);
            for labels in hosts.chain([&asked.question.vm.labels]) {
                assert_eq!(label_fault(labels), None, "{}", asked.name);
            }
        }
    }
}
