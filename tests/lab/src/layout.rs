//! Which machines a lab has, their addresses, and how arguments name them. No I/O.
//!
//! ```text
//!   site a 10.77.1.0/24        site b 10.77.2.0/24       witness 10.77.3.0/24
//!   a-ctl .10  a1 .11  a2 .12  b-ctl .10  b1 .11 b2 .12  witness .10
//!        └────── bridge ─┐          ├─ bridge ──┘             ├─ bridge
//!                        └── namespace hf-net routes, cuts ───┘
//!                            10.77.9.1 observer: cut off by nothing but a power loss
//! ```

use serde::{Deserialize, Serialize};

use crate::error::{LabError, Result};

/// Where the observer listens: outside every site, reached through the machine's gateway.
pub const OBSERVER_ADDRESS: &str = "10.77.9.1";
/// The namespace with the bridges, the router, the observer and the operator's shell.
pub const NET_NAMESPACE: &str = "hf-net";
/// Where the shared storage is mounted on every hypervisor.
pub const STORAGE_DIR: &str = "/srv/holdfast";
/// Port of the managers' API.
pub const API_PORT: u16 = 7070;
/// More than this many hypervisors per site do not fit the address plan.
pub const MAX_HOSTS_PER_SITE: usize = 40;

/// What a machine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs VMs: libvirtd, guard, agent, storage client.
    Hypervisor,
    /// Runs an etcd member, a manager and a storage brick.
    Control,
}

/// One machine of the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// `a1`, `b-ctl`, `witness`.
    pub name: String,
    /// `a`, `b` or `witness`.
    pub site: String,
    /// What it is for.
    pub role: Role,
    /// Its address.
    pub address: String,
}

impl Machine {
    /// The name of its network namespace.
    pub fn namespace(&self) -> String {
        format!("hf-{}", self.name)
    }

    /// The name of its end of the cable in [`NET_NAMESPACE`] (15 characters at most).
    pub fn cable(&self) -> String {
        format!("v-{}", self.name)
    }

    /// The bridge of its site.
    pub fn bridge(&self) -> String {
        format!("br-{}", self.site.chars().next().unwrap_or('x'))
    }
}

/// All machines of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// In a fixed order: site a, site b, witness; the control machine of a site first.
    pub machines: Vec<Machine>,
}

impl Layout {
    /// Two sites with `hosts_per_site` hypervisors and a control machine each, and a witness.
    pub fn new(hosts_per_site: usize) -> Result<Layout> {
        if !(1..=MAX_HOSTS_PER_SITE).contains(&hosts_per_site) {
            return Err(LabError::Refused(format!(
                "hosts per site must be 1 to {MAX_HOSTS_PER_SITE}, not {hosts_per_site}"
            )));
        }
        let mut machines = Vec::new();
        let mut add = |name: String, site: &str, role, host: usize| {
            let address = format!("10.77.{}.{host}", subnet(site));
            machines.push(Machine {
                name,
                site: site.into(),
                role,
                address,
            });
        };
        for site in ["a", "b"] {
            add(format!("{site}-ctl"), site, Role::Control, 10);
            for number in 1..=hosts_per_site {
                add(
                    format!("{site}{number}"),
                    site,
                    Role::Hypervisor,
                    10 + number,
                );
            }
        }
        add("witness".into(), "witness", Role::Control, 10);
        Ok(Layout { machines })
    }

    /// The machine of that name.
    pub fn machine(&self, name: &str) -> Result<&Machine> {
        self.machines
            .iter()
            .find(|machine| machine.name == name)
            .ok_or_else(|| {
                let known: Vec<&str> = self
                    .machines
                    .iter()
                    .map(|each| each.name.as_str())
                    .collect();
                LabError::Unknown {
                    kind: "machine",
                    name: name.into(),
                    known: known.join(" "),
                }
            })
    }

    /// All machines of a site (`a`, `b`, `witness`).
    pub fn site(&self, site: &str) -> Result<Vec<&Machine>> {
        let found: Vec<&Machine> = self
            .machines
            .iter()
            .filter(|each| each.site == site)
            .collect();
        if found.is_empty() {
            let known = "a b witness".into();
            return Err(LabError::Unknown {
                kind: "site",
                name: site.into(),
                known,
            });
        }
        Ok(found)
    }

    /// The hypervisors of both sites.
    pub fn hypervisors(&self) -> impl Iterator<Item = &Machine> {
        self.machines
            .iter()
            .filter(|machine| machine.role == Role::Hypervisor)
    }

    /// The machines with an etcd member, a manager and a brick.
    pub fn controls(&self) -> impl Iterator<Item = &Machine> {
        self.machines
            .iter()
            .filter(|machine| machine.role == Role::Control)
    }

    /// The machines that `cut` and `heal` mean by a word: a site, a machine, or `all`.
    pub fn endpoint(&self, word: &str) -> Result<Vec<&Machine>> {
        if word == "all" {
            return Ok(self.machines.iter().collect());
        }
        self.site(word)
            .or_else(|_| self.machine(word).map(|machine| vec![machine]))
            .map_err(|_| {
                let names = self.machines.iter().map(|each| each.name.as_str());
                let known: Vec<&str> = ["all", "a", "b"].into_iter().chain(names).collect();
                let kind = "site or machine";
                LabError::Unknown {
                    kind,
                    name: word.into(),
                    known: known.join(" "),
                }
            })
    }

    /// Addresses of the control machines as `http://…:port`, those of `site` first.
    pub fn control_urls(&self, site: &str, port: u16) -> Vec<String> {
        let mut controls: Vec<&Machine> = self.controls().collect();
        controls.sort_by_key(|machine| machine.site != site);
        controls
            .iter()
            .map(|machine| format!("http://{}:{port}", machine.address))
            .collect()
    }
}

/// Third number of a site's addresses.
pub fn subnet(site: &str) -> u8 {
    match site {
        "a" => 1,
        "b" => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        let layout = Layout::new(2).unwrap();
        let all: Vec<String> = layout
            .machines
            .iter()
            .map(|each| format!("{} {}", each.name, each.address))
            .collect();
        let expected = [
            "a-ctl 10.77.1.10",
            "a1 10.77.1.11",
            "a2 10.77.1.12",
            "b-ctl 10.77.2.10",
            "b1 10.77.2.11",
            "b2 10.77.2.12",
            "witness 10.77.3.10",
        ];
        assert_eq!(all, expected);
        assert!(layout.machines.iter().all(|each| each.cable().len() <= 15));
    }

    #[test]
    fn endpoints() {
        let layout = Layout::new(1).unwrap();
        let names = |word| -> Vec<&str> {
            layout
                .endpoint(word)
                .unwrap()
                .iter()
                .map(|each| each.name.as_str())
                .collect()
        };
        assert_eq!(names("a"), ["a-ctl", "a1"]);
        assert_eq!(names("b1"), ["b1"]);
        assert_eq!(names("witness"), ["witness"]);
        assert_eq!(names("all").len(), 5);
        assert!(
            layout
                .endpoint("c9")
                .unwrap_err()
                .to_string()
                .contains("a-ctl")
        );
        assert!(Layout::new(0).is_err() && Layout::new(41).is_err());
    }

    #[test]
    fn own_site_comes_first() {
        let urls = Layout::new(1).unwrap().control_urls("b", 2379);
        assert_eq!(urls[0], "http://10.77.2.10:2379");
        assert_eq!(urls.len(), 3);
    }
}
