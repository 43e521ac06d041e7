//! An extension that there is not, for tests.

use holdfast_model::advice::Fallback;
use holdfast_model::extension::{ExtensionKind, Installed, LimitsAsked, Manifest, Rights};
use holdfast_model::id::ExtensionName;
use holdfast_model::time::UnixMs;

/// Installed without a signature, rights and limits of its own.
pub(crate) fn installed(name: ExtensionName, version: &str) -> Installed {
    Installed {
        manifest: Manifest {
            name,
            version: version.to_owned(),
            kind: ExtensionKind::Placement,
            summary: "For this test.".to_owned(),
            limits: LimitsAsked::default(),
            rights: Rights::default(),
        },
        digest: format!("digest of {version}"),
        bytes: 1,
        granted: Rights::default(),
        limits: LimitsAsked::default(),
        then: Fallback::Closed,
        signed: None,
        by: "the test".to_owned(),
        at: UnixMs(1),
        before: None,
        rollout: None,
    }
}
