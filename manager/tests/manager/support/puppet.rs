//! A host without libvirt: it renews its session, accepts grants, and says of each VM what an agent
//! would say. Its power can be cut.

use holdfast_model::event::{Event, EventKind};
use holdfast_model::host::{
    Capacity, ExitKind, GuardState, HostReport, HostSpec, LibvirtState, RunState, RunnerBounds,
    Session, SessionState, StorageState, VmReport,
};
use holdfast_model::id::{BootId, HostName, Incarnation, Revision, VmName};
use holdfast_model::probe::ProbeKey;
use holdfast_model::vm::{Intent, Owner};
use holdfast_probe::{Digest, Signer};
use holdfast_store::api::{Compare, Txn, TxnOp, TxnOutcome};
use holdfast_store::clock::wall;
use holdfast_store::guards::{HostWrite, encode, event_id, report_txn};
use holdfast_store::keyspace::Key;
use holdfast_store::memory::MemoryStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

use super::name;

/// A round of a puppet.
const ROUND: Duration = Duration::from_millis(25);
/// Rounds between two heartbeats.
const BEAT: u64 = 4;

pub struct Puppet {
    host: HostName,
    strings: Arc<Mutex<Strings>>,
    task: JoinHandle<()>,
}

/// What a test can pull.
#[derive(Default)]
struct Strings {
    off: bool,
    /// Nobody who asks it directly is answered.
    mute: bool,
    /// Starts of these VMs fail with these words.
    broken: BTreeMap<VmName, String>,
    /// VMs that end, once.
    ends: BTreeMap<VmName, ExitKind>,
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Puppet {
    pub fn start(store: &MemoryStore, host: &str, site: &str) -> Self {
        let host: HostName = name(host);
        let strings = Arc::new(Mutex::new(Strings::default()));
        let mut life = Life {
            store: store.clone(),
            host: host.clone(),
            number: 0,
            beat: 0,
            session: None,
            port: UdpSocket::bind("127.0.0.1:0").expect("a socket"),
        };
        life.port.set_nonblocking(true).expect("a socket");
        life.join(site);
        let pulled = strings.clone();
        let task = tokio::spawn(async move {
            let mut round = 0;
            loop {
                life.round(round, &mut pulled.lock().expect("no panic"));
                round += 1;
                tokio::time::sleep(ROUND).await;
            }
        });
        Self {
            host,
            strings,
            task,
        }
    }

    pub fn name(&self) -> &str {
        self.host.as_str()
    }

    fn pull(&self, change: impl FnOnce(&mut Strings)) {
        change(&mut self.strings.lock().expect("no panic"));
    }

    pub fn power_off(&self) {
        self.pull(|strings| strings.off = true);
    }

    pub fn be_mute(&self, mute: bool) {
        self.pull(|strings| strings.mute = mute);
    }

    pub fn fail_starts(&self, vm: &str, words: &str) {
        self.pull(|strings| drop(strings.broken.insert(name(vm), words.to_owned())));
    }

    pub fn end_vm(&self, vm: &str, how: ExitKind) {
        self.pull(|strings| drop(strings.ends.insert(name(vm), how)));
    }
}

struct Life {
    store: MemoryStore,
    host: HostName,
    number: u64,
    beat: u64,
    /// Revision of the last heartbeat; none: no open session.
    session: Option<Revision>,
    /// Where its guard would answer.
    port: UdpSocket,
}

impl Life {
    fn read<T: DeserializeOwned>(&self, key: &Key) -> Option<(T, Revision)> {
        let found = self.store.get_now(&key.path())?;
        Some((serde_json::from_slice(&found.value).ok()?, found.revision))
    }

    fn put<T: Serialize>(&self, key: &Key, record: &T, guard: Compare) -> Option<Revision> {
        let txn = Txn {
            compares: vec![guard],
            ops: vec![TxnOp::Put(key.path(), encode(record))],
        };
        match self.store.txn_now(txn) {
            TxnOutcome::Committed(revision) => Some(revision),
            TxnOutcome::Refused(_) => None,
        }
    }

    fn incarnation(&self) -> Incarnation {
        name(&format!("{}-{}", self.host, self.number))
    }

    fn join(&self, site: &str) {
        let spec = HostSpec {
            name: self.host.clone(),
            site: name(site),
            maintenance: false,
        };
        let key = Key::HostSpec(self.host.clone());
        self.put(&key, &spec, Compare::Absent(key.path()));
    }

    fn record(&self) -> Session {
        Session {
            incarnation: self.incarnation(),
            boot_id: self.boot(),
            machine_id: name(&format!("machine-{}", self.host)),
            beat: self.beat,
            state: SessionState::Open,
            bounds: RunnerBounds {
                runner_deadline_ms: 2_000,
                kill_bound_ms: 500,
                watchdog_bound_ms: 0,
            },
            guard: GuardState::Working,
            storage: None,
            version: "puppet".to_owned(),
        }
    }

    fn boot(&self) -> BootId {
        name(&format!("boot-{}", self.number))
    }

    /// Answers who asks it directly, as its guard would.
    fn answer(&self, silently: bool) {
        let mut buffer = [0; holdfast_probe::LEN];
        let key = self.read::<ProbeKey>(&Key::ProbeKey);
        let (host, boot) = (Digest::of_host(&self.host), Digest::of_boot(&self.boot()));
        while let Ok((length, from)) = self.port.recv_from(&mut buffer) {
            let signer = key.as_ref().map(|(key, _)| Signer::new(key));
            let Some(signer) = signer.filter(|_| !silently) else {
                continue;
            };
            if let Some(nonce) = signer.read_question(&host, &buffer[..length]) {
                let answer = signer.answer(&host, &boot, &nonce);
                self.port.send_to(&answer, from).expect("sent");
            }
        }
    }

