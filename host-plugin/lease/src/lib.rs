//! The lease volume: a small file or block device on a storage domain, by which hosts prove to each
//! other over the storage alone that they are alive, and which VMs they hold.
//!
//! ```text
//! 0           1     2 …              2+H …          2+2H …                    sectors
//! superblock  copy  heartbeat/host   mailbox/host   claim/VM
//!                   its host writes  others write   the VM's holder writes
//! ```
//! - [`sector`]: what every sector has: magic, version, kind, volume, number, checksum
//! - [`record`]: the bytes of what the four kinds say (`holdfast_model::lease`)
//! - [`error`]: why a sector is not believed
//! - [`volume`]: creating, opening, reading and writing a volume by direct, synchronous I/O
//! - [`survey`]: the whole volume, read for people
//!
//! The format is described byte by byte in `docs/lease-format.md`. A sector that is torn, corrupt,
//! zeroed or foreign is an error, never "free": free sectors say so, with a checksum.
//!
//! Nothing here decides who may run what; see `docs/safety.md`.
#![warn(missing_docs)]

mod buffer;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
mod head;
pub mod record;
pub mod sector;
pub mod survey;
pub mod volume;

pub use buffer::Buffer;
