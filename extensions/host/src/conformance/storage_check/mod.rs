//! Storage checks: made-up storage that is well, full, hangs or fails, and what may not be said of it.
//!
//! What a check makes of good storage is its own: which file system it expects, what its commands say. So first it is
//! found out with what it is content, and each situation is that with one thing changed.

pub(super) mod chaos;
mod judge;
mod situations;
mod suite;

pub(super) use suite::run;
