//! What extensions were asked in decisions, and what they said.

use super::App;
use super::extension_log::others;
use super::extensions::unknown;
use super::input::Name;
use super::problem::Problem;
use crate::extensions::DecisionsHere;
use axum::Json;
use axum::extract::State;
use holdfast_model::extension::ExtensionKind;
use holdfast_model::id::{ExtensionName, ManagerName};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What this manager has, and who else may have some: whoever led before.
#[derive(Debug, Serialize)]
pub struct DecisionsTold {
    /// What is kept here.
    #[serde(flatten)]
    pub here: DecisionsHere,
    /// Where the API of the other managers listens that are there.
    pub others: BTreeMap<ManagerName, String>,
}

/// `GET /v1/extensions/{NAME}/decisions`: also of one that was removed since.
pub async fn decisions(
    State(app): State<Arc<App>>,
    Name(name): Name<ExtensionName>,
) -> Result<Json<DecisionsTold>, Problem> {
    let here = app.own.extensions.decisions.about(&name, &app.manager);
    let (kind, others) = app.glance(|look| {
        let installed = look.view.extensions.get(&name);
        let kind = installed.map(|seen| seen.value.manifest.kind);
        (kind, others(&app, look))
    })?;
    match kind {
        Some(kind) if kind != ExtensionKind::Placement => {
            let detail = format!(
                "extension {name} is for {kind}: only those for placement are asked in decisions"
            );
            Err(Problem::new("not-possible", detail))
        }
        None if here.decisions.is_empty() => Err(unknown(&name)),
        _ => Ok(Json(DecisionsTold { here, others })),
    }
}
