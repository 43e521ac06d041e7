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
    encode().map_err(|error| {
        let error = format!("{error:#}");
        match wasi_function(&error) {
            Some(function) => KitError::Imports {
                name: place.display().to_string(),
                imports: vec![function],
            },
            None => refused(place, error),
        }
    })
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

/// The function of WASI's that an error is about: modules of C have them when more of its library is used than
/// there is an operating system for.
fn wasi_function(error: &str) -> Option<String> {
    let (_, rest) = error.split_once("wasi_snapshot_preview1::")?;
    let name = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    Some(format!("wasi {}", rest.split(name).next()?))
}

fn refused(place: &Path, what: String) -> KitError {
    KitError::Component {
        place: place.to_owned(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_a_contract_is_refused_with_its_place() {
        let empty = b"\0asm\x01\0\0\0";
        let error = componentize(b"", Path::new("a.wasm")).expect_err("refused");
        assert!(
            error.to_string().starts_with("a.wasm: not a component: "),
            "{error}"
        );
        // It may be encoded, but exports nothing.
        let component = componentize(empty, Path::new("a.wasm")).expect("a component");
        let surface = surface(&component, Path::new("a.wasm")).expect("a surface");
        assert_eq!(surface, Surface::default());
    }

    #[test]
    fn functions_of_wasi_are_named() {
        let error = "failed to resolve import `wasi_snapshot_preview1::clock_time_get`: no";
        assert_eq!(wasi_function(error).as_deref(), Some("wasi clock_time_get"));
        assert_eq!(wasi_function("unknown"), None);
    }

    #[test]
    fn what_is_not_ours_is_foreign() {
        let surface = Surface {
            imports: vec![
                "holdfast:host/log@0.1.0".into(),
                "wasi:io/poll@0.2.0".into(),
            ],
            exports: Vec::new(),
        };
        assert_eq!(surface.foreign(), ["wasi:io/poll@0.2.0"]);
    }
}
