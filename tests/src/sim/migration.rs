//! Live migration as libvirt does it peer to peer, with the destination left paused.
//!
//! ```text
//! begin ── copy ── switch (source stops) ── finish (destination is whole) ── confirm (source gone)
//!            └─ broken: source runs on, destination drops it        └─ lost: the source resumes
//!                                                                     itself; both have it
//! ```
//! The last branch is libvirt's own behaviour: a source that hears no confirmation goes on. What
//! the destination has is an old image then, and looks whole.

use super::bounds::{COPY_MS, KEEPALIVE_MS, SWITCH_MS};
use super::ctx::Ctx;
use super::event::{Event, LibvirtEvent, MigrationStep};
use super::machine::{Domain, News};
use super::truth::Stop;
use super::{Sim, host::Host};
use holdfast_core::guardian::{DomainState, EndKind};
use holdfast_model::host::PauseReason;
use holdfast_model::id::{Generation, HostName, VmName};

/// A migration under way.
#[derive(Debug, Clone)]
pub struct Migration {
    vm: VmName,
    from: (HostName, u32),
    to: (HostName, u32),
    generation: Generation,
    source: u64,
    destination: u64,
    switched_at: Option<u64>,
    broken: Option<String>,
}

impl Sim {
    /// An agent asked for it.
    pub(super) fn migration_asked(
        &mut self,
        vm: VmName,
        from: (HostName, u32),
        to: &HostName,
        generation: Generation,
    ) {
        let destination = self.ctx.new_domain();
        let refused = self.prepare(&vm, &from.0, to, generation, destination);
        let Some(host) = self.hosts.get_mut(&from.0).filter(|h| h.m.boot == from.1) else {
            return;
        };
        let source = match refused {
            Ok(source) => source,
            Err(reason) => {
                let how = EndKind::MigrationFailed { reason };
                let news = News::Ended {
                    vm,
                    generation,
                    how,
                };
                return host.m.end_at_once(&mut self.ctx, news);
            }
        };
        host.m.migrating.insert(vm.clone(), generation);
        let boot = self.hosts.get(to).map_or(0, |host| host.m.boot);
        let migration = Migration {
            vm,
            from,
            to: (to.clone(), boot),
            generation,
            source,
            destination,
            switched_at: None,
            broken: None,
        };
        self.next_migration += 1;
        let id = self.next_migration;
        self.migrations.insert(id, migration);
        self.ctx
            .after(COPY_MS, Event::Migration(id, MigrationStep::Switch));
    }

    /// The destination makes room; the source's domain if all is well.
    fn prepare(
        &mut self,
        vm: &VmName,
        from: &HostName,
        to: &HostName,
        generation: Generation,
        id: u64,
    ) -> Result<u64, String> {
        let source = self.hosts.get(from).ok_or("no such host")?;
        if source.m.libvirtd.is_down(self.ctx.now) {
            return Err("libvirt is not reachable".to_owned());
        }
        let place = source.m.place();
        let domain = source.m.domains.get(vm).cloned();
        let domain = domain.ok_or("the domain is gone")?;
        if domain.state != DomainState::Running {
            return Err("the domain is not running".to_owned());
        }
        let unreachable = || format!("unable to connect to {to}");
        let host = self.hosts.get_mut(to).ok_or_else(unreachable)?;
        let reached = self.ctx.net.connects(&place, &host.m.place());
        if !host.m.on || !reached || host.m.libvirtd.is_down(self.ctx.now) {
            return Err(unreachable());
        }
        if host.m.domains.contains_key(vm) {
            return Err(format!("domain '{vm}' already exists on {to}"));
        }
        let incoming = Domain {
            id,
            generation,
            incarnation: None,
            state: DomainState::Receiving,
            image_at: None,
            cold: false,
        };
        host.m.domains.insert(vm.clone(), incoming);
        host.m.wake_agent(&mut self.ctx);
        Ok(domain.id)
    }

