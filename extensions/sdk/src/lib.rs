//! trial
#[allow(missing_docs)]
pub mod placement_bindings {
    wit_bindgen::generate!({
        path: ["../../wit/host/0.1.0", "../../wit/placement/0.1.0"],
        world: "holdfast:placement/placing",
        pub_export_macro: true,
        generate_all,
        export_macro_name: "export_placing",
        default_bindings_module: "holdfast_extension::placement_bindings",
    });
}
