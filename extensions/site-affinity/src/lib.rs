//! Keeps the machines of a group apart: over racks (the hosts' label `rack`), then over hosts. Prefers a
//! machine's own site, and among equals the host with more memory left.
//!
//! What is only preferred is a matter of [`score`]. A machine that must not share at all has the label
//! `spread` = `host` or `spread` = `rack`: then it rather waits than to go where a peer is, see [`filter`].

mod filter;
mod score;
#[cfg(test)]
mod tests;

use holdfast_extension::placement::{Candidate, Peer};

pub use filter::Spread;
pub use score::score;

// Only there: the names that a component exports are none that a linker of this machine takes.
#[cfg(target_arch = "wasm32")]
holdfast_extension::export_filter!(Spread);
#[cfg(target_arch = "wasm32")]
holdfast_extension::scorer!(score);

/// The operator's label for where in a site a host stands.
const RACK: &str = "rack";

/// Whether the peer is on this very host.
fn same_host(peer: &Peer, host: &Candidate) -> bool {
    peer.host == host.host
}

/// Whether what takes down the peer's rack takes down this host. A host whose rack nobody named is taken for a
/// rack of its own. Racks of two sites are two, even if they bear one name.
fn same_rack(peer: &Peer, host: &Candidate) -> bool {
    let labelled = || {
        host.label(RACK)
            .is_some_and(|rack| peer.label(RACK) == Some(rack))
    };
    same_host(peer, host) || (peer.site == host.site && labelled())
}
