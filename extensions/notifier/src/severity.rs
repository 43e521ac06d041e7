//! How much an event matters.

/// From the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// How things go.
    Info,
    /// Something came, went, or did not work.
    Notice,
    /// Something is lost.
    Critical,
}

/// Of an event of this kind. What is not known may matter.
pub fn severity(kind: &str) -> Severity {
    match kind {
        "host-fenced" | "host-isolated" | "self-fenced" => Severity::Critical,
        "vm-running" | "vm-stopped" | "vm-deleted" | "migration-started" | "migration-done"
        | "note" => Severity::Info,
        _ => Severity::Notice,
    }
}
