use super::*;
use holdfast_model::id::Generation;
use std::str::FromStr;

/// `AT KIND SUBJECTS…`: `vm:NAME`, `host:NAME`, `g:N`.
fn event(line: &str) -> Event {
    let mut words = line.split_whitespace();
    let at: u64 = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a time");
    let kind = words.next().expect("a kind");
    let mut event = Event {
        at: UnixMs(1_700_000_000_000 + at),
        actor: "m-a".to_owned(),
        kind: serde_json::from_value(kind.into()).expect("a kind"),
        host: None,
        site: None,
        vm: None,
        generation: None,
        text: format!("text of {kind}"),
    };
    for word in words {
        match word.split_once(':').expect("subject:name") {
            ("vm", name) => event.vm = VmName::from_str(name).ok(),
            ("host", name) => event.host = HostName::from_str(name).ok(),
            ("g", number) => event.generation = number.parse().ok().map(Generation),
            other => panic!("{other:?}"),
        }
    }
    event
}

fn told(script: &str) -> String {
    let events: Vec<Event> = script
        .lines()
        .filter(|l| !l.is_empty())
        .map(event)
        .collect();
    let sites = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b")]
        .into_iter()
        .map(|(host, site)| {
            let host = HostName::from_str(host).expect("a name");
            (host, SiteName::from_str(site).expect("a name"))
        })
        .collect();
    let mut out = String::new();
    for incident in build(&events, &sites) {
        let end = incident
            .duration_ms
            .map_or("goes on".to_owned(), |ms| format!("{ms} ms"));
        out += &format!("{}: {} ({end})\n", incident.id, incident.title);
        let text = |marks: &[Mark]| {
            let words: Vec<String> = marks
                .iter()
                .map(|mark| format!("{:?} {}", mark.phase, mark.at_ms))
                .collect();
            words.join(", ")
        };
        for lane in &incident.hosts {
            out += &format!("  {}: {}\n", lane.host, text(&lane.marks));
        }
        for lane in &incident.vms {
            let name =
                |host: &Option<HostName>| host.as_ref().map_or("?".to_owned(), ToString::to_string);
            let (from, to) = (name(&lane.from), name(&lane.to));
            let killed = lane.killed_ms.map(|ms| format!(", killed at {ms}"));
            let killed = killed.unwrap_or_default();
            out += &format!(
                "  {} {from}->{to}: {}{killed}\n",
                lane.vm,
                text(&lane.marks)
            );
        }
    }
    out
}

const START: &str = "
0 vm-granted vm:v1 host:a1 g:1
10 vm-running vm:v1 host:a1 g:1
11 vm-granted vm:v2 host:a2 g:1
20 vm-running vm:v2 host:a2 g:1
21 vm-granted vm:v3 host:b1 g:1
30 vm-running vm:v3 host:b1 g:1
";

#[test]
fn starts_are_no_incident() {
    assert_eq!(told(START), "");
}

#[test]
fn a_site_loss_is_one_incident_with_a_lane_per_vm() {
    let script = START.to_owned()
        + "
100000 host-suspect host:a1
100100 host-suspect host:a2
103000 host-fenced host:a1
103010 vm-granted vm:v1 host:b1 g:2
103100 host-fenced host:a2
103110 vm-granted vm:v2 host:b2 g:2
103600 vm-running vm:v1 host:b1 g:2
104200 vm-running vm:v2 host:b2 g:2
250000 host-online host:a1
";
    assert_eq!(
        told(&script),
        "20231114-221500: site a lost (a1, a2) (4200 ms)
  a1: Lost 0, Proven 3000, Back 150000
  a2: Lost 100, Proven 3100
  v1 a1->b1: Lost 0, Proven 3000, Granted 3010, Running 3600
  v2 a2->b2: Lost 100, Proven 3100, Granted 3110, Running 4200
"
    );
}

/// A host that lost both its planes tells of its guard's work once it is back.
#[test]
fn when_a_guard_stopped_it_is_shown_in_the_loss_that_it_belongs_to() {
    let script = START.to_owned()
        + "
100000 host-suspect host:a1
106000 host-fenced host:a1
106010 vm-granted vm:v1 host:b1 g:2
106600 vm-running vm:v1 host:b1 g:2
120000 host-online host:a1
104000 self-fenced vm:v1 host:a1 g:1
104000 self-fenced vm:v3 host:a1 g:1
300000 migration-started vm:v1 host:b1 g:2
300500 migration-done vm:v1 host:a1 g:3
";
    assert_eq!(
        told(&script),
        "20231114-221500: host a1 lost (6600 ms)
  a1: Lost 0, Proven 6000, Back 20000
  v1 a1->b1: Lost 0, Proven 6000, Granted 6010, Running 6600, killed at 4000
20231114-221820: VM v1 migrated live (500 ms)
  v1 b1->a1: Moving 0, Moved 500
"
    );
}

