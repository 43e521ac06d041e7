//! One live migration as a model of its own: two copies of a VM's memory, and a last message that may
//! be lost.
//!
//! ```text
//! source       Running -> Sending -> HandedOver (paused, all memory sent) -> Left
//!                 ^──────────┴──────────┘ on an error, by libvirt or by the agent
//! destination  Nothing -> Receiving -> Whole (paused) -> Running
//!                 └───────────┴──────────┴──> Dropped
//! owner        Source -> Source, incoming -> Destination | Source | Elsewhere (from the disk)
//! ```
//! There is no time in it: that a host is closed by evidence only after what it ran is gone is what
//! the other model shows. One attempt; either host may be lost once.

mod state;

pub use state::{Destination, Message, MoveState, Owner, Said, Source};

use stateright::{Model, Property};

/// One rule of a migration left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveBug {
    /// The rules as they should be.
    None,
    /// The destination is not told to stay paused.
    NotPaused,
    /// The source says "migrated away" when the call failed and its domain stands paused.
    AwayUnproven,
    /// A source that is gone is as good as one that said "migrated away".
    GoneIsEnough,
    /// The owner moves on the source's word, without the destination's that it has the whole copy.
    CommitUnseen,
    /// The source goes on before the destination has given up.
    SourceFirst,
    /// The VM is started elsewhere while a destination may still hold a copy.
    IncomingForgotten,
    /// The move is cleared when the abort is written, not when the destination has obeyed it.
    ClearOnAbort,
}

/// One step of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Leader: the destination may receive it.
    SetIncoming,
    /// Destination: it listens.
    Receive,
    /// Source: the call is made.
    Send,
    /// QEMU: the last of the memory is sent and the source stands still.
    HandOver,
    /// The transfer breaks off.
    TransferFails,
    /// The last message arrives: the source's QEMU exits.
    MessageArrives,
    /// It is lost.
    MessageLost,
    /// libvirt at the source takes that for a failure and lets the domain run on.
    LibvirtResumes,
    /// Source: reports "migrated away".
    SourceSaysAway,
    /// Source: reports that it failed.
    SourceSaysFailed,
    /// Source: lets its paused domain run on.
    SourceResumes,
    /// Destination: reports that it is here, whole.
    DestinationSaysWhole,
    /// Destination: gives it up.
    DestinationDrops,
    /// Destination: reports that.
    DestinationSaysNotHere,
    /// Destination: resumes the copy.
    DestinationResumes,
    /// Destination: is the owner, has no copy, starts from the disk.
    DestinationStarts,
    /// The source's host is lost, and what it ran is gone.
    SourceDies,
    /// Leader: closes the source's incarnation by evidence.
    CloseSource,
    /// The destination's host is lost, and what it ran is gone.
    DestinationDies,
    /// Leader: closes the destination's incarnation by evidence.
    CloseDestination,
    /// Leader: the move is given up.
    Abort,
    /// Leader: the destination is the owner.
    Commit,
    /// Leader: there is no destination any more.
    Clear,
    /// Leader: the VM is started on a third host.
    Recover,
}

impl Step {
    /// A fault, not a step of anybody's.
    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Self::MessageLost | Self::TransferFails | Self::SourceDies | Self::DestinationDies
        )
    }
}

/// The model of a move.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// What is left out of it.
    pub bug: MoveBug,
}

impl Migration {
    fn leader(&self, s: &mut MoveState, step: Step) -> Option<()> {
        let Owner::Source { incoming, abort } = s.owner else {
            // The destination holds it: recovery as for any other VM.
            let lost = s.owner == Owner::Destination && s.destination_closed;
            (lost && step == Step::Recover).then_some(())?;
            return self.recover(s);
        };
        let source_out = s.source_closed || s.source_said == Said::Done;
        let destination_out = s.destination_closed
            || s.destination_said == Said::Failed
            || (abort && self.bug == MoveBug::ClearOnAbort);
        let word = match self.bug {
            MoveBug::GoneIsEnough => source_out,
            _ => s.source_said == Said::Done,
        };
        let whole = s.destination_said == Said::Done || self.bug == MoveBug::CommitUnseen;
        let settled = !incoming || self.bug == MoveBug::IncomingForgotten;
        match step {
            Step::SetIncoming if !incoming && s.message == Message::Unsent => {
                let untried = s.source == Source::Running
                    && s.source_said == Said::Nothing
                    && s.destination == Destination::Nothing;
                untried.then_some(())?;
                s.owner = Owner::Source {
                    incoming: true,
                    abort: false,
                };
            }
            Step::Abort if incoming && !abort => {
                s.owner = Owner::Source {
                    incoming,
                    abort: true,
                };
            }
            Step::Commit if incoming && word && whole && !s.destination_closed => {
                s.owner = Owner::Destination;
            }
            Step::Clear if incoming && destination_out => {
                s.owner = Owner::Source {
                    incoming: false,
                    abort: false,
                };
            }
            Step::Recover if settled && source_out => return self.recover(s),
            _ => return None,
        }
        Some(())
    }

