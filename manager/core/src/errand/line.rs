//! Who asks a device, in which order, where others than the leader may.
//!
//! ```text
//! leader ─> managers at the host's site ─> other managers ─> agents at the host's site ─> other agents
//!   └───────── each of them only from where the device is reached, and if the policy lets it ────┘
//! ```
//! One ask goes to one of them; who declines, or does not take it, is passed by. Who has asked in vain, or was passed
//! by, comes after the others in the next attempt, until all have had their turn. Where only managers may ask, the
//! leader asks what it reaches, every time.

use super::candidates;
use holdfast_model::asking::{Asker, AskerKind, HostAsks};
use holdfast_model::errand::Addressee;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::host::{HostState, Membership, SessionState};
use holdfast_model::id::{DeviceName, HostName, Incarnation, ManagerName, Revision, SiteName};
use holdfast_model::leader::ManagerPresence;
use holdfast_model::power::{PowerAsk, PowerState};
use holdfast_model::time::Instant;
use holdfast_model::world::{HostView, Seen};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A manager that was not heard of for so long is not tried where agents may be, in milliseconds: it renews its presence
/// every few seconds.
const AWAY_MS: u64 = 30_000;
/// Managers, and agents, that are tried for one ask where both may be.
pub const EACH_MAX: usize = 2;

/// What the leader sees of those that could ask.
#[derive(Clone, Copy)]
pub struct Scene<'v> {
    /// All managers that were heard of.
    pub managers: &'v BTreeMap<ManagerName, Seen<ManagerPresence>>,
    /// All hosts.
    pub hosts: &'v BTreeMap<HostName, Arc<HostView>>,
    /// What their agents have for asking.
    pub asks: &'v BTreeMap<HostName, Seen<HostAsks>>,
    /// The leader.
    pub own: &'v ManagerName,
    /// Where it stands.
    pub site: &'v SiteName,
    /// The leader's clock.
    pub now: Instant,
    /// A host that was silent for so long is suspect, in milliseconds.
    pub suspect_after_ms: u64,
}

/// Who asks, this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// The leader itself.
    Here,
    /// The first of these that takes it.
    There(Vec<Addressee>),
}

/// Who has asked in vain, or did not do it, per host and device: of its present life.
#[derive(Debug, Clone, Default)]
pub struct Tried(BTreeMap<(HostName, DeviceName), (Incarnation, BTreeSet<Asker>)>);

impl Tried {
    /// Who asks this time. `able`: the leader has what it takes, as far as it knows.
    pub fn way(&mut self, ask: &PowerAsk, device: &FenceDevice, able: bool, scene: Scene) -> Way {
        let reached = device.is_reached_from(scene.site);
        if !device.lets(AskerKind::Agents) {
            return match reached {
                true => Way::Here,
                false => {
                    let found = candidates(scene.managers, &device.from, scene.own, scene.now);
                    Way::There(found)
                }
            };
        }
        let here = reached && able && device.lets(AskerKind::Managers);
        let others = others(device, &ask.host, scene);
        let key = (ask.host.clone(), ask.device.clone());
        let (life, vain) =
            (self.0.entry(key)).or_insert_with(|| (ask.incarnation.clone(), BTreeSet::new()));
        let leader = Asker::Manager(scene.own.clone());
        let all_tried = (!here || vain.contains(&leader))
            && others.iter().all(|other| vain.contains(&other.asker()));
        if *life != ask.incarnation || all_tried {
            *life = ask.incarnation.clone();
            vain.clear();
        }
        if here && !vain.contains(&leader) {
            return Way::Here;
        }
        let mut left = BTreeMap::from([
            (AskerKind::Managers, EACH_MAX),
            (AskerKind::Agents, EACH_MAX),
        ]);
        let mut is_next = |other: &Addressee| {
            let asker = other.asker();
            let left = left.entry(asker.kind()).or_default();
            let next = *left > 0 && !vain.contains(&asker);
            *left -= usize::from(next);
            next
        };
        Way::There(others.into_iter().filter(|other| is_next(other)).collect())
    }

