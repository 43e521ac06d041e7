//! Where a migration goes: what the peer says of itself, as the two URIs libvirt wants.

use super::target::Tools;
use crate::driver::MigrateTarget;
use holdfast_model::host::HostReport;
use holdfast_model::id::HostName;
use holdfast_store::keyspace::Key;

/// A migration's bound: this, and [`MIGRATE_MS_PER_GIB`] for each GiB of memory.
const MIGRATE_MS: u64 = 60_000;
/// As OpenStack's `live_migration_completion_timeout` has it: 800 s for each GiB.
const MIGRATE_MS_PER_GIB: u64 = 800_000;

/// Where the peer says it is reached.
pub async fn migrate_target(
    tools: &Tools,
    to: &HostName,
    memory_mib: u64,
) -> Result<MigrateTarget, String> {
    let item = tools.records.read(&Key::HostReport(to.clone())).await;
    let item = item.map_err(|error| error.to_string())?;
    let item = item.ok_or_else(|| format!("{to} has not said where it is reached"))?;
    let report: HostReport = serde_json::from_slice(&item.value)
        .map_err(|error| format!("what {to} reports cannot be read: {error}"))?;
    let bound_ms = MIGRATE_MS + memory_mib.saturating_mul(MIGRATE_MS_PER_GIB) / 1_024;
    target_of(&report.migrate_address, bound_ms)
        .ok_or_else(|| format!("{to} says it is reached at `{}`", report.migrate_address))
}

/// A plain address means TCP without encryption, for closed networks; a URI says what it means.
fn target_of(address: &str, bound_ms: u64) -> Option<MigrateTarget> {
    let (connect_uri, host) = match address.split_once("://") {
        Some((_, rest)) => {
            let host = rest.split(['/', '?']).next()?;
            let host = host.rsplit('@').next()?;
            (address.to_owned(), without_port(host).to_owned())
        }
        None => {
            let host = match address.contains(':') && !address.starts_with('[') {
                true => format!("[{address}]"),
                false => address.to_owned(),
            };
            (format!("qemu+tcp://{host}/system"), host)
        }
    };
    (!host.is_empty()).then(|| MigrateTarget {
        tls: connect_uri.starts_with("qemu+tls:"),
        data_uri: format!("tcp://{host}"),
        connect_uri,
        bound_ms,
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_the_two_uris_of_a_migration() {
        for (address, connect, data, tls) in [
            (
                "10.0.0.2",
                "qemu+tcp://10.0.0.2/system",
                "tcp://10.0.0.2",
                false,
            ),
            (
                "fd00::2",
                "qemu+tcp://[fd00::2]/system",
                "tcp://[fd00::2]",
                false,
            ),
            (
                "a1.example",
                "qemu+tcp://a1.example/system",
                "tcp://a1.example",
                false,
            ),
            (
                "qemu+tls://a1.example:16514/system",
                "qemu+tls://a1.example:16514/system",
                "tcp://a1.example",
                true,
            ),
            (
                "qemu+ssh://root@[fd00::2]/system?no_tty=1",
                "qemu+ssh://root@[fd00::2]/system?no_tty=1",
                "tcp://[fd00::2]",
                false,
            ),
        ] {
            let target = target_of(address, 7).expect(address);
            assert_eq!(target.connect_uri, connect);
            assert_eq!(target.data_uri, data);
            assert_eq!(target.tls, tls, "{address}");
        }
        assert_eq!(target_of("qemu+tls:///system", 7), None);
    }
}
