//! Checks the invariants that need the store: each write as it happens, and each start and stop
//! against what the store says at that instant.

use super::ctx::Ctx;
use super::event::Client;
use super::truth::{Span, Stop};
use holdfast_model::asking::HostAsks;
use holdfast_model::errand::Errand;
use holdfast_model::event::{Event as HappenedEvent, EventKind};
use holdfast_model::fence::{Evidence, FenceRecord, FenceStage};
use holdfast_model::host::{HostReport, RunState, Session, SessionState, VmReport};
use holdfast_model::id::{Generation, HostName, Incarnation, VmName};
use holdfast_model::leader::LeaderEpoch;
use holdfast_model::lease::StorageClass;
use holdfast_model::vm::{Intent, Owner, Runner};
use holdfast_store::api::{Txn, TxnOp};
use holdfast_store::keyspace::Key;
use serde::de::DeserializeOwned;

impl Ctx {
    /// A record as the store has it now.
    pub fn record<T: DeserializeOwned>(&self, key: &Key) -> Option<T> {
        let item = self.store.get_now(&key.path())?;
        serde_json::from_slice(&item.value).ok()
    }

    /// vCPUs are set going: is it right?
    pub(super) fn check_start(&mut self, vm: &VmName, span: &Span, image_at: Option<u64>) {
        let ran_last = self.truth.last_ran(vm, self.now);
        if let (Some(image_at), Some(ran_last)) = (image_at, ran_last)
            && ran_last > image_at
        {
            self.violation(format!(
                "no-stale-image: {vm} goes on on {} from memory that is {} ms old",
                span.host,
                ran_last - image_at
            ));
        }
        let owner: Option<Owner> = self.record(&Key::VmOwner(vm.clone()));
        let granted = owner.as_ref().is_some_and(|owner| {
            owner.generation == span.generation
                && owner.holder.as_ref().is_some_and(|holder| {
                    holder.host == span.host
                        && Some(&holder.incarnation) == span.incarnation.as_ref()
                })
        });
        let over = span.incarnation.as_ref().is_some_and(|life| {
            let key = Key::Fence(span.host.clone(), life.clone());
            let fence: Option<FenceRecord> = self.record(&key);
            fence.is_some_and(|fence| fence.stage == FenceStage::Closed)
        });
        if span.cold {
            self.check_claimed(vm, span, owner.as_ref());
            self.check_storage(vm, span);
        }
        let forgiven = self.now < self.truth.starts_forgiven_until;
        if (!granted || over) && !forgiven {
            self.violation(format!(
                "no-start-without-grant: {vm} is set going on {} (generation {}) and the store \
                 says {owner:?}",
                span.host, span.generation
            ));
        }
    }

    /// vCPUs of a domain stopped: was it needed?
    pub(super) fn check_stop(&mut self, vm: &VmName, span: &Span, stop: &Stop) {
        if !matches!(stop, Stop::Destroyed | Stop::Killed) {
            return;
        }
        let owner: Option<Owner> = self.record(&Key::VmOwner(vm.clone()));
        let Some(owner) = owner else { return };
        let granted = owner.generation == span.generation
            && !matches!(owner.intent, Intent::Stop | Intent::Kill)
            && owner.holder.as_ref().is_some_and(|holder| {
                holder.host == span.host && Some(&holder.incarnation) == span.incarnation.as_ref()
            });
        let session: Option<Session> = self.record(&Key::HostSession(span.host.clone()));
        let Some(session) = session else { return };
        let open = session.state == SessionState::Open
            && Some(&session.incarnation) == span.incarnation.as_ref();
        let silence = match (stop, self.truth.kills.get(&span.host)) {
            // Once its guard has begun, the agent destroys what is left as well.
            (_, Some((life, began))) if *life == span.incarnation => *began,
            _ => self.truth.silence(&span.host, self.now),
        };
        // A clock may run slow or fast by the allowed drift.
        let deadline_ms = session.bounds.runner_deadline_ms * 998 / 1_000;
        let asked = self.truth.asked.get(&span.host) == span.incarnation.as_ref();
        let closed = span.incarnation.as_ref().is_some_and(|life| {
            let fence: Option<FenceRecord> =
                self.record(&Key::Fence(span.host.clone(), life.clone()));
            fence.is_some_and(|fence| fence.stage == FenceStage::Closed)
        });
        let leased = owner.lease == StorageClass::Quorum && session.has_storage_plane();
        let by_control = granted && open && silence.control_ms < deadline_ms;
        let by_storage = granted && leased && !asked && !closed && silence.storage_ms < deadline_ms;
        if by_control || by_storage {
            self.violation(format!(
                "needless-stop: {vm} on {} was {stop:?} {} ms after a heartbeat, and {} ms after one \
                 on the lease volume",
                span.host, silence.control_ms, silence.storage_ms
            ));
        }
    }

