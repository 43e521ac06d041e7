//! The protocol as a transition system: which step is possible when, and what must always hold.

use crate::bug::{Bug, Bugs};
use crate::state::{
    DEADLINE, DRIFT, Evidence, Fence, Host, KILL, Learned, Mail, Manager, Request, RequestKind,
    Session, Stage, Start, State, Taker, Vm, WAIT,
};
use crate::{clock, host, manager, taker};
use stateright::{Model, Property};

/// What protects the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A storage lease on storage with a quorum: it may run while either plane is valid.
    Quorum,
    /// The control plane only, on a host with a storage lease for other VMs.
    Plain,
    /// The control plane only, on a host without any storage lease.
    Alone,
}

/// Where a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Host 1 has read its grant and starts the VM.
    Granted,
    /// The VM runs on host 1.
    Running,
}

/// A bounded world of the protocol.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// What is left out of it.
    pub bugs: Bugs,
    /// What protects the VM.
    pub class: Class,
    /// Where a run begins.
    pub begin: Begin,
    /// 1 or 2.
    pub managers: usize,
    /// Host 2 may ask host 1, through the storage, to release.
    pub mail: bool,
    /// A heartbeat that host 1 gave up may land later.
    pub ghosts: bool,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Time passes everywhere.
    Tick,
    /// Time passes everywhere but on host 1's clock.
    TickNotOnHost,
    /// Host 1, agent: a renewal is sent.
    SendRenewal,
    /// Host 1, agent: the session is to be opened again.
    SendReopen,
    /// Host 1, agent: nothing is left of the life that is over, and the next one begins.
    BeginNextLife,
    /// etcd has its request, and applies or refuses it.
    RequestArrives,
    /// Host 1, agent: its request is acknowledged.
    RequestAcked,
    /// The request, or its acknowledgement, is lost.
    RequestLost,
    /// Host 1, agent: the VM's sector is read and a claim sent.
    Claim,
    /// The claim is written.
    ClaimLands,
    /// Host 1, agent: the domain is created paused and the guard watches it.
    Create,
    /// Host 1, agent: owner and session are read again.
    Recheck,
    /// Host 1, agent: the domain is resumed.
    Resume,
    /// Host 1, guard: a heartbeat is sent.
    SendHeartbeat,
    /// It stands in the sector.
    HeartbeatLands,
    /// Host 1, guard: it is acknowledged.
    HeartbeatAcked,
    /// It, or its acknowledgement, is lost.
    HeartbeatLost,
    /// Host 1, guard: it is given up, and may land later.
    HeartbeatGivenUp,
    /// One that was given up lands.
    GhostLands,
    /// Host 1, guard: the mailbox is read.
    ReadMail,
    /// Host 1: a process that was killed has exited.
    Exit,
    /// A manager sees the session's last revision.
    Look(usize),
    /// The other manager takes the lead.
    LeaderChange,
    /// A leader sends the closing of the control plane.
    CloseControl(usize),
    /// A leader sends the final record.
    Close(usize),
    /// A leader sends the grant to host 2.
    Grant(usize),
    /// etcd has a manager's transaction, and applies or refuses it.
    TxnArrives(usize),
    /// It is lost.
    TxnLost(usize),
    /// Host 2 reads host 1's heartbeat, and it is a new one.
    ReadHeartbeat,
    /// Host 2 learns that the control plane is closed.
    LearnClosed,
    /// Host 2 finds: unchanged for the whole wait, up to a write of its own before this read.
    FindLapsed,
    /// Host 2 finds: released.
    FindReleased,
    /// Host 2 asks for the release.
    SendMail,
    /// Host 2 reads the heartbeat again and claims the VM's sector.
    TakerClaim,
    /// Host 2 starts the VM.
    TakerStart,
}

impl Action {
    /// Taken without host 1: what goes on when it is never heard of again.
    pub fn is_without_host_1(self) -> bool {
        matches!(
            self,
            Self::Tick
                | Self::Look(_)
                | Self::CloseControl(_)
                | Self::Close(_)
                | Self::Grant(_)
                | Self::TxnArrives(_)
                | Self::ReadHeartbeat
                | Self::LearnClosed
                | Self::FindLapsed
                | Self::FindReleased
                | Self::TakerClaim
                | Self::TakerStart
        )
    }
}

/// All steps, for either manager.
const ACTIONS: [Action; 35] = {
    use Action::*;
    [
        Tick,
        TickNotOnHost,
        SendRenewal,
        SendReopen,
        BeginNextLife,
        RequestArrives,
        RequestAcked,
        RequestLost,
        Claim,
        ClaimLands,
        Create,
        Recheck,
        Resume,
        SendHeartbeat,
        HeartbeatLands,
        HeartbeatAcked,
        HeartbeatLost,
        HeartbeatGivenUp,
        GhostLands,
        ReadMail,
        Exit,
        LeaderChange,
        ReadHeartbeat,
        LearnClosed,
        FindLapsed,
        FindReleased,
        SendMail,
        TakerClaim,
        TakerStart,
        Look(0),
        CloseControl(0),
        Close(0),
        Grant(0),
        TxnArrives(0),
        TxnLost(0),
    ]
};

