//! Deciding in a page, the node's side: what a page gets of the running release, the rows it decides by, and the records it sends
//! back. Owns what of a release each kind of key may see, and the bounds of it; the forms are the decision core's (`page`).

mod all;
mod records;
mod release;
mod rows;
mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_decision::page::PageRelease;
use selvedge_decision::{Digest, Plan};
use tokio::sync::OnceCell;

pub(super) use all::Everybodys;
pub use all::PageBody;
pub use records::{BadRecords, RejectedRecord, TakenRecords};
pub use release::PageAnswer;
pub use rows::BadRows;
pub use start::{Inline, Start};

use super::lifted::Lifted;
use super::{Active, Decider, Refused};

/// Releases that were made ready lately: the records of their pages come later.
const RECENT: usize = 16;
/// Lists of placements for which a release is kept as their keys see it. With more keys than that, each with a list of its own, it is
/// made again for the one that was not asked for the longest.
const MOST_LISTS: usize = 64;

/// The placements that a key may ask for; `None` is all of them.
pub type Allowed = Option<Arc<BTreeSet<String>>>;

/// A person and a session, as the node knows them.
pub type One<'a> = (Option<&'a str>, Option<&'a str>);

/// Who asks for rows.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who looks at the page.
    pub one: One<'a>,
    /// What the page's key may ask for.
    pub allowed: &'a Allowed,
    /// The most bytes of rows.
    pub limit: usize,
}

/// The releases of which records of pages may come, as pages decide by them, the newest last. Cheap to clone: all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Forms(Arc<Mutex<VecDeque<Arc<PageRelease>>>>);

/// What a release is to pages.
pub(super) struct Pages {
    /// Whatever a key may ask for: by this records are checked, and what is not in it no page decides.
    form: Arc<PageRelease>,
    /// The one that was asked for last stands last.
    lists: Mutex<Vec<Arc<List>>>,
}

/// What a release is to the pages of keys with one list of placements.
struct List {
    allowed: Allowed,
    answer: OnceCell<Arc<PageAnswer>>,
}

// === impl Decider ===

impl Decider {
    /// What a page may hold of the release that decides for `unit`.
    ///
    /// # Errors
    ///
    /// When the node has no release yet.
    pub async fn page_release(&self, unit: Option<&str>, allowed: &Allowed) -> Result<Arc<PageAnswer>, Refused> {
        let active = self.releases.of(unit).ok_or(Refused::NotReady)?;
        page_of(&active, allowed).await
    }

    /// A release as pages decide by it: one that runs, one that is kept warm, or one that did lately.
    fn form(&self, release: Digest) -> Option<Arc<PageRelease>> {
        let running = Option::as_ref(&self.releases.active()).map(Arc::clone);
        let mut held = running.into_iter().chain(self.releases.canary()).chain(self.releases.previous());
        let held = held.find(|active| active.digest == release);
        held.map(|active| Arc::clone(&active.pages.form)).or_else(|| self.forms.of(release))
    }
}

/// What a release is to a key; made once, and not on a thread that decides.
async fn page_of(active: &Arc<Active>, allowed: &Allowed) -> Result<Arc<PageAnswer>, Refused> {
    let list = active.pages.list(allowed);
    let make = || async {
        let (active, allowed) = (Arc::clone(active), allowed.clone());
        let made = tokio::task::spawn_blocking(move || Arc::new(PageAnswer::new(&active, &allowed))).await;
        // Only a stop cuts it short.
        made.map_err(|_| Refused::NotReady)
    };
    list.answer.get_or_try_init(make).await.map(Arc::clone)
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// Whose release it is: a canary may have them.
    fn unit(&self) -> Option<&'a str> {
        let (subject, session) = self.one;
        subject.or(session)
    }
}

// === impl Pages ===

impl Pages {
    /// Of a release with these modules for browsers. Where pages are not to `decide`, they get nothing of any placement.
    pub(super) fn new(plan: &Plan, release: Digest, lifted: &BTreeMap<String, Arc<Lifted>>, decide: bool) -> Self {
        let is_for_browsers = |module| plan.modules.get(module).is_some_and(|name| lifted.contains_key(name));
        let (form, _) = plan.page(release, |_| decide, is_for_browsers);
        Self { form: Arc::new(form), lists: Mutex::default() }
    }

    pub(super) fn form(&self) -> &Arc<PageRelease> {
        &self.form
    }

    fn list(&self, allowed: &Allowed) -> Arc<List> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lists.iter().position(|list| list.allowed == *allowed).map(|at| lists.remove(at));
        let list = known.unwrap_or_else(|| Arc::new(List { allowed: allowed.clone(), answer: OnceCell::new() }));
        if lists.len() == MOST_LISTS {
            lists.remove(0);
        }
        lists.push(Arc::clone(&list));
        list
    }
}

// === impl Forms ===

impl Forms {
    /// Remembers a release that was made ready.
    pub(super) fn add(&self, form: &Arc<PageRelease>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other.release != form.release);
        if known.len() == RECENT {
            known.pop_front();
        }
        known.push_back(Arc::clone(form));
    }

    fn of(&self, release: Digest) -> Option<Arc<PageRelease>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|form| form.release == release).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use selvedge_decision::page::PAGE_VERSION;
    use selvedge_decision::record::CORE_VERSION;
    use selvedge_decision::sorted::Sorted;

    use super::*;

    fn form(release: u8) -> Arc<PageRelease> {
        Arc::new(PageRelease {
            version: PAGE_VERSION,
            core: CORE_VERSION,
            release: Digest([release; 32]),
            texts: Vec::new(),
            views: Sorted::default(),
            modules: Sorted::default(),
            placements: Sorted::default(),
        })
    }

    #[test]
    fn releases_are_remembered_each_once_and_the_oldest_go() {
        let forms = Forms::default();
        for release in 0..RECENT as u8 {
            forms.add(&form(release));
        }
        // Made ready again, the first is the newest; so the second goes.
        forms.add(&form(0));
        forms.add(&form(100));
        let known = |release: u8| forms.of(Digest([release; 32])).is_some();
        assert!(known(0) && known(2) && known(100) && !known(1) && !known(101));
        assert_eq!(forms.0.lock().unwrap().len(), RECENT);
    }

    #[test]
    fn a_list_of_placements_is_kept_while_it_is_asked_for() {
        let pages = Pages { form: form(0), lists: Mutex::default() };
        let allowed = |at: usize| Some(Arc::new(BTreeSet::from([format!("p-{at}")])));
        let (all, first) = (pages.list(&None), pages.list(&allowed(0)));
        for at in 1..MOST_LISTS {
            pages.list(&allowed(at));
            assert!(Arc::ptr_eq(&all, &pages.list(&None)), "{at}");
        }
        assert_eq!(pages.lists.lock().unwrap().len(), MOST_LISTS);
        assert!(!Arc::ptr_eq(&first, &pages.list(&allowed(0))), "the one not asked for the longest is let go");
    }
}