    /// A transaction is about to be applied, and will be: may this process write this?
    pub(super) fn check_writes(&mut self, client: &Client, txn: &Txn) {
        for op in &txn.ops {
            let (path, value) = match op {
                TxnOp::Put(path, value) => (path, Some(value.as_slice())),
                TxnOp::Delete(path) => (path, None),
            };
            match Key::parse(path) {
                Some(Key::VmOwner(vm)) => {
                    self.by_the_leader(client, path);
                    if let Some(owner) = value.and_then(decode::<Owner>) {
                        self.check_grant(&vm, &owner, txn);
                    }
                }
                // A life that opens its session again takes its half of a record away.
                Some(Key::Fence(host, life)) if value.is_none() => {
                    self.by_the_life(client, &host, &life, path);
                }
                Some(Key::Fence(host, life)) => {
                    self.by_the_leader(client, path);
                    if let Some(record) = value.and_then(decode::<FenceRecord>) {
                        self.check_off(client, &host, &life, &record);
                        self.check_closed(&host, &life, &record);
                    }
                }
                Some(Key::Event(_)) => {
                    let event = value.and_then(decode::<HappenedEvent>);
                    let asked = event.filter(|event| event.kind == EventKind::PowerAsked);
                    if let Some(host) = asked.and_then(|event| event.host) {
                        self.check_ask(&host);
                    }
                }
                Some(Key::Errand(..)) => {
                    if let Some(errand) = value.and_then(decode::<Errand>) {
                        self.check_errand(client, &errand);
                    }
                }
                Some(Key::HostState(_) | Key::Op(_)) => self.by_the_leader(client, path),
                Some(Key::HostSession(host)) if self.askers.contains(&host) => {
                    if matches!(client, Client::Agent(..)) {
                        self.truth.beats.insert(host, self.now);
                    }
                }
                Some(Key::HostReport(host)) => {
                    self.by_its_host(client, &host, path, None);
                    if let Some(report) = value.and_then(decode::<HostReport>) {
                        self.storage_is_told(&host, &report.storage);
                    }
                }
                Some(Key::HostAsks(host)) => {
                    let asks = value.and_then(decode::<HostAsks>);
                    let life = asks.map(|asks| asks.incarnation);
                    self.by_its_host(client, &host, path, life.as_ref());
                }
                Some(Key::HostVm(host, _)) => {
                    let report = value.and_then(decode::<VmReport>);
                    let life = report.map(|report| report.incarnation);
                    self.by_its_host(client, &host, path, life.as_ref());
                }
                _ => {}
            }
        }
    }

    fn by_the_leader(&mut self, client: &Client, path: &str) {
        let leader: Option<LeaderEpoch> = self.record(&Key::LeaderEpoch);
        let is_leader = match client {
            Client::Manager(name, life) => leader
                .as_ref()
                .is_some_and(|leader| leader.manager == *name && leader.life == life.to_string()),
            Client::Agent(..) => false,
        };
        if !is_leader {
            self.violation(format!(
                "own-epoch: {client:?} writes {path} while {leader:?} leads"
            ));
        }
    }

    fn by_the_life(&mut self, client: &Client, host: &HostName, life: &Incarnation, path: &str) {
        let own = matches!(client, Client::Agent(name, _) if name == host);
        let key = Key::Fence(host.clone(), life.clone());
        let fence: Option<FenceRecord> = self.record(&key);
        let half = fence.is_some_and(|fence| fence.stage == FenceStage::ControlClosed);
        if !own || !half {
            self.violation(format!(
                "own-session: {client:?} removes {path}, which is not half of its own"
            ));
        }
    }

    fn by_its_host(
        &mut self,
        client: &Client,
        host: &HostName,
        path: &str,
        life: Option<&Incarnation>,
    ) {
        let session: Option<Session> = self.record(&Key::HostSession(host.clone()));
        let open = session.as_ref().is_some_and(|session| {
            session.state == SessionState::Open
                && life.is_none_or(|life| *life == session.incarnation)
        });
        let own = matches!(client, Client::Agent(name, _) if name == host);
        if !open || !own {
            self.violation(format!(
                "own-session: {client:?} writes {path} (life {life:?}) and the session is \
                 {session:?}"
            ));
        }
    }

