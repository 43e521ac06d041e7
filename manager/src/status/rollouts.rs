//! New versions of extensions that one site has first: how far they are, and what to do if they get no further.

use super::Scene;
use super::conditions::Found;
use crate::rollout::asking;
use holdfast_model::rollout::Stage;
use holdfast_model::status::Severity;

/// What to do rather than wait.
const GO_ON: &str = "`holdfast ext install` of the same with --all-at-once has all sites use it now, `holdfast ext \
                     rollback` goes back";

impl Scene<'_> {
    pub(super) fn rollouts(&self, found: &mut Found) {
        for (name, seen) in &self.view.extensions {
            let installed = &seen.value;
            let all = asking(self.view, installed, self.context.now);
            let Some(((stage, rollout), before)) = installed
                .stage(&all)
                .zip(installed.rollout.as_ref())
                .zip(installed.before.as_deref())
            else {
                continue;
            };
            let (first, version) = (&rollout.first, &installed.manifest.version);
            let before = &before.manifest.version;
            let (severity, text) = match stage {
                Stage::Proven => (
                    Severity::Info,
                    format!(
                        "extension {name}: version {version} is ready at site {first}; the others are about to follow"
                    ),
                ),
                Stage::Waits(who) => (
                    Severity::Info,
                    format!(
                        "extension {name}: site {first} has version {version} first, and the others ask {before} until \
                         it is ready there; waiting for {}. {GO_ON}",
                        who.join(", ")
                    ),
                ),
                Stage::Nobody => (
                    Severity::Warning,
                    format!(
                        "extension {name}: site {first} has version {version} first, and nobody who asks it there \
                         answers; the others ask {before} until somebody there is back and ready with it. {GO_ON}"
                    ),
                ),
                Stage::CannotRun { who, why } => (
                    Severity::Warning,
                    format!(
                        "extension {name}: version {version} cannot be asked by {who} at site {first}, so the other \
                         sites keep {before}: {why}. `holdfast ext rollback {name}` goes back everywhere, `holdfast \
                         ext install` installs another, with --all-at-once this one at all sites"
                    ),
                ),
            };
            found.add(severity, "extension-rollout", text);
        }
    }
}
