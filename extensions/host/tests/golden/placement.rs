//! For placement.

use super::{common, written};
use common::{limits, question};
use holdfast_extension_host::journal::Level;
use holdfast_extension_host::{CallError, Loaded, Placement};
use holdfast_model::advice::{Question, Said, Score};
use std::sync::Arc;

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