    /// A new holder needs every earlier possible runner resolved, or a settled migration.
    fn check_grant(&mut self, vm: &VmName, next: &Owner, txn: &Txn) {
        let known = self.truth.granted.get(vm);
        if next.holder.is_some() && known.is_none_or(|(last, _)| *last != next.generation) {
            let granted = (next.generation, self.now);
            self.truth.granted.insert(vm.clone(), granted);
        }
        let Some(last) = self.record::<Owner>(&Key::VmOwner(vm.clone())) else {
            return;
        };
        let Some(holder) = &next.holder else {
            self.check_resolved(vm, &last, txn, |_| true);
            return;
        };
        if next.generation == last.generation {
            if last.incoming.is_some() && next.incoming.is_none() {
                self.check_resolved(vm, &last, txn, |runner| runner != holder);
            } else if last.holder.as_ref() != Some(holder) {
                // The same grant was given twice by a store that was set back.
                self.check_resolved(vm, &last, txn, |_| true);
            }
            return;
        }
        // What it says to have already is no new start.
        let has = self.says_to_have(vm, next.generation, holder);
        self.check_resolved(vm, &last, txn, |runner| {
            !(runner == holder && (has || last.incoming.as_ref() == Some(runner)))
        });
    }

    fn says_to_have(&self, vm: &VmName, generation: Generation, runner: &Runner) -> bool {
        let report: Option<VmReport> = self.record(&Key::HostVm(runner.host.clone(), vm.clone()));
        report.is_some_and(|report| {
            report.incarnation == runner.incarnation
                && report.generation == generation
                && !report.state.is_final()
        })
    }

    fn check_resolved(
        &mut self,
        vm: &VmName,
        last: &Owner,
        txn: &Txn,
        counts: impl Fn(&Runner) -> bool,
    ) {
        let open: Vec<String> = last
            .possible_runners()
            .filter(|runner| counts(runner))
            .filter(|runner| !self.is_resolved(vm, last.generation, runner, txn))
            .map(|runner| format!("{}/{}", runner.host, runner.incarnation))
            .collect();
        if !open.is_empty() {
            self.violation(format!(
                "evidence-first: {vm} gets a new owner record while {} may still run it",
                open.join(", ")
            ));
        }
    }

    fn is_resolved(&self, vm: &VmName, generation: Generation, runner: &Runner, txn: &Txn) -> bool {
        let key = Key::Fence(runner.host.clone(), runner.incarnation.clone());
        let in_this_txn = txn
            .ops
            .iter()
            .any(|op| matches!(op, TxnOp::Put(path, _) if *path == key.path()));
        let unleased = !self.is_leased(vm, generation);
        let fenced = self
            .record::<FenceRecord>(&key)
            .is_some_and(|fence| fence.stage == FenceStage::Closed || unleased);
        let report: Option<VmReport> = self.record(&Key::HostVm(runner.host.clone(), vm.clone()));
        let said = report.is_some_and(|report| {
            report.incarnation == runner.incarnation
                && report.generation == generation
                && matches!(
                    report.state,
                    RunState::Exited { .. } | RunState::MigratedAway | RunState::NotHere
                )
        });
        in_this_txn || fenced || said
    }

    fn check_closed(&mut self, host: &HostName, life: &Incarnation, record: &FenceRecord) {
        // A person's word that was wrong when it was given is beyond what is assumed, and says so elsewhere.
        let confirmed = matches!(record.evidence, Evidence::Confirmed { .. });
        if confirmed && self.truth.vouched_wrongly.contains(host) {
            return;
        }
        let half = record.stage == FenceStage::ControlClosed;
        let still: Vec<String> = self
            .truth
            .spans
            .iter()
            .filter(|(vm, spans)| {
                spans.iter().any(|span| {
                    !(half && self.is_leased(vm, span.generation))
                        && span.to.is_none()
                        && span.host == *host
                        && span.incarnation.as_ref() == Some(life)
                })
            })
            .map(|(vm, _)| vm.to_string())
            .collect();
        if !still.is_empty() {
            self.violation(format!(
                "closed-is-stopped: {host}/{life} is recorded as closed ({}) while it runs {}",
                record.evidence,
                still.join(", ")
            ));
        }
    }
}

impl Ctx {
    /// Whether a grant relies on a storage lease, as far as the store still knows it. One above the
    /// record's was forgotten by a store that was set back: then by what the record says of the VM.
    fn is_leased(&self, vm: &VmName, generation: Generation) -> bool {
        let owner: Option<Owner> = self.record(&Key::VmOwner(vm.clone()));
        owner.is_some_and(|owner| {
            owner.generation <= generation && owner.lease == StorageClass::Quorum
        })
    }
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use super::super::agent::name;
    use super::super::{Sim, event::Client};
    use super::*;
    use holdfast_core::guardian::EndKind;
    use holdfast_model::host::Capacity;
    use holdfast_store::guards::encode;

