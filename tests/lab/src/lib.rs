//! The two-site lab in namespaces on one machine.
//!
//! Real libvirtd, QEMU, etcd and replicated storage; only the machines are namespaces:
//!
//! ```text
//!   hf-net: bridges of sites a, b and the witness, router, cuts (nftables), observer, shell
//!     │ cable (veth)
//!   hf-a1, hf-b1, …       network, mount, UTS, PID and time namespace each; process 1 is `lab-init`,
//!     libvirtd  storage    which supervises the services; killing it is the power switch
//!     guard  agent  QEMU…  their disks: STATE/machines/NAME/fs
//! ```
//! A test uses [`Lab::up`], its fault methods (each returns proof that the fault happened),
//! [`Lab::observer_log`] and [`Lab::proof`], and [`Lab::down`]. All times are the real CLOCK_BOOTTIME
//! milliseconds, see [`clock`].

mod blueprint;
pub mod boards;
mod clean;
pub mod clock;
pub mod configs;
mod control;
pub mod crowd;
mod cuts;
mod error;
mod faults;
pub mod guest;
mod guests;
pub mod init;
pub mod journal;
mod lab;
pub mod layout;
mod machine;
pub mod needless;
mod net;
pub mod observer;
mod options;
mod outside;
mod processes;
pub mod programs;
mod progress;
pub mod proof;
mod ram;
mod ready;
pub mod report;
mod run;
pub mod scenarios;
mod sink;
mod slow;
pub mod soak;
pub mod stalls;
mod state;
mod status;
mod storage;
pub mod storage_checks;
pub mod sushy;
pub mod trial;
mod up;
mod wall;

pub use blueprint::DAEMONS;
pub use control::Cutting;
pub use cuts::Cut;
pub use error::{LabError, Result};
pub use faults::{Fault, FaultProof, PROCESS_WORDS};
pub use init::spec::ServiceState;
pub use lab::Lab;
pub use layout::{Layout, Machine, Role};
pub use machine::{Power, PowerOff};
pub use options::{DEFAULT_STATE, Driver, LabOptions};
pub use progress::Progress;
pub use run::{Output, Poll, catch_interrupts, interrupted, wait_until};
pub use slow::SlowDisk;
pub use state::StateDir;
pub use status::{MachineStatus, Status};
pub use storage::StorageState;
pub use storage::notice_soon;
