//! Fencing devices, asked before they are needed: how does the power stand? Nothing is switched.
//!
//! Each manager asks those that it reaches itself, by its own programs, targets and secrets: any of them may have to.

use super::App;
use super::config::in_force;
use super::extension_log::others;
use super::input::Options;
use super::problem::Problem;
use crate::daemon::fence::{Power, Target};
use axum::Json;
use axum::extract::State;
use futures::future::join_all;
use holdfast_model::asking::AskerKind;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::host::Membership;
use holdfast_model::id::{DeviceName, HostName, Incarnation, ManagerName, SiteName};
use holdfast_model::policy::Policy;
use holdfast_store::view::View;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// What devices say to this manager.
#[derive(Debug, Serialize, Deserialize)]
pub struct PowerHere {
    /// This manager.
    pub manager: ManagerName,
    /// By host, then in the order in which they would be asked.
    pub devices: Vec<DeviceSaid>,
    /// Hosts that no device switches.
    pub without: Vec<HostName>,
    /// Where the API of the other managers listens that are there.
    pub others: BTreeMap<ManagerName, String>,
}

/// What a device says of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSaid {
    /// The host.
    pub host: HostName,
    /// The device.
    pub device: DeviceName,
    /// Its place among others of the host.
    pub order: u32,
    /// What it says.
    pub answer: Said,
    /// Why, or what is odd about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// For so long it was asked, in milliseconds.
    pub took_ms: u64,
}

/// How the power stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// On.
    On,
    /// Off.
    Off,
    /// Off, of a host that is there: it is another machine's device, or it is wrong.
    WrongOff,
    /// It gave no answer that can be used.
    Nothing,
    /// This manager is not to ask it.
    NotAsked,
}

/// One device of one host, and what is known of the host.
struct Case {
    target: Target,
    is_online: bool,
}

/// `GET /v1/fencing/power?host=H`.
pub async fn power(
    State(app): State<Arc<App>>,
    options: Options,
) -> Result<Json<PowerHere>, Problem> {
    let only = options.only(&["host"])?.name::<HostName>("host")?;
    let (cases, without, others) = app.glance(|look| {
        let policy = in_force(&app, look.view)?.cloned().unwrap_or_default();
        let (cases, without) = cases(&policy, look.view, only.as_ref())?;
        Ok::<_, Problem>((cases, without, others(&app, look)))
    })??;
    let devices = join_all(cases.iter().map(|case| ask(&app, case))).await;
    Ok(Json(PowerHere {
        manager: app.manager.clone(),
        devices,
        without,
        others,
    }))
}

/// All devices of the hosts, and the hosts that have none.
fn cases(
    policy: &Policy,
    view: &View,
    only: Option<&HostName>,
) -> Result<(Vec<Case>, Vec<HostName>), Problem> {
    let devices = policy.fencing.devices.iter();
    let mut hosts: BTreeSet<HostName> = devices.flat_map(|(name, it)| it.hosts_of(name)).collect();
    hosts.extend(view.hosts.keys().cloned());
    if let Some(only) = only {
        if !policy.fencing.has_device(only) {
            let detail = format!(
                "no fencing device of the policy switches a host `{only}`; `holdfast fence status` lists all that \
                 there are"
            );
            return Err(Problem::new("not-found", detail));
        }
        hosts.retain(|host| host == only);
    }
    let (mut cases, mut without) = (Vec::new(), Vec::new());
    for host in hosts {
        let there = view.hosts.get(&host);
        let session = there.and_then(|there| there.session.as_ref());
        let incarnation = match session {
            Some(session) => session.value.incarnation.clone(),
            None => no_life()?,
        };
        let state = there.and_then(|there| there.state.as_ref());
        let is_online = state.is_some_and(|state| state.value.membership == Membership::Online);
        let devices = policy.fencing.devices_of(&host);
        if devices.is_empty() {
            without.push(host);
            continue;
        }
        cases.extend(devices.into_iter().map(|(name, device)| Case {
            target: Target {
                host: host.clone(),
                name: name.clone(),
                device: device.clone(),
                incarnation: incarnation.clone(),
                attempt: 0,
            },
            is_online,
        }));
    }
    Ok((cases, without))
}

/// A host that was never there has none; nothing is decided about it.
fn no_life() -> Result<Incarnation, Problem> {
    let none = "none".parse();
    none.map_err(|error| Problem::new("internal", format!("{error}")))
}

/// Who asks it instead of this manager, in words.
fn only_others(device: &FenceDevice) -> String {
    let who = match device.lets(AskerKind::Managers) {
        true => "managers",
        false => "agents of other hosts",
    };
    let from: Vec<&str> = device.from.iter().map(SiteName::as_str).collect();
    let at = match from.is_empty() {
        true => String::new(),
        false => format!(" at {}", from.join(", ")),
    };
    format!("only {who}{at} ask it")
}

async fn ask(app: &App, case: &Case) -> DeviceSaid {
    let Target {
        host, name, device, ..
    } = &case.target;
    let said = |answer, words, took_ms| DeviceSaid {
        host: host.clone(),
        device: name.clone(),
        order: device.order,
        answer,
        words,
        took_ms,
    };
    if !app.own.fencer.reaches(device) {
        return said(Said::NotAsked, Some(only_others(device)), 0);
    }
    let began = Instant::now();
    let found = app.own.fencer.look(&case.target).await;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (answer, words) = match found {
        Ok(Power::On) => (Said::On, None),
        Ok(Power::Off) if case.is_online => {
            let words = "the host is online: this is another machine's device, or it is wrong";
            (Said::WrongOff, Some(words.to_owned()))
        }
        Ok(Power::Off) => (Said::Off, None),
        Err(why) => (Said::Nothing, Some(why)),
    };
    said(answer, words, took_ms)
}
