//! Has the guard answer managers that ask whether this host is there: finds out where, and hands on the key
//! that the leader has made.

use super::target::Tools;
use crate::config::Config;
use crate::guard::client::GuardError;
use crate::guard::protocol::{Answer, Call};
use holdfast_model::probe::ProbeKey;
use holdfast_probe::PORT;
use holdfast_store::cache::Cache;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::sync::watch;

/// What did not work is tried again after this: a name that is not known yet, an address that is not up.
const AGAIN: Duration = Duration::from_secs(10);
/// A name is looked up within this, or not now.
const LOOK_UP: Duration = Duration::from_secs(5);

/// For ever; where the guard answers is told once it does.
pub async fn answer_for_ever(
    tools: Tools,
    mut cache: Cache,
    answers: watch::Sender<Option<SocketAddr>>,
) {
    if !tools.config.probe.enabled {
        return;
    }
    let mut guard = tools.guard.clone();
    let mut told = String::new();
    // What the guard was told last, on which connection.
    let mut done = None;
    loop {
        let key = cache.read(|view| view.probe_key.as_ref().map(|seen| seen.value.clone()));
        let wanted = guard.connection().zip(key);
        let mut failed = false;
        if let Some((connection, key)) = wanted
            && done.as_ref() != Some(&(connection, key.clone()))
        {
            match begin(&tools, key.clone()).await {
                Ok(address) => {
                    done = Some((connection, key));
                    told.clear();
                    answers.send_if_modified(|known| known.replace(address) != Some(address));
                }
                Err(why) => {
                    failed = true;
                    // What is not answered any more must not be waited for.
                    answers.send_if_modified(|known| known.take().is_some());
                    if why != told {
                        tracing::warn!(why, "managers cannot ask this host whether it is there");
                        told = why;
                    }
                }
            }
        }
        tokio::select! {
            () = cache.changed(), if !failed => {}
            () = guard.changed() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Where the guard answers from now on.
async fn begin(tools: &Tools, key: ProbeKey) -> Result<SocketAddr, String> {
    let listen = address(&tools.config).await?;
    match tools.guard.call(Call::Probes { listen, key }).await {
        Ok(Answer::Done) => Ok(listen),
        Ok(other) => Err(format!("the guard answered {other:?}")),
        Err(GuardError::Refused(why)) => Err(why),
        Err(error) => Err(error.to_string()),
    }
}

/// The configured address, or the one of `migrate_address`.
async fn address(config: &Config) -> Result<SocketAddr, String> {
    if let Some(address) = config.probe.address {
        return Ok(address);
    }
    let host = host_of(&config.libvirt.migrate_address);
    let advice = "give `address` of [probe] in host.toml, such as 192.0.2.11:7071";
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, PORT));
    }
    let found = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((host, PORT))).await;
    let found = found
        .map_err(|_| format!("`{host}` is not found in time; {advice}"))?
        .map_err(|error| format!("`{host}` is not found: {error}; {advice}"))?;
    // A machine's own name often means itself in its own list.
    let mut found = found.filter(|address| !address.ip().is_loopback());
    let none = || format!("`{host}` is no address that others reach; {advice}");
    found.next().ok_or_else(none)
}

/// The host in an address or a URI.
fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let host = &rest[..end];
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if let Some((inside, _)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        return inside;
    }
    match host.split_once(':') {
        // A port, and not the rest of an IPv6 address.
        Some((name, port)) if !port.contains(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_others_reach_this_host_is_where_it_is_asked() {
        for (address, host) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:16509", "192.0.2.1"),
            ("fd00::2", "fd00::2"),
            ("qemu+tls://a1.example/system", "a1.example"),
            ("qemu+ssh://root@[fd00::2]:22/system?x=y", "fd00::2"),
            ("qemu+tcp://a1:16509/system", "a1"),
        ] {
            assert_eq!(host_of(address), host, "{address}");
        }
    }
}
