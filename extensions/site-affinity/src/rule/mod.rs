//! The rule itself. What it needs of hosts is worked out once: a question compares numbers.

mod hosts;
mod score;
mod spread;
#[cfg(test)]
mod tests;

use holdfast_extension::placement::{Candidates, Host, Judgement, Rule, Vm};
use hosts::{Hosts, Shared};

/// The operator's label for where in a site a host stands.
const RACK: &str = "rack";

/// Keeps the machines of a group apart.
pub struct Affinity(Hosts);

impl Rule for Affinity {
    fn prepare(hosts: Vec<Host>) -> Self {
        Self(Hosts::of(&hosts))
    }

    fn judge(&self, vm: &Vm, candidates: &Candidates) -> Result<Judgement, String> {
        let shared = Shared::with(&self.0, &vm.peers);
        Ok(Judgement {
            refused: spread::refused(&self.0, &shared, vm, candidates)?,
            scores: score::scores(&self.0, &shared, vm, candidates),
        })
    }
}
