//! Asks fencing devices: a manager does, for itself or for a leader that does not reach them, and a host's agent, where
//! the policy lets it.
//!
//! ```text
//! Desk ─> a program of [fence_agents] ─────────────────────┐
//!      └> an extension ─> targets, programs ─> read back ──┴> off, on, or nothing
//! ```
//! - [`FenceDevices`]: the seam; [`FenceAgents`] (programs) and `FenceExtensions` are behind it, [`DevicesByMeans`] chooses
//! - [`Desk`]: one ask, with its bounds: off, and then status; or one look, for an operator
//! - [`errand`]: what somebody else has this machine ask
//! - [`secrets`], `web`, [`requests`]: passwords, targets, and what was sent there
//! - `runs`: programs, as extensions run them: each is written down
//!
//! What is absent: who is asked, and what an answer is worth: that is `holdfast_core`'s. And everything of the guard.
#![warn(missing_docs)]

mod agent;
mod by_means;
mod desk;
pub mod errand;
#[cfg(feature = "extensions")]
mod extension;
pub mod requests;
#[cfg(feature = "extensions")]
mod runs;
pub mod secrets;
#[cfg(feature = "extensions")]
pub mod web;

pub use agent::FenceAgents;
pub use by_means::DevicesByMeans;
pub use desk::Desk;
#[cfg(feature = "extensions")]
pub use extension::{FenceExtensions, ReadyFencing};

use async_trait::async_trait;
use holdfast_model::asking::AskMeans;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::{DeviceName, ExtensionName, HostName, Incarnation};
use std::collections::BTreeSet;

/// Where the programs and targets of a machine are named, in words.
const FILE: &str = "manager.toml (fence.toml on a host)";

/// Sends requests of extensions to the operator's targets.
#[cfg(feature = "extensions")]
pub type Web = std::sync::Arc<dyn holdfast_extension_host::outside::Web>;
/// This was built without extensions.
#[cfg(not(feature = "extensions"))]
pub type Web = std::convert::Infallible;

/// Where is written what extensions have this machine send and run.
#[cfg(feature = "extensions")]
pub type Book = std::sync::Arc<dyn web::RequestBook>;
/// This was built without extensions.
#[cfg(not(feature = "extensions"))]
pub type Book = std::convert::Infallible;

/// Which device, for which host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host whose power it is about.
    pub host: HostName,
    /// The device.
    pub name: DeviceName,
    /// As the policy has it.
    pub device: FenceDevice,
    /// The life of the host that is to end.
    pub incarnation: Incarnation,
    /// The how-manieth time for that life.
    pub attempt: u32,
}

/// How a host's power stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// On.
    On,
    /// Off.
    Off,
}

/// A way to reach fencing devices. Calls may take for ever and may be given up at any time: nothing of
/// them may be left then. What fails is told in words.
#[async_trait]
pub trait FenceDevices: Send + Sync {
    /// Has a host switched off. That it worked is no proof of anything.
    async fn switch_off(&self, target: &Target) -> Result<(), String>;
    /// How the power stands now.
    async fn status(&self, target: &Target) -> Result<Power, String>;
    /// The same where nothing was ordered before: one look, by which nothing can be switched.
    async fn look(&self, target: &Target) -> Result<Power, String> {
        self.status(target).await
    }
    /// What it takes to ask devices, as far as it is here; none: that is not known before one is asked.
    fn means(&self) -> Option<AskMeans> {
        None
    }
}

/// Nothing can be asked.
pub struct NoDevices;

#[async_trait]
impl FenceDevices for NoDevices {
    async fn switch_off(&self, _: &Target) -> Result<(), String> {
        Err("no device can be asked from here".to_owned())
    }

    async fn status(&self, _: &Target) -> Result<Power, String> {
        Err("no device can be asked from here".to_owned())
    }
}

/// Which extensions for fencing can be asked on this machine.
pub trait FencingHere: Send + Sync {
    /// One of them; otherwise why not, in words.
    #[cfg(feature = "extensions")]
    fn fencing(&self, name: &ExtensionName) -> Result<ReadyFencing, String>;

    /// All of them.
    fn ready(&self) -> BTreeSet<ExtensionName>;
}

/// One test that runs scripts at a time: a program that another test is just starting could hold a script open
/// for writing, and then nobody can run it.
#[cfg(test)]
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
