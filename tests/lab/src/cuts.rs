//! Cutting the network with nftables, with counters that prove packets were dropped.
//!
//! One chain in the bridge family sees every frame of every machine exactly once, where it enters
//! its site's bridge, so the same rule cuts sites, hosts of one site and a host from a site.
//! Rules name machine addresses only: traffic with the observer (10.77.9.1) and with the
//! operator's shell (the gateways) is never cut, or a second copy of a VM could beat unseen.

use serde::Serialize;

use crate::error::{LabError, Result};
use crate::layout::{Layout, NET_NAMESPACE};
use crate::run::{run, run_with_input};

const TABLE: &str = "holdfast_lab";

/// One direction that is cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// From this site or machine…
    pub from: String,
    /// …to this one.
    pub to: String,
    /// Packets dropped so far.
    pub dropped: u64,
}

/// nft commands that make the empty chain.
fn base() -> String {
    format!(
        "add table bridge {TABLE}\n\
         add chain bridge {TABLE} cuts {{ type filter hook prerouting priority -300; \
         policy accept; }}\n"
    )
}

/// A service of the control machines that can be cut by itself: its name as an end, and its TCP ports.
/// GlusterFS: the volume's description, and the bricks.
const SERVICES: [(&str, &str); 2] = [("etcd", "2379-2380"), ("storage", "24007, 49152-65535")];

fn ports(end: &str) -> Option<&'static str> {
    let found = SERVICES.iter().find(|(name, _)| *name == end);
    found.map(|(_, ports)| *ports)
}

/// The machines at one end of a cut.
pub(crate) fn machines<'l>(
    layout: &'l Layout,
    end: &str,
) -> Result<Vec<&'l crate::layout::Machine>> {
    match ports(end) {
        Some(_) => Ok(layout.controls().collect()),
        None => layout.endpoint(end),
    }
}

/// The rule that cuts `from` to `to`. A machine on both sides (`a1` and `a`) does not cut itself.
fn rule(layout: &Layout, from: &str, to: &str) -> Result<String> {
    let senders = machines(layout, from)?;
    let receivers = machines(layout, to)?;
    let both = |name: &str, others: &[&crate::layout::Machine]| {
        others.iter().any(|other| other.name == name)
    };
    let smaller_is_sender = senders.len() <= receivers.len();
    let senders: Vec<&str> = senders
        .iter()
        .filter(|each| smaller_is_sender || !both(&each.name, &receivers))
        .map(|each| each.address.as_str())
        .collect();
    let receivers: Vec<&str> = receivers
        .iter()
        .filter(|each| !smaller_is_sender || !senders.contains(&each.address.as_str()))
        .map(|each| each.address.as_str())
        .collect();
    if senders.is_empty() || receivers.is_empty() {
        return Err(LabError::Refused(format!(
            "{from} and {to} are the same: nothing to cut"
        )));
    }
    let only = match (ports(from), ports(to)) {
        (_, Some(ports)) => format!("tcp dport {{ {ports} }} "),
        (Some(ports), None) => format!("tcp sport {{ {ports} }} "),
        (None, None) => String::new(),
    };
    Ok(format!(
        "add rule bridge {TABLE} cuts ip saddr {{ {} }} ip daddr {{ {} }} {only}counter drop \
         comment \"{from}>{to}\"\n",
        senders.join(", "),
        receivers.join(", ")
    ))
}

fn nft(script: &str) -> Result<String> {
    run_with_input(
        "ip",
        &["netns", "exec", NET_NAMESPACE, "nft", "-f", "-"],
        script,
    )
}

/// What the comment of the rule says that loses packets here and there.
const LOSS: &str = "all>lost";

/// Loses so many of a hundred packets between machines, at random; 0: none. What was dropped until now.
pub(crate) fn lose(layout: &Layout, percent: u32) -> Result<u64> {
    let mut script = String::new();
    let mut dropped = 0;
    for (cut, handle) in list()? {
        if format!("{}>{}", cut.from, cut.to) == LOSS {
            dropped += cut.dropped;
            script += &format!("delete rule bridge {TABLE} cuts handle {handle}\n");
        }
    }
    if percent > 0 {
        let machines = layout.machines.iter().map(|each| each.address.as_str());
        let machines = machines.collect::<Vec<_>>().join(", ");
        script += &format!(
            "add rule bridge {TABLE} cuts ip saddr {{ {machines} }} ip daddr {{ {machines} }} numgen \
             random mod 100 < {percent} counter drop comment \"{LOSS}\"\n"
        );
    }
    nft(&script).map(|_| dropped)
}

