//! The newest ids, a bounded number of them: the oldest makes room for the next. Owns its memory, 27 bytes an id, all of the
//! table at once: a table that grew would keep every sender waiting while it does.

use hashbrown::HashTable;

use super::Key;

/// The newest ids in the order they came.
#[derive(Debug)]
pub(super) struct Window {
    capacity: usize,
    /// Where the next id goes; when the ring is full, the oldest is there.
    next: usize,
    ring: Vec<Key>,
    /// Where in the ring an id is.
    places: HashTable<u32>,
}

// === impl Window ===

impl Window {
    /// An empty window of at most `capacity` ids.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(u32::MAX as usize);
        // A quarter empty, so that ids which go leave no marks that have to be swept.
        let places = HashTable::with_capacity(capacity + capacity / 4);
        Self { capacity, next: 0, ring: Vec::new(), places }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.places.find(hash(key), |place| self.ring[*place as usize] == key).is_some()
    }

    /// Adds an id; the oldest goes when there is no room. One that is there stays where it is.
    pub(super) fn insert(&mut self, key: Key) {
        if self.capacity == 0 || self.contains(key) {
            return;
        }
        let place = self.next;
        if let Some(oldest) = self.ring.get(place) {
            if let Ok(gone) = self.places.find_entry(hash(*oldest), |found| *found as usize == place) {
                gone.remove();
            }
            self.ring[place] = key;
        } else {
            self.ring.push(key);
        }
        self.places.insert_unique(hash(key), place as u32, |place| hash(self.ring[*place as usize]));
        self.next = (place + 1) % self.capacity;
    }

    /// The ids, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Key> {
        let (newer, older) = self.ring.split_at(if self.ring.len() < self.capacity { 0 } else { self.next });
        older.iter().chain(newer).copied()
    }
}

/// A key is a digest: its bits are as good as any hash of them.
fn hash(key: Key) -> u64 {
    key.0 as u64
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_the_newest_ids_in_order(capacity in 0usize..20, ids in proptest::collection::vec(0u8..40, 0..300)) {
            let (mut window, mut model) = (Window::new(capacity), VecDeque::new());
            for id in ids {
                // Few different hashes: places must be told apart by the whole key.
                let key = Key(u128::from(id) << 64 | u128::from(id % 3));
                if capacity > 0 && !model.contains(&key) {
                    model.push_back(key);
                }
                if model.len() > capacity {
                    model.pop_front();
                }
                window.insert(key);
                prop_assert!(window.iter().eq(model.iter().copied()));
                prop_assert_eq!(window.len(), model.len());
                for other in 0..40u8 {
                    let other = Key(u128::from(other) << 64 | u128::from(other % 3));
                    prop_assert_eq!(window.contains(other), model.contains(&other));
                }
            }
        }
    }
}
