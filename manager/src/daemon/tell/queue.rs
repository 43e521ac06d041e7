//! What one handler has yet to be told, and how far it is. Bounded: what comes while it is slow pushes the oldest out.

use holdfast_extension_host::events::Told;
use holdfast_model::event::Event;
use holdfast_model::told::{EventPlace, ToldSoFar};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Events that wait for one handler. More than are kept by default, so that a new leader drops none of them.
const WAITING_MAX: usize = 2_500;

/// An event on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub place: EventPlace,
    pub event: Told,
}

impl Waiting {
    pub(super) fn of(place: EventPlace, event: &Event) -> Self {
        let event = Told {
            at_unix_ms: event.at.0,
            actor: event.actor.clone(),
            kind: event.kind.word().to_owned(),
            host: event.host.as_ref().map(ToString::to_string),
            site: event.site.as_ref().map(ToString::to_string),
            vm: event.vm.as_ref().map(ToString::to_string),
            text: event.text.clone(),
        };
        Self { place, event }
    }
}

/// Shared by who follows the events and who tells them.
pub(super) struct Queue {
    state: Mutex<State>,
    more: Notify,
}

struct State {
    waiting: VecDeque<Waiting>,
    so_far: ToldSoFar,
}

impl Queue {
    /// Goes on from there.
    pub(super) fn new(so_far: ToldSoFar) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                so_far,
            }),
            more: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything in it could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is.
    pub(super) fn so_far(&self) -> ToldSoFar {
        self.state().so_far.clone()
    }

    /// Adds what happened, in its order.
    pub(super) fn add(&self, happened: Vec<Waiting>) {
        if happened.is_empty() {
            return;
        }
        let mut state = self.state();
        state.waiting.extend(happened);
        let excess = state.waiting.len().saturating_sub(WAITING_MAX);
        if excess > 0 {
            state.waiting.drain(..excess);
            state.so_far.dropped += excess as u64;
            state.so_far.behind = Some(format!("more than {WAITING_MAX} events waited for it"));
        }
        drop(state);
        self.more.notify_one();
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.state().waiting.len()
    }

    /// Waits until there is something to tell. For one waiter.
    pub(super) async fn some(&self) {
        while self.len() == 0 {
            self.more.notified().await;
        }
    }

    /// The oldest, so many at the most.
    pub(super) fn take(&self, most: usize) -> Vec<Waiting> {
        let mut state = self.state();
        let count = state.waiting.len().min(most);
        state.waiting.drain(..count).collect()
    }

    /// What was taken is told, or dropped and why.
    pub(super) fn done(&self, batch: &[Waiting], outcome: Result<(), String>) {
        let Some(last) = batch.last() else {
            return;
        };
        let mut state = self.state();
        let count = batch.len() as u64;
        state.so_far.after = last.place.clone();
        match outcome {
            Ok(()) => {
                state.so_far.told += count;
                // It has caught up; as long as more waits, it may fail again.
                if state.waiting.is_empty() {
                    state.so_far.behind = None;
                }
            }
            Err(why) => {
                state.so_far.dropped += count;
                state.so_far.behind = Some(why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::event::EventKind;
    use holdfast_model::id::Revision;
    use holdfast_model::time::UnixMs;

    fn waiting(numbers: std::ops::Range<i64>) -> Vec<Waiting> {
        let event = Event {
            at: UnixMs(1),
            actor: "m-a".to_owned(),
            kind: EventKind::VmGranted,
            host: Some("a1".parse().expect("a name")),
            site: None,
            vm: None,
            generation: None,
            text: String::new(),
        };
        let place = |n| EventPlace {
            revision: Revision(n),
            id: format!("{n}"),
        };
        numbers.map(|n| Waiting::of(place(n), &event)).collect()
    }

    #[test]
    fn what_is_told_or_dropped_is_counted_and_the_place_goes_on() {
        let queue = Queue::new(ToldSoFar::default());
        queue.add(waiting(1..121));
        let batch = queue.take(50);
        assert_eq!((batch.len(), queue.len()), (50, 70));
        assert_eq!(batch[0].event.kind, "vm-granted");
        assert_eq!(batch[0].event.host.as_deref(), Some("a1"));
        queue.done(&batch, Err("it trapped".to_owned()));
        let so_far = queue.so_far();
        assert_eq!((so_far.told, so_far.dropped), (0, 50));
        assert_eq!(so_far.after.revision, Revision(50));
        queue.done(&queue.take(50), Ok(()));
        assert_eq!(
            queue.so_far().behind.as_deref(),
            Some("it trapped"),
            "more waits"
        );
        queue.done(&queue.take(50), Ok(()));
        let so_far = queue.so_far();
        assert_eq!((so_far.told, so_far.dropped, so_far.behind), (70, 50, None));
        assert_eq!(so_far.after.revision, Revision(120));
        queue.done(&[], Ok(()));
        assert_eq!(queue.so_far().told, 70);
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let queue = Queue::new(ToldSoFar::default());
        let most = WAITING_MAX as i64;
        queue.add(waiting(1..most + 1));
        assert_eq!(queue.so_far(), ToldSoFar::default());
        queue.add(waiting(most + 1..most + 11));
        assert_eq!((queue.len(), queue.so_far().dropped), (WAITING_MAX, 10));
        assert_eq!(queue.take(1)[0].place.revision, Revision(11));
        assert!(
            queue
                .so_far()
                .behind
                .is_some_and(|why| why.contains("2500"))
        );
    }
}
