//! The functions of a world, as the guards of JavaScript and Python want to know them: text that is JSON.
//!
//! What is exported is `[{ name, functions: { NAME: { result, fails } } }]`, what is imported
//! `{ INTERFACE: { NAME: [[ARGUMENT, TYPE]] } }`, with names as the language has them. A type is a text (`"u32"`), or a
//! list of what it is and what is in it (`["list", "u32"]`); of one that is `null` nothing is looked at.

use wit_parser::{
    Function, FunctionKind, InterfaceId, Resolve, Type, TypeDefKind, WorldId, WorldItem, WorldKey,
};

/// How a language writes names.
pub(super) struct Names {
    /// What an exported interface is called.
    pub(super) interface: fn(&str) -> String,
    /// Functions, arguments and fields. Cases of variants and enums are as the contract has them.
    pub(super) other: fn(&str) -> String,
}

/// What an interface that the world exports is called, and what it has to have.
pub(super) fn exports(resolve: &Resolve, world: WorldId, names: &Names) -> Vec<(String, String)> {
    let types = Types { resolve, names };
    let exports = resolve.worlds[world].exports.iter();
    let interfaces = exports.filter_map(|(key, item)| {
        let WorldItem::Interface { id, .. } = item else {
            return None;
        };
        let name = match key {
            WorldKey::Name(name) => (names.interface)(name),
            WorldKey::Interface(id) => (names.interface)(resolve.interfaces[*id].name.as_deref()?),
        };
        let own = functions(resolve, *id).map(|function| {
            let (result, fails) = types.answer(function);
            let name = text(&(names.other)(&function.name));
            format!("{name}: {{ \"result\": {result}, \"fails\": {fails} }}")
        });
        let own = record(own);
        let text = format!("{{ \"name\": {}, \"functions\": {own} }}", text(&name));
        Some((name, text))
    });
    interfaces.collect()
}

/// What the world imports, without what is only types.
pub(super) fn imports(resolve: &Resolve, world: WorldId, names: &Names) -> String {
    let types = Types { resolve, names };
    let imports = resolve.worlds[world].imports.values();
    let interfaces = imports.filter_map(|item| {
        let WorldItem::Interface { id, .. } = item else {
            return None;
        };
        let own: Vec<String> = functions(resolve, *id)
            .map(|function| {
                let arguments = function.params.iter().map(|each| {
                    list([text(&(names.other)(&each.name)), types.of(&each.ty)].into_iter())
                });
                format!(
                    "{}: {}",
                    text(&(names.other)(&function.name)),
                    list(arguments)
                )
            })
            .collect();
        let name = resolve.id_of(*id).filter(|_| !own.is_empty())?;
        Some(format!("{}: {}", text(&name), record(own.into_iter())))
    });
    record(interfaces)
}

/// A text.
pub(super) fn text(words: &str) -> String {
    serde_json::Value::from(words).to_string()
}

/// A list.
pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn record(fields: impl Iterator<Item = String>) -> String {
    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
}

fn functions(resolve: &Resolve, interface: InterfaceId) -> impl Iterator<Item = &Function> {
    let functions = resolve.interfaces[interface].functions.values();
    functions.filter(|function| function.kind == FunctionKind::Freestanding)
}

const NOT_LOOKED_AT: &str = "null";

struct Types<'r> {
    resolve: &'r Resolve,
    names: &'r Names,
}

