//! Natively, with webhooks that are functions.

use super::*;
use holdfast_extension::http::{Error, Response};

fn event(kind: &str) -> Event {
    Event {
        at_unix_ms: 86_400_000 + 45_296_000,
        actor: "m-a".to_owned(),
        kind: kind.to_owned(),
        host: Some("b2".to_owned()),
        site: Some("b".to_owned()),
        vm: None,
        text: "its lease has expired".to_owned(),
    }
}

fn answers(status: u16) -> Result<Response, Error> {
    Ok(Response {
        status,
        body: String::new(),
    })
}

/// What each role was sent, and what came of it all.
fn told(
    events: &[Event],
    answer: impl Fn(&str) -> Result<Response, Error>,
) -> (Vec<(String, String)>, Result<(), String>) {
    let mut sent = Vec::new();
    let result = tell(events, |role, body| {
        sent.push((role.to_owned(), body.to_owned()));
        answer(role)
    });
    (sent, result)
}

#[test]
fn a_webhook_is_sent_words_and_events() {
    let events = [event("host-fenced")];
    let (sent, result) = told(&events, |_| answers(204));
    assert_eq!(result, Ok(()));
    assert_eq!(sent.len(), 3);
    let wanted = concat!(
        r#"{"text":"‼ 12:34:56Z host-fenced b2 (site b): its lease has expired","events":[{"at_unix_ms":131696000,"#,
        r#""kind":"host-fenced","actor":"m-a","host":"b2","site":"b","text":"its lease has expired"}]}"#
    );
    assert_eq!(sent[1], ("webhook".to_owned(), wanted.to_owned()));
}

#[test]
fn each_role_hears_what_matters_to_it() {
    let heard = |kind: &str| {
        let (sent, _) = told(&[event(kind)], |_| answers(200));
        sent.into_iter().map(|(role, _)| role).collect::<Vec<_>>()
    };
    assert_eq!(
        heard("self-fenced"),
        ["webhook-critical", "webhook", "webhook-all"]
    );
    assert_eq!(heard("vm-granted"), ["webhook", "webhook-all"]);
    assert_eq!(heard("what-comes-later"), ["webhook", "webhook-all"]);
    assert_eq!(heard("note"), ["webhook-all"]);
    assert_eq!(told(&[], |_| answers(200)), (Vec::new(), Ok(())));
}

#[test]
fn what_went_wrong_is_said_and_the_others_are_told_all_the_same() {
    let events = [event("host-fenced")];
    let unbound = || Err(Error::NoTarget("no such target".to_owned()));
    let (sent, result) = told(&events, |role| match role {
        "webhook-critical" => answers(500),
        "webhook" => Err(Error::Unanswered("no answer in time".to_owned())),
        _ => answers(200),
    });
    assert_eq!(sent.len(), 3);
    let wanted = "webhook-critical answered 500; webhook: no answer: no answer in time";
    assert_eq!(result, Err(wanted.to_owned()));
    let (_, result) = told(&events, |role| match role {
        "webhook" => answers(200),
        _ => unbound(),
    });
    assert_eq!(result, Ok(()), "one is enough");
    let (_, result) = told(&events, |_| unbound());
    assert!(result.is_err_and(|why| why.contains("no webhook is bound")));
    let (_, result) = told(&[event("note")], |_| unbound());
    assert_eq!(result, Ok(()), "nobody wants to hear that");
}

#[test]
fn a_message_is_bounded_and_words_stay_words() {
    let mut odd = event("host-fenced");
    odd.text = format!("a \"b\" \\ \n\u{1b}[31m ü {}", "x".repeat(100_000));
    let events: Vec<Event> = (0..50).map(|_| odd.clone()).collect();
    let (sent, _) = told(&events, |_| answers(200));
    let body = &sent[0].1;
    assert!(body.len() < 200_000, "{}", body.len());
    assert!(!body.contains(|c: char| c < ' '), "a raw control character");
    assert!(body.contains("… and 30 more"));
    assert_eq!(body.matches("\"kind\":").count(), 50);
}
