//! Fencing devices that an extension talks to, and cannot, or that nobody reaches: found out now, not when a host
//! is lost.

use super::Scene;
use super::conditions::{Found, listed};
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
        for text in out_of_reach(&policy.value.fencing, &status.managers) {
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

/// Devices that only managers at certain sites reach, and none of those is there. One text for each such choice of
/// sites: a site has as many devices as hosts.
fn out_of_reach(policy: &FencingPolicy, managers: &[Member]) -> Vec<String> {
    let is_there = |site: &SiteName| {
        let mut there = managers.iter().filter(|manager| manager.healthy);
        there.any(|manager| manager.site.as_ref() == Some(site))
    };
    let mut lonely: BTreeMap<&[SiteName], Vec<&str>> = BTreeMap::new();
    for (name, device) in &policy.devices {
        if !device.from.is_empty() && !device.from.iter().any(is_there) {
            lonely.entry(&device.from).or_default().push(name.as_str());
        }
    }
    let text = |(sites, devices): (&[SiteName], Vec<&str>)| {
        let sites: Vec<&str> = sites.iter().map(|site| site.as_str()).collect();
        let who = who_decides(policy, &devices);
        let (what, whose) = match devices.len() {
            1 => ("fencing device", "its"),
            _ => ("fencing devices", "their"),
        };
        format!(
            "{what} {}: only managers at {} are to ask (`from`), and none is there. Until then {who} \
             decide about {whose} hosts. Start holdfast-manager there, or correct `from` in the policy",
            listed(&devices),
            sites.join(", ")
        )
    };
    lonely.into_iter().map(text).collect()
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
        let said = |managers: &[Member]| out_of_reach(&policy, managers);
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
        let both = out_of_reach(&policy, &[manager("w", true)]);
        assert!(both[0].contains("the leases alone decide about their hosts"));
        assert!(both[1].contains("the leases and the other devices decide about its hosts"));
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