impl Types<'_> {
    /// The type of what a function returns, and whether it may throw a text instead.
    fn answer(&self, function: &Function) -> (String, bool) {
        let Some(result) = &function.result else {
            return (NOT_LOOKED_AT.to_owned(), false);
        };
        match kind(self.resolve, result) {
            Some(TypeDefKind::Result(result)) => (
                self.perhaps(result.ok.as_ref()),
                result.err == Some(Type::String),
            ),
            _ => (self.of(result), false),
        }
    }

    fn perhaps(&self, ty: Option<&Type>) -> String {
        ty.map_or(NOT_LOOKED_AT.to_owned(), |ty| self.of(ty))
    }

    fn of(&self, ty: &Type) -> String {
        let word = match ty {
            Type::Bool => "bool",
            Type::String => "string",
            Type::F32 | Type::F64 => "float",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::S8 => "s8",
            Type::S16 => "s16",
            Type::S32 => "s32",
            Type::S64 => "s64",
            Type::Char | Type::ErrorContext | Type::Id(_) => {
                return self.made(ty).unwrap_or_else(|| NOT_LOOKED_AT.to_owned());
            }
        };
        text(word)
    }

    /// One that is made of others.
    fn made(&self, ty: &Type) -> Option<String> {
        let (word, inner) = match kind(self.resolve, ty)? {
            TypeDefKind::List(inner) => ("list", self.of(inner)),
            // One within another is written in a way of its own.
            TypeDefKind::Option(inner)
                if !matches!(kind(self.resolve, inner), Some(TypeDefKind::Option(_))) =>
            {
                ("option", self.of(inner))
            }
            TypeDefKind::Enum(it) => ("enum", list(it.cases.iter().map(|case| text(&case.name)))),
            TypeDefKind::Variant(it) => {
                let cases = it.cases.iter();
                let cases = cases.map(|case| {
                    format!("{}: {}", text(&case.name), self.perhaps(case.ty.as_ref()))
                });
                ("variant", record(cases))
            }
            TypeDefKind::Record(it) => {
                let fields = it.fields.iter().map(|field| {
                    format!(
                        "{}: {}",
                        text(&(self.names.other)(&field.name)),
                        self.of(&field.ty)
                    )
                });
                ("record", record(fields))
            }
            _ => return None,
        };
        Some(list([text(word), inner].into_iter()))
    }
}

/// What it is, behind other names of it.
fn kind<'r>(resolve: &'r Resolve, ty: &Type) -> Option<&'r TypeDefKind> {
    let Type::Id(id) = ty else { return None };
    match &resolve.types[*id].kind {
        TypeDefKind::Type(inner @ Type::Id(_)) => kind(resolve, inner),
        kind => Some(kind),
    }
}

/// `memory-free-mib` is `memoryFreeMib`.
pub(super) fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |so_far, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        so_far + &head.to_ascii_uppercase() + tail
    })
}

/// `memory-free-mib` is `memory_free_mib`.
pub(super) fn snake(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wit;

    const NAMES: Names = Names {
        interface: camel,
        other: camel,
    };

    #[test]
    fn a_world_is_told_with_its_types() {
        let dir = tempfile::tempdir().expect("a directory");
        let world = "package local:extension;\nworld extension {\n  import holdfast:host/http@0.1.0;\n  \
                     export holdfast:placement/rule@0.2.0;\n  export holdfast:fencing/fence@0.1.0;\n}\n";
        std::fs::write(dir.path().join("world.wit"), world).expect("a file");
        wit::write_deps_for(world, &dir.path().join("deps")).expect("contracts");
        let (resolve, world) = wit::resolve(dir.path()).unwrap_or_else(|error| panic!("{error}"));
        // Without `holdfast:placement/types`, which has no functions.
        assert_eq!(
            imports(&resolve, world, &NAMES),
            r#"{ "holdfast:host/http@0.1.0": { "send": [["target", "string"], ["method", ["enum", ["get", "post", "put", "patch", "delete"]]], ["path", "string"], ["body", ["option", "string"]]] } }"#
        );
        let exports = exports(&resolve, world, &NAMES);
        let names: Vec<&str> = exports.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["rule", "fence"]);
        assert_eq!(
            exports[0].1,
            r#"{ "name": "rule", "functions": { "prepare": { "result": null, "fails": false }, "judge": { "result": ["record", { "refused": ["list", ["record", { "candidate": "u32", "why": "string" }]], "scores": ["list", "float"] }], "fails": true } } }"#
        );
        assert!(
            exports[1].1.contains(r#""status": { "result": ["variant", { "on": null, "off": null, "unknown": "string" }], "fails": false }"#),
            "{}",
            exports[1].1
        );
    }

    #[test]
    fn names_are_those_of_the_languages() {
        assert_eq!(camel("memory-free-mib"), "memoryFreeMib");
        assert_eq!(camel("judge"), "judge");
        assert_eq!(camel("-storage-check"), "StorageCheck");
        assert_eq!(snake("memory-free-mib"), "memory_free_mib");
    }
}