    /// An agent asked to abort it. After the switch there is nothing to abort.
    pub(super) fn abort_asked(&mut self, from: &HostName, vm: &VmName) {
        let found = self
            .migrations
            .iter_mut()
            .find(|(_, migration)| migration.from.0 == *from && migration.vm == *vm);
        match found {
            Some((id, migration)) if migration.switched_at.is_none() => {
                migration.broken = Some("aborted".to_owned());
                let id = *id;
                self.broken(id);
            }
            Some(_) => {}
            None => {
                // It ended in the meantime, and nobody said so to this agent.
                if let Some(host) = self.hosts.get_mut(from) {
                    let generation = host.m.domains.get(vm).map(|domain| domain.generation);
                    let how = EndKind::MigrationFailed {
                        reason: "aborted".to_owned(),
                    };
                    let generation = generation.unwrap_or_default();
                    tell(host, &mut self.ctx, vm.clone(), generation, how);
                }
            }
        }
    }

    /// A step is due.
    pub(super) fn migration_step(&mut self, id: u64, step: MigrationStep) {
        if !self.migrations.contains_key(&id) {
            return;
        }
        match step {
            MigrationStep::Broken => return self.broken(id),
            MigrationStep::Switch | MigrationStep::Finish | MigrationStep::Confirm => {}
        }
        if let Some(reason) = self.what_is_wrong(id, step) {
            return self.breaks(id, reason);
        }
        match step {
            MigrationStep::Switch => self.switch(id),
            MigrationStep::Finish => self.finish(id),
            MigrationStep::Confirm => self.confirm(id),
            MigrationStep::Broken => {}
        }
    }

    /// Links, power or domains changed: whose migration broke?
    pub(super) fn look_at_migrations(&mut self) {
        let ids: Vec<u64> = self.migrations.keys().copied().collect();
        for id in ids {
            if let Some(reason) = self.what_is_wrong(id, MigrationStep::Switch) {
                self.breaks(id, reason);
            }
        }
    }

    fn what_is_wrong(&self, id: u64, step: MigrationStep) -> Option<String> {
        let migration = self.migrations.get(&id)?;
        if migration.broken.is_some() {
            return migration.broken.clone();
        }
        let end = |(host, boot): &(HostName, u32), domain: u64| {
            let host = self.hosts.get(host).filter(|host| host.m.boot == *boot)?;
            let found = host.m.domains.get(&migration.vm)?;
            (found.id == domain).then(|| host.m.place())
        };
        let Some(from) = end(&migration.from, migration.source) else {
            return Some("the source is gone".to_owned());
        };
        let Some(to) = end(&migration.to, migration.destination) else {
            return Some("the destination is gone".to_owned());
        };
        let is_down = |(host, _): &(HostName, u32)| {
            let host = self.hosts.get(host);
            host.is_some_and(|host| host.m.libvirtd.is_down(self.ctx.now))
        };
        if is_down(&migration.from) || is_down(&migration.to) {
            return Some("libvirtd of one end died".to_owned());
        }
        if step == MigrationStep::Confirm && self.lose_finish.contains(&migration.vm) {
            return Some("the connection was lost in the finish phase".to_owned());
        }
        let connected = self.ctx.net.connects(&from, &to);
        (!connected).then(|| "the connection was lost".to_owned())
    }

    /// It breaks now; both ends notice after a while.
    fn breaks(&mut self, id: u64, reason: String) {
        let Some(migration) = self.migrations.get_mut(&id) else {
            return;
        };
        if migration.broken.is_none() {
            migration.broken = Some(reason);
            self.ctx
                .after(KEEPALIVE_MS, Event::Migration(id, MigrationStep::Broken));
        }
    }

