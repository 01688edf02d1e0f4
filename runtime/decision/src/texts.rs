//! Texts that are numbered as they come and found by halving. Owns that the same text has one number; what is numbered is the
//! caller's.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::order;

/// Texts by their number, and their numbers by text.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    texts: Vec<Arc<str>>,
    /// The numbers in the order of their texts.
    order: Vec<u32>,
}

// === impl Texts ===

impl Texts {
    /// Numbers those that have no number yet, in the order in which they come.
    pub fn add(&mut self, texts: &[&str]) {
        let first = self.texts.len();
        let new = texts.iter().filter(|text| self.number(text).is_none()).map(|text| Arc::from(*text));
        let new: Vec<Arc<str>> = new.collect();
        self.texts.extend(new);
        self.order.extend(first as u32..self.texts.len() as u32);
        let texts = &self.texts;
        let of = |number: u32| &texts[number as usize];
        let rises = |pair: &[u32]| of(pair[0]) < of(pair[1]);
        if !self.order.windows(2).all(rises) {
            order::sort(&mut self.order, |a, b| of(*a).cmp(of(*b)).then(a.cmp(b)));
            // Of those that came twice at once the first has the number.
            self.order.dedup_by(|a, b| of(*a) == of(*b));
        }
    }

    /// The number of a text.
    pub fn number(&self, text: &str) -> Option<usize> {
        let found = self.order.binary_search_by(|known| (*self.texts[*known as usize]).cmp(text));
        found.ok().map(|at| self.order[at] as usize)
    }

    /// The text of a number.
    pub fn text(&self, number: usize) -> Option<&Arc<str>> {
        self.texts.get(number)
    }

    /// The texts that have a number, in their order.
    pub fn sorted(&self) -> impl Iterator<Item = &Arc<str>> {
        self.order.iter().map(|number| &self.texts[*number as usize])
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_number() {
        let mut texts = Texts::default();
        texts.add(&["b", "d", "b", "a"]);
        texts.add(&["c", "a", "e"]);
        let numbers = ["a", "b", "c", "d", "e", "f"].map(|text| texts.number(text));
        assert_eq!(numbers, [Some(3), Some(0), Some(4), Some(1), Some(5), None]);
        assert_eq!(texts.text(4).map(|text| &**text), Some("c"));
        assert_eq!(texts.sorted().map(|text| &**text).collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
        assert_eq!(texts.len(), 6);
    }
}
