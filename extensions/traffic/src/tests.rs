//! Natively, with records and a router that are functions.

use super::*;
use holdfast_extension::http::{Error, Response};

fn event(vm: Option<&str>) -> Event {
    Event {
        at_unix_ms: 1,
        actor: "m-a".to_owned(),
        kind: "vm-running".to_owned(),
        host: Some("somewhere".to_owned()),
        site: None,
        vm: vm.map(str::to_owned),
        text: String::new(),
    }
}

/// `web` is at b1 of site b, `db` at a host that is not known any more, `old` nowhere.
fn records(key: &str) -> Option<String> {
    let value = match key {
        "vms/web/owner" => r#"{"holder":{"host":"b1","incarnation":"i"},"generation":7}"#,
        "vms/db/owner" => r#"{"holder":{"host":"gone","incarnation":"i"}}"#,
        "vms/old/owner" => r#"{"holder":null}"#,
        "vms/odd/owner" => r#"{"holder":{"host":7}}"#,
        "hosts/b1/spec" => r#"{"name":"b1","site":"b"}"#,
        _ => return None,
    };
    Some(value.to_owned())
}

fn answers(status: u16) -> Result<Response, Error> {
    Ok(Response {
        status,
        body: String::new(),
    })
}

#[test]
fn each_vm_is_told_of_once_by_what_the_records_say_now() {
    let events = ["web", "db", "web", "old", "none"].map(|vm| event(Some(vm)));
    let mut sent = Vec::new();
    let told = tell(&events, records, |path, body| {
        sent.push(format!("{path} {body}"));
        answers(204)
    });
    assert_eq!(told, Ok(()));
    assert_eq!(
        sent,
        [
            r#"/vms/db {"vm":"db","host":"gone","site":null}"#,
            r#"/vms/none {"vm":"none","host":null,"site":null}"#,
            r#"/vms/old {"vm":"old","host":null,"site":null}"#,
            r#"/vms/web {"vm":"web","host":"b1","site":"b"}"#,
        ]
    );
}

#[test]
fn what_is_about_no_vm_sends_nothing() {
    let odd = ["", "../policy", "a/b", "a b", "-x", "ü"].map(|name| event(Some(name)));
    let events: Vec<Event> = [event(None)].into_iter().chain(odd).collect();
    let told = tell(&events, records, |_, _| panic!("nothing is sent"));
    assert_eq!(told, Ok(()));
}

#[test]
fn all_are_tried_and_what_did_not_work_is_said() {
    let events = ["db", "old", "web"].map(|vm| event(Some(vm)));
    let mut tried = 0;
    let told = tell(&events, records, |path, _| {
        tried += 1;
        match path {
            "/vms/db" => answers(500),
            "/vms/old" => Err(Error::Unreachable("refused".to_owned())),
            _ => answers(200),
        }
    });
    assert_eq!(tried, 3);
    let why = told.expect_err("two are not told");
    assert!(
        why.contains("db: router answered 500") && why.contains("old: "),
        "{why}"
    );
}

#[test]
fn without_a_router_it_says_how_to_bind_one_and_odd_records_are_told() {
    let told = tell(&[event(Some("web"))], records, |_, _| {
        Err(Error::NoTarget("router".to_owned()))
    });
    assert!(told.expect_err("no router").contains("bind = { router"));
    let mut sent = 0;
    let told = tell(
        &["odd", "web"].map(|vm| event(Some(vm))),
        records,
        |_, _| {
            sent += 1;
            answers(200)
        },
    );
    assert_eq!(sent, 1, "the other one is told of all the same");
    assert!(
        told.expect_err("odd")
            .contains("vms/odd/owner: /holder/host is no text")
    );
}
