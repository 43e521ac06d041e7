//! Why the agent ends.

use super::identity::IdentityError;
use holdfast_model::id::ClusterName;
use holdfast_model::timing::TimingError;
use holdfast_store::StoreError;
use holdfast_store::session::OpenError;
use std::path::PathBuf;

/// Why the agent ends.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The machine cannot be told.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store cannot be used at all.
    #[error("the store: {0}")]
    Store(StoreError),
    /// libvirt's library cannot be used at all.
    #[error("libvirt's event loop cannot be started: {0}")]
    Driver(String),
    /// The store belongs to another cluster.
    #[error(
        "this host is configured for cluster `{own}`, but etcd at {endpoints} belongs to cluster \
         `{found}`; correct `cluster` or `endpoints` in host.toml"
    )]
    OtherCluster {
        /// By configuration.
        own: ClusterName,
        /// In the store.
        found: ClusterName,
        /// Which store.
        endpoints: String,
    },
    /// The cluster's bounds are unsafe.
    #[error("the cluster's policy is refused: [timing] {0}")]
    Timing(#[from] TimingError),
    /// A bug.
    #[error("a task of the agent died: {0}")]
    Died(String),
    /// Another agent process runs on this host.
    #[error("another agent of this host is running (it holds {0}); there must be one only")]
    AlreadyRunning(PathBuf),
    /// Another agent process has gone on with this one's session.
    #[error(
        "another agent has gone on with this host's session while this one stood still; it is in \
         charge now, and this one ends without touching any VM"
    )]
    Superseded,
    /// Another agent or machine has this name.
    #[error(transparent)]
    Session(#[from] OpenError),
}

impl AgentError {
    /// The process's exit code: 2 for what the configuration must mend, 3 for what is not possible
    /// now.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::OtherCluster { .. } | Self::Timing(_) => 2,
            Self::Session(_) | Self::AlreadyRunning(_) | Self::Superseded => 3,
            Self::Identity(_) | Self::Store(_) | Self::Driver(_) | Self::Died(_) => 1,
        }
    }
}
