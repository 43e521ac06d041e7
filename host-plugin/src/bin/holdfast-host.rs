//! Stub, replaced by the daemon.
fn main() {}
