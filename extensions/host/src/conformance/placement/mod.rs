//! Placement: made-up clusters, asked of fresh instances, of a warm one, and again.

pub(super) mod chaos;
mod cost;
mod judge;
mod labelled;
mod questions;
mod suite;

pub(super) use suite::run;

/// A question about so many hosts.
#[cfg(test)]
pub(crate) fn made_up(hosts: usize) -> holdfast_model::advice::Question {
    questions::question(hosts).expect("good names")
}
