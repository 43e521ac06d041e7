//! Whether a host's storage can be used, asked on that very host.

use crate::bindings::storage_checking::exports::holdfast::storage_check::check;
use crate::{Shim, panics};

pub use check::{Answer, Domain, Findings, Setting};

/// Looks at a storage. Export the type with [`export_check!`](crate::export_check).
pub trait Check {
    /// How it stands now. What was not looked at is `Unknown`.
    fn check(domain: &Domain) -> Findings;
}

impl<T: Check> check::Guest for Shim<T> {
    fn check(domain: Domain) -> Findings {
        panics::begin();
        T::check(&domain)
    }
}

impl Domain {
    /// The value of one of its settings.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|setting| setting.name == name)?;
        Some(&setting.value)
    }
}

/// Exports a type that implements [`storage_check::Check`](crate::storage_check::Check).
#[macro_export]
macro_rules! export_check {
    ($type:ty) => {
        const _: () = {
            type Exported = $crate::Shim<$type>;
            $crate::bindings::storage_checking::export_storage_checking!(
                Exported with_types_in $crate::bindings::storage_checking
            );
        };
    };
}
