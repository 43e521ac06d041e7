//! A core module becomes a component; and what a component imports and exports.

use std::path::Path;

use wit_component::{ComponentEncoder, DecodedWasm};

use crate::{KitError, Result};

/// What a component imports and exports: interfaces by their full names, functions by theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surface {
    /// What the host has to offer.
    pub imports: Vec<String>,
    /// What it offers.
    pub exports: Vec<String>,
}

/// Makes a component of a module that a compiler made with bindings of ours: they left the contract in it.
/// `place` names it in errors.
pub fn componentize(module: &[u8], place: &Path) -> Result<Vec<u8>> {
    let encode = || {
        ComponentEncoder::default()
            .validate(true)
            .module(module)?
            .encode()
    };
    encode().map_err(|error| refused(place, format!("{error:#}")))
}

/// Reads what a component imports and exports. `place` names it in errors.
pub fn surface(component: &[u8], place: &Path) -> Result<Surface> {
    let decoded = wit_component::decode(component);
    match decoded.map_err(|error| refused(place, format!("{error:#}")))? {
        DecodedWasm::Component(resolve, world) => {
            let world = &resolve.worlds[world];
            Ok(Surface {
                imports: world
                    .imports
                    .keys()
                    .map(|key| resolve.name_world_key(key))
                    .collect(),
                exports: world
                    .exports
                    .keys()
                    .map(|key| resolve.name_world_key(key))
                    .collect(),
            })
        }
        DecodedWasm::WitPackage(..) => Err(refused(
            place,
            "it has contracts in it and no code".to_owned(),
        )),
    }
}

impl Surface {
    /// What it imports that is not Holdfast's.
    pub fn foreign(&self) -> Vec<String> {
        let mut imports = self.imports.clone();
        imports.retain(|name| !name.starts_with("holdfast:"));
        imports
    }
}

fn refused(place: &Path, what: String) -> KitError {
    KitError::Component {
        place: place.to_owned(),
        what,
    }
}