    fn round(&mut self, round: u64, strings: &mut Strings) {
        self.answer(strings.off || strings.mute);
        if strings.off {
            // What it ran is gone; it comes back as another life.
            self.session = None;
            return;
        }
        if round.is_multiple_of(BEAT) || self.session.is_none() {
            self.renew();
        }
        if self.session.is_some() {
            self.obey(strings);
        }
    }

    fn renew(&mut self) {
        let key = Key::HostSession(self.host.clone());
        self.beat += 1;
        let guard = match self.session {
            Some(last) => Compare::Revision(key.path(), last),
            None => match self.read::<Session>(&key) {
                None => Compare::Absent(key.path()),
                Some((_, revision)) => Compare::Revision(key.path(), revision),
            },
        };
        let opens = self.session.is_none();
        if opens {
            self.number += 1;
        }
        self.session = self.put(&key, &self.record(), guard);
        if let (true, Some(session)) = (opens, self.session) {
            let report = HostReport {
                incarnation: self.incarnation(),
                libvirt: LibvirtState::Connected,
                capacity: Capacity {
                    memory_mib: 4_096,
                    cpus: 4,
                },
                storage: StorageState::Synced,
                migrate_address: "127.0.0.1".to_owned(),
                lease: holdfast_model::host::LeaseState::NotUsed,
                probe: self.port.local_addr().ok(),
                labels: Default::default(),
            };
            let guard = Compare::Revision(key.path(), session);
            self.put(&Key::HostReport(self.host.clone()), &report, guard);
        }
    }

    /// Carries out what the owner records say, and reports it.
    fn obey(&self, strings: &mut Strings) {
        let prefix = format!("{}vms/", holdfast_store::keyspace::ROOT);
        for item in self.store.list_now(&prefix).items {
            let Some(Key::VmOwner(vm)) = Key::parse(&item.key) else {
                continue;
            };
            let Ok(owner) = serde_json::from_slice::<Owner>(&item.value) else {
                continue;
            };
            let me = |runner: &&holdfast_model::vm::Runner| {
                runner.host == self.host && runner.incarnation == self.incarnation()
            };
            let held = owner.holder.as_ref().filter(me).is_some();
            let coming = owner.incoming.as_ref().filter(me).is_some();
            let key = Key::HostVm(self.host.clone(), vm.clone());
            let known = self.read::<VmReport>(&key).map(|(report, _)| report);
            let state = if held {
                self.held(&vm, &owner, known.as_ref(), strings)
            } else if coming {
                Some(RunState::Incoming { complete: true })
            } else {
                if known.is_some() {
                    self.forget(&key);
                }
                continue;
            };
            let Some(state) = state else { continue };
            let report = VmReport {
                incarnation: self.incarnation(),
                generation: owner.generation,
                state,
            };
            if known.as_ref() != Some(&report) {
                self.say(&vm, report);
            }
        }
    }

    fn held(
        &self,
        vm: &VmName,
        owner: &Owner,
        known: Option<&VmReport>,
        strings: &mut Strings,
    ) -> Option<RunState> {
        let of_this = |report: &&VmReport| {
            report.generation == owner.generation && report.incarnation == self.incarnation()
        };
        let known = known.filter(of_this);
        if known.is_some_and(|report| report.state.is_final()) {
            return None;
        }
        if let Some(reason) = strings.broken.get(vm).filter(|_| known.is_none()) {
            let how = ExitKind::StartFailed {
                reason: reason.clone(),
            };
            return Some(RunState::Exited { how });
        }
        if let Some(how) = strings.ends.remove(vm) {
            return Some(RunState::Exited { how });
        }
        match owner.intent {
            Intent::Run | Intent::Resume | Intent::AbortMigration => Some(RunState::Running),
            Intent::Stop | Intent::Kill => Some(RunState::Exited {
                how: ExitKind::Stopped,
            }),
            Intent::Migrate => {
                let to = owner.incoming.as_ref()?;
                let key = Key::HostVm(to.host.clone(), vm.clone());
                let (there, _) = self.read::<VmReport>(&key)?;
                let whole = there.generation == owner.generation
                    && there.state == (RunState::Incoming { complete: true });
                whole.then_some(RunState::MigratedAway)
            }
        }
    }

    /// Writes a report, and the event that it runs with it, as an agent does.
    fn say(&self, vm: &VmName, report: VmReport) {
        let Some(session) = self.session else { return };
        let mut writes = Vec::new();
        if report.state == RunState::Running {
            let event = Event {
                at: wall(),
                actor: self.host.to_string(),
                kind: EventKind::VmRunning,
                host: Some(self.host.clone()),
                site: None,
                vm: Some(vm.clone()),
                generation: Some(report.generation),
                text: format!("{vm} runs on {}", self.host),
            };
            let id = event_id(&event, u64::try_from(self.store.revision().0).unwrap_or(0));
            writes.push(HostWrite::Event { id, event });
        }
        let key = Key::HostVm(self.host.clone(), vm.clone());
        let expect = self.store.get_now(&key.path()).map(|found| found.revision);
        writes.push(HostWrite::Vm {
            vm: vm.clone(),
            report,
            expect,
        });
        self.store.txn_now(report_txn(&self.host, session, &writes));
    }

    fn forget(&self, key: &Key) {
        self.store.txn_now(Txn {
            compares: Vec::new(),
            ops: vec![TxnOp::Delete(key.path())],
        });
    }
}
