//! Seeded bugs: each takes one rule out of the protocol, so that a check can show what it is for.

/// One rule left out, or one mistake made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// The runner counts its deadline from when the acknowledgement came, not from the sending.
    DeadlineFromAck,
    /// The taker's wait leaves out how long a kill may take.
    SkipKillBound,
    /// The guard forgets that both planes had lapsed once one of them is back.
    NoLatch,
    /// The guard lets a VM on plain storage run while either plane is valid.
    PlainTreatedAsQuorum,
    /// The control plane is closed without comparing the session's revision.
    CloseWithoutRevision,
    /// A VM is granted after a silence that no transaction has closed.
    SilenceIsEvidence,
    /// The control plane's closing alone counts as evidence for a VM with a storage lease.
    ControlIsEnough,
    /// The observer trusts a read that no write of its own preceded.
    StaleReadTrusted,
    /// The observer's unchanged time may end before it learned of the closing.
    EndBeforeClosing,
    /// A finding made for an earlier closing of the control plane counts for a later one.
    FindingOfEarlierClosing,
    /// The final record is written without comparing the session's revision.
    FinalWithoutSessionCompare,
    /// The final record is written without comparing the fence record's revision.
    FinalWithoutFenceCompare,
    /// The taker's host does not read the heartbeat again before it starts.
    NoReread,
    /// A final record whose counter has changed since is never renewed.
    CounterNamedOnce,
    /// A host re-opens its session without comparing the fence record.
    ReopenWithoutFenceCompare,
    /// A host that re-opens its session leaves the fence record where it is.
    ReopenLeavesFence,
    /// The guard says "released" when it has sent the kill, not when the process is gone.
    ReleasedBeforeGone,
    /// A host begins its next life although something of the last one is left.
    NewLifeNotEmpty,
    /// The agent resumes without having read the owner record again.
    ResumeWithoutRecheck,
    /// The agent re-checks before the guard watches the process.
    RecheckBeforeWatch,
    /// A grant on evidence that can be taken back does not compare it.
    GrantWithoutFenceCompare,
    /// Writes do not compare the leader's epoch.
    NoEpochGuard,
}

/// A set of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bugs(u32);

impl Bugs {
    /// The protocol as it should be.
    pub const NONE: Self = Self(0);

    /// These, at once.
    pub fn of(bugs: &[Bug]) -> Self {
        Self(bugs.iter().fold(0, |set, bug| set | 1 << *bug as u32))
    }

    /// Whether it is one of them.
    pub fn has(self, bug: Bug) -> bool {
        self.0 & (1 << bug as u32) != 0
    }
}
