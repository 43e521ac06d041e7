//! What extensions wrote to their logs, and which managers may have more of it.

use super::{App, Look};
use crate::required::present;
use holdfast_model::id::ManagerName;
use std::collections::BTreeMap;

/// Where the API of the other managers listens that are there: lines stay with the manager on which they were written.
pub(super) fn others(app: &App, look: &Look<'_>) -> BTreeMap<ManagerName, String> {
    let all = present(look.view, look.context.now);
    let others = all.filter(|there| there.name != app.manager);
    others
        .map(|there| (there.name.clone(), there.api.clone()))
        .collect()
}

#[cfg(feature = "extensions")]
pub use here::log;

#[cfg(feature = "extensions")]
mod here {
    use super::{App, others};
    use crate::api::extension_versions::no_shadow_of;
    use crate::api::extensions::{shown, unknown};
    use crate::api::input::{Name, Options};
    use crate::api::problem::Problem;
    use crate::extensions::Shown;
    use axum::Json;
    use axum::extract::State;
    use holdfast_model::extension::ExtensionKind;
    use holdfast_model::id::{ExtensionName, HostName};
    use holdfast_model::standing::Line;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// `GET /v1/extensions/{NAME}/log?shadow`: what it, or its shadow, wrote to its log, the newest last; on this
    /// manager, or on the hosts that ask it as far as they tell.
    pub async fn log(
        State(app): State<Arc<App>>,
        Name(name): Name<ExtensionName>,
        options: Options,
    ) -> Result<Json<Value>, Problem> {
        let of_shadow = options.only(&["shadow"])?.flag("shadow")?;
        let (shown, others) = app.glance(|look| (shown(&app, look, &name), others(&app, look)))?;
        let shown = shown.ok_or_else(|| unknown(&name))?;
        if of_shadow && shown.shadow.is_none() {
            return Err(no_shadow_of(&name));
        }
        if shown.installed.manifest.kind == ExtensionKind::StorageCheck {
            return Ok(Json(on_hosts(shown, of_shadow)));
        }
        let extensions = &app.own.extensions;
        let lines = match of_shadow {
            true => extensions.shadow_log(&name),
            false => extensions.log(&name),
        };
        let lines = lines.unwrap_or_default();
        Ok(Json(
            json!({"manager": app.manager, "lines": lines, "others": others}),
        ))
    }

    /// All hosts' lines in the order of their time.
    fn on_hosts(shown: Shown, of_shadow: bool) -> Value {
        let (hosts, lines): (Vec<HostName>, Vec<Vec<Line>>) = match (of_shadow, shown.shadow) {
            (true, Some(shadow)) => {
                let all = shadow.hosts.into_iter();
                all.map(|(host, there)| (host, there.log)).unzip()
            }
            _ => {
                let all = shown.hosts.into_iter();
                all.map(|(host, there)| (host, there.log)).unzip()
            }
        };
        let all = hosts.iter().zip(&lines);
        let each = all.flat_map(|(host, lines)| lines.iter().map(move |line| (host, line)));
        let mut each: Vec<_> = each.collect();
        each.sort_by_key(|(_, line)| line.at);
        let told = |(host, line): (&HostName, &Line)| json!({"host": host, "at": line.at, "level": line.level, "text": line.text});
        let told: Vec<Value> = each.into_iter().map(told).collect();
        json!({"hosts": hosts, "lines": told})
    }
}
