//! The text of a name: shared, not copied, and told from another one by its first bytes where that is enough.
//!
//! Maps of names are searched all the time (views, plans, reports), and most names are short. With the head a name is
//! as large as an `Arc<str>`, for the length stands with the text.

use arcstr::ArcStr;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// How many bytes are compared at once.
const HEAD: usize = size_of::<u64>();

/// See the module. Orders and hashes as its text does; there must be no NUL in it.
#[derive(Clone)]
pub(crate) struct SharedText {
    /// The first bytes, filled up with zeros, the first of them as the highest: as a number it orders as they do.
    head: u64,
    text: ArcStr,
}

impl SharedText {
    pub(crate) fn new(text: &str) -> Self {
        let mut head = [0; HEAD];
        let length = text.len().min(HEAD);
        head[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self {
            head: u64::from_be_bytes(head),
            text: text.into(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Nothing follows a head that is not filled.
    #[inline]
    fn is_all_in_head(&self) -> bool {
        self.head.trailing_zeros() >= u8::BITS
    }

    /// How texts with the same head compare. Once in a program: comparing is in every map of names.
    #[inline(never)]
    fn beyond(&self, other: &Self) -> Ordering {
        match self.is_all_in_head() || ArcStr::ptr_eq(&self.text, &other.text) {
            true => Ordering::Equal,
            false => self.text.cmp(&other.text),
        }
    }
}

impl fmt::Debug for SharedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl PartialEq for SharedText {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head && (self.is_all_in_head() || self.beyond(other) == Ordering::Equal)
    }
}

impl Eq for SharedText {}

impl PartialOrd for SharedText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SharedText {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match self.head.cmp(&other.head) {
            Ordering::Equal => self.beyond(other),
            unequal => unequal,
        }
    }
}

impl Hash for SharedText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// With names that differ late, early, or not at all.
        #[test]
        fn it_orders_as_its_text_does(
            start in "[a-z0-9.-]{0,10}",
            one in "[A-Za-z0-9._-]{0,10}",
            other in "[A-Za-z0-9._-]{0,10}",
        ) {
            let (one, other) = (format!("{start}{one}"), format!("{start}{other}"));
            let shared = (SharedText::new(&one), SharedText::new(&other));
            prop_assert_eq!(shared.0.cmp(&shared.1), one.cmp(&other));
            prop_assert_eq!(shared.0 == shared.1, one == other);
            prop_assert_eq!(SharedText::new(&one), shared.0.clone());
            prop_assert_eq!(shared.0.as_str(), one);
        }
    }

    #[test]
    fn a_name_that_ends_comes_before_one_that_goes_on() {
        let of = SharedText::new;
        for (one, other) in [
            ("a", "a-1"),
            ("host-100", "host-1000"),
            ("", "a"),
            ("abcdefg", "abcdefgh"),
        ] {
            assert!(of(one) < of(other) && of(one) != of(other), "{one} {other}");
        }
    }
}
