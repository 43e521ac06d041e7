//! trial
use holdfast_extension::placement_bindings as b;
use b::exports::holdfast::placement::{filter, score};
struct A;
impl filter::Guest for A {
    fn filter(_vm: filter::Vm, c: Vec<filter::Candidate>) -> Result<Vec<filter::Verdict>, String> {
        Ok(c.iter().map(|_| filter::Verdict::May).collect())
    }
}
impl score::Guest for A {
    fn score(_vm: score::Vm, c: Vec<score::Candidate>) -> Result<Vec<f64>, String> {
        Ok(c.iter().map(|c| c.memory_free_mib as f64).collect())
    }
}
b::export_placing!(A with_types_in holdfast_extension::placement_bindings);
