//! Generated from the contracts under `wit/`. The modules beside this one give the types plain names; the
//! `export_*` macros need these paths in the extension's own crate, and that is why they are public.
//!
//! Each contract has a module of its own, because an extension has to export all that a world names.
#![allow(missing_docs, clippy::all)]

/// What Holdfast offers. An extension imports of it what it calls.
pub mod host {
    wit_bindgen::generate!({
        path: ["wit/host/0.1.0"],
        inline: "
            package holdfast:sdk;
            world offered {
                import holdfast:host/log@0.1.0;
                import holdfast:host/http@0.1.0;
                import holdfast:host/agent@0.1.0;
                import holdfast:host/state@0.1.0;
                import holdfast:host/probe@0.1.0;
            }
        ",
        generate_all,
    });
}

pub mod filtering {
    wit_bindgen::generate!({
        path: ["wit/host/0.1.0", "wit/placement/0.1.0"],
        world: "holdfast:placement/filtering",
        pub_export_macro: true,
        export_macro_name: "export_filtering",
        with: {
            "holdfast:host/log@0.1.0": crate::bindings::host::holdfast::host::log,
            "holdfast:placement/types@0.1.0": generate,
        },
    });
}

pub mod scoring {
    wit_bindgen::generate!({
        path: ["wit/host/0.1.0", "wit/placement/0.1.0"],
        world: "holdfast:placement/scoring",
        pub_export_macro: true,
        export_macro_name: "export_scoring",
        with: {
            "holdfast:host/log@0.1.0": crate::bindings::host::holdfast::host::log,
            "holdfast:placement/types@0.1.0":
                crate::bindings::filtering::holdfast::placement::types,
        },
    });
}

/// Placement 0.2: the two before are of 0.1.
pub mod placing {
    wit_bindgen::generate!({
        path: ["wit/host/0.1.0", "wit/placement/0.2.0"],
        world: "holdfast:placement/placing",
        pub_export_macro: true,
        export_macro_name: "export_placing",
        with: {
            "holdfast:host/log@0.1.0": crate::bindings::host::holdfast::host::log,
            "holdfast:placement/types@0.2.0": generate,
        },
    });
}

pub mod fencing {
    wit_bindgen::generate!({
        path: ["wit/host/0.1.0", "wit/fencing/0.1.0"],
        world: "holdfast:fencing/fencing-http",
        pub_export_macro: true,
        export_macro_name: "export_fencing",
        with: {
            "holdfast:host/log@0.1.0": crate::bindings::host::holdfast::host::log,
            "holdfast:host/http@0.1.0": crate::bindings::host::holdfast::host::http,
        },
    });
}

pub mod storage_checking {
    wit_bindgen::generate!({
        path: ["wit/host/0.1.0", "wit/storage-check/0.1.0"],
        world: "holdfast:storage-check/storage-checking",
        pub_export_macro: true,
        export_macro_name: "export_storage_checking",
        with: {
            "holdfast:host/log@0.1.0": crate::bindings::host::holdfast::host::log,
            "holdfast:host/probe@0.1.0": crate::bindings::host::holdfast::host::probe,
        },
    });
}

pub mod events {
    wit_bindgen::generate!({
        path: ["wit/host/0.1.0", "wit/events/0.1.0"],
        world: "holdfast:events/event-handling",
        pub_export_macro: true,
        export_macro_name: "export_event_handling",
        with: {
            "holdfast:host/log@0.1.0": crate::bindings::host::holdfast::host::log,
            "holdfast:host/http@0.1.0": crate::bindings::host::holdfast::host::http,
        },
    });
}
