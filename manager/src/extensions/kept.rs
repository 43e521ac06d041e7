//! Answers that are kept: a VM that waits is asked about again with every plan, and the same question gets the same
//! answer.

use holdfast_model::advice::{Question, Said};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many; then all of them are forgotten, which costs a call each.
const MOST: usize = 4_096;

/// By the component's digest and the question.
#[derive(Default)]
pub(super) struct Kept(Mutex<HashMap<(String, Question), Said>>);

impl Kept {
    fn map(&self) -> MutexGuard<'_, HashMap<(String, Question), Said>> {
        // Each change is one insertion or a clearing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &(String, Question)) -> Option<Said> {
        self.map().get(key).cloned()
    }

    pub(super) fn insert(&self, key: (String, Question), said: Said) {
        let mut map = self.map();
        if map.len() >= MOST {
            map.clear();
        }
        map.insert(key, said);
    }
}
