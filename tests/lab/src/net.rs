//! Namespaces, bridges and cables. All bridges live in a namespace of their own that has no way
//! out: no packet of the lab can leave by the real machine's routes.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::layout::{Layout, Machine, NET_NAMESPACE, OBSERVER_ADDRESS, subnet};
use crate::run::{run, run_with_input};

/// The file that keeps a named network namespace.
pub(crate) fn namespace_file(namespace: &str) -> PathBuf {
    Path::new("/run/netns").join(namespace)
}

/// All namespaces of a lab.
pub(crate) fn namespaces(layout: &Layout) -> Vec<String> {
    let machines = layout.machines.iter().map(Machine::namespace);
    std::iter::once(NET_NAMESPACE.to_owned())
        .chain(machines)
        .collect()
}

fn in_net(batch: &str) -> Result<String> {
    run_with_input("ip", &["-netns", NET_NAMESPACE, "-batch", "-"], batch)
}

/// Makes the network; the cables of the machines are still unplugged.
pub(crate) fn create(layout: &Layout) -> Result<()> {
    for namespace in namespaces(layout) {
        run("ip", &["netns", "add", &namespace])?;
    }
    let mut batch = String::from("link set lo up\n");
    batch.push_str(&format!("address add {OBSERVER_ADDRESS}/32 dev lo\n"));
    let mut bridges = std::collections::BTreeMap::new();
    for machine in &layout.machines {
        bridges.insert(machine.bridge(), subnet(&machine.site));
    }
    for (bridge, subnet) in bridges {
        batch.push_str(&format!(
            "link add {bridge} type bridge forward_delay 0\n\
             address add 10.77.{subnet}.1/24 dev {bridge}\nlink set {bridge} up\n"
        ));
    }
    for machine in &layout.machines {
        let (cable, namespace) = (machine.cable(), machine.namespace());
        batch.push_str(&format!(
            "link add {cable} type veth peer name eth0 netns {namespace}\n\
             link set {cable} master {}\n",
            machine.bridge()
        ));
    }
    in_net(&batch)?;
    let forward = [
        "netns",
        "exec",
        NET_NAMESPACE,
        "sh",
        "-c",
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
    ];
    run("ip", &forward)?;
    for machine in &layout.machines {
        let batch = format!(
            "link set lo up\naddress add {}/24 dev eth0\nlink set eth0 up\n\
             route add default via 10.77.{}.1\n",
            machine.address,
            subnet(&machine.site)
        );
        run_with_input(
            "ip",
            &["-netns", &machine.namespace(), "-batch", "-"],
            &batch,
        )?;
    }
    Ok(())
}

/// Plugs or pulls the cables of machines, all in one go.
pub(crate) fn set_cables(machines: &[&Machine], up: bool) -> Result<()> {
    let word = if up { "up" } else { "down" };
    let batch: String = machines
        .iter()
        .map(|each| format!("link set {} {word}\n", each.cable()))
        .collect();
    in_net(&batch).map(drop)
}

/// Drops what machines without power had no time to send. Once its cable is pulled, a machine asks in vain where its
/// router is, and the kernel keeps packets until that is answered: for 3 s, also beyond the end of their sender. The
/// network of a machine outlives its power here, so with the cable plugged in again a dead guest would still beat.
pub(crate) fn forget_unsent(machines: &[&Machine]) -> Result<()> {
    for machine in machines {
        let flush = [
            "-netns",
            &machine.namespace(),
            "neighbour",
            "flush",
            "dev",
            "eth0",
        ];
        run("ip", &flush)?;
    }
    Ok(())
}

/// Whether a machine's cable is plugged in.
pub(crate) fn cable_up(machine: &Machine) -> bool {
    let show = [
        "-netns",
        NET_NAMESPACE,
        "-oneline",
        "link",
        "show",
        &machine.cable(),
    ];
    run("ip", &show).is_ok_and(|text| text.contains(",UP"))
}

/// Removes a namespace that exists; the cables that end in it go too.
pub(crate) fn remove_namespace(namespace: &str) -> Result<()> {
    if namespace_file(namespace).exists() {
        run("ip", &["netns", "delete", namespace])?;
    }
    Ok(())
}
