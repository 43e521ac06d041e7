//! Hosts: membership, planes, load, and why.

use super::{Scene, storage_words};
use holdfast_model::host::{LeaseState, LibvirtState, Membership, Session, SessionState};
use holdfast_model::id::HostName;
use holdfast_model::lease::Found;
use holdfast_model::plan::Subject;
use holdfast_model::status::{Host, Plane, Planes, Probed};
use holdfast_model::world::{HostView, Seen};

impl Scene<'_> {
    pub(super) fn hosts(&self) -> Vec<Host> {
        self.view
            .hosts
            .iter()
            .map(|(name, host)| self.host(name, host))
            .collect()
    }

    fn host(&self, name: &HostName, host: &HostView) -> Host {
        let session = host.session.as_ref();
        let silence_ms = session.map(|session| self.silence_ms(session.seen_at));
        let report = host.report.as_ref().map(|report| &report.value);
        let (vms, granted_mib) = self.load(name);
        Host {
            name: name.clone(),
            site: host.spec.as_ref().map(|spec| spec.value.site.clone()),
            state: host.state.as_ref().map(|state| state.value.membership),
            incarnation: session.map(|session| session.value.incarnation.clone()),
            boot_id: session.map(|session| session.value.boot_id.clone()),
            planes: Planes {
                control: session.map_or(Plane::None, |session| self.control_plane(session)),
                storage: self.storage_plane(name, host),
            },
            reason: self.host_reason(name, host),
            silence_ms,
            probes: self.probes(name, host),
            vms,
            memory_mib: (
                granted_mib,
                report.map_or(0, |report| report.capacity.memory_mib),
            ),
            libvirt: match report.map(|report| &report.libvirt) {
                None => "no report yet".to_owned(),
                Some(LibvirtState::Connected) => "connected".to_owned(),
                Some(LibvirtState::Unreachable { reason }) => format!("unreachable: {reason}"),
            },
            storage: report.map_or_else(String::new, |report| storage_words(&report.storage)),
        }
    }

    fn probes(&self, name: &HostName, host: &HostView) -> Vec<Probed> {
        let session = host.session.as_ref();
        let found = self.context.probes.iter().filter_map(|(by, vantage)| {
            let silence = vantage.silent.get(name)?;
            let present = session?.value.incarnation == silence.incarnation;
            present.then(|| Probed {
                by: by.clone(),
                site: vantage.site.clone(),
                silent_ms: self.context.now.since(silence.since),
                silent: silence.for_ms >= self.timing.probe_suspect_ms,
            })
        });
        found.collect()
    }

    /// The session lets its VMs run until the runner's deadline.
    pub(super) fn control_plane(&self, session: &Seen<Session>) -> Plane {
        let deadline_ms = session.value.bounds.runner_deadline_ms;
        let open = session.value.state == SessionState::Open;
        if open && self.context.now.since(session.seen_at) < deadline_ms {
            Plane::Valid
        } else {
            Plane::Lapsed
        }
    }

    /// Its heartbeat on the lease volume, by its own word while it has a session, and otherwise by what
    /// other hosts found there.
    fn storage_plane(&self, name: &HostName, host: &HostView) -> Plane {
        let session = host.session.as_ref().map(|session| &session.value);
        let Some(session) = session.filter(|session| session.storage.is_some()) else {
            return Plane::None;
        };
        if session.state == SessionState::Open {
            let report = host.report.as_ref().map(|report| &report.value.lease);
            return match report {
                Some(LeaseState::Valid) => Plane::Valid,
                _ => Plane::Lapsed,
            };
        }
        let seen = self.view.hosts.values().filter_map(|by| by.saw.get(name));
        let mut seen = seen.filter(|seen| seen.value.incarnation == session.incarnation);
        match seen.any(|seen| matches!(seen.value.found, Found::Beating { .. })) {
            true => Plane::Valid,
            false => Plane::Lapsed,
        }
    }

    /// VMs whose owner names it, and the memory they were given, in MiB.
    fn load(&self, name: &HostName) -> (u32, u64) {
        let mut count = 0;
        let mut memory_mib = 0;
        for vm in self.view.vms.values() {
            let Some(owner) = &vm.owner else { continue };
            let holder = owner
                .value
                .holder
                .as_ref()
                .filter(|holder| holder.host == *name);
            let incoming = owner.value.incoming.as_ref().filter(|to| to.host == *name);
            count += u32::from(holder.is_some());
            if holder.is_some() || incoming.is_some() {
                memory_mib += vm.spec.as_ref().map_or(0, |spec| spec.value.memory_mib);
            }
        }
        (count, memory_mib)
    }

    fn host_reason(&self, name: &HostName, host: &HostView) -> String {
        let said = self.said(&Subject::Host(name.clone()));
        let Some(state) = &host.state else {
            return said.unwrap_or_else(|| match &host.session {
                None => {
                    "it never had a session: is holdfast-host running there, and libvirtd? Its log \
                         (journalctl -u holdfast-host) says what it waits for"
                        .to_owned()
                }
                Some(_) => "waits for a leader to admit it".to_owned(),
            });
        };
        let present = host
            .session
            .as_ref()
            .map(|session| &session.value.incarnation);
        let mut words = Vec::new();
        let calm = matches!(state.value.membership, Membership::Online);
        if !calm || present != Some(&state.value.incarnation) {
            let reason = &state.value.reason;
            let own = format!("{name}: ");
            words.push(reason.strip_prefix(&own).unwrap_or(reason).to_owned());
        }
        words.extend(said);
        words.join("; ")
    }
}
