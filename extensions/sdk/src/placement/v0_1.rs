//! The first version of the contract: all that is known of each candidate comes with each question, once to be ruled
//! out and once to be ranked. It stays, and costs several times what the present one does.

use crate::bindings::{filtering, scoring};
use crate::{Shim, panics};

pub use filtering::holdfast::placement::types::{Candidate, Label, Peer, Purpose, Verdict, Vm};

/// Rules hosts out. Export the type with [`export_filter!`](crate::export_filter), or take
/// [`filter!`](crate::filter) if one host at a time is enough.
pub trait Filter {
    /// One verdict for each candidate, in their order. An error says why no answer is possible.
    fn filter(vm: &Vm, candidates: &[Candidate]) -> Result<Vec<Verdict>, String>;
}

/// Ranks hosts. Export the type with [`export_score!`](crate::export_score), or take
/// [`scorer!`](crate::scorer) if one host at a time is enough.
pub trait Score {
    /// A number from 0 to 100 for each candidate, in their order: the higher, the rather.
    fn score(vm: &Vm, candidates: &[Candidate]) -> Result<Vec<f64>, String>;
}

impl<T: Filter> filtering::exports::holdfast::placement::filter::Guest for Shim<T> {
    fn filter(vm: Vm, candidates: Vec<Candidate>) -> Result<Vec<Verdict>, String> {
        panics::begin();
        T::filter(&vm, &candidates)
    }
}

impl<T: Score> scoring::exports::holdfast::placement::score::Guest for Shim<T> {
    fn score(vm: Vm, candidates: Vec<Candidate>) -> Result<Vec<f64>, String> {
        panics::begin();
        T::score(&vm, &candidates)
    }
}

fn find<'a>(labels: &'a [Label], key: &str) -> Option<&'a str> {
    let label = labels.iter().find(|label| label.key == key)?;
    Some(&label.value)
}

impl Vm {
    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }
}

impl Candidate {
    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }
}

impl Peer {
    /// The value of one of its host's labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }
}

/// Exports a type that implements [`placement::Filter`](crate::placement::v0_1::Filter).
#[macro_export]
macro_rules! export_filter {
    ($type:ty) => {
        const _: () = {
            type Exported = $crate::Shim<$type>;
            $crate::bindings::filtering::export_filtering!(
                Exported with_types_in $crate::bindings::filtering
            );
        };
    };
}

/// Exports a type that implements [`placement::Score`](crate::placement::v0_1::Score).
#[macro_export]
macro_rules! export_score {
    ($type:ty) => {
        const _: () = {
            type Exported = $crate::Shim<$type>;
            $crate::bindings::scoring::export_scoring!(
                Exported with_types_in $crate::bindings::scoring
            );
        };
    };
}

/// The whole of an extension that looks at one host at a time and says whether it may take the machine: a
/// closure, or a function, of [`Vm`](crate::placement::v0_1::Vm) and [`Candidate`](crate::placement::v0_1::Candidate).
#[macro_export]
macro_rules! filter {
    ($one:expr) => {
        const _: () = {
            struct OneByOne;
            impl $crate::placement::v0_1::Filter for OneByOne {
                fn filter(
                    vm: &$crate::placement::v0_1::Vm,
                    candidates: &[$crate::placement::v0_1::Candidate],
                ) -> ::std::result::Result<
                    ::std::vec::Vec<$crate::placement::v0_1::Verdict>,
                    ::std::string::String,
                > {
                    let one: fn(
                        &$crate::placement::v0_1::Vm,
                        &$crate::placement::v0_1::Candidate,
                    ) -> $crate::placement::v0_1::Verdict = $one;
                    Ok(candidates.iter().map(|host| one(vm, host)).collect())
                }
            }
            $crate::export_filter!(OneByOne);
        };
    };
}

/// The whole of an extension that looks at one host at a time and gives it a number from 0 to 100: a closure, or
/// a function, of [`Vm`](crate::placement::v0_1::Vm) and [`Candidate`](crate::placement::v0_1::Candidate).
#[macro_export]
macro_rules! scorer {
    ($one:expr) => {
        const _: () = {
            struct OneByOne;
            impl $crate::placement::v0_1::Score for OneByOne {
                fn score(
                    vm: &$crate::placement::v0_1::Vm,
                    candidates: &[$crate::placement::v0_1::Candidate],
                ) -> ::std::result::Result<::std::vec::Vec<f64>, ::std::string::String> {
                    let one: fn(
                        &$crate::placement::v0_1::Vm,
                        &$crate::placement::v0_1::Candidate,
                    ) -> f64 = $one;
                    Ok(candidates.iter().map(|host| one(vm, host)).collect())
                }
            }
            $crate::export_score!(OneByOne);
        };
    };
}
