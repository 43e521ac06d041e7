//! How long hosts have not answered whoever asks them directly: the bookkeeping of one manager.
//!
//! ```text
//!  new life ──> not heard of ── answers ──> answers <──────┐
//!                    ^                        │ a probe is overdue: asked twice as often
//!                    │ closed, other boot     v            │ answers
//!                    └───────────────────── silent ────────┘
//! ```
//! Only a host that has answered in its present life can fall silent: one that nobody can reach, or that is of
//! an older version, has no part in this. A closed port is a sign of life: the machine is there and its guard
//! is not, so that nobody answers, and that it does not says nothing until somebody does again.
//!
//! Time counts only while the one that asks is awake and can send: after a pause of its own all silences begin
//! anew.

use holdfast_model::id::{HostName, Incarnation, SiteName};
use holdfast_model::probe::{Heard, Opinion, Silence, SilentFor, Vantage};
use holdfast_model::time::Instant;
use holdfast_model::timing::Timing;
use std::collections::BTreeMap;

/// Turns may be so many times as far apart as they should be; beyond that, whoever takes them was not awake.
const LATE: u64 = 3;
/// And are never taken to be closer together than this, in milliseconds: what a timer can do.
const TURN_MIN_MS: u64 = 20;
/// A host of which no answer is expected is asked this often, in milliseconds: one whose port is closed or not
/// reached, and one that was lost.
const SELDOM_MS: u64 = 1_000;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    last_turn: Option<Instant>,
    /// Counts turns: a host that the last one did not name is gone.
    turns: u64,
    hosts: BTreeMap<HostName, Host>,
}

#[derive(Debug, Clone)]
struct Host {
    /// The turn that named it last.
    turn: u64,
    incarnation: Incarnation,
    /// Its last answer; none in this life, or none since its port was found closed.
    heard: Option<Heard>,
    /// Since when nothing has come from it, own pauses not counted.
    since: Instant,
    /// When it was asked last.
    asked: Option<Instant>,
}

impl Observer {
    /// How long to wait between two turns, in milliseconds.
    pub fn turn_every_ms(timing: &Timing) -> u64 {
        timing.probe_again_ms().max(TURN_MIN_MS)
    }

    /// Looks at the clock, and says who is to be asked now. To be called after all that has come by now was
    /// told with [`Self::answered`] and [`Self::refused`].
    pub fn turn<'h>(
        &mut self,
        now: Instant,
        timing: &Timing,
        hosts: impl IntoIterator<Item = (&'h HostName, &'h Incarnation)>,
    ) -> Vec<HostName> {
        let bound_ms = LATE * Self::turn_every_ms(timing);
        let slept = (self.last_turn).is_none_or(|last| now.since(last) > bound_ms);
        self.last_turn = Some(now);
        if slept {
            for host in self.hosts.values_mut() {
                host.since = now;
            }
        }
        self.turns += 1;
        let mut named = 0;
        let mut due = Vec::new();
        for (name, incarnation) in hosts {
            named += 1;
            let known = self.hosts.get_mut(name);
            if let Some(host) = known.filter(|known| known.incarnation == *incarnation) {
                host.turn = self.turns;
                if host.is_due(now, timing) {
                    host.asked = Some(now);
                    due.push(name.clone());
                }
                continue;
            }
            let host = Host {
                turn: self.turns,
                incarnation: incarnation.clone(),
                heard: None,
                since: now,
                asked: Some(now),
            };
            self.hosts.insert(name.clone(), host);
            due.push(name.clone());
        }
        if self.hosts.len() > named {
            self.hosts.retain(|_, host| host.turn == self.turns);
        }
        due
    }

    /// A host answered the probe that was sent then, on the boot of its present life.
    pub fn answered(&mut self, name: &HostName, asked_at: Instant, now: Instant) {
        let Some(host) = self.hosts.get_mut(name) else {
            return;
        };
        let later = host.heard.as_ref().is_none_or(|h| h.asked_at <= asked_at);
        if later {
            host.heard = Some(Heard {
                incarnation: host.incarnation.clone(),
                asked_at,
                at: now,
            });
        }
        host.since = now;
    }

    /// Its port is closed, or the guard of another boot answered: the machine is there, and nobody who would
    /// answer for that life. See the module.
    pub fn refused(&mut self, name: &HostName) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.heard = None;
        }
    }

    /// It could not be asked, for a reason on this side: the time in which it was not does not count.
    pub fn unsent(&mut self, name: &HostName, now: Instant) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.since = now;
        }
    }

    /// For [`World::probes`](holdfast_model::world::World::probes).
    pub fn vantage(&self, site: &SiteName) -> Vantage {
        let silence = |host: &Host| Silence {
            incarnation: host.incarnation.clone(),
            since: host.since,
            for_ms: self.silent_ms(host),
        };
        Vantage {
            site: site.clone(),
            silent: (self.answering())
                .map(|(name, host, _)| (name.clone(), silence(host)))
                .collect(),
            heard: (self.answering())
                .map(|(name, _, heard)| (name.clone(), heard.clone()))
                .collect(),
        }
    }

    /// What the other managers are told: those that are silent for as long as that counts.
    pub fn opinion(&self, site: &SiteName, timing: &Timing) -> Opinion {
        let counts_ms = timing.probe_suspect_ms..timing.probe_suspect_ms + timing.suspect_after_ms;
        let silent = self.answering().filter_map(|(name, host, _)| {
            let silent_ms = self.silent_ms(host);
            let silent = SilentFor {
                incarnation: host.incarnation.clone(),
                silent_ms,
            };
            counts_ms
                .contains(&silent_ms)
                .then(|| (name.clone(), silent))
        });
        Opinion {
            site: site.clone(),
            silent: silent.collect(),
        }
    }

    /// Whether each host that has answered in its life did so lately: what the planner reads of this observer says
    /// nothing against any, and will not before the next turn.
    pub fn hears_all(&self, now: Instant, timing: &Timing) -> bool {
        let lately = |heard: &Heard| now.since(heard.at) < timing.probe_suspect_ms;
        self.answering().all(|(_, _, heard)| lately(heard))
    }

    fn answering(&self) -> impl Iterator<Item = (&HostName, &Host, &Heard)> {
        let hosts = self.hosts.iter();
        hosts.filter_map(|(name, host)| Some((name, host, host.heard.as_ref()?)))
    }

    fn silent_ms(&self, host: &Host) -> u64 {
        self.last_turn.map_or(0, |turn| turn.since(host.since))
    }
}

impl Host {
    /// Asked twice as often while an answer is overdue, for as long as anything may come of that.
    fn is_due(&self, now: Instant, timing: &Timing) -> bool {
        let Some(asked) = self.asked else { return true };
        let lost = now.since(self.since) >= timing.probe_suspect_ms + timing.suspect_after_ms;
        let every_ms = match &self.heard {
            Some(heard) if heard.asked_at >= asked => timing.probe_every_ms(),
            Some(_) if !lost => timing.probe_again_ms(),
            _ => SELDOM_MS,
        };
        // A turn that comes a little early is as good as the next one.
        now.since(asked) >= every_ms * 3 / 4
    }
}

#[cfg(test)]
mod tests;
