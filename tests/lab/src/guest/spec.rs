//! A guest as files: its libvirt domain XML and its specification for `holdfast vm apply`.

use serde::{Deserialize, Serialize};

use crate::layout::{OBSERVER_ADDRESS, STORAGE_DIR};

/// What runs inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuestKind {
    /// A boot sector that beats: up in 0.2 s, 44 MB on the host.
    BootSector,
    /// Linux with a journal on its own disk: up in a few seconds.
    Linux,
}

/// A guest to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestSpec {
    /// Name of the VM.
    pub name: String,
    /// What runs inside.
    pub kind: GuestKind,
    /// Whether Holdfast is to keep it running.
    pub run: bool,
    /// Memory.
    pub memory_mib: u64,
    /// Virtual processors.
    pub vcpus: u32,
    /// Higher first.
    pub priority: i32,
    /// Where it belongs.
    pub preferred_site: String,
    /// `should` or `must`.
    pub site_rule: String,
}

impl GuestSpec {
    /// A guest of a kind with what that kind needs, preferring a site.
    pub fn new(name: &str, kind: GuestKind, preferred_site: &str) -> GuestSpec {
        GuestSpec {
            name: name.into(),
            kind,
            run: true,
            memory_mib: match kind {
                GuestKind::BootSector => 16,
                GuestKind::Linux => 96,
            },
            vcpus: 1,
            priority: 10,
            preferred_site: preferred_site.into(),
            site_rule: "should".into(),
        }
    }

    /// Where its disk is, the same on every hypervisor.
    pub fn image(&self) -> String {
        format!("{STORAGE_DIR}/{}.img", self.name)
    }

    /// The specification file; the domain XML is in `NAME.xml` beside it.
    pub fn to_toml(&self) -> String {
        format!(
            "name = \"{name}\"\nrun = {run}\nmemory_mib = {memory}\nvcpus = {vcpus}\n\
             priority = {priority}\npreferred_site = \"{site}\"\nsite_rule = \"{rule}\"\n\
             domain_xml_file = \"{name}.xml\"\n",
            name = self.name,
            run = self.run,
            memory = self.memory_mib,
            vcpus = self.vcpus,
            priority = self.priority,
            site = self.preferred_site,
            rule = self.site_rule,
        )
    }
}

/// The libvirt domain. `domain_type` is `kvm` or `qemu`; `port` is the VM's at the observer.
///
/// Cache none and error policy stop are what Holdfast asks of every VM: nothing acknowledged to
/// the guest may be lost with the host, and a VM with a broken disk must not go on.
pub fn domain_xml(spec: &GuestSpec, uuid: &str, domain_type: &str, port: u16) -> String {
    let (boot, bus, device) = match spec.kind {
        GuestKind::BootSector => ("<boot dev='hd'/>".to_owned(), "ide", "hda"),
        GuestKind::Linux => (
            format!(
                "<kernel>{STORAGE_DIR}/lab-vmlinuz</kernel><initrd>{STORAGE_DIR}/lab-initrd\
                 </initrd><cmdline>console=ttyS0 quiet loglevel=1 panic=1</cmdline>"
            ),
            "virtio",
            "vda",
        ),
    };
    format!(
        "<domain type='{domain_type}'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type>{boot}</os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' error_policy='stop'/>
      <source file='{image}'/>
      <target dev='{device}' bus='{bus}'/>
    </disk>
    <controller type='usb' model='none'/>
    <serial type='udp'>
      <source mode='connect' host='{OBSERVER_ADDRESS}' service='{port}'/>
      <target port='0'/>
    </serial>
    <memballoon model='none'/>
  </devices>
</domain>
",
        name = spec.name,
        memory = spec.memory_mib,
        vcpus = spec.vcpus,
        image = spec.image(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_has_the_agreed_form() {
        let spec = GuestSpec::new("web1", GuestKind::BootSector, "a");
        let table: toml::Table = spec.to_toml().parse().unwrap();
        assert_eq!(table["domain_xml_file"].as_str(), Some("web1.xml"));
        assert_eq!(table["memory_mib"].as_integer(), Some(16));
        assert_eq!(table["site_rule"].as_str(), Some("should"));
        assert_eq!(table["run"].as_bool(), Some(true));
    }

    #[test]
    fn domains() {
        let boot = GuestSpec::new("web1", GuestKind::BootSector, "a");
        let xml = domain_xml(&boot, "u-u", "qemu", 20_001);
        assert!(xml.starts_with("<domain type='qemu'>") && xml.contains("service='20001'"));
        assert!(xml.contains("cache='none' error_policy='stop'") && !xml.contains("<kernel>"));
        let linux = GuestSpec::new("db1", GuestKind::Linux, "b");
        let xml = domain_xml(&linux, "u-u", "kvm", 20_002);
        assert!(xml.contains("<kernel>") && xml.contains("bus='virtio'"));
    }
}
