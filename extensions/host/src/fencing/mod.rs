//! Fencing extensions: told by the leader to switch a host off, and asked how its power stands.
//!
//! What a guest returns is what it says, and no proof of anything: whoever calls it has the power read by itself
//! ([`crate::outside`] writes nothing down either: the doers behind it do).

mod v0_1;

use crate::error::ExtensionError;
use crate::fresh::{Called, Fresh, Resting};
use crate::journal::Journal;
use crate::loaded::Loaded;
use crate::outside::Reach;
use holdfast_model::extension::{ExtensionKind, Limits};
use v0_1::Hooks;

/// The host it is about, and what the policy says of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The host.
    pub host: String,
    /// The device.
    pub name: String,
    /// What the operator set for it.
    pub settings: Vec<(String, String)>,
}

/// What it makes of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordered {
    /// The device has taken it.
    Accepted,
    /// It stood so already.
    Already,
    /// The device will not, and why: nothing happened.
    Refused(String),
    /// Nobody knows whether it will, and why.
    Unknown(String),
}

/// How the power stands, as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Power {
    /// On.
    On,
    /// Off.
    Off,
    /// Nobody knows, and why.
    Unknown(String),
}

/// One fencing extension, ready to be asked.
pub struct Fencing {
    fresh: Fresh,
    hooks: Hooks,
}

impl Fencing {
    /// Prepares it; nothing of it runs yet. What it can reach comes with each call.
    ///
    /// # Errors
    /// If it is none, or does not fit the contract.
    pub fn new(loaded: &Loaded, limits: Limits) -> Result<Self, ExtensionError> {
        let kind = ExtensionKind::Fencing;
        let fresh = Fresh::new(loaded, kind, limits, Reach::default(), Resting::Never)?;
        Ok(Self {
            hooks: Hooks::of(fresh.instance_pre())?,
            fresh,
        })
    }

    /// What it wrote to its log here.
    pub fn journal(&self) -> &Journal {
        self.fresh.journal()
    }

    /// Orders the power off, on this thread, within its limits.
    pub fn off(&self, device: &Device, reach: Reach) -> Called<Ordered> {
        self.fresh
            .call(reach, |store, at| self.hooks.off(store, at, device))
    }

    /// Orders it on.
    pub fn on(&self, device: &Device, reach: Reach) -> Called<Ordered> {
        self.fresh
            .call(reach, |store, at| self.hooks.on(store, at, device))
    }

    /// Asks how it stands.
    pub fn status(&self, device: &Device, reach: Reach) -> Called<Power> {
        self.fresh
            .call(reach, |store, at| self.hooks.status(store, at, device))
    }
}
