//! What deserves attention: each with a stable code, and what to do.

use super::Scene;
use holdfast_model::host::{
    GuardState, HostReport, LeaseState, LibvirtState, Membership, Session, SessionState,
    StorageState,
};
use holdfast_model::id::HostName;
use holdfast_model::status::{Condition, Severity, SiteState, Status, VmState};
use holdfast_store::keyspace::Key;

/// Names shown in one condition before "and N more".
const NAMED: usize = 6;

impl Scene<'_> {
    pub(super) fn conditions(&self, status: &Status) -> Vec<Condition> {
        let mut found = Found::default();
        self.store(status, &mut found);
        self.leadership(status, &mut found);
        self.policy(&mut found);
        self.planes(status, &mut found);
        sites(status, &mut found);
        for host in &status.hosts {
            self.host_conditions(host, status, &mut found);
        }
        vms(status, &mut found);
        self.extension_conditions(status, &mut found);
        self.device_conditions(status, &mut found);
        let policy = Key::Policy.path();
        let others = self.view.unreadable.iter();
        for (key, why) in others.filter(|(key, _)| **key != policy) {
            found.add(
                Severity::Warning,
                "unreadable-record",
                format!("{key} cannot be read, so nothing is decided about it: {why}"),
            );
        }
        // Without a policy that is followed there is no plan at all, which is told already.
        let violations = self.context.violations.iter();
        for violation in violations.filter(|_| self.view.can_plan().is_ok()) {
            found.add(
                Severity::Critical,
                "plan-refused",
                format!("a plan was not executed, its check found: {violation}; please report it"),
            );
        }
        found
            .0
            .sort_by_key(|condition| std::cmp::Reverse(condition.severity));
        found.0
    }

    fn store(&self, status: &Status, found: &mut Found) {
        if !status.quorum.healthy {
            found.add(Severity::Critical, "no-quorum", self.no_quorum(status));
            return;
        }
        for member in status
            .quorum
            .members
            .iter()
            .filter(|member| !member.healthy)
        {
            let total = status.quorum.members.len();
            let up = status
                .quorum
                .members
                .iter()
                .filter(|member| member.healthy)
                .count();
            let spare = match up.saturating_sub(total / 2 + 1) {
                0 => "one more failure stops all decisions".to_owned(),
                spare => format!("{spare} more may fail"),
            };
            found.add(
                Severity::Warning,
                "voter-down",
                format!(
                    "etcd member {} does not answer: {spare}. Bring it back",
                    member.name
                ),
            );
        }
        if status.quorum.members.len() == 1 {
            found.add(
                Severity::Warning,
                "single-voter",
                "etcd has one member: when it is lost nothing can be decided. Use one per site \
                 and one at the witness"
                    .to_owned(),
            );
        }
    }

    /// Why nothing can be decided: no majority answers, or one does and does not keep up.
    fn no_quorum(&self, status: &Status) -> String {
        let members = &status.quorum.members;
        let down = members.iter().filter(|member| !member.healthy);
        let down: Vec<&str> = down.map(|member| member.name.as_str()).collect();
        let (why, then) = match self.context.voters {
            Err(error) => (
                format!("etcd has no majority ({error})"),
                "Bring etcd members back",
            ),
            Ok(_) if members.len() > 2 * down.len() => (
                "etcd's members answer but confirm nothing in time".to_owned(),
                "If it lasts, look for a slow disk or link of a member: etcd's log names what took too \
                 long",
            ),
            Ok(_) => (
                format!("etcd has no majority (no answer from {})", down.join(", ")),
                "Bring etcd members back",
            ),
        };
        format!(
            "{why}: nothing is started, moved or changed, and what is shown here is old; VMs \
             protected by the control plane alone stop at their host's deadline. {then}"
        )
    }

    fn leadership(&self, status: &Status, found: &mut Found) {
        if status.leader.is_none() && status.quorum.healthy {
            found.add(
                Severity::Critical,
                "no-leader",
                "no manager leads: VMs run on, nothing is decided. Another one takes over within \
                 seconds if any runs; otherwise start holdfast-manager"
                    .to_owned(),
            );
        }
        for manager in status.managers.iter().filter(|manager| !manager.healthy) {
            found.add(
                Severity::Warning,
                "manager-down",
                format!(
                    "manager {} does not answer; start it, or look why it stopped",
                    manager.name
                ),
            );
        }
    }

    fn host_conditions(
        &self,
        host: &holdfast_model::status::Host,
        status: &Status,
        found: &mut Found,
    ) {
        let Some(view) = self.view.hosts.get(&host.name) else {
            return;
        };
        let name = &host.name;
        let lost = |site: &holdfast_model::status::Site| {
            Some(&site.name) == host.site.as_ref() && site.state == SiteState::Lost
        };
        let told = status.sites.iter().any(lost);
        match host.state {
            Some(Membership::Suspect) if !told => found.add(
                Severity::Warning,
                "host-suspect",
                format!("host {name} is suspect: {}", host.reason),
            ),
            Some(Membership::Isolated) if !told => found.add(
                Severity::Warning,
                "host-isolated",
                format!(
                    "host {name} is cut off: {}. Its VMs may run on there under their storage lease",
                    host.reason
                ),
            ),
            Some(Membership::Fenced) if !told => found.add(
                Severity::Warning,
                "host-lost",
                format!(
                    "host {name} is lost: {}. It rejoins by itself once it is back",
                    host.reason
                ),
            ),
            _ => {}
        }
        if let Some(session) = view.session.as_ref().map(|session| &session.value)
            && session.state == SessionState::Open
        {
            self.session_conditions(name, session, found);
            if let Some(report) = &view.report {
                report_conditions(name, &report.value, found);
            }
        }
    }

    fn session_conditions(&self, name: &HostName, session: &Session, found: &mut Found) {
        if session.guard == GuardState::Absent {
            found.add(
                Severity::Warning,
                "no-guard",
                format!(
                    "no guard works on host {name}: it takes no VMs, its silence proves nothing, and \
                     what it runs leaves before long. Start holdfast-guard there"
                ),
            );
        }
        let required_ms = session.bounds.required_wait_ms();
        if required_ms > self.timing.taker_wait_ms {
            found.add(
                Severity::Warning,
                "slow-host",
                format!(
                    "host {name} needs {required_ms} ms to stop its VMs, more than taker_wait_ms \
                     = {}: its VMs are restarted that much later",
                    self.timing.taker_wait_ms
                ),
            );
        }
        let (wanted_ms, declared_ms) = (
            self.timing.watchdog_bound_ms,
            session.bounds.watchdog_bound_ms,
        );
        let text = match declared_ms {
            // Without a guard its absence is what is said.
            0 if wanted_ms > 0 && session.guard == GuardState::Working => Some(format!(
                "policy counts on a watchdog that resets a host within {wanted_ms} ms, and host {name} has \
                 none: a VM there that cannot be killed may outlive the wait of a takeover. Set up \
                 [guard.watchdog] in its host.toml"
            )),
            longer_ms if longer_ms > wanted_ms => Some(format!(
                "the watchdog of host {name} needs {longer_ms} ms, and policy says {wanted_ms} ms: a \
                 takeover of its VMs waits for it. Set a shorter timeout_s under [guard.watchdog] in its \
                 host.toml, or a longer watchdog_bound_ms in the policy"
            )),
            _ => None,
        };
        if let Some(text) = text {
            found.add(Severity::Warning, "watchdog", text);
        }
    }
}

