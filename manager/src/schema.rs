//! JSON Schemas of the files that people write, derived from the types that read them. They know
//! keys, types and words; what depends on several keys at once (the bounds of [timing]) or on the
//! cluster (sites, UUIDs) is checked by `--check-config` and at apply.

use crate::vm_file::VmFile;
use clap::ValueEnum;
use holdfast_model::extension::Manifest;
use holdfast_model::files::{FenceFile, HostFile, ManagerFile};
use holdfast_model::policy::Policy;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Cluster policy (`holdfast config apply`)
    Policy,
    /// A VM (`holdfast vm apply`)
    Vm,
    /// host.toml
    Host,
    /// manager.toml
    Manager,
    /// fence.toml, beside host.toml
    Fence,
    /// extension.toml
    Extension,
}

/// The schema of a file.
pub fn schema(of: SchemaOf) -> Schema {
    match of {
        SchemaOf::Policy => generate::<Policy>("Holdfast: cluster policy"),
        SchemaOf::Vm => generate::<VmFile>("Holdfast: a VM"),
        SchemaOf::Host => generate::<HostFile>("Holdfast: host.toml"),
        SchemaOf::Manager => generate::<ManagerFile>("Holdfast: manager.toml"),
        SchemaOf::Fence => generate::<FenceFile>("Holdfast: fence.toml"),
        SchemaOf::Extension => generate::<Manifest>("Holdfast: extension.toml"),
    }
}

fn generate<T: JsonSchema>(title: &str) -> Schema {
    // Without references: small files, and simple readers understand them.
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