#[test]
fn an_outage_begins_with_the_last_heartbeat() {
    assert_eq!(silence_ms("a1: no heartbeat for 1.3 s"), Some(1_300));
    assert_eq!(silence_ms("a1: gone"), None);
    let mut events: Vec<Event> = ["5000 host-suspect host:a1", "7000 host-fenced host:a1"]
        .map(event)
        .into();
    events[0].text = "a1: no heartbeat for 1.3 s".to_owned();
    let incidents = build(&events, &BTreeMap::new());
    assert_eq!(incidents[0].started_at, UnixMs(1_700_000_003_700));
    assert_eq!(incidents[0].hosts[0].at(Phase::Proven), Some(3_300));
}

#[test]
fn a_loss_goes_on_until_its_vms_run_and_stands_apart_from_the_next() {
    let script = START.to_owned()
        + "
100000 host-suspect host:a1
103000 host-fenced host:a1
300000 host-suspect host:b1
301000 host-online host:b1
";
    assert_eq!(
        told(&script),
        "20231114-221500: host a1 lost (goes on)
  a1: Lost 0, Proven 3000
  v1 a1->?: Lost 0, Proven 3000
20231114-221820: host b1 was silent and came back (1000 ms)
  b1: Lost 0, Back 1000
"
    );
}

#[test]
fn a_crash_is_told_once_the_vm_is_granted_again() {
    let exit = START.to_owned() + "50000 vm-exited vm:v1 host:a1 g:1\n";
    assert_eq!(told(&exit), "");
    let script = exit
        + "
50020 vm-granted vm:v1 host:a1 g:2
50700 vm-exited vm:v1 host:a1 g:2
51700 vm-granted vm:v1 host:a2 g:3
52400 vm-running vm:v1 host:a2 g:3
";
    assert_eq!(
        told(&script),
        "20231114-221410: VM v1 restarted (2400 ms)
  v1 a1->a2: Exited 0, Granted 20, Granted 1700, Running 2400
"
    );
}

#[test]
fn a_grant_is_the_first_sign_of_a_vm_that_is_restarted_at_once() {
    let script = START.to_owned()
        + "
50020 vm-granted vm:v1 host:a1 g:2
50700 vm-running vm:v1 host:a1 g:2
";
    assert_eq!(
        told(&script),
        "20231114-221410: VM v1 restarted (680 ms)
  v1 a1->a1: Exited 0, Granted 0, Running 680
"
    );
}

#[test]
fn moves_close_together_are_one_incident() {
    let script = START.to_owned()
        + "
60000 migration-started vm:v1 host:a1
60100 migration-started vm:v2 host:a2
62000 migration-done vm:v1 host:b1 g:2
62500 migration-failed vm:v2 host:a2
";
    assert_eq!(
        told(&script),
        "20231114-221420: 2 VMs migrated live (2500 ms)
  v1 a1->b1: Moving 0, Moved 2000
  v2 a2->?: Moving 100, NotMoved 2500
"
    );
}

#[test]
fn trimmed_history_still_tells_what_is_known() {
    let script = "
100000 host-suspect host:a1
103000 host-fenced host:a1
103010 vm-granted vm:v1 host:b1 g:5
103011 vm-granted vm:new host:b1 g:1
103600 vm-running vm:v1 host:b1 g:5
";
    assert_eq!(
        told(script),
        "20231114-221500: host a1 lost (3600 ms)
  a1: Lost 0, Proven 3000
  v1 ?->b1: Granted 3010, Running 3600
"
    );
}

/// It is told by two clocks; the one that runs it is behind.
#[test]
fn a_first_start_is_no_incident_whatever_the_clocks_say() {
    let script = "
1010 vm-granted vm:v1 host:a1 g:1
1005 vm-running vm:v1 host:a1 g:1
";
    assert_eq!(told(script), "");
}

#[test]
fn a_host_whose_clock_is_behind_does_not_leave_a_lane_open() {
    let script = START.to_owned()
        + "
100000 host-suspect host:a1
103000 host-fenced host:a1
103010 vm-granted vm:v1 host:b1 g:2
103005 vm-running vm:v1 host:b1 g:2
";
    assert_eq!(
        told(&script),
        "20231114-221500: host a1 lost (3010 ms)
  a1: Lost 0, Proven 3000
  v1 a1->b1: Lost 0, Proven 3000, Granted 3010, Running 3010
"
    );
}
