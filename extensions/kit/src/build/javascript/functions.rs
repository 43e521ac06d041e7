//! The functions of a world, as the guard wants to know them: text of JavaScript.
//!
//! `EXPORTS` is `[{ name, functions: { NAME: { result, fails } } }]`, `IMPORTS` is
//! `{ INTERFACE: { NAME: [[ARGUMENT, TYPE]] } }`, with names as JavaScript has them. A type is a text (`"u32"`), or a list
//! of what it is and what is in it (`["list", "u32"]`); of one that is `null` nothing is looked at.

use wit_parser::{
    Function, FunctionKind, InterfaceId, Resolve, Type, TypeDefKind, WorldId, WorldItem, WorldKey,
};

/// What an interface that the world exports is called, and what it has to have.
pub(super) fn exports(resolve: &Resolve, world: WorldId) -> Vec<(String, String)> {
    let exports = resolve.worlds[world].exports.iter();
    let interfaces = exports.filter_map(|(key, item)| {
        let WorldItem::Interface { id, .. } = item else {
            return None;
        };
        let name = match key {
            WorldKey::Name(name) => camel(name),
            WorldKey::Interface(id) => camel(resolve.interfaces[*id].name.as_deref()?),
        };
        let own = functions(resolve, *id).map(|function| {
            let (result, fails) = answer(resolve, function);
            let name = text(&camel(&function.name));
            format!("{name}: {{ result: {result}, fails: {fails} }}")
        });
        let own = record(own);
        let text = format!("{{ name: {}, functions: {own} }}", text(&name));
        Some((name, text))
    });
    interfaces.collect()
}

/// What the world imports, without what is only types.
pub(super) fn imports(resolve: &Resolve, world: WorldId) -> String {
    let imports = resolve.worlds[world].imports.values();
    let interfaces = imports.filter_map(|item| {
        let WorldItem::Interface { id, .. } = item else {
            return None;
        };
        let own: Vec<String> = functions(resolve, *id)
            .map(|function| {
                let arguments = function.params.iter().map(|each| {
                    list([text(&camel(&each.name)), of(resolve, &each.ty)].into_iter())
                });
                format!("{}: {}", text(&camel(&function.name)), list(arguments))
            })
            .collect();
        let name = resolve.id_of(*id).filter(|_| !own.is_empty())?;
        Some(format!("{}: {}", text(&name), record(own.into_iter())))
    });
    record(interfaces)
}

/// A text of JavaScript.
pub(super) fn text(words: &str) -> String {
    serde_json::Value::from(words).to_string()
}

/// A list of JavaScript.
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

/// The type of what a function returns, and whether it may throw a text instead.
fn answer(resolve: &Resolve, function: &Function) -> (String, bool) {
    let Some(result) = &function.result else {
        return (NOT_LOOKED_AT.to_owned(), false);
    };
    match kind(resolve, result) {
        Some(TypeDefKind::Result(result)) => {
            let good = result.ok.as_ref();
            let good = good.map_or(NOT_LOOKED_AT.to_owned(), |each| of(resolve, each));
            (good, result.err == Some(Type::String))
        }
        _ => (of(resolve, result), false),
    }
}

const NOT_LOOKED_AT: &str = "null";

/// A type as the guard wants it.
fn of(resolve: &Resolve, ty: &Type) -> String {
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
            return made(resolve, ty).unwrap_or_else(|| NOT_LOOKED_AT.to_owned());
        }
    };
    text(word)
}

/// One that is made of others.
fn made(resolve: &Resolve, ty: &Type) -> Option<String> {
    let (word, inner) = match kind(resolve, ty)? {
        TypeDefKind::List(inner) => ("list", of(resolve, inner)),
        // One within another is written in a way of its own.
        TypeDefKind::Option(inner)
            if !matches!(kind(resolve, inner), Some(TypeDefKind::Option(_))) =>
        {
            ("option", of(resolve, inner))
        }
        TypeDefKind::Enum(it) => ("enum", list(it.cases.iter().map(|case| text(&case.name)))),
        TypeDefKind::Variant(it) => {
            let cases = it.cases.iter().map(|case| {
                let inner = case.ty.as_ref();
                let inner = inner.map_or(NOT_LOOKED_AT.to_owned(), |each| of(resolve, each));
                format!("{}: {inner}", text(&case.name))
            });
            ("variant", record(cases))
        }
        TypeDefKind::Record(it) => {
            let fields = it.fields.iter();
            let fields = fields
                .map(|each| format!("{}: {}", text(&camel(&each.name)), of(resolve, &each.ty)));
            ("record", record(fields))
        }
        _ => return None,
    };
    Some(list([text(word), inner].into_iter()))
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
fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |so_far, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        so_far + &head.to_ascii_uppercase() + tail
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wit;

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
            imports(&resolve, world),
            r#"{ "holdfast:host/http@0.1.0": { "send": [["target", "string"], ["method", ["enum", ["get", "post", "put", "patch", "delete"]]], ["path", "string"], ["body", ["option", "string"]]] } }"#
        );
        let exports = exports(&resolve, world);
        let names: Vec<&str> = exports.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["rule", "fence"]);
        assert_eq!(
            exports[0].1,
            r#"{ name: "rule", functions: { "prepare": { result: null, fails: false }, "judge": { result: ["record", { "refused": ["list", ["record", { "candidate": "u32", "why": "string" }]], "scores": ["list", "float"] }], fails: true } } }"#
        );
        assert!(
            exports[1].1.contains(r#""status": { result: ["variant", { "on": null, "off": null, "unknown": "string" }], fails: false }"#),
            "{}",
            exports[1].1
        );
    }

    #[test]
    fn names_are_those_of_javascript() {
        assert_eq!(camel("memory-free-mib"), "memoryFreeMib");
        assert_eq!(camel("judge"), "judge");
    }
}
