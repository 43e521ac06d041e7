//! The agent and the guard that run on every hypervisor
