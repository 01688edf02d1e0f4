//! How many calls of one module run at once. Knows nothing of the module.

use std::sync::atomic::{AtomicU32, Ordering};

/// As many as may run at once.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicU32,
    /// 0 is no bound.
    most: u32,
}

/// A call's place among them; given back when dropped.
#[derive(Debug)]
pub(super) struct Place<'a>(Option<&'a AtomicU32>);

// === impl Places ===

impl Places {
    pub(super) fn new(most: u32) -> Self {
        Self { taken: AtomicU32::new(0), most }
    }

    /// A place for a call, unless as many as may run do.
    pub(super) fn take(&self) -> Option<Place<'_>> {
        if self.most == 0 {
            return Some(Place::unbounded());
        }
        let order = Ordering::Relaxed;
        let taken = self.taken.fetch_update(order, order, |taken| (taken < self.most).then_some(taken + 1));
        // Only who took one gives one back: a place that was made and not used would.
        taken.ok().map(|_| Place(Some(&self.taken)))
    }
}

// === impl Place ===

impl Place<'_> {
    /// Where there is no bound.
    pub(super) fn unbounded() -> Self {
        Self(None)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(taken) = self.0 {
            taken.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_no_place_gives_none_back() {
        let places = Places::new(2);
        let (one, two) = (places.take(), places.take());
        assert!(one.is_some() && two.is_some());
        for _ in 0..3 {
            assert!(places.take().is_none(), "both are taken, however often somebody asks");
        }
        drop(one);
        let three = places.take();
        assert!(three.is_some() && places.take().is_none(), "one was given back");
        drop((two, three));
        assert!(places.take().is_some(), "and all of them");
    }

    #[test]
    fn without_a_bound_there_is_always_one() {
        let places = Places::new(0);
        let all: Vec<_> = (0..100).map(|_| places.take()).collect();
        assert!(all.iter().all(Option::is_some));
    }
}
