//! The rule itself, as the sandbox and a comparison without one ([native](../../examples/native.rs)) have it.

mod filter;
mod score;
#[cfg(test)]
mod tests;

use holdfast_extension::placement::{Candidate, Peer};

pub use filter::Spread;
pub use score::score;

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
