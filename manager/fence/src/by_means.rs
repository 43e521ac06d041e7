//! Each device by what talks to it: a program, or an extension.

#[cfg(feature = "extensions")]
use super::FenceExtensions;
use super::{Book, FenceAgents, FenceDevices, FencingHere, Power, Target, Web};
use async_trait::async_trait;
use holdfast_model::asking::AskMeans;
use holdfast_model::fence_device::Means;
use holdfast_model::id::TargetName;
use std::collections::BTreeSet;
use std::sync::Arc;

/// All devices that can be asked from this machine.
pub struct DevicesByMeans {
    agents: Arc<FenceAgents>,
    targets: BTreeSet<TargetName>,
    #[cfg(feature = "extensions")]
    extensions: FenceExtensions,
}

impl DevicesByMeans {
    /// With these programs and extensions, and this way to these targets. In the book is written what extensions run.
    #[cfg(feature = "extensions")]
    pub fn new(
        agents: Arc<FenceAgents>,
        extensions: Arc<dyn FencingHere>,
        web: Option<&Web>,
        book: Option<&Book>,
        targets: BTreeSet<TargetName>,
    ) -> Self {
        let (web, book) = (web.cloned(), book.cloned());
        Self {
            extensions: FenceExtensions::new(extensions, agents.clone(), web, book),
            agents,
            targets,
        }
    }

    /// With these programs; no extension runs in this build.
    #[cfg(not(feature = "extensions"))]
    pub fn new(
        agents: Arc<FenceAgents>,
        _: Arc<dyn FencingHere>,
        _: Option<&Web>,
        _: Option<&Book>,
        targets: BTreeSet<TargetName>,
    ) -> Self {
        Self { agents, targets }
    }

    #[cfg(feature = "extensions")]
    fn ready(&self) -> BTreeSet<holdfast_model::id::ExtensionName> {
        self.extensions.ready()
    }

    #[cfg(not(feature = "extensions"))]
    fn ready(&self) -> BTreeSet<holdfast_model::id::ExtensionName> {
        BTreeSet::new()
    }

    fn of(&self, target: &Target) -> Result<&dyn FenceDevices, String> {
        match target.device.means() {
            Some(Means::Agent(_)) => Ok(&*self.agents),
            #[cfg(feature = "extensions")]
            Some(Means::Extension(_)) => Ok(&self.extensions),
            #[cfg(not(feature = "extensions"))]
            Some(Means::Extension(name)) => Err(format!(
                "extension {name} talks to it, and this daemon was built without extensions"
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

    fn means(&self) -> Option<AskMeans> {
        Some(AskMeans {
            programs: self.agents.names().cloned().collect(),
            targets: self.targets.clone(),
            extensions: self.ready(),
        })
    }
}
