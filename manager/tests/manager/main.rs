//! The managers, their API and their command line, over real TCP on loopback. One program: each links the whole extension
//! host, and waits more than it computes.

mod support;

mod agent_errands;
mod api;
mod api_refused;
mod cli;
mod courier;
mod daemon;
mod errands;
mod ext_cli;
mod ext_decisions;
mod ext_scaffolds;
mod ext_trials;
mod ext_trust;
mod ext_versions;
mod extensions;
mod fence;
mod lease_cli;
mod metrics;
mod policy_unread;
mod probes;
mod status;
mod tell;
