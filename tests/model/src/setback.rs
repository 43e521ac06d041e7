//! etcd set back to a backup, once: what the generation in a VM's sector protects from then.
//!
//! The control plane has forgotten grants that it made; whoever holds the VM by one of them runs on by
//! the storage plane. What etcd says of the hosts it does know is true: evidence is what the other
//! model is about. There is no time in it.

use stateright::{Model, Property};

/// When a host takes a VM's sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRule {
    /// Always: the sector is written and not compared.
    Any,
    /// When its grant is above what stands there.
    Higher,
    /// The same; and a refusal ends the grants of this VM until somebody has looked.
    HigherOrStop,
    /// When the grant says who was granted what stands there: etcd knows of it.
    Known,
}

/// Generations go up to this one.
pub const GENERATIONS: usize = 4;

/// A grant, in etcd or in the sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Its generation.
    pub generation: usize,
    /// To which of the two hosts.
    pub host: usize,
}

/// The VM on one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Copy {
    /// Nothing of it.
    Nothing,
    /// A claim for this generation is on its way to the sector.
    Claiming(usize),
    /// It runs by this generation.
    Running(usize),
}

/// One state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenState {
    /// etcd: to whom each generation was granted, the last one being the owner.
    pub granted: [Option<usize>; GENERATIONS],
    /// etcd: the owner's host was refused by the storage.
    pub refused: bool,
    /// Storage: the VM's sector.
    pub sector: Grant,
    /// A claim that was given up and may still land.
    pub late: Option<Grant>,
    /// The VM on each host.
    pub hosts: [Copy; 2],
    /// The last generation each host has begun with: one is begun at most once in a life.
    pub begun: [usize; 2],
    /// etcd was set back.
    pub set_back: bool,
}

impl TokenState {
    /// Who holds it, says etcd.
    pub fn owner(&self) -> Grant {
        let last = (0..GENERATIONS)
            .rev()
            .find_map(|generation| self.granted[generation].map(|host| Grant { generation, host }));
        last.unwrap_or(Grant {
            generation: 0,
            host: 0,
        })
    }
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenStep {
    /// Leader: the owner runs nothing, by evidence; the next generation goes to this host.
    GrantTo(usize),
    /// A host reads the sector and sends its claim, or is refused.
    Claim(usize),
    /// Its claim is written; it reads the owner again and starts, or does not.
    ClaimLands(usize),
    /// It is given up.
    GivenUp(usize),
    /// One that was given up lands, over whatever stands there by then.
    LateLands,
    /// A holder that finds an older claim in its sector writes its own again.
    WriteAgain(usize),
    /// Its copy ends.
    Ends(usize),
    /// etcd is set back to its first state; host 0 has a new life.
    SetBack,
}

/// The model, with the rule that counts.
#[derive(Debug, Clone, Copy)]
pub struct SetBack {
    /// When a sector is taken.
    pub rule: TokenRule,
    /// Claims may land late.
    pub late: bool,
    /// etcd is set back only when the holder has read its sector since.
    pub settled: bool,
}

impl SetBack {
    fn claim(&self, s: &mut TokenState, host: usize) -> Option<()> {
        let owner = s.owner();
        let fresh = owner.generation > s.begun[host] && s.hosts[host] == Copy::Nothing;
        (owner.host == host && fresh).then_some(())?;
        let higher = owner.generation > s.sector.generation;
        let known = s.granted[s.sector.generation] == Some(s.sector.host);
        let takes = match self.rule {
            TokenRule::Any => true,
            TokenRule::Higher | TokenRule::HigherOrStop => higher,
            TokenRule::Known => higher && known,
        };
        s.begun[host] = owner.generation;
        match takes {
            true => s.hosts[host] = Copy::Claiming(owner.generation),
            false => s.refused = true,
        }
        Some(())
    }