/// What a host says of itself.
fn report_conditions(name: &HostName, report: &HostReport, found: &mut Found) {
    if let LibvirtState::Unreachable { reason } = &report.libvirt {
        found.add(
            Severity::Warning,
            "libvirt-unreachable",
            format!(
                "libvirt on host {name} does not answer ({reason}): its VMs run on, none can \
                     be started or moved. Restart libvirtd there"
            ),
        );
    }
    if let LeaseState::Lapsed { reason } = &report.lease {
        let text = format!(
            "host {name} does not write its heartbeat on the lease volume ({reason}): its VMs stop if it \
             loses etcd as well"
        );
        found.add(Severity::Warning, "lease-lapsed", text);
    }
    let storage = match &report.storage {
        StorageState::Unusable { reason } => Some((Severity::Critical, "not usable", reason)),
        StorageState::Unknown { reason } => Some((Severity::Warning, "unknown", reason)),
        StorageState::Degraded { detail } => Some((Severity::Warning, "degraded", detail)),
        StorageState::NotChecked | StorageState::Synced => None,
    };
    if let Some((severity, word, why)) = storage {
        let text = format!("storage on host {name} is {word}: {why}");
        found.add(severity, "storage", text);
    }
}

fn sites(status: &Status, found: &mut Found) {
    for site in &status.sites {
        match site.state {
            SiteState::Lost if site.witness => found.add(
                Severity::Warning,
                "witness-lost",
                format!(
                    "witness {} does not answer: VMs run on, but the loss of a site could not be \
                     decided now. Bring it back",
                    site.name
                ),
            ),
            SiteState::Lost => found.add(
                Severity::Critical,
                "site-lost",
                format!("site {} is lost: none of its hosts is online", site.name),
            ),
            SiteState::Rejoining => found.add(
                Severity::Info,
                "site-rejoining",
                format!(
                    "site {} is back and held down until it has been well for a while",
                    site.name
                ),
            ),
            _ => {}
        }
    }
}

