//! This cluster's domains among all that libvirtd has, and their stamps.

use super::departure::Departure;
use super::translate::{Failure, activity, is_no_domain, is_no_metadata};
use crate::domain_xml::stamp::{NAMESPACE, PREFIX, Stamp};
use crate::driver::{DomainRef, SeenDomain};
use crate::process;
use holdfast_model::id::{ClusterName, VmUuid};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use virt::connect::Connect;
use virt::domain::Domain as Handle;
use virt_sys as sys;

/// One life of a domain: its UUID and libvirt's number of that life.
type Life = (VmUuid, u32);

/// Finds this cluster's domains.
pub struct Ours {
    cluster: ClusterName,
    run_dir: PathBuf,
    /// The stamps last read. A running domain whose metadata somebody removed is still ours.
    /// Never locked over a call to libvirt.
    known: Mutex<BTreeMap<Life, Stamp>>,
    /// Migrated away for good, although libvirt is not done with them yet: not there any more.
    departed: Arc<Mutex<BTreeSet<VmUuid>>>,
}

/// A domain that is not looked at any more, until this is dropped.
pub struct Departed {
    uuid: VmUuid,
    all: Arc<Mutex<BTreeSet<VmUuid>>>,
}

impl Drop for Departed {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.uuid);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ours {
    /// Those stamped with this cluster; their process ids are in `run_dir`.
    pub fn new(cluster: ClusterName, run_dir: PathBuf) -> Self {
        Self {
            cluster,
            run_dir,
            known: Mutex::default(),
            departed: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Life, Stamp>> {
        lock(&self.known)
    }

    /// This domain's QEMU has exited and it runs elsewhere.
    pub fn depart(&self, uuid: VmUuid) -> Departed {
        lock(&self.departed).insert(uuid.clone());
        let all = Arc::clone(&self.departed);
        Departed { uuid, all }
    }

    fn has_departed(&self, uuid: &VmUuid) -> bool {
        lock(&self.departed).contains(uuid)
    }

    /// A domain that is to be migrated away, while its QEMU is held.
    pub fn departure(&self, handle: &Handle, stamp: Stamp) -> Result<Option<Departure>, Failure> {
        let process = self.see(handle, stamp)?.and_then(|seen| seen.process);
        let Some(process) = process else {
            return Ok(None);
        };
        Ok(Departure::of(&self.run_dir, &handle.get_name()?, process))
    }

    /// The domain of a grant, if its stamp says so.
    pub fn look_up(
        &self,
        connection: &Connect,
        domain: &DomainRef,
    ) -> Result<(Handle, Stamp), Failure> {
        let missing = || Failure::NoSuchDomain(domain.clone());
        if self.has_departed(&domain.uuid) {
            return Err(missing());
        }
        let handle = match Handle::lookup_by_uuid_string(connection, domain.uuid.as_str()) {
            Ok(handle) => handle,
            Err(error) if is_no_domain(&error) => return Err(missing()),
            Err(error) => return Err(error.into()),
        };
        let stamp = self.read_stamp(&handle)?.ok_or_else(missing)?;
        let is_it = stamp.vm == domain.vm && stamp.generation == domain.generation;
        match is_it {
            true => Ok((handle, stamp)),
            false => Err(missing()),
        }
    }

    /// All that are active.
    pub fn list(&self, connection: &Connect) -> Result<Vec<SeenDomain>, Failure> {
        let handles = connection.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)?;
        let mut seen = Vec::new();
        let mut lives = Vec::new();
        for handle in &handles {
            let Some(stamp) = self.read_stamp(handle)? else {
                continue;
            };
            lives.extend(life_of(handle)?);
            seen.extend(self.see(handle, stamp)?);
        }
        self.known().retain(|life, _| lives.contains(life));
        Ok(seen)
    }

    /// One of them; `None` if it has ended meanwhile.
    pub fn see(&self, handle: &Handle, stamp: Stamp) -> Result<Option<SeenDomain>, Failure> {
        let activity = match activity(handle) {
            Ok(activity) => activity,
            Err(error) if is_no_domain(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Ok(uuid) = handle.get_uuid_string()?.parse::<VmUuid>() else {
            return Ok(None);
        };
        if self.has_departed(&uuid) {
            return Ok(None);
        }
        Ok(Some(SeenDomain {
            process: process::of_domain(&self.run_dir, &handle.get_name()?, &uuid),
            stamp,
            uuid,
            activity,
        }))
    }

    /// A domain's stamp; `None` if it has none, is another cluster's, or is gone.
    fn read_stamp(&self, handle: &Handle) -> Result<Option<Stamp>, Failure> {
        let life = life_of(handle)?;
        let remembered = life
            .as_ref()
            .and_then(|life| self.known().get(life).cloned());
        let kind = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
        let xml = match handle.get_metadata(kind, Some(NAMESPACE), sys::VIR_DOMAIN_AFFECT_LIVE) {
            Ok(xml) => xml,
            Err(error) if is_no_metadata(&error) => return Ok(remembered),
            Err(error) if is_no_domain(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match (Stamp::read(&xml), remembered) {
            (Ok(stamp), _) if stamp.cluster != self.cluster => Ok(None),
            (Ok(stamp), _) => {
                self.known().extend(life.map(|life| (life, stamp.clone())));
                Ok(Some(stamp))
            }
            (Err(_), Some(stamp)) => Ok(Some(stamp)),
            (Err(error), None) => Err(Failure::Stamp(handle.get_name()?, error)),
        }
    }
}

fn life_of(handle: &Handle) -> Result<Option<Life>, Failure> {
    let uuid = handle.get_uuid_string()?.parse::<VmUuid>().ok();
    Ok(uuid.zip(handle.get_id()))
}

/// Replaces a domain's stamp.
pub fn write_stamp(handle: &Handle, stamp: &Stamp) -> Result<(), Failure> {
    handle.set_metadata(
        sys::VIR_DOMAIN_METADATA_ELEMENT as i32,
        Some(&stamp.element(false).write()),
        Some(PREFIX),
        Some(NAMESPACE),
        sys::VIR_DOMAIN_AFFECT_LIVE,
    )?;
    Ok(())
}
