//! What of the ground truth is about switching hosts off: that one was silent when its device is asked, by whom it may
//! be, and is off when that is what its life was closed by.

use super::bounds::CALL_TIMEOUT_MS;
use super::ctx::Ctx;
use super::event::Client;
use holdfast_model::errand::{Errand, ErrandStage};
use holdfast_model::fence::{Evidence, FenceRecord};
use holdfast_model::host::{HostState, Membership, Session, SessionState};
use holdfast_model::id::{HostName, Incarnation};
use holdfast_model::policy::Policy;
use holdfast_store::keyspace::Key;

impl Ctx {
    /// Somebody put supplies of this host back since a device of it was told to switch it off, the last time: between
    /// what they said in one attempt. What was said before that attempt has to count for nothing.
    fn was_put_back(&self, host: &HostName) -> bool {
        let put_back = self.truth.put_back.get(host);
        put_back > self.truth.told_off.get(host)
    }

    /// A device is about to be asked to switch a host off: was it silent for as long as that takes?
    pub(super) fn check_ask(&mut self, host: &HostName) {
        self.truth.told_off.insert(host.clone(), self.now);
        let policy: Policy = self.record(&Key::Policy).unwrap_or_default();
        let timing = policy.timing.resolve();
        let wait_ms = match policy.fencing.on_suspicion {
            true => timing.suspect_after_ms,
            false => timing.runner_deadline_ms,
        };
        let silence_ms = self.truth.silence(host, self.now).control_ms;
        // A clock may run slow or fast by the allowed drift.
        let lasts = |ms: u64| silence_ms >= ms * 998 / 1_000;
        // Two turns less: the ground truth looks no more often.
        let in_vain_ms = timing.probe_suspect_ms - 2 * timing.probe_again_ms();
        let probed = policy.fencing.on_suspicion
            && timing.probe_suspect_ms > 0
            && lasts(timing.session_quiet_ms())
            && self.unheard_at(host, in_vain_ms, timing.suspect_after_ms) >= 2;
        if !lasts(wait_ms) && !probed {
            self.violation(format!(
                "needless-power-off: the device of {host} is asked {silence_ms} ms after a heartbeat"
            ));
        }
    }

    /// Before somebody else may ask one for the leader: it is the one that it is for, and for the leader that leads; an
    /// agent's own host stands well. Whether it asks is seen later: one that learns too late that it may does not.
    pub(super) fn check_errand(&mut self, client: &Client, errand: &Errand) {
        if errand.stage != ErrandStage::Taken {
            return;
        }
        let to = &errand.to;
        let own = match (client, &to.agent) {
            (Client::Manager(name, life), None) => {
                *name == to.manager && life.to_string() == to.life
            }
            (Client::Agent(host, life), Some(agent)) => {
                host == agent && life.to_string() == to.life
            }
            (Client::Manager(..), Some(_)) | (Client::Agent(..), None) => false,
        };
        if !own {
            let text = format!(
                "own-errand: {client:?} takes {}, which is for {to:?}",
                errand.id
            );
            self.violation(text);
        }
        let leads = self.store.get_now(&Key::LeaderEpoch.path());
        if leads.is_none_or(|leads| leads.revision != errand.epoch) {
            let text = format!(
                "own-epoch: {client:?} takes {}, of a former leader",
                errand.id
            );
            self.violation(text);
        }
        if let Client::Agent(asker, _) = client {
            self.check_agent(asker, errand);
        }
    }

    /// The agent of a host that nobody takes for lost, and that was heard of, asks about another one.
    fn check_agent(&mut self, asker: &HostName, errand: &Errand) {
        let session: Option<Session> = self.record(&Key::HostSession(asker.clone()));
        let state: Option<HostState> = self.record(&Key::HostState(asker.clone()));
        let open = session.filter(|session| session.state == SessionState::Open);
        let stands = open.zip(state).is_some_and(|(session, state)| {
            let there = [Membership::Online, Membership::Maintenance];
            session.incarnation == state.incarnation && there.contains(&state.membership)
        });
        let policy: Policy = self.record(&Key::Policy).unwrap_or_default();
        // It looks at that before it sends the call, which may be on its way for as long as it is waited for.
        let deadline_ms = policy.timing.resolve().runner_deadline_ms * 1_002 / 1_000;
        let beat = self.truth.beats.get(asker).copied().unwrap_or(0);
        let silence_ms = self.now - beat;
        let id = &errand.id;
        if !stands || silence_ms > deadline_ms + CALL_TIMEOUT_MS {
            self.violation(format!(
                "own-standing: the agent of {asker} takes {id}, {silence_ms} ms after a heartbeat, and the store says \
                 that its host is not to ask"
            ));
        }
        if *asker == errand.host {
            self.violation(format!("own-host: the agent of {asker} takes {id}"));
        }
    }

    /// By the word of devices: has its host been without power since that life began?
    pub(super) fn check_off(
        &mut self,
        client: &Client,
        host: &HostName,
        life: &Incarnation,
        record: &FenceRecord,
    ) {
        let Evidence::PoweredOff { by } = &record.evidence else {
            return;
        };
        let session: Option<Session> = self.record(&Key::HostSession(host.clone()));
        let of_life = session.filter(|session| session.incarnation == *life);
        let boot = self.truth.boots.get(host);
        if of_life.is_none_or(|session| boot != Some(&session.boot_id)) {
            return;
        }
        let text = format!(
            "off-is-off: {host}/{life} is recorded as powered off, by the word of {by}, and has power"
        );
        match self.truth.words.liar(host, life, by, client).cloned() {
            Some(liar) => {
                let why = format!("{liar} lied about {host} and nobody contradicted it");
                self.goes_beyond(why, &text);
            }
            None if self.was_put_back(host) => {
                let why = format!(
                    "a supply of {host} was put back before the others were off: docs/safety.md, assumption 6"
                );
                self.goes_beyond(why, &text);
            }
            None => self.violation(text),
        }
    }
}