    fn recover(&self, s: &mut MoveState) -> Option<()> {
        s.owner = Owner::Elsewhere;
        s.elsewhere = true;
        s.ran_on = true;
        Some(())
    }

    fn source(&self, s: &mut MoveState, step: Step) -> Option<()> {
        let gave_up = s.owner
            == Owner::Source {
                incoming: false,
                abort: false,
            };
        let stands = s.source == Source::HandedOver && s.message == Message::Over;
        match step {
            Step::Send => {
                let asked = matches!(s.owner, Owner::Source { incoming: true, .. });
                let may = asked && s.source_said == Said::Nothing && s.message == Message::Unsent;
                (may && s.source == Source::Running).then_some(())?;
                s.source = Source::Sending;
            }
            Step::SourceSaysAway => {
                let unproven = stands && self.bug == MoveBug::AwayUnproven;
                let silent = s.source_said == Said::Nothing;
                ((s.source == Source::Left || unproven) && silent).then_some(())?;
                s.source_said = Said::Done;
            }
            Step::SourceSaysFailed => {
                let asked = matches!(s.owner, Owner::Source { incoming: true, .. });
                let ended = s.source == Source::Running || stands;
                (asked && ended && s.source_said == Said::Nothing).then_some(())?;
                s.source_said = Said::Failed;
            }
            _ => {
                let may = gave_up || self.bug == MoveBug::SourceFirst;
                (stands && may).then_some(())?;
                s.source = Source::Running;
                s.ran_on = true;
            }
        }
        Some(())
    }

    fn destination(&self, s: &mut MoveState, step: Step) -> Option<()> {
        use Destination::{Dropped, Nothing, Receiving, Running, Started, Whole};
        let told_to_drop = matches!(
            s.owner,
            Owner::Source { abort: true, .. } | Owner::Elsewhere
        );
        let owns = s.owner == Owner::Destination;
        let asked = s.owner
            == Owner::Source {
                incoming: true,
                abort: false,
            };
        s.destination = match (step, s.destination) {
            (Step::Receive, Nothing) if asked => Receiving,
            (Step::DestinationDrops, Nothing | Receiving | Whole) if told_to_drop => Dropped,
            (Step::DestinationResumes, Whole) if owns || self.bug == MoveBug::NotPaused => Running,
            (Step::DestinationStarts, Nothing | Receiving | Dropped) if owns => Started,
            (Step::DestinationSaysWhole, Whole) if s.destination_said == Said::Nothing => {
                s.destination_said = Said::Done;
                Whole
            }
            (Step::DestinationSaysNotHere, Dropped) if s.destination_said != Said::Failed => {
                s.destination_said = Said::Failed;
                Dropped
            }
            _ => return None,
        };
        Some(())
    }

