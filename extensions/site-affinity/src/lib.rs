//! Keeps the machines of a group apart: over racks (the hosts' label `rack`), then over hosts. Prefers a
//! machine's own site, and among equals the host with more memory left.
//!
//! What is only preferred is a matter of `rule/score`. A machine that must not share at all has the label
//! `spread` = `host` or `spread` = `rack`: then it rather waits than to go where a peer is, see `rule/spread`.

#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, unused_imports))]
mod rule;

// Only there: the names that a component exports are none that a linker of this machine takes.
#[cfg(target_arch = "wasm32")]
holdfast_extension::export_rule!(rule::Affinity);
