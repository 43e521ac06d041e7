//! Fencing devices that an extension talks to, and cannot, or that nobody could ask: found out now, not when a host
//! is lost.

use super::Scene;
use super::conditions::{Found, listed};
use holdfast_core::errand::held_against;
use holdfast_model::asking::{AskMeans, AskerKind};
use holdfast_model::extension::{ExtensionKind, Installed};
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::{DeviceName, ExtensionName, HostName, SiteName, TargetName};
use holdfast_model::policy::FencingPolicy;
use holdfast_model::status::{Member, Severity, Status};
use std::collections::BTreeMap;

impl Scene<'_> {
    pub(super) fn device_conditions(&self, status: &Status, found: &mut Found) {
        let Some(policy) = &self.view.policy else {
            return;
        };
        for text in out_of_reach(&policy.value.fencing, &status.managers, &self.agents()) {
            found.add(Severity::Warning, "fencing-device-out-of-reach", text);
        }
        for (name, device) in &policy.value.fencing.devices {
            let Some(extension) = &device.extension else {
                continue;
            };
            let installed = self.view.extensions.get(extension);
            let installed = installed.map(|seen| &seen.value);
            if let Some(fault) = fault(extension, device, installed) {
                let who = who_decides(&policy.value.fencing, &[name.as_str()]);
                let text = format!(
                    "fencing device {name}: {fault}. Until then {who} decide about its hosts"
                );
                found.add(Severity::Warning, "fencing-device-unusable", text);
            }
        }
    }
}

/// The agent of a host that asks devices of others.
struct Agent<'v> {
    host: &'v HostName,
    site: &'v SiteName,
    means: &'v AskMeans,
}

impl Scene<'_> {
    /// Those whose host is well, as far as the leader holds.
    fn agents(&self) -> Vec<Agent<'_>> {
        let asks = self.view.host_asks.iter().filter_map(|(host, seen)| {
            let view = self.view.hosts.get(host)?;
            let state = view.state.as_ref().map(|seen| &seen.value);
            let fit = held_against(state, &seen.value.incarnation).is_none();
            let site = &view.spec.as_ref()?.value.site;
            let means = &seen.value.means;
            fit.then_some(Agent { host, site, means })
        });
        asks.collect()
    }
}

/// Devices that only some are to ask, and none of those is there and has what it takes. One text for each such choice:
/// a site has as many devices as hosts.
fn out_of_reach(policy: &FencingPolicy, managers: &[Member], agents: &[Agent]) -> Vec<String> {
    let manager_is_there = |device: &FenceDevice| {
        let mut there = managers.iter().filter(|manager| manager.healthy);
        there.any(|manager| {
            let site = manager.site.as_ref();
            site.is_some_and(|site| device.is_reached_from(site))
        })
    };
    // For each of its hosts another one has to ask.
    let agent_is_there = |name: &DeviceName, device: &FenceDevice| {
        let mut able = agents.iter().filter(|agent| {
            device.is_reached_from(agent.site) && agent.means.lacks(device).is_none()
        });
        match (able.next(), able.next()) {
            (None, _) => false,
            (Some(one), None) => device.hosts_of(name).iter().all(|host| host != one.host),
            (Some(_), Some(_)) => true,
        }
    };
    let mut lonely: BTreeMap<(&[SiteName], &[AskerKind]), Vec<&str>> = BTreeMap::new();
    for (name, device) in &policy.devices {
        let agents_may = device.lets(AskerKind::Agents);
        let everywhere = device.from.is_empty() && !agents_may;
        let by_manager = device.lets(AskerKind::Managers) && manager_is_there(device);
        let by_agent = agents_may && agent_is_there(name, device);
        if !(everywhere || by_manager || by_agent) {
            let choice = (&device.from[..], &device.askers[..]);
            lonely.entry(choice).or_default().push(name.as_str());
        }
    }
    let text = |((sites, askers), devices): ((&[SiteName], &[AskerKind]), Vec<&str>)| {
        let sites: Vec<&str> = sites.iter().map(|site| site.as_str()).collect();
        let sites = sites.join(", ");
        let who = who_decides(policy, &devices);
        let (what, whose) = match devices.len() {
            1 => ("fencing device", "its"),
            _ => ("fencing devices", "their"),
        };
        let only = match (askers.contains(&AskerKind::Agents), sites.is_empty()) {
            (false, _) => {
                return format!(
                    "{what} {}: only managers at {sites} are to ask (`from`), and none is there. Until then {who} \
                     decide about {whose} hosts. Start holdfast-manager there, or correct `from` in the policy",
                    listed(&devices),
                );
            }
            (true, true) => format!("{} (`askers`)", kinds(askers)),
            (true, false) => format!("{} at {sites} (`askers`, `from`)", kinds(askers)),
        };
        format!(
            "{what} {}: only {only} are to ask, and none that is there has what it takes. Until then {who} decide \
             about {whose} hosts. Give an agent of another host a fence.toml, or correct the policy",
            listed(&devices),
        )
    };
    lonely.into_iter().map(text).collect()
}

