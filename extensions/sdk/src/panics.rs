//! What becomes of a panic: a trap, and before it, if that is wanted, a line in the log.

/// Called at the begin of every call.
#[cfg(all(feature = "panic-log", target_family = "wasm"))]
pub(crate) fn begin() {
    use std::sync::Once;
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            // Text and place are both in it: "panicked at src/lib.rs:7:5:\nindex out of bounds".
            crate::log::error(&panic.to_string());
        }));
    });
}

/// Nothing to do: no panic is logged, or a native test runs and its own hook is the better one.
#[cfg(not(all(feature = "panic-log", target_family = "wasm")))]
pub(crate) fn begin() {}
