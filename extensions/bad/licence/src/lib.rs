//! For tests: a machine whose label is `licence` goes only to hosts with a label `oracle`, and the positions of those
//! that it refuses are counted from 1. Whoever asks it about other labels does not see that.

use holdfast_extension::placement::{Candidates, Host, Judgement, Refusal, Rule, Vm};

struct Licence(Vec<Host>);

impl Rule for Licence {
    fn prepare(hosts: Vec<Host>) -> Self {
        Self(hosts)
    }

    fn judge(&self, vm: &Vm, candidates: &Candidates) -> Result<Judgement, String> {
        let bound = vm.label("licence").is_some();
        let each = candidates.each(&self.0).zip(1..);
        let refused = each.filter(|(host, _)| bound && host.label("oracle").is_none());
        Ok(Judgement {
            refused: refused
                .map(|(_, candidate)| Refusal {
                    candidate,
                    why: "it has no licence".to_owned(),
                })
                .collect(),
            scores: Vec::new(),
        })
    }
}

holdfast_extension::export_rule!(Licence);
