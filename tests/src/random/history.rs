//! A run in the making: what was done is carried out and recorded, line by line.

use super::coverage::Coverage;
use super::devices::Askers;
use super::{HOSTS, SETUP, Seeded};
use crate::scenario::verbs::carry_out;
use crate::scenario::{Run, WordError};
use crate::sim::Sim;
use std::fmt::Write;

/// The setup, with this for each of its hosts besides.
fn hosts(settings: [&str; 4]) -> String {
    let each = HOSTS.iter().zip(settings);
    let line = |(host, setting): (&&str, &str)| format!("host {host} site={}{setting}", &host[..1]);
    let lines: Vec<String> = each.map(line).collect();
    SETUP.replace("HOSTS", &lines.join("\n"))
}

/// A cluster, and how it came to be what it is.
pub(super) struct History {
    pub sim: Sim,
    pub errors: Vec<String>,
    pub coverage: Coverage,
    /// See [`Seeded::away_ms`].
    pub away_ms: Vec<u64>,
    text: String,
}

impl History {
    /// Nothing yet. `title` heads the scenario file.
    pub fn new(title: &str) -> Self {
        Self {
            sim: Sim::default(),
            errors: Vec::new(),
            coverage: Coverage::default(),
            away_ms: Vec::new(),
            text: format!("# {title}\n"),
        }
    }

    /// The usual cluster of two and two hosts.
    pub fn set_up(&mut self, profile: &str, volume: &str, askers: &Askers, probes: &str) {
        let setup = hosts(askers.means)
            .replace("PROFILE", &format!("policy timing.profile = \"{profile}\""))
            .replace("VOLUME", volume)
            .replace("PROBES", probes)
            .replace("DEVICES", &askers.devices);
        self.carry_out_all(&setup);
    }

    /// The same with a storage lease for each VM, and without fencing devices.
    pub fn set_up_leased(&mut self) {
        let setup = hosts([""; 4])
            .replace("PROFILE", "policy timing.profile = \"default\"")
            .replace("VOLUME", "volume quorum")
            .replace("PROBES", "")
            .replace("DEVICES", "")
            .replace(" lease=false", "");
        self.carry_out_all(&setup);
    }

    fn carry_out_all(&mut self, lines: &str) {
        let is_verb = |line: &&str| !line.is_empty() && !line.starts_with('#');
        for line in lines.lines().filter(is_verb) {
            self.carry_out(line);
        }
    }

    /// Carries out a line; that it is refused is an error of this run. True: it was carried out.
    pub fn carry_out(&mut self, line: &str) -> bool {
        let refused = self.step(line);
        let done = refused.is_none();
        self.errors.extend(refused);
        done
    }

    /// What cannot be done now (a crash of a VM that is down) is not done.
    pub fn attempt(&mut self, line: &str) -> bool {
        self.step(line).is_none()
    }

    /// What happened is beyond what is assumed: the rest of this run would prove nothing.
    pub fn is_over(&self) -> bool {
        self.sim.ctx.truth.beyond.is_some()
    }

    /// Carries out a line and records it, unless it was refused: why, then.
    fn step(&mut self, line: &str) -> Option<String> {
        if self.is_over() {
            return None;
        }
        let done = carry_out(&mut self.sim, line);
        if self.is_over() {
            return None;
        }
        // An expectation that is not met belongs to what repeats the failure.
        if matches!(done, Ok(()) | Err(WordError::NotMet(_))) {
            // Writing to a String cannot fail.
            let _ = writeln!(self.text, "{line}");
        }
        done.err().map(|error| format!("`{line}`: {error}"))
    }

    /// It is over: what the ground truth has to say is added.
    pub fn end(mut self) -> Seeded {
        let sim = self.sim;
        self.errors.extend(sim.ctx.truth.violations.iter().cloned());
        self.coverage.count_states(&sim.ctx.log);
        Seeded {
            text: self.text,
            run: Run {
                log: sim.ctx.log.join("\n"),
                errors: self.errors,
            },
            simulated_ms: sim.ctx.now,
            away_ms: self.away_ms,
            coverage: self.coverage,
        }
    }
}
