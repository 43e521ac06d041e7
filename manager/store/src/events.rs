//! The events that are kept, in the order in which they were written.
//!
//! Their ids begin with their writers' wall clocks, which nobody keeps together: a VM runs on a host a
//! moment before it was granted to it, by the clocks of the two. The store knows what came first.

use holdfast_model::event::Event;
use holdfast_model::id::Revision;
use holdfast_model::told::EventPlace;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Events by the revision that wrote them; those of one transaction by their ids.
#[derive(Debug, Clone, Default)]
pub struct Events {
    written: BTreeMap<(Revision, String), Event>,
    revisions: BTreeMap<String, Revision>,
}

impl Events {
    /// How many.
    pub fn len(&self) -> usize {
        self.written.len()
    }

    /// None is kept.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// In the order in which they were written.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&String, &Event)> {
        self.written.iter().map(|((_, id), event)| (id, event))
    }

    /// What was written after that one; what its time says, if it is not kept any more.
    pub fn after(&self, id: &str) -> impl Iterator<Item = (&String, &Event)> {
        let known = self.revisions.get(id);
        let start = known.map_or(Bound::Unbounded, |revision| {
            Bound::Excluded((*revision, id.to_owned()))
        });
        let later = self.written.range((start, Bound::Unbounded));
        let later = later.map(|((_, id), event)| (id, event));
        let gone = known.is_none().then(|| id.to_owned());
        later.filter(move |(id, _)| gone.as_ref().is_none_or(|gone| *id > gone))
    }

    /// What was written after a place, each with its own.
    pub fn beyond(&self, place: &EventPlace) -> impl Iterator<Item = (EventPlace, &Event)> {
        let start = Bound::Excluded((place.revision, place.id.clone()));
        let later = self.written.range((start, Bound::Unbounded));
        later.map(|((revision, id), event)| {
            let place = EventPlace {
                revision: *revision,
                id: id.clone(),
            };
            (place, event)
        })
    }

    pub(crate) fn insert(&mut self, id: String, event: Event, revision: Revision) {
        self.remove(&id);
        self.revisions.insert(id.clone(), revision);
        self.written.insert((revision, id), event);
    }

    pub(crate) fn remove(&mut self, id: &str) {
        if let Some(revision) = self.revisions.remove(id) {
            self.written.remove(&(revision, id.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_model::event::EventKind;
    use holdfast_model::time::UnixMs;

    fn note(at: u64) -> Event {
        Event {
            at: UnixMs(at),
            actor: "m-a".to_owned(),
            kind: EventKind::Note,
            host: None,
            site: None,
            vm: None,
            generation: None,
            text: String::new(),
        }
    }

    #[test]
    fn what_was_written_first_comes_first_whatever_the_clocks_say() {
        let mut events = Events::default();
        for (id, revision) in [("900-ahead-0", 5), ("100-behind-0", 6), ("901-ahead-1", 7)] {
            events.insert(id.to_owned(), note(0), Revision(revision));
        }
        let ids = |found: &mut dyn Iterator<Item = (&String, &Event)>| -> Vec<String> {
            found.map(|(id, _)| id.clone()).collect()
        };
        let all = ["900-ahead-0", "100-behind-0", "901-ahead-1"];
        assert_eq!(ids(&mut events.iter()), all);
        assert_eq!(ids(&mut events.after("900-ahead-0")), all[1..]);
        assert_eq!(ids(&mut events.after("901-ahead-1")), [""; 0]);
        // Not kept any more: nothing better is known of it than its time.
        assert_eq!(ids(&mut events.after("500-gone-0")), [all[0], all[2]]);
        let beyond = |revision: i64, id: &str| -> Vec<String> {
            let place = EventPlace {
                revision: Revision(revision),
                id: id.to_owned(),
            };
            events.beyond(&place).map(|(place, _)| place.id).collect()
        };
        assert_eq!(beyond(0, ""), all);
        assert_eq!(beyond(6, ""), all[1..]);
        assert_eq!(beyond(6, all[1]), all[2..]);
        assert_eq!(beyond(7, all[2]), [""; 0]);
        events.insert(all[1].to_owned(), note(0), Revision(9));
        assert_eq!(ids(&mut events.after(all[2])), [all[1]]);
        events.remove(all[1]);
        assert_eq!((events.len(), events.is_empty()), (2, false));
    }
}