    fn grant(&self, s: &mut TokenState, host: usize) -> Option<()> {
        let owner = s.owner();
        let stopped = s.refused && self.rule == TokenRule::HigherOrStop;
        let proven = s.hosts[owner.host] == Copy::Nothing;
        (proven && !stopped && owner.generation + 1 < GENERATIONS).then_some(())?;
        s.granted[owner.generation + 1] = Some(host);
        s.refused = false;
        Some(())
    }

    fn lands(s: &mut TokenState, host: usize) -> Option<()> {
        let Copy::Claiming(generation) = s.hosts[host] else {
            return None;
        };
        let claim = Grant { generation, host };
        s.sector = claim;
        s.hosts[host] = match s.owner() == claim {
            true => Copy::Running(generation),
            false => Copy::Nothing,
        };
        Some(())
    }

    fn given_up(&self, s: &mut TokenState, host: usize) -> Option<()> {
        let Copy::Claiming(generation) = s.hosts[host] else {
            return None;
        };
        (self.late && s.late.is_none()).then_some(())?;
        s.hosts[host] = Copy::Nothing;
        s.late = Some(Grant { generation, host });
        Some(())
    }

    fn write_again(s: &mut TokenState, host: usize) -> Option<()> {
        let Copy::Running(generation) = s.hosts[host] else {
            return None;
        };
        (s.sector.generation < generation).then_some(())?;
        s.sector = Grant { generation, host };
        Some(())
    }

    fn set_back(&self, s: &mut TokenState) -> Option<()> {
        let behind = |copy: &Copy| matches!(copy, Copy::Running(own) if s.sector.generation < *own);
        let read = !s.hosts.iter().any(behind) && s.late.is_none();
        (!self.settled || read).then_some(())?;
        (!s.set_back && s.hosts[0] == Copy::Nothing).then_some(())?;
        s.set_back = true;
        s.refused = false;
        s.granted = [Some(0), None, None, None];
        s.begun[0] = 0;
        Some(())
    }
}

impl Model for SetBack {
    type State = TokenState;
    type Action = TokenStep;

    fn init_states(&self) -> Vec<TokenState> {
        vec![TokenState {
            granted: [Some(0), None, None, None],
            refused: false,
            sector: Grant {
                generation: 0,
                host: 0,
            },
            late: None,
            hosts: [Copy::Running(0), Copy::Nothing],
            begun: [0, 0],
            set_back: false,
        }]
    }

    fn actions(&self, _: &TokenState, actions: &mut Vec<TokenStep>) {
        for host in 0..2 {
            actions.extend([
                TokenStep::GrantTo(host),
                TokenStep::Claim(host),
                TokenStep::ClaimLands(host),
                TokenStep::Ends(host),
                TokenStep::GivenUp(host),
                TokenStep::WriteAgain(host),
            ]);
        }
        actions.extend([TokenStep::LateLands, TokenStep::SetBack]);
    }

    fn next_state(&self, last: &TokenState, step: TokenStep) -> Option<TokenState> {
        let mut next = *last;
        match step {
            TokenStep::GrantTo(host) => self.grant(&mut next, host),
            TokenStep::Claim(host) => self.claim(&mut next, host),
            TokenStep::ClaimLands(host) => Self::lands(&mut next, host),
            TokenStep::Ends(host) => {
                matches!(next.hosts[host], Copy::Running(_)).then_some(())?;
                next.hosts[host] = Copy::Nothing;
                Some(())
            }
            TokenStep::GivenUp(host) => self.given_up(&mut next, host),
            TokenStep::LateLands => next.late.take().map(|claim| next.sector = claim),
            TokenStep::WriteAgain(host) => Self::write_again(&mut next, host),
            TokenStep::SetBack => self.set_back(&mut next),
        }?;
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(crate::AT_MOST_ONE, |_, s: &TokenState| {
            let runs = |copy: &&Copy| matches!(copy, Copy::Running(_));
            s.hosts.iter().filter(runs).count() <= 1
        })]
    }
}
