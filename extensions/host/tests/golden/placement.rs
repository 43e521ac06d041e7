//! For placement.

use super::{common, written};
use common::{limits, question};
use holdfast_extension_host::journal::Level;
use holdfast_extension_host::{CallError, Loaded, Placement};
use holdfast_model::advice::{Question, Said, Score};
use std::sync::Arc;
use std::time::Duration;

pub fn placement_0_1_0(loaded: &Loaded) {
    let placement = Placement::new(loaded, limits(), true).expect("it fits");
    let mut asked = question(3);
    for (candidate, free_mib) in asked.candidates.iter_mut().zip([32_768, 16_384, 49_152]) {
        candidate.memory_free_mib = free_mib;
    }
    let labels = common::labels(&[("rack", "r1"), ("no-go", "it is being rebuilt")]);
    asked.candidates[1].labels = Arc::new(labels);
    let asked = common::with_peer(asked, 2);
    let said = |question: &Question| placement.ask(question).said;
    let refusals = vec![None, Some("it is being rebuilt".to_owned()), None];
    let answer = |scores: [f64; 3]| {
        let scores = scores.map(|score| Score::new(score).expect("a score"));
        Ok(Said::Answer {
            refusals: refusals.clone(),
            scores: scores.into(),
        })
    };
    // 50, 25 and 75 % are free, with 0, 1 and 2 machines.
    assert_eq!(said(&asked), answer([50.0, 24.0, 73.0]));
    let mut live = asked.clone();
    live.vm.live = true;
    live.vm.last_host = Some("h002".parse().expect("a name"));
    assert_eq!(said(&live), answer([25.0, 12.0, 36.5]));
    let none = CallError::Refused("there is no candidate".to_owned());
    assert_eq!(said(&question(0)), Err(none));
    let about = (Level::Info, "web-1".to_owned());
    assert_eq!(written(placement.journal()), vec![about; 3]);
}

pub fn placement_0_2_0(loaded: &Loaded) {
    let placement = Placement::new(loaded, limits(), true).expect("it fits");
    let mut asked = question(3);
    for (candidate, free_mib) in asked.candidates.iter_mut().zip([32_768, 16_384, 49_152]) {
        candidate.memory_free_mib = free_mib;
    }
    let labels = common::labels(&[("rack", "r1"), ("no-go", "it is being rebuilt")]);
    asked.candidates[1].labels = Arc::new(labels);
    let said = |question: &Question| placement.ask(question);
    let answer = |refusals: &[Option<&str>], scores: &[f64]| {
        let words = |refusal: &Option<&str>| refusal.map(str::to_owned);
        let score = |score: &f64| Score::new(*score).expect("a score");
        Ok(Said::Answer {
            refusals: refusals.iter().map(words).collect(),
            scores: scores.iter().map(score).collect(),
        })
    };
    let rebuilt = Some("it is being rebuilt");
    // 50, 25 and 75 % are free, with 0, 1 and 2 machines.
    let first = said(&asked);
    assert_eq!(
        first.said,
        answer(&[None, rebuilt, None], &[50.0, 24.0, 73.0])
    );
    assert!(first.cost.told_cpu > Duration::ZERO, "it was told of hosts");
    // A peer is there, and hosts are told only once.
    let mut live = common::with_peer(asked.clone(), 2);
    live.vm.live = true;
    live.vm.last_host = Some("h002".parse().expect("a name"));
    let second = said(&live);
    let occupied = answer(&[None, rebuilt, Some("web-0")], &[25.0, 12.0, 36.5]);
    assert_eq!(second.said, occupied);
    assert_eq!(second.cost.told_cpu, Duration::ZERO);
    // A part of them, in another order.
    let mut some = live.clone();
    some.candidates = vec![live.candidates[2].clone(), live.candidates[0].clone()];
    assert_eq!(
        said(&some).said,
        answer(&[Some("web-0"), None], &[36.5, 25.0])
    );
    // None is refused: the list is empty.
    let mut free = asked.clone();
    free.candidates.remove(1);
    assert_eq!(said(&free).said, answer(&[], &[50.0, 73.0]));
    // A peer is on a host that was not told yet; and one has another label now.
    let mut more = common::with_peer(question(5), 4);
    more.candidates.truncate(3);
    more.candidates
        .iter_mut()
        .for_each(|host| host.memory_free_mib = 32_768);
    more.candidates[0].labels = asked.candidates[1].labels.clone();
    let third = said(&more);
    assert_eq!(
        third.said,
        answer(&[rebuilt, None, None], &[50.0, 49.0, 48.0])
    );
    assert!(
        third.cost.told_cpu > Duration::ZERO,
        "it was told of the other host"
    );
    // What makes no sense is no answer, and the next question is answered.
    let mut empty = asked.clone();
    (
        empty.candidates[0].memory_mib,
        empty.candidates[0].memory_free_mib,
    ) = (0, 0);
    let nonsense = said(&empty).said.expect_err("no number").to_string();
    assert_eq!(
        nonsense,
        "its answer makes no sense: NaN for h000 is not from 0 to 100"
    );
    let none = CallError::Refused("there is no candidate".to_owned());
    assert_eq!(said(&question(0)).said, Err(none));
    assert_eq!(said(&live).said, occupied);
    let about = (Level::Info, "web-1".to_owned());
    assert_eq!(written(placement.journal()), vec![about; 8]);
}