/// Those of the second manager.
const SECOND: [Action; 6] = {
    use Action::*;
    [
        Look(1),
        CloseControl(1),
        Close(1),
        Grant(1),
        TxnArrives(1),
        TxnLost(1),
    ]
};

impl Protocol {
    /// The taker's wait.
    pub(crate) fn wait(&self) -> u8 {
        match self.bugs.has(Bug::SkipKillBound) {
            true => WAIT - KILL,
            false => WAIT,
        }
    }

    /// The runner's rule.
    pub(crate) fn may_run(&self, host: &Host) -> bool {
        let either = host.control < DEADLINE || host.storage < DEADLINE;
        match self.class {
            Class::Plain if self.bugs.has(Bug::PlainTreatedAsQuorum) => either,
            Class::Plain | Class::Alone => host.control < DEADLINE,
            Class::Quorum => either,
        }
    }

    /// Takes out of a state what nothing can depend on any more, so that states that differ only in
    /// it are one.
    fn settle(&self, s: &mut State) {
        manager::settle(self, s);
        host::settle(self, s);
        taker::settle(self, s);
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let running = self.begin == Begin::Running;
        let manager = Manager {
            current: true,
            silence: 0,
            txn: None,
        };
        let mut state = State {
            session: Session::Open,
            fence: Fence::Absent,
            granted: false,
            released: false,
            claim: u8::from(running),
            mail: Mail::Empty,
            host: Host {
                control: 0,
                storage: if self.class == Class::Alone {
                    DEADLINE
                } else {
                    0
                },
                over: false,
                request: None,
                heartbeat: None,
                ghost: false,
                vm: if running { Vm::Running } else { Vm::Granted },
                checked_early: false,
            },
            managers: [manager; 2],
            leader: 0,
            taker: Taker {
                current: false,
                since: 0,
                learned: Learned::Nothing,
                finding: None,
                start: Start::Idle,
            },
            drift: DRIFT,
        };
        self.settle(&mut state);
        vec![state]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend(ACTIONS);
        if self.managers > 1 {
            actions.extend(SECOND);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = *last;
        use Action::*;
        match action {
            Tick => clock::tick(self, &mut next, true),
            TickNotOnHost => clock::tick_not_on_host(self, &mut next),
            SendRenewal | SendReopen | BeginNextLife | RequestArrives | RequestAcked
            | RequestLost => host::session::step(self, &mut next, action),
            Claim | ClaimLands | Create | Recheck | Resume => {
                host::start::step(self, &mut next, action)
            }
            SendHeartbeat | HeartbeatLands | HeartbeatAcked | HeartbeatLost | HeartbeatGivenUp
            | GhostLands | ReadMail | Exit => host::guard::step(self, &mut next, action),
            Look(_) | LeaderChange | CloseControl(_) | Close(_) | Grant(_) | TxnArrives(_)
            | TxnLost(_) => manager::step(self, &mut next, action),
            ReadHeartbeat | LearnClosed | FindLapsed | FindReleased | SendMail | TakerClaim
            | TakerStart => taker::step(self, &mut next, action),
        }?;
        self.settle(&mut next);
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(AT_MOST_ONE, |_, s: &State| {
                !(s.host.vm.runs() && s.taker.start == Start::Running)
            }),
            Property::always(GRANTED, |_, s: &State| {
                s.taker.start == Start::Idle || s.granted
            }),
            Property::always(EVIDENCE, |model: &Self, s: &State| {
                let closed = matches!(s.fence, Fence::Closed(_));
                s.taker.start == Start::Idle || closed || model.class == Class::Plain
            }),
            Property::sometimes(FAILED_OVER, |_, s: &State| {
                s.taker.start == Start::Running && s.fence != Fence::Closed(Evidence::Released)
            }),
            Property::sometimes(RELEASED, |_, s: &State| {
                s.taker.start == Start::Running && s.fence == Fence::Closed(Evidence::Released)
            }),
            Property::sometimes(REOPENED, |_, s: &State| {
                let reopens =
                    |it: Request| it.kind == RequestKind::Reopen && it.stage == Stage::Applied;
                s.host.vm == Vm::Running && s.host.request.is_some_and(reopens)
            }),
        ]
    }
}

/// The VM runs at most once.
pub const AT_MOST_ONE: &str = "at most one running copy";
/// A copy that runs was granted.
pub const GRANTED: &str = "a copy that runs was granted";
/// No start without closed evidence.
pub const EVIDENCE: &str = "no start without closed evidence";
/// A host is lost and its VM runs on the other one.
pub const FAILED_OVER: &str = "failover happens";
/// A host releases its VM and it runs on the other one.
pub const RELEASED: &str = "released and restarted";
/// A VM ran on through a loss of the control plane, and its host is back.
pub const REOPENED: &str = "reopened after ControlClosed";