    /// What came of it: `by` has asked it, if anybody is known to have; `passed` did not do it.
    pub fn note(
        &mut self,
        ask: &PowerAsk,
        by: Option<&Asker>,
        state: &PowerState,
        passed: impl IntoIterator<Item = Asker>,
    ) {
        let of_device = self.0.get_mut(&(ask.host.clone(), ask.device.clone()));
        let Some((_, vain)) = of_device.filter(|(life, _)| *life == ask.incarnation) else {
            return;
        };
        vain.extend(passed);
        // Who has heard anything reaches it.
        if let (PowerState::Unknown { .. } | PowerState::Asked, Some(by)) = (state, by) {
            vain.insert(by.clone());
        }
    }
}

/// All but the leader that may ask and could, in their order.
fn others(device: &FenceDevice, host: &HostName, scene: Scene) -> Vec<Addressee> {
    let site_of = |name: &HostName| {
        let spec = scene.hosts.get(name)?.spec.as_ref()?;
        Some(&spec.value.site)
    };
    let own_site = site_of(host);
    let mut found = Vec::new();
    if device.lets(AskerKind::Managers) {
        let mut there: Vec<_> = (scene.managers.iter())
            .filter(|(name, seen)| *name != scene.own && device.is_reached_from(&seen.value.site))
            .filter(|(_, seen)| scene.now.since(seen.seen_at) < AWAY_MS)
            .map(|(name, seen)| {
                let far = Some(&seen.value.site) != own_site;
                (far, scene.now.since(seen.seen_at), name, &seen.value.life)
            })
            .collect();
        there.sort();
        let manager = |(_, _, name, life): (_, _, &ManagerName, &String)| {
            Addressee::manager(name.clone(), life.clone())
        };
        found.extend(there.into_iter().map(manager));
    }
    let mut agents: Vec<_> = (scene.asks.iter())
        .filter(|(name, _)| *name != host)
        .filter(|(_, asks)| asks.value.means.lacks(device).is_none())
        .filter_map(|(name, asks)| {
            let view = scene.hosts.get(name)?;
            let site = site_of(name).filter(|site| device.is_reached_from(site))?;
            is_fit(view, &asks.value, scene).then_some((
                Some(site) != own_site,
                name,
                &asks.value.life,
            ))
        })
        .collect();
    agents.sort();
    let agent =
        |(_, name, life): (_, &HostName, &String)| Addressee::agent(name.clone(), life.clone());
    found.extend(agents.into_iter().filter_map(agent));
    found
}

/// Its agent is there and was heard of lately, and the leader holds nothing against its host.
fn is_fit(host: &HostView, asks: &HostAsks, scene: Scene) -> bool {
    let life = &asks.incarnation;
    let Some(session) = &host.session else {
        return false;
    };
    let heard = scene.now.since(session.seen_at) < scene.suspect_after_ms;
    let state = host.state.as_ref().map(|seen| &seen.value);
    heard
        && session.value.state == SessionState::Open
        && session.value.incarnation == *life
        && held_against(state, life).is_none()
}

/// The revision of what the leader holds of a host, if nothing of it is against its agent asking about others: what
/// that agent proves each time that it tries to take an errand.
pub fn standing_at(state: Option<&Seen<HostState>>, life: &Incarnation) -> Option<Revision> {
    let state = state?;
    let fit = held_against(Some(&state.value), life).is_none();
    fit.then_some(state.revision)
}

/// Why a host in this state is not to ask about others, in words: it may be the next that is lost, or is just back.
pub fn held_against(state: Option<&HostState>, life: &Incarnation) -> Option<&'static str> {
    match state {
        Some(state) if state.incarnation == *life => match state.membership {
            Membership::Online | Membership::Maintenance => None,
            Membership::Suspect => Some("it is suspect"),
            Membership::Isolated => Some("it is isolated"),
            Membership::Fenced => Some("it was given up"),
            Membership::Rejoining => Some("it is just back, and held down"),
        },
        _ => Some("the leader has not taken its present life in yet"),
    }
}