/// Makes the chain of a new lab.
pub(crate) fn create() -> Result<()> {
    nft(&base()).map(drop)
}

/// Cuts one direction, or both; a direction that is cut already stays as it is.
pub(crate) fn cut(layout: &Layout, from: &str, to: &str, one_way: bool) -> Result<()> {
    let existing = list()?;
    let mut script = String::new();
    for (from, to) in [(from, to), (to, from)]
        .into_iter()
        .take(if one_way { 1 } else { 2 })
    {
        if !existing
            .iter()
            .any(|cut| cut.0.from == from && cut.0.to == to)
        {
            script.push_str(&rule(layout, from, to)?);
        }
    }
    nft(&script).map(drop)
}

/// Removes both directions between two ends; gives the final counters of what was removed.
pub(crate) fn heal(one: &str, other: &str) -> Result<Vec<Cut>> {
    let all = one == "all" && other == "all";
    let hit: Vec<(Cut, u64)> = list()?
        .into_iter()
        .filter(|(cut, _)| {
            all || (cut.from == one && cut.to == other) || (cut.from == other && cut.to == one)
        })
        .collect();
    let script: String = hit
        .iter()
        .map(|(_, handle)| format!("delete rule bridge {TABLE} cuts handle {handle}\n"))
        .collect();
    nft(&script)?;
    Ok(hit.into_iter().map(|(cut, _)| cut).collect())
}

/// All cuts with their counters.
pub(crate) fn active() -> Result<Vec<Cut>> {
    Ok(list()?.into_iter().map(|(cut, _)| cut).collect())
}

fn list() -> Result<Vec<(Cut, u64)>> {
    let chain = [
        "netns",
        "exec",
        NET_NAMESPACE,
        "nft",
        "-j",
        "list",
        "chain",
        "bridge",
        TABLE,
    ];
    let args: Vec<&str> = chain.into_iter().chain(["cuts"]).collect();
    parse(&run("ip", &args)?)
}

fn parse(json: &str) -> Result<Vec<(Cut, u64)>> {
    let value: serde_json::Value =
        serde_json::from_str(json).map_err(|source| LabError::Parse {
            path: "nft -j".into(),
            source,
        })?;
    let rules = value["nftables"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| &item["rule"]);
    Ok(rules
        .filter_map(|rule| {
            let (from, to) = rule["comment"].as_str()?.split_once('>')?;
            let counter = rule["expr"]
                .as_array()?
                .iter()
                .find_map(|expr| expr.get("counter"))?;
            let dropped = counter["packets"].as_u64()?;
            Some((
                Cut {
                    from: from.into(),
                    to: to.into(),
                    dropped,
                },
                rule["handle"].as_u64()?,
            ))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_machines_only() {
        let layout = Layout::new(1).unwrap();
        let rule_of = |from, to| rule(&layout, from, to).unwrap();
        assert!(rule_of("a", "witness").contains(
            "ip saddr { 10.77.1.10, 10.77.1.11 } ip daddr { 10.77.3.10 } counter drop \
             comment \"a>witness\""
        ));
        // A host against its own site, or against all: everyone but itself.
        assert!(rule_of("a1", "a").contains("{ 10.77.1.11 } ip daddr { 10.77.1.10 }"));
        assert!(rule_of("a", "a1").contains("{ 10.77.1.10 } ip daddr { 10.77.1.11 }"));
        assert!(rule_of("all", "b1").contains(
            "{ 10.77.1.10, 10.77.1.11, 10.77.2.10, 10.77.3.10 } ip daddr { 10.77.2.11 }"
        ));
        assert!(rule_of("a1", "etcd").contains(
            "{ 10.77.1.11 } ip daddr { 10.77.1.10, 10.77.2.10, 10.77.3.10 } tcp dport { 2379-2380 } \
             counter"
        ));
        assert!(rule_of("storage", "a1").contains("tcp sport { 24007, 49152-65535 } counter"));
        assert!(rule(&layout, "a1", "a1").is_err());
        assert!(rule(&layout, "a1", "x").is_err());
    }

    #[test]
    fn counters_are_read_back() {
        let json = r#"{"nftables":[{"metainfo":{}},{"chain":{"name":"cuts"}},{"rule":{
            "comment":"a>b","handle":7,"expr":[{"match":{}},
            {"counter":{"packets":12,"bytes":900}},{"drop":null}]}}]}"#;
        let cut = Cut {
            from: "a".into(),
            to: "b".into(),
            dropped: 12,
        };
        assert_eq!(parse(json).unwrap(), [(cut, 7)]);
    }
}
