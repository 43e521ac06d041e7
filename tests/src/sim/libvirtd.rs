//! A libvirtd that is slow, or does not answer: stopped for a while, or killed and started again later. The
//! domains are processes of their own and run on.
//!
//! ```text
//! stopped (SIGSTOP)  calls wait, and are done when it goes on
//! killed (kill -9)   calls under way end without an answer, and have done nothing: a half-created domain
//!                    is dropped, a migration breaks; calls made meanwhile are refused; what happens to
//!                    the domains meanwhile is told by nobody, the next list shows it
//! slow               each call about one domain takes so much longer, and is done after all: late, if its caller
//!                    has given it up. Lists as well, if it is the daemon that is slow: one that takes too long
//!                    shows nothing (one that is in time shows how it is then)
//! ```

use super::Sim;
use super::bounds::LIST_BOUND_MS;
use super::ctx::Ctx;
use super::event::LibvirtEvent;
use super::faults::FaultError;
use super::machine::{Machine, News};
use holdfast_model::id::{HostName, VmName};

/// Whether a machine's libvirtd answers.
#[derive(Debug, Clone, Default)]
pub struct Libvirtd {
    /// It is stopped until then.
    pub frozen_until: u64,
    /// It is not there before then.
    down_until: u64,
    /// Which process of this machine it is: calls to an earlier one are never done.
    pub life: u32,
    /// How much longer than usual a call about one domain takes, in milliseconds.
    pub slow_ms: u64,
    /// Lists take as long.
    pub slow_lists: bool,
    calls: u64,
}

impl Libvirtd {
    /// When it answers again.
    pub fn back_at(&self) -> u64 {
        self.frozen_until.max(self.down_until)
    }

    /// Whether it answers.
    pub fn answers(&self, now: u64) -> bool {
        now >= self.back_at()
    }

    /// Whether there is no such process: calls are refused, events are lost.
    pub fn is_down(&self, now: u64) -> bool {
        now < self.down_until
    }

    /// Whether it shows its domains in time to whoever asks for all of them.
    pub fn lists(&self, now: u64) -> bool {
        self.answers(now) && !(self.slow_lists && self.slow_ms >= LIST_BOUND_MS)
    }

    /// A number that no call to it ever had.
    pub fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// Nothing of a boot outlives it.
    pub fn power_off(&mut self) {
        *self = Self {
            life: self.life + 1,
            calls: self.calls,
            ..Self::default()
        };
    }
}

impl Machine {
    /// libvirtd dies (kill -9); the service manager starts it again after a while.
    pub fn kill_libvirtd(&mut self, ctx: &mut Ctx, ms: u64) {
        self.libvirtd = Libvirtd {
            frozen_until: 0,
            down_until: ctx.now + ms,
            life: self.libvirtd.life + 1,
            ..self.libvirtd.clone()
        };
        // What it had yet to say is lost with it.
        self.news.retain(News::is_not_libvirts);
        self.tell(ctx, News::ConnectionBroke);
        self.after(ctx, ms, LibvirtEvent::Started);
    }

    /// What it knew is in its files, and the domains are there.
    pub(super) fn libvirtd_started(&mut self, ctx: &mut Ctx) {
        ctx.log(&self.name, "libvirtd: started");
        self.wake_agent(ctx);
    }

    /// A copy that did not arrive whole is dropped.
    pub(super) fn drop_half(&mut self, ctx: &mut Ctx, vm: &VmName, id: u64) {
        use holdfast_core::guardian::DomainState;
        let half = self
            .domains
            .get(vm)
            .is_some_and(|domain| domain.id == id && domain.state == DomainState::Receiving);
        if half {
            self.domains.remove(vm);
            self.wake_agent(ctx);
        }
    }
}

impl Sim {
    /// libvirtd is stopped for a while (SIGSTOP).
    pub fn freeze_libvirt(&mut self, host: &HostName, ms: u64) -> Result<(), FaultError> {
        let until = self.ctx.now + ms;
        self.host_mut(host)?.m.libvirtd.frozen_until = until;
        Ok(())
    }

    /// From now on each call takes so much longer than usual, lists too or not.
    pub fn slow_libvirt(
        &mut self,
        host: &HostName,
        ms: u64,
        lists: bool,
    ) -> Result<(), FaultError> {
        let libvirtd = &mut self.host_mut(host)?.m.libvirtd;
        if (libvirtd.slow_ms, libvirtd.slow_lists) == (ms, lists) {
            return Err(FaultError::Nothing(format!("libvirtd of {host}")));
        }
        (libvirtd.slow_ms, libvirtd.slow_lists) = (ms, lists);
        if let Some(host) = self.hosts.get(host) {
            host.m.wake_agent(&mut self.ctx);
        }
        Ok(())
    }

    /// libvirtd dies, and is there again after a while.
    pub fn kill_libvirt(&mut self, host: &HostName, ms: u64) -> Result<(), FaultError> {
        let now = self.ctx.now;
        let machine = &self.host_mut(host)?.m;
        if !machine.on || machine.libvirtd.is_down(now) {
            return Err(FaultError::Nothing(format!("libvirtd of {host}")));
        }
        let ctx = &mut self.ctx;
        if let Some(host) = self.hosts.get_mut(host) {
            host.m.kill_libvirtd(ctx, ms);
        }
        self.look_at_migrations();
        Ok(())
    }
}
