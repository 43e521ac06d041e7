//! One state of a move: etcd's record, both ends, libvirt's last message.

/// Who may run the VM, in etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The source.
    Source {
        /// The destination may receive it.
        incoming: bool,
        /// The move is given up.
        abort: bool,
    },
    /// The destination, one generation up.
    Destination,
    /// A third host, from the disk, one generation up.
    Elsewhere,
}

/// The VM at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// It runs.
    Running,
    /// It runs and its memory is being sent.
    Sending,
    /// It stands paused; all of it has been sent.
    HandedOver,
    /// Its QEMU has exited under libvirt's note that the destination has it.
    Left,
    /// It died, or was killed.
    Dead,
}

/// The VM at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Nothing is there.
    Nothing,
    /// A part of it.
    Receiving,
    /// All of it, paused.
    Whole,
    /// It runs from the copy.
    Running,
    /// It runs from the disk.
    Started,
    /// It is gone, and nothing of this move will be accepted.
    Dropped,
    /// It died, or was killed.
    Dead,
}

/// What an end has reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Said {
    /// Nothing yet.
    Nothing,
    /// Source: migrated away. Destination: it is here, whole.
    Done,
    /// Source: the migration failed. Destination: it is not here and will not be.
    Failed,
}

/// libvirt's last message, from the destination to the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message {
    /// Not sent.
    Unsent,
    /// On its way.
    UnderWay,
    /// It arrived, or never will.
    Over,
}

/// One state of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MoveState {
    /// Who may run it.
    pub owner: Owner,
    /// The source.
    pub source: Source,
    /// The destination.
    pub destination: Destination,
    /// What the source has reported.
    pub source_said: Said,
    /// What the destination has reported.
    pub destination_said: Said,
    /// libvirt's last message.
    pub message: Message,
    /// It has run somewhere since the copy was made: the disk is ahead of the copy's memory.
    pub ran_on: bool,
    /// The source's incarnation is closed by evidence.
    pub source_closed: bool,
    /// The destination's is.
    pub destination_closed: bool,
    /// It runs on a third host.
    pub elsewhere: bool,
}

impl MoveState {
    /// How many copies run.
    pub fn running(&self) -> usize {
        let source = matches!(self.source, Source::Running | Source::Sending);
        let destination = matches!(
            self.destination,
            Destination::Running | Destination::Started
        );
        usize::from(source) + usize::from(destination) + usize::from(self.elsewhere)
    }
}