    fn switch(&mut self, id: u64) {
        let Some(migration) = self.migrations.get_mut(&id) else {
            return;
        };
        migration.switched_at = Some(self.ctx.now);
        let (vm, source) = (migration.vm.clone(), migration.source);
        if let Some(host) = self.hosts.get_mut(&migration.from.0) {
            if let Some(domain) = host.m.domains.get_mut(&vm) {
                domain.state = DomainState::Paused {
                    reason: PauseReason::Migration,
                };
            }
            self.ctx.end(&vm, source, &Stop::Migration, "");
            host.m.wake_agent(&mut self.ctx);
        }
        self.ctx
            .after(SWITCH_MS, Event::Migration(id, MigrationStep::Finish));
    }

    fn finish(&mut self, id: u64) {
        let Some(migration) = self.migrations.get(&id).cloned() else {
            return;
        };
        if let Some(host) = self.hosts.get_mut(&migration.to.0) {
            if let Some(domain) = host.m.domains.get_mut(&migration.vm) {
                domain.state = DomainState::Received;
                domain.image_at = migration.switched_at;
            }
            host.m.wake_agent(&mut self.ctx);
            let way = self
                .hosts
                .get(&migration.from.0)
                .zip(self.hosts.get(&migration.to.0))
                .map_or(1, |(a, b)| Ctx::latency_ms(&a.m.site, &b.m.site));
            self.ctx
                .after(way, Event::Migration(id, MigrationStep::Confirm));
        }
    }

    fn confirm(&mut self, id: u64) {
        let Some(migration) = self.migrations.remove(&id) else {
            return;
        };
        let Some(host) = self.hosts.get_mut(&migration.from.0) else {
            return;
        };
        host.m.domains.remove(&migration.vm);
        host.m.watched.remove(&migration.vm);
        let text = format!("{} has left for {}", migration.vm, migration.to.0);
        self.ctx.log(&migration.from.0, text);
        let how = EndKind::MigratedAway;
        tell(host, &mut self.ctx, migration.vm, migration.generation, how);
    }

    /// Both ends have noticed.
    fn broken(&mut self, id: u64) {
        let Some(migration) = self.migrations.remove(&id) else {
            return;
        };
        let reason = migration.broken.clone().unwrap_or_default();
        let to = self.hosts.get_mut(&migration.to.0);
        if let Some(host) = to.filter(|host| host.m.boot == migration.to.1) {
            match host.m.libvirtd.answers(self.ctx.now) {
                true => {
                    let (vm, domain) = (&migration.vm, migration.destination);
                    host.m.drop_half(&mut self.ctx, vm, domain);
                }
                false => {
                    let (vm, domain) = (migration.vm.clone(), migration.destination);
                    let half = LibvirtEvent::HalfDropped { vm, domain };
                    host.m.after(&mut self.ctx, 0, half);
                }
            }
        }
        let from = self.hosts.get_mut(&migration.from.0);
        let Some(host) = from.filter(|host| host.m.boot == migration.from.1) else {
            return;
        };
        if !host.m.libvirtd.answers(self.ctx.now) {
            let until = host.m.libvirtd.back_at();
            let again = Event::Migration(id, MigrationStep::Broken);
            self.ctx.queue.push(until, again);
            self.migrations.insert(id, migration);
            return;
        }
        self.ctx.log(
            &host.m.name,
            format!("{}: its migration ended: {reason}", migration.vm),
        );
        // libvirt's own doing: the source that heard no confirmation goes on.
        host.m
            .set_going(&mut self.ctx, &migration.vm, migration.source);
        let how = EndKind::MigrationFailed { reason };
        tell(host, &mut self.ctx, migration.vm, migration.generation, how);
    }
}

/// The call ended; an agent that is there hears how.
fn tell(host: &mut Host, ctx: &mut Ctx, vm: VmName, generation: Generation, how: EndKind) {
    host.m.migrating.remove(&vm);
    host.m.tell(
        ctx,
        News::Ended {
            vm,
            generation,
            how,
        },
    );
}
