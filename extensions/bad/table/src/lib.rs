//! For tests: answers by what it was told of all hosts, not of the candidates.

use holdfast_extension::placement::{Candidates, Host, Judgement, Rule, Vm};

struct Table(usize);

impl Rule for Table {
    fn prepare(hosts: Vec<Host>) -> Self {
        Self(hosts.len())
    }

    /// The later it was told of a host, and the more there are, the rather.
    fn judge(&self, _: &Vm, candidates: &Candidates) -> Result<Judgement, String> {
        let all = self.0 as f64;
        let score = |index: &u32| 100.0 * (1.0 + f64::from(*index)) / (all + 1.0);
        Ok(Judgement {
            refused: Vec::new(),
            scores: candidates.hosts.iter().map(score).collect(),
        })
    }
}

holdfast_extension::export_rule!(Table);
