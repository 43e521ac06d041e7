//! A host: its machine and the agent on it.

use super::agent::Agent;
use super::bounds::RESTART_MS;
use super::clock::Clock;
use super::ctx::Ctx;
use super::event::{Client, Event, Inbox};
use super::machine::Machine;

/// A host.
pub struct Host {
    /// The machine.
    pub m: Machine,
    /// The agent, while it runs.
    pub agent: Option<Agent>,
    /// The agent is stopped until then (SIGSTOP).
    pub agent_frozen_until: u64,
}

impl Host {
    /// A machine whose agent has yet to start.
    pub fn new(machine: Machine) -> Self {
        Self {
            m: machine,
            agent: None,
            agent_frozen_until: 0,
        }
    }

    /// It has booted: nothing of the last boot is left but the disk.
    pub fn booted(&mut self, ctx: &mut Ctx) {
        self.m.on = true;
        self.m.clock = Clock::new(ctx.now, 0);
        ctx.log(&self.m.name, "booted");
        self.start_agent(ctx);
    }

    /// The agent starts.
    pub fn start_agent(&mut self, ctx: &mut Ctx) {
        self.m.agent_life += 1;
        self.m.news.clear();
        self.agent_frozen_until = 0;
        self.agent = Some(Agent::new(&self.m, self.m.agent_life, self.m.local(ctx)));
        self.m.wake_agent(ctx);
    }

    /// The agent is gone; the service manager starts it again.
    pub fn kill_agent(&mut self, ctx: &mut Ctx) {
        self.stop_agent(ctx);
        ctx.after(
            RESTART_MS,
            Event::AgentStarts(self.m.name.clone(), self.m.boot),
        );
    }

    /// The agent is gone.
    pub fn stop_agent(&mut self, ctx: &mut Ctx) {
        self.agent = None;
        let client = Client::Agent(self.m.name.clone(), self.m.agent_life);
        ctx.watchers.remove(&client);
        self.m.agent_life += 1;
    }

    /// Something for the agent.
    pub fn on(&mut self, ctx: &mut Ctx, inbox: Inbox) {
        if let Some(agent) = &mut self.agent {
            agent.on(&mut self.m, ctx, inbox);
            if agent.has_ended() {
                // The service manager starts it again, whatever it ended with.
                self.kill_agent(ctx);
            }
        }
    }

    /// A VM that a call or a report is under way for.
    pub fn busy_with(&self) -> Option<String> {
        let agent = self.agent.as_ref()?;
        if agent.pending.is_some() {
            return Some("reports".to_owned());
        }
        let job = agent.jobs.keys().next().or(self.m.migrating.keys().next());
        job.map(ToString::to_string)
    }
}
