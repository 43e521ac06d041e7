//! Follows what is installed, for ever.

use holdfast_extension_signature::trusted;
use holdfast_model::extension::Installed;
use holdfast_model::id::SignerName;
use holdfast_model::signature::PublicKey;
use holdfast_store::cache::Cache;
use holdfast_store::view::View;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// Who asks extensions on this machine.
pub trait Users: Send + Sync {
    /// Whether this one is for this machine.
    fn want(&self, installed: &Installed) -> bool;

    /// What is followed: what is installed, unless something else is said.
    fn followed<'v>(&self, view: &'v View) -> Vec<&'v Installed> {
        view.extensions.values().map(|seen| &seen.value).collect()
    }

    /// Whether it is these who remove the machine code that nobody needs. One on a machine does.
    fn tidy_up(&self) -> bool {
        true
    }

    /// Takes in what is installed now of those that are wanted; gives those that are to be loaded. What runs goes
    /// on until the new one is ready: a rule that is being upgraded holds meanwhile.
    fn take_in(&self, installed: Vec<Installed>) -> Vec<Installed>;

    /// One cannot run here. The version before is asked on, if there is one.
    fn failed(&self, installed: &Installed, why: String);

    /// Nobody who may vouches for one: it is not asked, and no version before it either, for the same key may have
    /// signed that.
    fn distrust(&self, installed: &Installed, why: String);
}

/// What is to be asked here, and who may vouch for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    installed: Vec<Installed>,
    /// Or why that is not known: then nothing is asked.
    signers: Result<BTreeMap<SignerName, PublicKey>, String>,
}

impl Wanted {
    /// As the store has it.
    fn of(users: &dyn Users, watched: &Cache) -> Self {
        watched.read(|view| {
            let all = users.followed(view).into_iter();
            Self {
                installed: all.filter(|each| users.want(each)).cloned().collect(),
                signers: view.extension_signers(),
            }
        })
    }

    /// Takes them in: those that are to be loaded. `distrusted` are those that nobody vouched for until now, and
    /// becomes those that nobody does.
    fn take_in(self, users: &dyn Users, distrusted: &mut Vec<Installed>) -> Vec<Installed> {
        let before = std::mem::take(distrusted);
        let mut to_load = users.take_in(self.installed.clone());
        for each in self.installed {
            match vouched(&each, &self.signers) {
                Err(why) => {
                    tracing::warn!(extension = %each.manifest.name, why, "extension is not asked");
                    to_load.retain(|other| *other != each);
                    users.distrust(&each, why);
                    distrusted.push(each);
                }
                Ok(()) if before.contains(&each) && !to_load.contains(&each) => to_load.push(each),
                Ok(()) => {}
            }
        }
        to_load
    }
}

/// Whether somebody vouches for one who may, as far as that is known.
fn vouched(
    installed: &Installed,
    signers: &Result<BTreeMap<SignerName, PublicKey>, String>,
) -> Result<(), String> {
    let signers = signers.as_ref().map_err(String::clone)?;
    trusted(installed, signers)
        .map(drop)
        .map_err(|why| why.to_string())
}

/// The components whose machine code is kept: of all that is wanted here, of the versions before, to which one may go
/// back, and of the shadows.
#[cfg(feature = "run")]
fn kept(users: &dyn Users, watched: &Cache) -> Vec<String> {
    watched.read(|view| {
        let all = view.extensions.values().chain(view.shadows.values());
        let wanted = all.filter(|seen| users.want(&seen.value));
        let digests = wanted.flat_map(|seen| seen.value.digests());
        digests.map(str::to_owned).collect()
    })
}

/// Waits until it is known what is installed and who may vouch for it, which stands under another key; false: until
/// the end.
async fn heard(watched: &mut Cache, stop: &mut watch::Receiver<bool>) -> bool {
    while watched.age_ms().is_none() {
        tokio::select! {
            () = watched.changed() => {}
            _ = stop.wait_for(|stop| *stop) => return false,
        }
    }
    true
}

