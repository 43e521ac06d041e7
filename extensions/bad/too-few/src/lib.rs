//! For tests: answers for one candidate less than it was asked about.

use holdfast_extension::placement::v0_1::{Candidate, Filter, Score, Verdict, Vm};

struct TooFew;

impl Score for TooFew {
    fn score(_: &Vm, candidates: &[Candidate]) -> Result<Vec<f64>, String> {
        Ok(candidates.iter().skip(1).map(|_| 50.0).collect())
    }
}

impl Filter for TooFew {
    fn filter(_: &Vm, candidates: &[Candidate]) -> Result<Vec<Verdict>, String> {
        Ok(candidates.iter().skip(1).map(|_| Verdict::May).collect())
    }
}

holdfast_extension::export_score!(TooFew);
holdfast_extension::export_filter!(TooFew);