fn vms(status: &Status, found: &mut Found) {
    let of = |state: VmState| {
        let names = status.vms.iter().filter(move |vm| vm.state == state);
        names.map(|vm| vm.name.as_str()).collect::<Vec<_>>()
    };
    let waiting = of(VmState::Waiting);
    if !waiting.is_empty() {
        found.add(
            Severity::Critical,
            "vm-waiting",
            format!(
                "{} should run and {} not: {}. `holdfast why vm NAME` says what for",
                vms_words(waiting.len()),
                if waiting.len() == 1 { "does" } else { "do" },
                listed(&waiting)
            ),
        );
    }
    for (state, code, text) in [
        (
            VmState::Unknown,
            "vm-unknown",
            "nobody can say whether these run",
        ),
        (VmState::Paused, "vm-paused", "paused"),
    ] {
        let names = of(state);
        if !names.is_empty() {
            found.add(
                Severity::Warning,
                code,
                format!("{text}: {}", listed(&names)),
            );
        }
    }
    let away: Vec<&str> = status
        .vms
        .iter()
        .filter(|vm| vm.site.is_some() && vm.preferred_site.is_some())
        .filter(|vm| vm.site != vm.preferred_site)
        .map(|vm| vm.name.as_str())
        .collect();
    if !away.is_empty() {
        found.add(
            Severity::Info,
            "vm-away",
            format!(
                "{} away from the preferred site: {}",
                vms_words(away.len()),
                listed(&away)
            ),
        );
    }
}

pub(super) fn vms_words(count: usize) -> String {
    if count == 1 {
        "1 VM".to_owned()
    } else {
        format!("{count} VMs")
    }
}

pub(super) fn listed(names: &[&str]) -> String {
    match names.len().checked_sub(NAMED) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..NAMED].join(", ")),
    }
}

/// Conditions as they are found.
#[derive(Default)]
pub(super) struct Found(Vec<Condition>);

impl Found {
    pub(super) fn add(&mut self, severity: Severity, code: &str, text: String) {
        self.0.push(Condition {
            severity,
            code: code.to_owned(),
            text,
        });
    }
}