/// In words.
fn kinds(askers: &[AskerKind]) -> String {
    let words: Vec<String> = askers.iter().map(ToString::to_string).collect();
    words.join(" and ")
}

/// Who decides about the hosts of these devices while none of them can be asked.
fn who_decides(policy: &FencingPolicy, unusable: &[&str]) -> &'static str {
    let is_unusable = |name: &DeviceName| unusable.contains(&name.as_str());
    let mut hosts = policy
        .devices
        .iter()
        .filter(|(name, _)| is_unusable(name))
        .flat_map(|(name, device)| device.hosts_of(name));
    let others = |host: HostName| {
        let devices = policy.devices_of(&host);
        devices.iter().any(|(name, _)| !is_unusable(name))
    };
    match hosts.all(others) {
        true => "the leases and the other devices",
        false => "the leases alone",
    }
}

fn fault(
    extension: &ExtensionName,
    device: &FenceDevice,
    installed: Option<&Installed>,
) -> Option<String> {
    let Some(installed) = installed else {
        return Some(format!(
            "extension {extension} is not installed; `holdfast ext install` does it"
        ));
    };
    let kind = installed.manifest.kind;
    if kind != ExtensionKind::Fencing {
        return Some(format!(
            "extension {extension} is for {kind}, not for fencing; name another one"
        ));
    }
    let rights = installed.rights();
    let roles: Vec<&TargetName> = rights.http.keys().chain(&rights.programs).collect();
    let list = || {
        let words: Vec<String> = roles.iter().map(|role| format!("`{role}`")).collect();
        words.join(", ")
    };
    let stray = device.bind.keys().find(|role| !roles.contains(role));
    if let Some(stray) = stray {
        return Some(format!(
            "`bind` names `{stray}`, and extension {extension} has {}; correct it",
            list()
        ));
    }
    let open = roles.iter().find(|role| !device.bind.contains_key(**role));
    open.map(|open| {
        format!(
            "`bind` says nothing of `{open}`, which extension {extension} asks; bind it to a name of [targets] \
             or [fence_agents] in manager.toml"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::advice::Fallback;
    use holdfast_model::extension::{LimitsAsked, Manifest, Rights};
    use holdfast_model::time::UnixMs;

    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("a name")
    }

    fn installed(kind: ExtensionKind) -> Installed {
        let rights = Rights {
            http: BTreeMap::from([(name("board"), ["GET /".to_owned()].into())]),
            ..Rights::default()
        };
        Installed {
            manifest: Manifest {
                name: name("redfish"),
                version: "0.1.0".to_owned(),
                kind,
                summary: "x".to_owned(),
                limits: LimitsAsked::default(),
                rights: rights.clone(),
            },
            digest: String::new(),
            bytes: 0,
            granted: rights,
            limits: LimitsAsked::default(),
            then: Fallback::Closed,
            signed: None,
            by: String::new(),
            at: UnixMs(0),
            before: None,
            rollout: None,
        }
    }

    #[test]
    fn a_device_wants_a_manager_that_reaches_it() {
        let mut policy = FencingPolicy::default();
        for (host, from) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("w1", "")] {
            let mut device = FenceDevice::by_agent(name("x"), BTreeMap::new(), 1_000);
            device.from = from.parse().into_iter().collect();
            policy.devices.insert(name(host), device);
        }
        let manager = |site: &str, healthy| Member {
            name: format!("m-{site}"),
            site: Some(name(site)),
            healthy,
        };
        let said = |managers: &[Member]| out_of_reach(&policy, managers, &[]);
        let all = [manager("a", true), manager("b", true)];
        assert_eq!(said(&all), Vec::<String>::new());
        let one = said(&[manager("a", false), manager("b", true), manager("w", true)]);
        assert_eq!(one.len(), 1);
        assert!(
            one[0].starts_with("fencing devices a1, a2: only managers at a are to ask"),
            "{one:?}"
        );
        let both = said(&[manager("w", true)]);
        assert_eq!(both.len(), 2);
        assert!(both[1].starts_with("fencing device b1: only managers at b"));
        assert!(both[1].contains("the leases alone decide about its hosts"));
        let mut pdu = FenceDevice::by_agent(name("y"), BTreeMap::new(), 1_000);
        pdu.hosts = vec![name("b1")];
        policy.devices.insert(name("pdu"), pdu);
        let both = out_of_reach(&policy, &[manager("w", true)], &[]);
        assert!(both[0].contains("the leases alone decide about their hosts"));
        assert!(both[1].contains("the leases and the other devices decide about its hosts"));
    }

    #[test]
    fn a_device_that_agents_ask_wants_one_of_another_host() {
        let mut policy = FencingPolicy::default();
        let mut device = FenceDevice::by_agent(name("x"), BTreeMap::new(), 1_000);
        device.askers = vec![AskerKind::Agents];
        policy.devices.insert(name("a1"), device.clone());
        let (bare, able) = (
            AskMeans::default(),
            AskMeans {
                programs: [name("x")].into(),
                ..AskMeans::default()
            },
        );
        let (a, b): (SiteName, SiteName) = (name("a"), name("b"));
        let (a1, b1): (HostName, HostName) = (name("a1"), name("b1"));
        let agent = |host, site, means| Agent { host, site, means };
        let manager = Member {
            name: "m-a".to_owned(),
            site: Some(a.clone()),
            healthy: true,
        };
        let said = |policy: &FencingPolicy, agents: &[Agent]| {
            out_of_reach(policy, std::slice::from_ref(&manager), agents).join("; ")
        };
        let lonely = "fencing device a1: only agents (`askers`) are to ask, and none that is there";
        for agents in [&[][..], &[agent(&a1, &a, &able)], &[agent(&b1, &b, &bare)]] {
            let said = said(&policy, agents);
            assert!(said.starts_with(lonely), "{said}");
        }
        assert_eq!(said(&policy, &[agent(&b1, &b, &able)]), "");
        device.from = vec![a.clone()];
        policy.devices.insert(name("a1"), device.clone());
        let far = said(&policy, &[agent(&b1, &b, &able)]);
        assert!(far.contains("only agents at a (`askers`, `from`)"), "{far}");
        device.askers.push(AskerKind::Managers);
        policy.devices.insert(name("a1"), device);
        assert_eq!(said(&policy, &[]), "", "the manager there may");
    }

    #[test]
    fn a_device_wants_its_extension_with_all_names_bound() {
        let mut device = FenceDevice::by_agent(name("x"), BTreeMap::new(), 1_000);
        device.agent = None;
        device.extension = Some(name("redfish"));
        let fencing = installed(ExtensionKind::Fencing);
        let says = |device: &FenceDevice, installed: Option<&Installed>| {
            fault(&name("redfish"), device, installed).unwrap_or_default()
        };
        assert!(says(&device, None).contains("not installed"));
        let other = installed(ExtensionKind::Placement);
        assert!(says(&device, Some(&other)).contains("for placement"));
        assert!(says(&device, Some(&fencing)).contains("nothing of `board`"));
        device.bind = [(name("board"), name("a1-board"))].into();
        assert_eq!(says(&device, Some(&fencing)), "");
        device.bind.insert(name("bord"), name("a1-board"));
        assert!(says(&device, Some(&fencing)).contains("names `bord`"));
    }
}
