//! The whole agent against a store and a hypervisor in memory, with a real guard.

mod bench;
mod lives;
mod moves;
mod probes;
mod storage;
mod vms;
