//! For tests: refuses a host that it was not asked about.

use holdfast_extension::placement::{Candidates, Host, Judgement, Refusal, Rule, Vm};

struct Misplaces;

impl Rule for Misplaces {
    fn prepare(_: Vec<Host>) -> Self {
        Self
    }

    fn judge(&self, _: &Vm, candidates: &Candidates) -> Result<Judgement, String> {
        let behind = Refusal {
            candidate: candidates.len() as u32,
            why: "it is the one behind the last".to_owned(),
        };
        Ok(Judgement {
            refused: vec![behind],
            scores: Vec::new(),
        })
    }
}

holdfast_extension::export_rule!(Misplaces);
