//! Placement extensions of the simulated cluster: rules in a word, and ones that fail. What they are is in the
//! store, as it is in production, so a manager asks those that its own view has; what they say is here.

use super::Sim;
use super::faults::FaultError;
use holdfast_core::advice::Advisor;
use holdfast_model::advice::{Advice, Fallback, Question, Said, Score};
use holdfast_model::extension::{ExtensionKind, Installed, LimitsAsked, Manifest, Rights};
use holdfast_model::id::{ExtensionName, HostName};
use holdfast_model::time::UnixMs;
use holdfast_store::keyspace::Key;
use holdfast_store::view::View;
use std::collections::BTreeMap;

/// What one says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// No VM may go there.
    KeepsOff(HostName),
    /// All hosts may, this one rather.
    Prefers(HostName),
    /// It traps, loops, eats memory or answers nonsense: for the planner these are the same, since the extension
    /// host makes the same of them.
    Fails,
}

/// All of them, by name.
pub type Behaviours = BTreeMap<ExtensionName, Behaviour>;

/// Those that a manager's view has, as they behave.
pub struct Simulated<'s> {
    view: &'s View,
    behaviours: &'s Behaviours,
}

impl<'s> Simulated<'s> {
    /// For one decision on this view.
    pub fn of(view: &'s View, behaviours: &'s Behaviours) -> Self {
        Self { view, behaviours }
    }
}

impl Advisor for Simulated<'_> {
    fn is_silent(&self) -> bool {
        self.view.extensions.is_empty()
    }

    fn ask(&self, question: &Question) -> Vec<Advice> {
        let installed = self.view.extensions.values().map(|seen| &seen.value);
        let advice = installed.map(|installed| {
            let name = &installed.manifest.name;
            Advice {
                extension: name.clone(),
                version: installed.manifest.version.clone(),
                said: match self.behaviours.get(name) {
                    Some(behaviour) => said(behaviour, question, installed.then),
                    None => failed(installed.then),
                },
            }
        });
        advice.collect()
    }
}

fn said(behaviour: &Behaviour, question: &Question, then: Fallback) -> Said {
    let hosts = question.candidates.iter().map(|each| &each.host);
    match behaviour {
        Behaviour::KeepsOff(off) => Said::Answer {
            refusals: hosts
                .map(|host| (host == off).then(|| "kept free".to_owned()))
                .collect(),
            scores: Vec::new(),
        },
        Behaviour::Prefers(rather) => Said::Answer {
            refusals: Vec::new(),
            scores: hosts
                .map(|host| {
                    Score::new(if host == rather { 100.0 } else { 0.0 }).unwrap_or_default()
                })
                .collect(),
        },
        Behaviour::Fails => failed(then),
    }
}

fn failed(then: Fallback) -> Said {
    Said::Nothing {
        reason: "it trapped".to_owned(),
        then,
    }
}

impl Sim {
    /// `holdfast ext install`.
    pub fn install(
        &mut self,
        name: ExtensionName,
        behaviour: Behaviour,
        then: Fallback,
    ) -> Result<(), FaultError> {
        let installed = Installed {
            manifest: Manifest {
                name: name.clone(),
                version: "1.0.0".to_owned(),
                kind: ExtensionKind::Placement,
                summary: "Simulated.".to_owned(),
                limits: LimitsAsked::default(),
                rights: Rights::default(),
            },
            digest: String::new(),
            bytes: 0,
            granted: Rights::default(),
            limits: LimitsAsked::default(),
            then,
            signed: None,
            by: "somebody".to_owned(),
            at: UnixMs(self.ctx.now), // so that the same again is a change
            before: None,
            rollout: None,
        };
        self.write(Key::Extension(name.clone()), &installed)?;
        self.ctx.extensions.insert(name, behaviour);
        Ok(())
    }

    /// `holdfast ext remove`.
    pub fn uninstall(&mut self, name: &ExtensionName) -> Result<(), FaultError> {
        self.erase(&Key::Extension(name.clone()))?;
        self.ctx.extensions.remove(name);
        Ok(())
    }
}
