//! What happens at a time: the entries of the event queue.

use super::net::Place;
use super::san::{IoCall, IoEnd};
use holdfast_model::id::{
    ErrandId, Generation, HostName, Incarnation, ManagerName, Revision, SiteName, VmName,
};
use holdfast_model::power::{PowerAsk, PowerState};
use holdfast_store::Txn;
use holdfast_store::guarded::Answer;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// A process of one life gets something.
    To(Client, Inbox),
    /// A call reaches the store.
    Arrive(Box<Call>),
    /// The store's members elect a leader.
    Elect,
    /// Watches say that they are complete.
    WatchesIdle,
    /// The guard of a host on one boot wakes.
    Guard(HostName, u32),
    /// The guard of a host on one boot starts again, as which of its processes.
    GuardStarts(HostName, u32, u32),
    /// The guard's signals to these VMs' domains take effect.
    Killed(HostName, u32, Vec<(VmName, u64)>),
    /// A call reaches the storage.
    IoArrives(IoCall),
    /// A call to the storage, of one process of a host's guard on one boot, has ended.
    IoEnds(HostName, (u32, u32), IoEnd),
    /// Something is done by one process of libvirtd, or inside a guest, on one boot of a host.
    Libvirt(HostName, (u32, u32), LibvirtEvent),
    /// An agent asked its libvirt to migrate a VM.
    MigrationAsked {
        /// The VM.
        vm: VmName,
        /// The source, on which boot.
        from: (HostName, u32),
        /// The destination.
        to: HostName,
        /// Stamped on the domain.
        generation: Generation,
    },
    /// An agent asked its libvirt to abort a migration.
    AbortAsked(HostName, VmName),
    /// A live migration goes on.
    Migration(u64, MigrationStep),
    /// A fencing device is asked, or goes on with it.
    Fence(Box<FenceCall>),
    /// A host has booted, for the n-th time.
    HostBooted(HostName, u32),
    /// A process starts that was down: its agent on that boot.
    AgentStarts(HostName, u32),
    /// A manager's machine is up, or its daemon was started again; of that life.
    ManagerStarts(ManagerName, u32),
    /// A voter is up.
    VoterStarts(SiteName),
    /// A manager, in one of its lives, asks hosts whether they are there.
    ProbeTurn(ManagerName, u32),
}

/// A process, and which life of it: what is meant for an earlier one is dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    /// A manager.
    Manager(ManagerName, u32),
    /// An agent.
    Agent(HostName, u32),
}

/// What a process gets.
#[derive(Debug, Clone)]
pub enum Inbox {
    /// Something has happened: look again.
    Wake,
    /// A time has come that it waited for.
    Timer,
    /// A call's answer.
    Reply(Tag, Answer),
    /// Everything up to this revision is visible to its watches.
    Watch(Revision),
    /// What a fencing device answered, and when it was asked for that.
    Power(Box<PowerAsk>, u64, PowerState),
    /// The same of one that was asked for a leader.
    Errand(ErrandId, PowerState),
}

/// What somebody has asked of a fencing device.
#[derive(Debug, Clone)]
pub struct FenceCall {
    /// Who asked.
    pub client: Client,
    /// What.
    pub ask: PowerAsk,
    /// For somebody else, who leads.
    pub errand: Option<ErrandId>,
    /// How far it is.
    pub stage: FenceStage,
    /// The device has answered in this stage.
    pub answered: bool,
    /// When it was asked how the power stands.
    pub read_at: u64,
}

/// How far a call to a fencing device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceStage {
    /// It is told to switch off.
    Asked,
    /// It has, or has not; it is asked how the power stands.
    Acted,
    /// It says so.
    Says,
}

/// What a call was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// The first read of the n-th prefix.
    List(usize),
    /// Leadership.
    Lead,
    /// A step of the plan, with its reason, and what a fencing device is asked once it is accepted.
    Step(String, Option<Box<PowerAsk>>),
    /// The session's record, before it is opened.
    ReadSession,
    /// The fence record of the life that is to go on.
    ReadFence,
    /// The session is opened again.
    Reopen,
    /// The session's heartbeat.
    Session,
    /// What was found in peers' slots.
    Saw,
    /// Who does not answer a manager's probes.
    Probes,
    /// A manager is there.
    Presence,
    /// A leader has somebody else ask a fencing device.
    Errand(ErrandCall),
    /// An agent tells what it has for that.
    Asks(AsksCall),
    /// The host's own spec.
    HostSpec,
    /// The reports of a round.
    Round,
    /// The re-check before a VM's vCPUs are set going.
    Check(VmName),
}

