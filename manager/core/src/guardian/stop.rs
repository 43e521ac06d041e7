//! Intent `Stop`: ask the guest to shut down; after the grace it is destroyed (see `jobs`). Intent
//! `Kill`: destroyed at once.

use super::case::{Case, Next};
use super::types::{Action, Domain, DomainState};
use holdfast_model::host::RunState;

/// A domain of this grant is here and no call is under way.
pub(super) fn present(case: &Case<'_>, domain: &Domain) -> Next {
    match domain.state {
        DomainState::Running | DomainState::ShuttingDown => {
            case.report(RunState::Stopping).then(Action::Shutdown)
        }
        // vCPUs that stand still hear no request.
        DomainState::Created
        | DomainState::Paused { .. }
        | DomainState::Receiving
        | DomainState::Received => case.report(RunState::Stopping).then(Action::Destroy {
            why: "it is to be stopped and stands paused".to_owned(),
        }),
    }
}

/// A domain of this grant is here, and its guest is past asking: its storage is gone.
pub(super) fn killed(case: &Case<'_>) -> Next {
    case.report(RunState::Stopping).then(Action::Destroy {
        why: format!("it is to be stopped by force: {}", case.owner.reason),
    })
}
