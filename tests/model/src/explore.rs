//! The questions that are put to a model, and their answers.

use stateright::{Checker, HasDiscoveries, Model};
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What an exhaustive check saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Different states.
    pub states: usize,
    /// Steps between them, the ones that lead to a known state included.
    pub steps: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// Names of the properties with a discovery: an `always` that fails, a `sometimes` that holds.
    pub found: Vec<&'static str>,
}

/// Visits every reachable state, or stops at the first one that breaks a law.
pub fn exhaust<M>(model: M) -> Seen
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + PartialEq + Hash + Send + Sync + 'static,
    M::Action: Clone + PartialEq,
{
    let begun = Instant::now();
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut found: Vec<_> = checker.discoveries().into_keys().collect();
    found.sort_unstable();
    Seen {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took: begun.elapsed(),
        found,
    }
}

/// The shortest way to a state that breaks the law of that name, as actions; none if there is none.
///
/// The checker works in blocks and keeps the last counterexample of one; a shorter one is asked for
/// until there is none.
pub fn counterexample<M>(model: M, law: &'static str) -> Option<Vec<M::Action>>
where
    M: Model + Copy + Send + Sync + 'static,
    M::State: Clone + PartialEq + Hash + Send + Sync + 'static,
    M::Action: Clone + PartialEq,
{
    let mut best: Option<Vec<M::Action>> = None;
    loop {
        let mut builder = model.checker().finish_when(HasDiscoveries::AnyFailures);
        if let Some(best) = &best {
            builder = builder.target_max_depth(best.len() + 1);
        }
        match builder.spawn_bfs().join().discovery(law) {
            Some(path) => best = Some(path.into_actions()),
            None => return best,
        }
    }
}

/// From every reachable state, steps of one kind alone lead to the goal. How many states there are,
/// or the shortest way to one from which they do not.
pub fn always_leads_to<M>(
    model: &M,
    by: fn(&M::Action) -> bool,
    goal: fn(&M::State) -> bool,
) -> Result<usize, Vec<M::Action>>
where
    M: Model,
    M::State: Clone + Eq + Hash,
    M::Action: Clone,
{
    let mut graph = Graph::new(model);
    let mut next = 0;
    while next < graph.states.len() {
        graph.expand(model, next, by);
        next += 1;
    }
    let mut good: Vec<bool> = graph.states.iter().map(goal).collect();
    let mut before = vec![Vec::new(); graph.states.len()];
    for (from, to) in &graph.steps {
        before[*to].push(*from);
    }
    let mut open: Vec<usize> = (0..good.len()).filter(|at| good[*at]).collect();
    while let Some(at) = open.pop() {
        for from in &before[at] {
            if !std::mem::replace(&mut good[*from], true) {
                open.push(*from);
            }
        }
    }
    match good.iter().position(|good| !good) {
        None => Ok(good.len()),
        Some(stuck) => Err(graph.way_to(stuck)),
    }
}

/// All states in the order of their distance, and the steps of the wanted kind.
struct Graph<M: Model> {
    states: Vec<M::State>,
    known: HashMap<M::State, usize>,
    came_by: Vec<Option<(usize, M::Action)>>,
    steps: Vec<(usize, usize)>,
}

impl<M> Graph<M>
where
    M: Model,
    M::State: Clone + Eq + Hash,
    M::Action: Clone,
{
    fn new(model: &M) -> Self {
        let states = model.init_states();
        Self {
            known: states.iter().cloned().zip(0..).collect(),
            came_by: vec![None; states.len()],
            states,
            steps: Vec::new(),
        }
    }

    fn expand(&mut self, model: &M, at: usize, by: fn(&M::Action) -> bool) {
        let state = self.states[at].clone();
        for (action, next) in model.next_steps(&state) {
            let wanted = by(&action);
            let to = *self.known.entry(next).or_insert_with_key(|next| {
                self.states.push(next.clone());
                self.came_by.push(Some((at, action)));
                self.states.len() - 1
            });
            if wanted {
                self.steps.push((at, to));
            }
        }
    }

    fn way_to(&self, mut at: usize) -> Vec<M::Action> {
        let mut way = Vec::new();
        while let Some((from, action)) = &self.came_by[at] {
            way.push(action.clone());
            at = *from;
        }
        way.reverse();
        way
    }
}
