//! Follows what is installed, for ever.

use holdfast_model::extension::Installed;
use holdfast_store::cache::Cache;
use holdfast_store::view::View;
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
}

/// Those of what is installed that are wanted here.
fn wanted(users: &dyn Users, watched: &Cache) -> Vec<Installed> {
    watched.read(|view| {
        let all = users.followed(view).into_iter();
        all.filter(|each| users.want(each)).cloned().collect()
    })
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

/// Waits until it is known what is installed; false: until the end.
async fn heard(watched: &mut Cache, stop: &mut watch::Receiver<bool>) -> bool {
    while watched.read(|view| view.revision.0 == 0) {
        tokio::select! {
            () = watched.changed() => {}
            _ = stop.wait_for(|stop| *stop) => return false,
        }
    }
    true
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
    loop {
        for each in users.take_in(wanted(users, &watched)) {
            users.failed(&each, why.to_owned());
        }
        tokio::select! {
            () = watched.changed() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

#[cfg(feature = "run")]
pub use running::{Prepares, follow};

#[cfg(feature = "run")]
mod running {
    use super::{Users, heard, kept, wanted};
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
        loop {
            let installed = wanted(users, &watched);
            let mut to_load = users.take_in(installed.clone());
            let still = again
                .drain(..)
                .filter(|each| installed.contains(each) && !to_load.contains(each));
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
                () = changed(users, &mut watched, &installed) => {}
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

    /// Waits until something else is installed.
    async fn changed(users: &dyn Users, watched: &mut Cache, known: &[Installed]) {
        loop {
            watched.changed().await;
            if wanted(users, watched) != known {
                return;
            }
        }
    }
}
