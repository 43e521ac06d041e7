//! Made-up clusters with the labels that its author named: without them a rule about labels of its own is never asked
//! anything that it could refuse.

use super::super::PlacementSetup;
use super::questions::{Asked, LABELS_MAX, each_host, question, with_peers};
use holdfast_model::advice::{Labels, Question};
use holdfast_model::id::NameError;
use std::sync::Arc;

/// Hosts of one of these clusters.
const HOSTS: usize = 20;
/// Machines of the same group that are there, on hosts with and without labels.
const PEERS: usize = 3;

/// Each machine, with labels and without, in clusters whose hosts have them in turn, all, and not at all.
pub(super) fn labelled(setup: &PlacementSetup) -> Result<Vec<Asked>, NameError> {
    let none = Labels::default();
    let with: Vec<&Labels> = setup.host_labels.iter().collect();
    let mixed = [&none].into_iter().chain(with.iter().copied()).collect();
    let clusters: Vec<(&str, Vec<&Labels>)> = match with.is_empty() {
        true => vec![("hosts without", mixed)],
        false => vec![
            ("hosts with and without", mixed),
            ("hosts with", with),
            ("hosts without", vec![&none]),
        ],
    };
    let machines = [&none].into_iter().chain(&setup.vm_labels);
    let each = |vm| clusters.iter().map(move |cluster| (vm, cluster));
    machines
        .flat_map(each)
        .map(|(vm, (hosts, labels))| {
            Ok(Asked {
                name: format!("{}, {hosts} the labels of test.toml", machine(vm)),
                plain: false,
                question: cluster(vm, labels)?,
            })
        })
        .collect()
}

fn machine(labels: &Labels) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    match labels.is_empty() {
        true => "a machine without labels".to_owned(),
        false => format!("a machine with {}", labels.join(" ")),
    }
}

/// Hosts have these labels in turn, besides what they have, as far as one host can.
fn cluster(vm: &Labels, hosts: &[&Labels]) -> Result<Question, NameError> {
    let question = each_host(question(HOSTS)?, |n, host| {
        let mut labels = hosts[n % hosts.len()].clone();
        for (key, value) in host.labels.iter() {
            if labels.len() < LABELS_MAX {
                labels.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        host.labels = Arc::new(labels);
    });
    let mut question = with_peers(question, PEERS, 1)?;
    question.vm.labels = vm.clone();
    Ok(question)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::advice::label_fault;

    #[test]
    fn hosts_and_machines_have_the_labels_and_do_not() {
        let labels = |key: &str| Labels::from([(key.to_owned(), "yes".to_owned())]);
        let setup = PlacementSetup {
            vm_labels: vec![labels("licence")],
            host_labels: vec![labels("oracle"), labels("db2")],
        };
        let all = labelled(&setup).expect("good names");
        assert_eq!(all.len(), 6, "{all:#?}");
        let with = |asked: &Asked, key: &str| {
            let hosts = asked.question.candidates.iter();
            hosts.filter(|host| host.labels.contains_key(key)).count()
        };
        let found = all.iter().map(|asked| {
            let machine = asked.question.vm.labels.contains_key("licence");
            (machine, with(asked, "oracle"), with(asked, "db2"))
        });
        let found: Vec<_> = found.collect();
        let each = [(7, 6), (10, 10), (0, 0)];
        let wanted = [false, true].map(|vm| each.map(|(oracle, db2)| (vm, oracle, db2)));
        assert_eq!(found, wanted.concat());
        let all = all.iter().flat_map(|asked| &asked.question.candidates);
        for host in all {
            assert_eq!(label_fault(&host.labels), None);
            assert!(host.labels.contains_key("rack"), "{host:?}");
        }
    }
}
