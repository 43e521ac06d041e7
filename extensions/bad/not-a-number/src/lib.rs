//! For tests: gives what is no number from 0 to 100, another one for each candidate.

use holdfast_extension::placement::v0_1::{Candidate, Score, Vm};

const ODD: [f64; 5] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300];

struct Odd;

impl Score for Odd {
    fn score(_: &Vm, candidates: &[Candidate]) -> Result<Vec<f64>, String> {
        Ok(ODD.into_iter().cycle().take(candidates.len()).collect())
    }
}

holdfast_extension::export_score!(Odd);