    /// QEMU, libvirt, the network and the hosts.
    fn world(&self, s: &mut MoveState, step: Step) -> Option<()> {
        let under_way = s.message == Message::UnderWay;
        match step {
            Step::HandOver => {
                let both = s.source == Source::Sending && s.destination == Destination::Receiving;
                both.then_some(())?;
                s.source = Source::HandedOver;
                s.destination = Destination::Whole;
                s.message = Message::UnderWay;
            }
            Step::TransferFails => {
                (s.source == Source::Sending).then_some(())?;
                s.source = Source::Running;
                s.message = Message::Over;
            }
            Step::MessageArrives => {
                under_way.then_some(())?;
                s.message = Message::Over;
                if s.source == Source::HandedOver {
                    s.source = Source::Left;
                }
            }
            Step::MessageLost => {
                under_way.then_some(())?;
                s.message = Message::Over;
            }
            Step::LibvirtResumes => {
                let lost = s.message == Message::Over && s.source == Source::HandedOver;
                // What said "migrated away" for good is not there to be resumed.
                lost.then_some(())?;
                s.source = Source::Running;
                s.ran_on = true;
            }
            Step::SourceDies => {
                matches!(
                    s.source,
                    Source::Running | Source::Sending | Source::HandedOver
                )
                .then_some(())?;
                s.source = Source::Dead;
            }
            Step::CloseSource => {
                let gone = matches!(s.source, Source::Dead | Source::Left);
                (gone && !s.source_closed).then_some(())?;
                s.source_closed = true;
            }
            Step::DestinationDies => {
                (s.destination != Destination::Dead).then_some(())?;
                s.destination = Destination::Dead;
            }
            _ => {
                let gone = s.destination == Destination::Dead;
                (gone && !s.destination_closed).then_some(())?;
                s.destination_closed = true;
            }
        }
        Some(())
    }
}

impl Model for Migration {
    type State = MoveState;
    type Action = Step;

    fn init_states(&self) -> Vec<MoveState> {
        vec![MoveState {
            owner: Owner::Source {
                incoming: false,
                abort: false,
            },
            source: Source::Running,
            destination: Destination::Nothing,
            source_said: Said::Nothing,
            destination_said: Said::Nothing,
            message: Message::Unsent,
            ran_on: false,
            source_closed: false,
            destination_closed: false,
            elsewhere: false,
        }]
    }

    fn actions(&self, _: &MoveState, actions: &mut Vec<Step>) {
        use Step::*;
        actions.extend([
            SetIncoming,
            Receive,
            Send,
            HandOver,
            TransferFails,
            MessageArrives,
            MessageLost,
            LibvirtResumes,
            SourceSaysAway,
            SourceSaysFailed,
            SourceResumes,
            DestinationSaysWhole,
            DestinationDrops,
            DestinationSaysNotHere,
            DestinationResumes,
            DestinationStarts,
            SourceDies,
            CloseSource,
            DestinationDies,
            CloseDestination,
            Abort,
            Commit,
            Clear,
            Recover,
        ]);
    }

    fn next_state(&self, last: &MoveState, step: Step) -> Option<MoveState> {
        use Step::*;
        let mut next = *last;
        match step {
            SetIncoming | Abort | Commit | Clear | Recover => self.leader(&mut next, step),
            Send | SourceSaysAway | SourceSaysFailed | SourceResumes => {
                self.source(&mut next, step)
            }
            Receive
            | DestinationSaysWhole
            | DestinationDrops
            | DestinationSaysNotHere
            | DestinationResumes
            | DestinationStarts => self.destination(&mut next, step),
            HandOver | TransferFails | MessageArrives | MessageLost | LibvirtResumes
            | SourceDies | CloseSource | DestinationDies | CloseDestination => {
                self.world(&mut next, step)
            }
        }?;
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(crate::AT_MOST_ONE, |_, s: &MoveState| s.running() <= 1),
            Property::always(NO_OLD_MEMORY, |_, s: &MoveState| {
                !(s.destination == Destination::Running && s.ran_on)
            }),
            Property::sometimes(MOVED, |_, s: &MoveState| {
                s.destination == Destination::Running && s.owner == Owner::Destination
            }),
            Property::sometimes(STAYED, |_, s: &MoveState| {
                s.source == Source::Running
                    && s.message == Message::Over
                    && s.destination == Destination::Dropped
                    && matches!(
                        s.owner,
                        Owner::Source {
                            incoming: false,
                            ..
                        }
                    )
            }),
            Property::sometimes(FROM_DISK, |_, s: &MoveState| s.elsewhere),
        ]
    }
}

/// No memory is resumed that is older than the disk.
pub const NO_OLD_MEMORY: &str = "no memory older than the disk is resumed";
/// The VM moves.
pub const MOVED: &str = "it moved";
/// The move fails and the VM stays.
pub const STAYED: &str = "the move failed and it stayed";
/// An end is lost and the VM starts from its disk.
pub const FROM_DISK: &str = "an end was lost and it was started from its disk";
