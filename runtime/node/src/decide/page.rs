//! Deciding in a page, the node's side: what a page gets of the running release, the rows it decides by, and the records it sends
//! back. Owns what of a release each kind of key may see, and the bounds of it; the forms are the decision core's (`page`).

mod records;
mod release;
mod rows;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_decision::Digest;

pub use records::{BadRecords, RejectedRecord, TakenRecords};
pub use release::PageAnswer;
pub use rows::{BadRows, Of};

use super::{Active, Decider, Refused};

/// Releases that pages were told of lately: their records come later.
const RECENT: usize = 16;
/// What one release was made into for keys with different placements.
const MOST_ANSWERS: usize = 16;

/// The placements that a key may ask for; `None` is all of them.
pub type Allowed = Option<Arc<BTreeSet<String>>>;

/// What pages were told of releases lately, the newest last.
#[derive(Default)]
pub(super) struct Told(Mutex<VecDeque<Arc<PageAnswer>>>);

/// What a release was made into for pages, by what their keys may ask for.
#[derive(Default)]
pub(super) struct Answers(Mutex<Vec<(Allowed, Arc<PageAnswer>)>>);

// === impl Decider ===

impl Decider {
    /// What a page may hold of the release that decides for `unit`.
    ///
    /// # Errors
    ///
    /// When the node has no release yet.
    pub fn page_release(&self, unit: Option<&str>, allowed: &Allowed) -> Result<Arc<PageAnswer>, Refused> {
        let active = self.releases.of(unit).ok_or(Refused::NotReady)?;
        Ok(self.page_of(&active, allowed))
    }

    pub(super) fn page_of(&self, active: &Active, allowed: &Allowed) -> Arc<PageAnswer> {
        let answer = active.pages.get(allowed, || PageAnswer::new(active, allowed));
        self.told.add(&answer);
        answer
    }
}

// === impl Answers ===

impl Answers {
    fn get(&self, allowed: &Allowed, make: impl FnOnce() -> PageAnswer) -> Arc<PageAnswer> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, answer)) = known.iter().find(|(of, _)| of == allowed) {
            return Arc::clone(answer);
        }
        let answer = Arc::new(make());
        if known.len() == MOST_ANSWERS {
            known.remove(0);
        }
        known.push((allowed.clone(), Arc::clone(&answer)));
        answer
    }
}

// === impl Told ===

impl Told {
    fn add(&self, answer: &Arc<PageAnswer>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.iter().any(|known| Arc::ptr_eq(known, answer)) {
            return;
        }
        if told.len() == RECENT {
            told.pop_front();
        }
        told.push_back(Arc::clone(answer));
    }

    /// What pages were told of a release, each with other placements perhaps.
    fn of(&self, release: Digest) -> Vec<Arc<PageAnswer>> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().filter(|answer| answer.page.release == release).map(Arc::clone).collect()
    }
}
