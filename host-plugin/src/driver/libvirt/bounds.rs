//! Every bound of the libvirt back end.

use std::time::Duration;

/// After this, a connection that is not open is reported as unreachable (and still waited for).
pub const OPEN: Duration = Duration::from_secs(5);
/// Between two pings.
pub const PING_EVERY: Duration = Duration::from_secs(3);
/// For a ping's answer. A busy machine may hold a daemon up for a second or two; a connection that is given up
/// too early costs a new one and a list, nothing more.
pub const PING: Duration = Duration::from_secs(4);
/// First and longest wait before another attempt to connect.
pub const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// See [`BACKOFF_MIN`].
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// For a list of all domains; needs no answer of any QEMU.
pub const LIST: Duration = Duration::from_secs(6);
/// For creating a domain: 0.5 s on a quiet host, many times that when dozens start at once under
/// emulation. libvirt itself gives QEMU's monitor 30 s to appear.
pub const CREATE: Duration = Duration::from_secs(90);
/// For destroying: libvirt waits 10 s after SIGTERM and up to 30 s more after SIGKILL.
pub const DESTROY: Duration = Duration::from_secs(60);
/// For calls that QEMU answers at once if it answers at all.
pub const SHORT: Duration = Duration::from_secs(15);
/// Added to a migration's own bound before its thread is left behind.
pub const MIGRATE_EXTRA: Duration = Duration::from_secs(60);
