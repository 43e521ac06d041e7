//! How long things take in the simulation, in milliseconds. Orders of magnitude from the lab; no
//! decision depends on them, only the times in the golden logs.

/// One way, within a site.
pub const NEAR_MS: u64 = 1;
/// One way, between sites.
pub const FAR_MS: u64 = 4;
/// A voter majority's fsync.
pub const COMMIT_MS: u64 = 4;
/// A client gives up on a call.
pub const CALL_TIMEOUT_MS: u64 = 1_500;
/// The store's members notice that their leader is gone and elect another.
pub const STORE_ELECTION_MS: u64 = 1_200;
/// A quiet watch says that it is complete.
pub const WATCH_IDLE_MS: u64 = 500;

/// libvirt creates a domain.
pub const CREATE_MS: u64 = 400;
/// libvirt resumes a domain.
pub const RESUME_MS: u64 = 20;
/// libvirt destroys a domain.
pub const DESTROY_MS: u64 = 100;
/// An agent gives a list of all domains up after this. The production's bounds of calls.
pub const LIST_BOUND_MS: u64 = 6_000;
/// A call that creates a domain.
pub const CREATE_BOUND_MS: u64 = 90_000;
/// One that destroys it.
pub const DESTROY_BOUND_MS: u64 = 60_000;
/// One that resumes it.
pub const SHORT_BOUND_MS: u64 = 15_000;
/// A guest shuts down when asked.
pub const SHUTDOWN_MS: u64 = 2_000;
/// The guard's signals take effect.
pub const KILL_MS: u64 = 50;

/// Copying memory while the guest runs.
pub const COPY_MS: u64 = 3_000;
/// From stopping the source's vCPUs to the whole memory being at the destination.
pub const SWITCH_MS: u64 = 60;
/// libvirt notices that a peer is gone.
pub const KEEPALIVE_MS: u64 = 5_000;

/// From power to a running agent.
pub const HOST_BOOT_MS: u64 = 20_000;
/// From power to a running manager or voter.
pub const SERVER_BOOT_MS: u64 = 5_000;
/// The service manager starts a daemon again that died.
pub const RESTART_MS: u64 = 1_000;

/// A start or a resume is begun only if the deadline is at least this far away.
pub const START_MARGIN_MS: u64 = 1_000;
/// An agent that cannot open its session yet looks again after this.
pub const OPEN_RETRY_MS: u64 = 500;

/// A manager says this often that it is there.
pub const PRESENCE_MS: u64 = 2_000;
/// Steps of a plan that a manager has under way at a time.
pub const STEPS_UNDER_WAY: usize = 4;
/// A manager of whose plan nothing was accepted plans again after this.
pub const PLAN_PAUSE_MS: u64 = 50;
