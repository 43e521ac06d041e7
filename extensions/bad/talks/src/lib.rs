//! For tests: gives an answer of 10 MB, and writes as much to its log.

use holdfast_extension::placement::v0_1::{Candidate, Score, Verdict, Vm};

fn long() -> String {
    "long ".repeat(2_000_000)
}

struct Talks;

impl Score for Talks {
    fn score(_: &Vm, _: &[Candidate]) -> Result<Vec<f64>, String> {
        holdfast_extension::log::info(&long());
        Err(long())
    }
}

holdfast_extension::export_score!(Talks);
holdfast_extension::filter!(|_vm, _host| Verdict::MayNot(long()));
