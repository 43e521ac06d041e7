//! For tests: refuses every second host without a word.

use holdfast_extension::placement::v0_1::{Candidate, Filter, Verdict, Vm};

struct Mute;

impl Filter for Mute {
    fn filter(_: &Vm, candidates: &[Candidate]) -> Result<Vec<Verdict>, String> {
        let verdict = |(n, _)| match n % 2 {
            0 => Verdict::May,
            _ => Verdict::MayNot(String::new()),
        };
        Ok(candidates.iter().enumerate().map(verdict).collect())
    }
}

holdfast_extension::export_filter!(Mute);
