//! A component that was looked at and is ready to be used.

use crate::contract::{Surface, surface};
use crate::engine::Runtime;
use crate::error::ExtensionError;
use crate::outside::Reach;
use crate::{EventHandler, Fencing, Placement, StorageCheck};
use holdfast_model::extension::{ExtensionKind, Limits};
use wasmtime::Engine;
use wasmtime::component::Component;

/// A component, compiled.
#[derive(Clone)]
pub struct Loaded {
    component: Component,
    surface: Surface,
    metered: bool,
}

impl Loaded {
    /// Compiles it here and now, which takes seconds for some languages: for tools and tests. Daemons load what
    /// was compiled before ([`crate::cache`]).
    ///
    /// # Errors
    /// If it is no component, or fits no contract.
    pub fn compile(runtime: &Runtime, wasm: &[u8]) -> Result<Self, ExtensionError> {
        let component = Component::from_binary(runtime.engine(), wasm)
            .map_err(|error| ExtensionError::NotAComponent(one_line(&error)))?;
        Self::new(runtime, component)
    }

    pub(crate) fn new(runtime: &Runtime, component: Component) -> Result<Self, ExtensionError> {
        let surface = surface(runtime.engine(), &component)?;
        Ok(Self {
            component,
            surface,
            metered: runtime.is_metered(),
        })
    }

    /// Whether this host has all that one of its kind needs, types and all; nothing of it runs.
    ///
    /// # Errors
    /// If it does not fit the contract.
    pub fn fits_here(&self, limits: Limits) -> Result<(), ExtensionError> {
        let nothing = Reach::default();
        match self.surface.kind {
            ExtensionKind::Placement => Placement::new(self, limits, false).map(drop),
            ExtensionKind::Fencing => Fencing::new(self, limits).map(drop),
            ExtensionKind::StorageCheck => StorageCheck::new(self, limits, nothing).map(drop),
            ExtensionKind::Events => EventHandler::new(self, limits).map(drop),
        }
    }

    /// What it is.
    pub fn surface(&self) -> &Surface {
        &self.surface
    }

    pub(crate) fn component(&self) -> &Component {
        &self.component
    }

    /// Whether what it executes is counted: it was compiled by [`Runtime::metered`].
    pub fn is_metered(&self) -> bool {
        self.metered
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.component.engine()
    }
}

pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    let text = format!("{error:#}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