/// Waits until something else is installed, or others may vouch for it.
async fn changed(users: &dyn Users, watched: &mut Cache, known: &Wanted) {
    loop {
        watched.changed().await;
        if Wanted::of(users, watched) != *known {
            return;
        }
    }
}

/// Follows what is installed where nothing can be run: each fails, and says so.
pub async fn follow_unable(
    users: &dyn Users,
    mut watched: Cache,
    stop: &mut watch::Receiver<bool>,
    why: &str,
) {
    if !heard(&mut watched, stop).await {
        return;
    }
    let mut distrusted = Vec::new();
    loop {
        let wanted = Wanted::of(users, &watched);
        for each in wanted.clone().take_in(users, &mut distrusted) {
            users.failed(&each, why.to_owned());
        }
        tokio::select! {
            () = changed(users, &mut watched, &wanted) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

#[cfg(feature = "run")]
pub use running::{Prepares, follow};

#[cfg(feature = "run")]
mod running {
    use super::{Users, Wanted, changed, heard, kept};
    use crate::workshop::{LoadError, Workshop};
    use holdfast_extension_host::{ExtensionError, Loaded};
    use holdfast_model::extension::Installed;
    use holdfast_store::api::Store;
    use holdfast_store::cache::Cache;
    use std::time::Duration;
    use tokio::sync::watch;

    /// After a failure that may pass by itself.
    const AGAIN: Duration = Duration::from_secs(5);

    /// Who can ask them.
    pub trait Prepares: Users {
        /// A component is here: it is asked from now on.
        ///
        /// # Errors
        /// If it does not fit what it is for; then [`Users::failed`] is told.
        fn prepare(&self, installed: &Installed, loaded: &Loaded) -> Result<(), ExtensionError>;
    }

    /// Follows what is installed, for ever: fetched from the store, compared with its digest, compiled by a child
    /// process, kept as machine code for the next start.
    pub async fn follow(
        users: &dyn Prepares,
        workshop: &Workshop,
        store: &dyn Store,
        mut watched: Cache,
        mut stop: watch::Receiver<bool>,
    ) {
        if !heard(&mut watched, &mut stop).await {
            return;
        }
        let mut again: Vec<Installed> = Vec::new();
        let mut distrusted: Vec<Installed> = Vec::new();
        loop {
            let wanted = Wanted::of(users, &watched);
            let installed = &wanted.installed;
            let mut to_load = wanted.clone().take_in(users, &mut distrusted);
            let still = again.drain(..).filter(|each| {
                let stays = installed.contains(each) && !distrusted.contains(each);
                stays && !to_load.contains(each)
            });
            let still: Vec<Installed> = still.collect();
            to_load.extend(still);
            for each in to_load {
                if let Some(later) = load(users, workshop, store, each).await {
                    again.push(later);
                }
            }
            if users.tidy_up() {
                workshop.keep_only(&kept(users, &watched));
            }
            let wait = async {
                match again.is_empty() {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(AGAIN).await,
                }
            };
            tokio::select! {
                () = changed(users, &mut watched, &wanted) => {}
                () = wait => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Loads one; gives it back if that is to be tried again.
    async fn load(
        users: &dyn Prepares,
        workshop: &Workshop,
        store: &dyn Store,
        installed: Installed,
    ) -> Option<Installed> {
        let (name, version) = (&installed.manifest.name, &installed.manifest.version);
        let loaded = workshop.installed(store, &installed).await;
        let ready = loaded.and_then(|loaded| Ok(users.prepare(&installed, &loaded)?));
        match ready {
            Ok(()) => tracing::info!(extension = %name, version, "extension is ready"),
            Err(LoadError::Later(why)) => {
                tracing::warn!(extension = %name, version, why, "extension is not ready; trying on");
                return Some(installed);
            }
            Err(LoadError::Never(error)) => {
                tracing::warn!(extension = %name, version, %error, "extension cannot run here");
                users.failed(&installed, error.to_string());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
