//! Domains that no grant of this life covers. They carry this cluster's stamp, so they are ours to
//! destroy; what they ran may run elsewhere by now.

use super::case::Next;
use super::types::Domain;

/// This host has no session (it was closed, or never opened): whatever is here is of an earlier
/// life.
pub(super) fn without_session(domain: Option<&Domain>) -> Next {
    match domain {
        Some(_) => Next::destroy("this host has no session: nothing may run here"),
        None => Next::nothing(),
    }
}

/// The owner record does not name this host. Once nothing is left the report goes as well: the
/// leader has moved on, and reports must not pile up.
pub(super) fn elsewhere(domain: Option<&Domain>, reported: bool) -> Next {
    match domain {
        Some(_) => Next::destroy("it is not granted to this host"),
        None if reported => Next::remove_report(),
        None => Next::nothing(),
    }
}

/// The owner record names an earlier life of this host. The report stays until the leader has
/// moved on: it may still want to read it.
pub(super) fn of_an_earlier_life(domain: Option<&Domain>) -> Next {
    match domain {
        Some(_) => Next::destroy("its grant is to an earlier life of this host"),
        None => Next::nothing(),
    }
}