    /// One site, two hosts, `web` running on the first.
    fn cluster() -> Sim {
        let mut sim = Sim::default();
        sim.add_site(name("a"), false);
        for host in ["a1", "a2"] {
            let capacity = Capacity {
                memory_mib: 8_192,
                cpus: 8,
            };
            sim.add_host(name(host), name("a"), capacity, Default::default());
        }
        let spec = serde_json::json!({
            "name": "web", "uuid": "7b6a1c9e-0000-4000-8000-000000000001",
            "domain_xml": "<domain/>", "run": true, "memory_mib": 512, "vcpus": 1,
        });
        sim.add_vm(serde_json::from_value(spec).expect("a spec"))
            .expect("a store with a leader");
        sim.advance(10_000);
        assert_eq!(sim.ctx.truth.violations, Vec::<String>::new());
        assert_eq!(sim.ctx.truth.running(&name("web")).len(), 1);
        sim
    }

    fn owner(sim: &Sim) -> Owner {
        sim.ctx
            .record(&Key::VmOwner(name("web")))
            .expect("an owner record")
    }

    #[track_caller]
    fn broken(sim: &Sim, names: &[&str]) {
        let found: Vec<&str> = sim
            .ctx
            .truth
            .violations
            .iter()
            .filter_map(|text| text.split(':').next())
            .collect();
        assert_eq!(found, names, "{:#?}", sim.ctx.truth.violations);
    }

    fn span(sim: &Sim, host: &str) -> Span {
        Span {
            host: name(host),
            incarnation: Some(name(&format!("{host}-1"))),
            domain: 1_000,
            generation: owner(sim).generation,
            from: sim.ctx.now,
            to: None,
            cold: true,
        }
    }

    fn put(key: Key, value: Vec<u8>) -> Txn {
        Txn {
            compares: Vec::new(),
            ops: vec![TxnOp::Put(key.path(), value)],
        }
    }

    #[test]
    fn a_second_runner_and_a_start_without_a_grant_are_seen() {
        let mut sim = cluster();
        let second = span(&sim, "a2");
        sim.ctx.begin(&name("web"), second, None);
        broken(&sim, &["no-start-without-grant", "runs-once"]);
    }

    #[test]
    fn an_old_image_is_seen() {
        let mut sim = cluster();
        sim.crash(&name("web")).expect("it runs");
        let again = span(&sim, "a1");
        let old = sim.ctx.now - 1;
        sim.ctx.begin(&name("web"), again, Some(old));
        broken(&sim, &["no-stale-image"]);
    }

    #[test]
    fn a_needless_stop_is_seen() {
        let mut sim = cluster();
        let host = sim.hosts.get_mut(&name("a1")).expect("a host");
        let id = host.m.domains[&name("web")].id;
        let (ctx, vm) = (&mut sim.ctx, name("web"));
        host.m
            .end(ctx, &vm, id, Stop::Destroyed, "", EndKind::Destroyed);
        broken(&sim, &["needless-stop"]);
    }

    #[test]
    fn writes_without_the_right_to_are_seen() {
        let mut sim = cluster();
        let same = put(Key::VmOwner(name("web")), encode(&owner(&sim)));
        let leader = Client::Manager(name("m-a"), 1);
        sim.ctx.check_writes(&leader, &same);
        broken(&sim, &[]);
        let earlier_life = Client::Manager(name("m-a"), 0);
        sim.ctx.check_writes(&earlier_life, &same);
        broken(&sim, &["own-epoch"]);
        let report = put(Key::HostReport(name("a1")), b"{}".to_vec());
        sim.ctx.check_writes(&Client::Agent(name("a1"), 2), &report);
        broken(&sim, &["own-epoch"]);
        sim.ctx.check_writes(&Client::Agent(name("a2"), 2), &report);
        broken(&sim, &["own-epoch", "own-session"]);
    }

    #[test]
    fn a_grant_without_evidence_is_seen() {
        let mut sim = cluster();
        let mut next = owner(&sim);
        next.generation = next.generation.next();
        next.holder = Some(Runner {
            host: name("a2"),
            incarnation: name("a2-1"),
        });
        let txn = put(Key::VmOwner(name("web")), encode(&next));
        sim.ctx.check_writes(&Client::Manager(name("m-a"), 1), &txn);
        broken(&sim, &["evidence-first"]);
    }

    #[test]
    fn a_guard_that_does_nothing_is_seen() {
        let mut sim = cluster();
        sim.sabotage_guard(&name("a1")).expect("a host");
        sim.freeze_agent(&name("a1"), 120_000).expect("a host");
        use super::super::net::End;
        sim.cut(End::Host(name("a1")), End::Rest, false);
        sim.advance(60_000);
        broken(&sim, &["closed-is-stopped", "runs-once"]);
    }
}
