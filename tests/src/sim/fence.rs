//! Fencing devices: each host's board, and what else the policy names for it, on a network of their own at its site,
//! with the site's power.
//!
//! ```text
//! a leader's step was accepted, or somebody has taken its errand ─> asked ── it acts, or nothing comes ─> acted ── likewise ─> says ─> leader
//! ```
//! A device with `all_of` is the outlet of one of its host's supplies ([`super::supplies`]).

use super::Sim;
use super::event::{Client, Event, FenceCall, FenceStage, Inbox};
use super::faults::FaultError;
use super::manager::Manager;
use super::net::Place;
use holdfast_model::asking::AskerKind;
use holdfast_model::fence_device::FenceDevice;
use holdfast_model::id::HostName;
use holdfast_model::power::PowerState;

/// How long a call to a device takes that is well, in milliseconds.
const USUAL_MS: u64 = 200;

/// How a device behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It does what it is told, and says how things stand.
    Answers,
    /// It does nothing and says off.
    Lies,
    /// The same while its host's heartbeats are acknowledged; otherwise it answers. Such a lie always shows.
    LiesWhileHeard,
    /// Nothing comes back, and nothing happens.
    Hangs,
    /// It says that it will not.
    Refuses,
    /// It does nothing, and says how things stand.
    Idles,
    /// It does what it is told, and says that it failed.
    Mumbles,
}

/// A device.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    /// How it behaves.
    pub behaviour: Behaviour,
    /// How long each call takes.
    pub takes_ms: u64,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            behaviour: Behaviour::Answers,
            takes_ms: USUAL_MS,
        }
    }
}

impl Sim {
    /// A host's devices behave like this from now on, or, by its own name, one device of the policy.
    pub fn set_device(&mut self, name: &HostName, device: Device) -> Result<(), FaultError> {
        let mut devices = self.policy.fencing.devices.keys();
        let known = devices.any(|device| device.as_str() == name.as_str());
        if !known && !self.hosts.contains_key(name) {
            return Err(FaultError::Unknown(name.to_string()));
        }
        self.devices.insert(name.clone(), device);
        Ok(())
    }

    /// Those that were told how to behave, and do not behave as usual.
    pub fn odd_devices(&self) -> impl Iterator<Item = &HostName> {
        let odd = self.devices.iter().filter(|(_, device)| {
            device.behaviour != Behaviour::Answers || device.takes_ms != USUAL_MS
        });
        odd.map(|(name, _)| name)
    }

    /// Somebody asks a device, or it goes on with what it was asked.
    pub(super) fn fence(&mut self, mut call: Box<FenceCall>) {
        let device = self.behaves(&call);
        match call.stage {
            FenceStage::Asked => {
                self.check_asker(&call);
                self.fence_takes(call, device, FenceStage::Acted);
            }
            FenceStage::Acted => {
                if call.answered && self.obeys(&call.ask.host, device) {
                    self.switch_off(&call.ask.host, &call.ask.device);
                }
                call.read_at = self.ctx.now;
                self.fence_takes(call, device, FenceStage::Says);
            }
            FenceStage::Says => {
                let state = self.fence_says(&call, device);
                let is_off = self.is_off(&call.ask.host, &call.ask.device);
                // One that shows is not one that somebody else has to contradict.
                if state == PowerState::Off && !is_off && device.behaviour == Behaviour::Lies {
                    self.ctx.truth.words.lied(&call.ask, call.read_at);
                }
                let client = call.client.clone();
                let answer = match call.errand {
                    Some(errand) => Inbox::Errand(errand, state),
                    None => Inbox::Power(Box::new(call.ask), call.read_at, state),
                };
                self.ctx.after(1, Event::To(client, answer));
            }
        }
    }

    /// What was set for it by its own name; otherwise for its host.
    fn behaves(&self, call: &FenceCall) -> Device {
        let own = call.ask.device.as_str().parse::<HostName>();
        let own = own.ok().and_then(|name| self.devices.get(&name));
        let device = own.or_else(|| self.devices.get(&call.ask.host));
        device.copied().unwrap_or_default()
    }

    /// The next stage comes when the device has answered, or nobody waits for it any more.
    fn fence_takes(&mut self, mut call: Box<FenceCall>, device: Device, next: FenceStage) {
        let timeout_ms = self.timeout_ms(&call);
        let reached = self.reaches_device(&call) && device.behaviour != Behaviour::Hangs;
        call.answered = reached && device.takes_ms < timeout_ms;
        let ms = match call.answered {
            true => device.takes_ms,
            false => timeout_ms,
        };
        call.stage = next;
        self.ctx.after(ms, Event::Fence(call));
    }

