//! Each device by what talks to it: a program, or an extension.

#[cfg(feature = "extensions")]
use super::FenceExtensions;
use super::{FenceAgents, FenceDevices, Power, Target};
use crate::daemon::Web;
use crate::extensions::Extensions;
use async_trait::async_trait;
use holdfast_model::fence_device::Means;
use std::sync::Arc;

/// All devices that this manager can ask.
pub struct DevicesByMeans {
    agents: Arc<FenceAgents>,
    #[cfg(feature = "extensions")]
    extensions: FenceExtensions,
}

impl DevicesByMeans {
    /// With these programs and extensions.
    #[cfg(feature = "extensions")]
    pub fn new(agents: Arc<FenceAgents>, extensions: Arc<Extensions>, web: Option<&Web>) -> Self {
        Self {
            extensions: FenceExtensions::new(extensions, agents.clone(), web.cloned()),
            agents,
        }
    }

    /// With these programs; no extension runs in this build.
    #[cfg(not(feature = "extensions"))]
    pub fn new(agents: Arc<FenceAgents>, _: Arc<Extensions>, _: Option<&Web>) -> Self {
        Self { agents }
    }

    fn of(&self, target: &Target) -> Result<&dyn FenceDevices, String> {
        match target.device.means() {
            Some(Means::Agent(_)) => Ok(&*self.agents),
            #[cfg(feature = "extensions")]
            Some(Means::Extension(_)) => Ok(&self.extensions),
            #[cfg(not(feature = "extensions"))]
            Some(Means::Extension(name)) => Err(format!(
                "extension {name} talks to it, and this manager was built without extensions"
            )),
            None => Err("neither a program nor an extension talks to it".to_owned()),
        }
    }
}

#[async_trait]
impl FenceDevices for DevicesByMeans {
    async fn switch_off(&self, target: &Target) -> Result<(), String> {
        self.of(target)?.switch_off(target).await
    }

    async fn status(&self, target: &Target) -> Result<Power, String> {
        self.of(target)?.status(target).await
    }

    async fn look(&self, target: &Target) -> Result<Power, String> {
        self.of(target)?.look(target).await
    }
}
