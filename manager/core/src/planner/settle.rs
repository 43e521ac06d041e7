//! Hosts that are just coming: not there yet, but soon enough that a VM rather waits a moment for them
//! than starts where it does not belong.
//!
//! A start away from the preferred site waits for hosts of that site which have just opened their
//! session and have not reported their capacity and storage yet. And while the whole cluster has just
//! come up (a new one, or after a power loss of both sites), every start waits for the other hosts
//! that would do, also those without a session: otherwise everything would be put on the one that
//! reported first. A cluster that lost a host or a site has hosts that were there before: it never
//! waits.

use super::candidate::Request;
use super::draft::Draft;
use super::facts::{is_drained, open_session, session_age_ms, site_of};
use super::placement::wanted;
use holdfast_model::host::{GuardState, Session, StorageState};
use holdfast_model::id::HostName;
use holdfast_model::time::Instant;
use holdfast_model::vm::Runner;
use holdfast_model::world::HostView;

/// The host that is waited for, and until when at the most; none if the start is to go ahead.
/// `best`: the best host there is now.
pub(super) fn awaited(
    draft: &Draft,
    request: &Request,
    best: &Runner,
) -> Option<(HostName, Instant)> {
    let home = request.spec.preferred_site.as_ref();
    let away = home.is_some() && home != site_of(draft.world, &best.host);
    let settle_ms = draft.world.policy.placement.settle_ms;
    let is_new = draft
        .cluster_age_ms()
        .is_some_and(|age_ms| age_ms < settle_ms);
    if !away && !is_new {
        return None;
    }
    let attempts = draft.world.policy.restart.same_host_attempts;
    let coming = draft.world.hosts.iter().filter_map(|(name, host)| {
        let site = host.spec.as_ref().map(|spec| &spec.value.site);
        let at_home = home.is_none_or(|home| Some(home) == site);
        let failures = request.failures.per_host.get(name);
        let failed_too_often = failures.is_some_and(|found| found.count >= attempts);
        if !at_home || failed_too_often || wanted(request, name, host).is_err() {
            return None;
        }
        Some((name.clone(), comes_until(draft, host)?))
    });
    coming.max_by_key(|(_, until)| *until)
}

/// Until when this host is given a moment; none if it is there, or has had its time.
fn comes_until(draft: &Draft, host: &HostView) -> Option<Instant> {
    if is_drained(host) {
        return None;
    }
    let settle_ms = draft.world.policy.placement.settle_ms;
    let since_ms = match open_session(host) {
        Some(session) if session.value.guard == GuardState::Absent => return None,
        Some(session) if !is_found_out(host, &session.value) => {
            session_age_ms(&draft.timing, &session.value)
        }
        Some(_) => return None,
        None => {
            let age_ms = draft.cluster_age_ms()?;
            let closed = host.session.as_ref().map(|session| session.seen_at);
            if closed.is_some_and(|at| draft.world.now.since(at) < age_ms) {
                return None; // lost since the cluster came up, and not on its way
            }
            age_ms
        }
    };
    let left_ms = settle_ms.checked_sub(since_ms).filter(|left| *left > 0)?;
    Some(draft.world.now.plus(left_ms))
}

/// Whether this life of the host has said whether it can take VMs.
fn is_found_out(host: &HostView, session: &Session) -> bool {
    let report = host.report.as_ref().map(|report| &report.value);
    report
        .filter(|report| report.incarnation == session.incarnation)
        .is_some_and(|report| !matches!(report.storage, StorageState::Unknown { .. }))
}
