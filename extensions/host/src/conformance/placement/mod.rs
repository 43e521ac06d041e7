//! Placement: made-up clusters, asked of fresh instances, of a warm one, and again.

pub(super) mod chaos;
mod cost;
mod judge;
mod questions;
mod suite;

pub(super) use suite::run;
