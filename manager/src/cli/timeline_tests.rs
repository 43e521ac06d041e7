use super::*;
use crate::timeline::{Summary, VmLane};
use holdfast_model::id::{HostName, VmName};
use holdfast_model::time::UnixMs;
use std::str::FromStr;

fn marks(list: &[(Phase, u64)]) -> Vec<Mark> {
    list.iter()
        .map(|(phase, at_ms)| Mark {
            phase: *phase,
            at_ms: *at_ms,
        })
        .collect()
}

fn vm(name: &str, to: Option<&str>, list: &[(Phase, u64)]) -> VmLane {
    VmLane {
        vm: VmName::from_str(name).expect("a name"),
        from: HostName::from_str("a1").ok(),
        to: to.and_then(|to| HostName::from_str(to).ok()),
        reason: None,
        marks: marks(list),
        killed_ms: None,
    }
}

#[test]
fn lanes_fit_a_hundred_columns_and_show_every_phase() {
    use Phase::{Granted, Lost, Proven, Running};
    let mut incident = Incident {
        id: "20231114-221500".to_owned(),
        kind: IncidentKind::HostLoss,
        title: "host a1 lost".to_owned(),
        started_at: UnixMs(1_700_000_100_000),
        duration_ms: None,
        hosts: vec![HostLane {
            host: HostName::from_str("a1").expect("a name"),
            site: None,
            marks: marks(&[(Lost, 0), (Proven, 3_000), (Phase::Back, 90_000)]),
            evidence: None,
        }],
        vms: vec![
            vm(
                "db",
                Some("b1"),
                &[
                    (Lost, 0),
                    (Proven, 3_000),
                    (Granted, 3_020),
                    (Running, 4_000),
                ],
            ),
            vm("web", None, &[(Lost, 0), (Proven, 3_000)]),
        ],
        summary: Summary {
            vms: 2,
            done: 1,
            median_ms: Some(4_000),
            slowest_ms: Some(4_000),
        },
    };
    incident.vms[0].killed_ms = Some(2_010);
    let drawn = anstream::adapter::strip_str(&lanes_at(&incident, 100)).to_string();
    let expected = "\
host a1 lost   20231114-221500   2023-11-14 22:15:00.000Z
1 of 2 VMs running again; median 4.00 s, slowest 4.00 s; it goes on

               FROM → TO       0                                   4.00 s   proven  granted  running
host a1                        ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░·                3.00        -        -
db             a1 → b1         ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░▓▓▓▓▓▓▓▓▓▓▓█     3.00     3.02     4.00
web            a1 → ?          ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒     3.00        -        -
the guard on a1 stopped 1 VM there, the last after 2.01 s, by its own clock

░░ silent, waiting for proof  ▒▒ proven stopped  ▓▓ starting elsewhere  ██ running  (seconds)
";
    assert_eq!(drawn, expected, "\n{drawn}");
}