/// What a call about an errand is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrandCall {
    /// The leader writes the next of this ask.
    Send(u64),
    /// It reads what stands there instead.
    Read(u64),
    /// It removes one.
    Remove(ErrandId),
    /// Whom it is for takes it.
    Take(ErrandId),
    /// And says what became of it.
    Say(ErrandId),
}

/// What a call is for by which an agent tells what it has for asking fencing devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsksCall {
    /// What stands there is read.
    Read,
    /// It is written.
    Write,
}

/// A call to the store.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who asks.
    pub client: Client,
    /// From where.
    pub place: Place,
    /// For what.
    pub tag: Tag,
    /// What.
    pub request: Request,
    /// When it was sent.
    pub sent_at: u64,
    /// The client has given it up already.
    pub given_up: bool,
    /// Which voter it goes to.
    pub voter: SiteName,
}

/// What is asked.
#[derive(Debug, Clone)]
pub enum Request {
    /// A transaction.
    Txn(Txn),
    /// A listing.
    List(String),
}

impl Request {
    /// It may change something.
    pub fn writes(&self) -> bool {
        matches!(self, Self::Txn(_))
    }
}

/// Done by libvirt, or inside a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LibvirtEvent {
    /// A domain was to be created.
    Created {
        /// By which call.
        call: u64,
        /// The VM.
        vm: VmName,
        /// Stamped on it.
        generation: Generation,
        /// As well.
        incarnation: Option<Incarnation>,
    },
    /// A domain was to be resumed.
    Resumed {
        /// By which call.
        call: u64,
        /// The VM.
        vm: VmName,
        /// Which domain.
        domain: u64,
        /// Stamped on it from now on.
        generation: Generation,
    },
    /// A guest was asked to shut down, and does.
    ShutDown {
        /// The VM.
        vm: VmName,
        /// Which domain.
        domain: u64,
    },
    /// A domain was to be destroyed.
    Destroyed {
        /// By which call.
        call: u64,
        /// The VM.
        vm: VmName,
        /// Which domain.
        domain: u64,
    },
    /// A copy of a migration that broke is to be dropped.
    HalfDropped {
        /// The VM.
        vm: VmName,
        /// Which domain.
        domain: u64,
    },
    /// libvirtd was down and is there again.
    Started,
}

impl LibvirtEvent {
    /// It happens also if libvirtd died after it was asked for.
    pub fn outlives_libvirtd(&self) -> bool {
        matches!(self, Self::ShutDown { .. } | Self::HalfDropped { .. })
    }
}

/// The steps of a live migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationStep {
    /// The memory is copied; the source's vCPUs stop.
    Switch,
    /// The whole memory is at the destination; it says so.
    Finish,
    /// The source hears it, or does not.
    Confirm,
    /// One end notices that the other is gone.
    Broken,
}

/// Events by time; of one time, in the order in which they were put in.
#[derive(Debug, Default)]
pub struct Queue {
    /// When, the how-manieth, and which slot: what is sorted is small.
    order: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Event>>,
    free: Vec<usize>,
    next: u64,
}

impl Queue {
    /// Puts an event in.
    pub fn push(&mut self, at: u64, event: Event) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        self.slots[slot] = Some(event);
        self.order.push(Reverse((at, self.next, slot)));
        self.next += 1;
    }

    /// Takes the next one out if it is due by then.
    pub fn pop_until(&mut self, until: u64) -> Option<(u64, Event)> {
        let due = |next: &Reverse<(u64, u64, usize)>| next.0.0 <= until;
        self.order.peek().filter(|next| due(next))?;
        let Reverse((at, _, slot)) = self.order.pop()?;
        self.free.push(slot);
        Some((at, self.slots[slot].take()?))
    }
}