    fn timeout_ms(&self, call: &FenceCall) -> u64 {
        let device = self.policy.fencing.devices.get(&call.ask.device);
        device.map_or(USUAL_MS, |device: &FenceDevice| device.timeout_ms)
    }

    /// The way from who asks to the device, which has the site's power; a board has its host's.
    fn reaches_device(&self, call: &FenceCall) -> bool {
        let (Some(host), Some(asker)) = (self.hosts.get(&call.ask.host), self.asks_from(call))
        else {
            return false;
        };
        let device = Place {
            site: host.m.site.clone(),
            host: None,
        };
        let lit =
            !self.dark.contains(&host.m.site) && self.has_power(&call.ask.host, &call.ask.device);
        lit && self.ctx.net.connects(&asker, &device)
    }

    /// Where who asks stands; nowhere if its machine has no power.
    fn asks_from(&self, call: &FenceCall) -> Option<Place> {
        match &call.client {
            Client::Manager(name, _) => self.managers.get(name).map(Manager::place),
            Client::Agent(host, _) => {
                let host = self.hosts.get(host).filter(|host| host.m.on)?;
                Some(host.m.place())
            }
        }
    }

    /// Who asks it is at one of the sites that reach it, and of those that may; and no agent asks about its own host.
    fn check_asker(&mut self, call: &FenceCall) {
        let (host, device) = (&call.ask.host, &call.ask.device);
        let (by, site, kind) = match &call.client {
            Client::Manager(name, _) => (
                name.to_string(),
                self.managers.get(name).map(|manager| &manager.site),
                AskerKind::Managers,
            ),
            Client::Agent(own, _) => (
                format!("the agent of {own}"),
                self.hosts.get(own).map(|own| &own.m.site),
                AskerKind::Agents,
            ),
        };
        let how = self.policy.fencing.devices.get(device);
        let reached = site
            .zip(how)
            .is_none_or(|(site, how)| how.is_reached_from(site));
        // As the policy has it, which without a word means managers.
        let may = how.is_none_or(|how| match &how.askers[..] {
            [] => kind == AskerKind::Managers,
            these => these.contains(&kind),
        });
        let own = matches!(&call.client, Client::Agent(own, _) if own == host);
        for (name, broken) in [
            ("out-of-reach", !reached),
            ("not-to-ask", !may),
            ("own-host", own),
        ] {
            if broken {
                let text = format!("{name}: {by} asks {device} about {host}");
                self.ctx.violation(text);
            }
        }
    }

    /// It does what it is told.
    fn obeys(&self, host: &HostName, device: Device) -> bool {
        match device.behaviour {
            Behaviour::Answers | Behaviour::Mumbles => true,
            Behaviour::LiesWhileHeard => !self.is_heard(host),
            Behaviour::Lies | Behaviour::Hangs | Behaviour::Refuses | Behaviour::Idles => false,
        }
    }

    /// Its last heartbeat that the store acknowledged is newer than any on which it could be asked about.
    fn is_heard(&self, host: &HostName) -> bool {
        let timing = self.policy.timing.resolve();
        let silence = self.ctx.truth.silence(host, self.ctx.now);
        silence.control_ms < timing.session_quiet_ms()
    }

    fn fence_says(&self, call: &FenceCall, device: Device) -> PowerState {
        let host = &call.ask.host;
        let unknown = |reason: String| PowerState::Unknown { reason };
        if !call.answered {
            return unknown(format!("no answer in {} ms", self.timeout_ms(call)));
        }
        let off = self.is_off(host, &call.ask.device);
        match device.behaviour {
            Behaviour::Lies => PowerState::Off,
            Behaviour::LiesWhileHeard if self.is_heard(host) => PowerState::Off,
            Behaviour::Answers | Behaviour::LiesWhileHeard | Behaviour::Idles if off => {
                PowerState::Off
            }
            Behaviour::Answers | Behaviour::LiesWhileHeard => PowerState::On,
            Behaviour::Idles => PowerState::StillOn {
                reason: "it will not".to_owned(),
            },
            Behaviour::Hangs | Behaviour::Refuses | Behaviour::Mumbles => {
                unknown("it refused".to_owned())
            }
        }
    }
}
