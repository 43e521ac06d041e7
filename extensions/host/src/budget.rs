//! What one call may cost, and what became of that: CPU time, time by the clock, memory, what is handed over.
//!
//! CPU time is that of the thread the guest runs on, so a guest is not blamed for a busy machine; time by the
//! clock is another limit beside it. Where its thread's is known to 0.1 ms only ([`crate::thread_cpu`]), the limit takes
//! what it may have used at the most.

use crate::error::CallError;
use crate::thread_cpu::{self, Used};
use holdfast_model::extension::Limits;
use std::time::{Duration, Instant};
use wasmtime::{ResourceLimiter, UpdateDeadline};

const MIB: usize = 1 << 20;
/// What one entry of a table takes, in bytes, at the most.
const TABLE_ENTRY_BYTES: usize = 16;
/// Parts of one guest: more than any toolchain makes (wasm.md: 64 were enough for all that were tried).
const PARTS_MAX: usize = 64;

/// Of its time by the clock, a guest may wait so much for others.
const WAITING_PERCENT: u32 = 90;

/// The budget of one store. Counts what it takes over its whole life, and what one call may cost.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    /// Memory and tables, of all parts together.
    taken_bytes: usize,
    call: Option<Call>,
    /// Requests, programs and looks of this call.
    requests: u64,
    /// HTTP requests that it asked for, and those of them that it was not granted.
    asked: u64,
    strayed: u64,
    /// The first limit that was met.
    broken: Option<CallError>,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    cpu_at_start: Used,
    started: Instant,
}

/// What a call took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// CPU time of its thread, to 0.1 ms.
    pub cpu: Duration,
    /// The part of it that starting a new instance took, which has a budget of its own; zero for a warm one.
    pub start_cpu: Duration,
    /// The part of it that telling an instance of hosts took, which has a budget of its own; zero if it knew them.
    pub told_cpu: Duration,
    /// Time by the clock.
    pub wall: Duration,
    /// Memory of the guest after it, in bytes.
    pub memory_bytes: usize,
    /// HTTP requests that it asked for, sent or not.
    pub requests: u64,
    /// Those of them that it was not granted.
    pub strayed: u64,
    /// What it executed, without the start and being told of hosts, where that is counted ([`crate::Runtime::metered`]).
    pub fuel: Option<u64>,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            taken_bytes: 0,
            call: None,
            requests: 0,
            asked: 0,
            strayed: 0,
            broken: None,
        }
    }

    /// A call begins on this thread.
    pub(crate) fn begin(&mut self) {
        self.broken = None;
        self.requests = 0;
        self.asked = 0;
        self.strayed = 0;
        let started = Instant::now();
        self.call = Some(Call {
            cpu_at_start: thread_cpu::about(started),
            started,
        });
    }

    /// It is over; what it took.
    pub(crate) fn end(&mut self) -> Cost {
        let Some(call) = self.call.take() else {
            return Cost::default();
        };
        let now = Instant::now();
        let cpu = thread_cpu::about(now).most;
        Cost {
            cpu: cpu.saturating_sub(call.cpu_at_start.most),
            wall: now.saturating_duration_since(call.started),
            memory_bytes: self.taken_bytes,
            requests: self.asked,
            strayed: self.strayed,
            ..Cost::default()
        }
    }

    /// The limit that ended the call, if one did.
    pub(crate) fn broken(&mut self) -> Option<CallError> {
        self.broken.take()
    }

    /// One more request, program or look; false: it may have no more in this call.
    pub(crate) fn request(&mut self) -> bool {
        let may = self.requests < self.limits.requests;
        self.requests += u64::from(may);
        may
    }

    /// It asks for an HTTP request.
    pub(crate) fn asks(&mut self) {
        self.asked += 1;
    }

    /// That one it was not granted.
    pub(crate) fn strays(&mut self) {
        self.strayed += 1;
    }

    /// So many of them it may have in one call.
    pub(crate) fn requests_max(&self) -> u64 {
        self.limits.requests
    }

    /// Until then a call may wait for somebody else: a part of its time is left, so that it can say that
    /// nobody answered.
    pub(crate) fn until(&self) -> Instant {
        let started = self.call.map_or_else(Instant::now, |call| call.started);
        started + Duration::from_millis(self.limits.wall_ms) * WAITING_PERCENT / 100
    }

    /// Asked on every tick while the guest computes.
    pub(crate) fn look(&mut self) -> UpdateDeadline {
        let Some(call) = self.call else {
            // The start of an instance, which has the same limits as a call, is one as well.
            return UpdateDeadline::Interrupt;
        };
        let (cpu_ms, wall_ms) = (self.limits.cpu_ms, self.limits.wall_ms);
        let now = Instant::now();
        let used = thread_cpu::exactly(now).saturating_sub(call.cpu_at_start.least);
        if used > Duration::from_millis(cpu_ms) {
            self.broken.get_or_insert(CallError::CpuTime {
                // Rounded up: what is over the limit is not told as the limit itself.
                used_ms: u64::try_from(used.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX),
                limit_ms: cpu_ms,
            });
            return UpdateDeadline::Interrupt;
        }
        if now.saturating_duration_since(call.started) > Duration::from_millis(wall_ms) {
            let late = CallError::WallTime { limit_ms: wall_ms };
            self.broken.get_or_insert(late);
            return UpdateDeadline::Interrupt;
        }
        UpdateDeadline::Continue(1)
    }

    fn take(&mut self, more_bytes: usize) -> wasmtime::Result<bool> {
        let limit = usize::try_from(self.limits.memory_mib).unwrap_or(usize::MAX);
        let wanted = self.taken_bytes.saturating_add(more_bytes);
        if wanted > limit.saturating_mul(MIB) {
            self.broken.get_or_insert(CallError::Memory {
                wanted_mib: wanted.div_ceil(MIB) as u64,
                limit_mib: self.limits.memory_mib,
            });
            // A trap: a guest that is told "no" by its allocator may go on with nonsense.
            return Err(wasmtime::Error::msg("more memory than it may have"));
        }
        self.taken_bytes = wanted;
        Ok(true)
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.take(desired.saturating_sub(current))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let entries = desired.saturating_sub(current);
        self.take(entries.saturating_mul(TABLE_ENTRY_BYTES))
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}
