//! The decide flow: a request in, an answer out, a record left behind. Owns the one straight function and what it needs
//! beside the pure core: the active release, the clock, ids, deadlines, breakers and counters. Knows no HTTP.

mod active;
mod again;
mod answer;
mod breaker;
mod explain;
mod first_sight;
mod flags;
mod lifted;
mod load;
mod look;
mod metrics;
mod modules;
mod page;
mod places;
mod request;
mod rows;
mod source;
mod what_if;

use std::borrow::Borrow;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use selvedge_decision::gather::Rows;
use selvedge_decision::plan::Placement;
use selvedge_decision::policy::Contests;
use selvedge_decision::settle::Learned;
use selvedge_decision::{BadRequest, Decision, DecisionId, Fault, Moment, Reason, TimeUs, World, decide};

pub use active::{Active, ModuleConfig, Stager, Told};
pub use again::{Again, again};
pub use answer::Answer;
pub use explain::{Explanation, Limited};
pub use flags::{AllFlags, OneFlag};
pub use lifted::{Lifted, Shelf};
pub use load::Load;
pub use look::{Looked, NoView};
pub use metrics::{Metrics, register_host};
pub use page::{
    Allowed, Asked, BadRecords, BadRows, Forms, Inline, One, PageAnswer, PageBody, RejectedRecord, Start, TakenRecords,
};
pub use request::{BadValue, Batch, Context, Text, Value, Wire};
pub use rows::{Fired, RowCounts};
pub use what_if::WhatIf;

use self::modules::Calls;
use self::source::{Snapshot, Source};
use crate::clock::Clock;
use crate::outbox::Outbox;
use crate::releases::Releases;
use crate::tokens::Tokens;

/// Decides. One per node, shared by all workers.
pub struct Decider {
    releases: Releases<Active>,
    clock: Clock,
    outbox: Outbox,
    tag: u32,
    count: AtomicU32,
    load: Load,
    metrics: Metrics,
    forms: Forms,
    everybodys: page::Everybodys,
}

/// A decision with the release it was made by.
pub struct Decided {
    /// The release, held so that the answer can name its parts.
    pub active: Arc<Active>,
    /// The decision.
    pub decision: Decision,
    /// How it came about, where asked for.
    pub explanation: Option<Explanation>,
    /// How many views it read were late, and how many values old.
    pub overdue: (u32, u32),
    /// How long deciding took.
    pub took: Duration,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The node has no release yet.
    #[error("this node has no release yet: see /readyz on its admin listener")]
    NotReady,
    /// The release has no such placement.
    #[error("there is no placement {key:?} in the running release{}", near.as_ref().map(|n| format!("; did you mean {n:?}?")).unwrap_or_default())]
    UnknownPlacement {
        /// The key asked for.
        key: String,
        /// The most similar key.
        near: Option<String>,
    },
    /// The release does not let pages ask for the placement.
    #[error("placement {key:?} is not for browsers: write `browser = true` into placements/{key}.toml, and deploy it")]
    NotForBrowsers {
        /// Its key.
        key: String,
    },
    /// The page's key does not let it ask for the placement.
    #[error("this key may not ask for placement {key:?}: add it to the key's `placements`")]
    NotForKey {
        /// Its key.
        key: String,
    },
    /// A value of the request is out of bounds or of the wrong type.
    #[error(transparent)]
    Value(#[from] BadValue),
    /// The core refuses the request.
    #[error(transparent)]
    Request(#[from] BadRequest),
}

/// What all decisions of one request share: one release, one time, and in a batch one view of every row.
struct Page {
    active: Arc<Active>,
    time_us: TimeUs,
    snapshot: Option<Snapshot>,
    /// How long features were waited for.
    waited: Duration,
}

/// What the release's bandits know.
struct Known<'a> {
    active: &'a Active,
    contests: &'a mut Contests,
}

impl Learned for Known<'_> {
    fn learned(&mut self, bandit: usize, ids: &[Arc<str>], x: &[i8]) -> Vec<[f64; 2]> {
        self.active.learned(bandit, ids, x, self.contests)
    }

    fn contests(&mut self) -> &mut Contests {
        self.contests
    }
}

// === impl Decider ===

impl Decider {
    /// A decider for the release that is active at each request; `tag` names node and epoch in the ids it mints, `forms` are the releases
    /// that the stager made ready.
    pub fn new(
        releases: Releases<Active>,
        clock: Clock,
        outbox: Outbox,
        tag: u32,
        load: Load,
        metrics: Metrics,
        forms: Forms,
    ) -> Self {
        let (count, everybodys) = (AtomicU32::new(0), page::Everybodys::default());
        Self { releases, clock, outbox, tag, count, load, metrics, forms, everybodys }
    }

    /// Decides one placement and hands the record to the outbox. Waits for nothing: what is not held gets its default.
    pub fn decide(&self, wire: &Wire<'_>) -> Result<Answer, Refused> {
        let (active, time_us) = self.begin(wire.unit())?;
        let decided = self.one(&Page { active, time_us, snapshot: None, waited: Duration::ZERO }, wire, &[])?;
        Ok(self.conclude(decided, |decided| Answer::new(decided, None)))
    }

    /// As [`Decider::decide`], after a wait for whom a view with `on_miss = "wait"` sees for the first time.
    pub async fn decide_in_time(&self, wire: &Wire<'_>) -> Result<Answer, Refused> {
        let decided = self.one_in_time(wire).await?;
        Ok(self.conclude(decided, |decided| Answer::new(decided, None)))
    }

    /// Decides several placements of one page, on one release and one view of the features, after one wait for all; with
    /// `distinct`, no choice stands twice on the page.
    pub async fn decide_batch(&self, batch: &Batch<'_>) -> Result<Vec<Answer>, (usize, Refused)> {
        let page = self.page(batch, |_| Ok(())).await.map_err(|refused| (0, refused))?;
        let parts = self.parts(&page, batch, |_| Ok(())).into_iter().enumerate();
        let decisions: Result<Vec<_>, _> = parts.map(|(at, part)| part.map_err(|refused| (at, refused))).collect();
        // Only now: a page of which one part is refused leaves no records.
        let answer = |decided: &Decided| Answer::new(decided, None);
        Ok(decisions?.into_iter().map(|decided| self.conclude(decided, answer)).collect())
    }

    /// As [`Decider::decide_batch`] for a browser: the release that decides, and each placement, decided or refused without keeping
    /// the others from it. `lets` says whether the page may ask for a placement; those that it may not are not told of either. Each
    /// choice has a token, for the browser to show.
    pub async fn decide_page(
        &self,
        batch: &Batch<'_>,
        tokens: &Tokens,
        lets: impl Fn(&Placement) -> Result<(), Refused>,
    ) -> Result<(String, Vec<Result<Answer, Refused>>), Refused> {
        let page = self.page(batch, &lets).await?;
        let parts = self.parts(&page, batch, lets).into_iter();
        let answer = |decided: &Decided| Answer::new(decided, Some(tokens));
        let parts = parts.map(|part| part.map(|decided| self.conclude(decided, answer))).collect();
        Ok((page.active.digest_text.clone(), parts))
    }

    /// What the placements of a batch share, after one wait for all that `lets` lets: how long a page waits must tell nothing of a
    /// placement that it may not ask for.
    async fn page(&self, batch: &Batch<'_>, lets: impl Fn(&Placement) -> Result<(), Refused>) -> Result<Page, Refused> {
        let (active, time_us) = self.begin(batch.unit())?;
        let waits = |key: &str| first_sight::waiting(&active, key).is_some_and(|placement| lets(placement).is_ok());
        let waiting: Vec<bool> = batch.placements.iter().map(|part| waits(part.placement.as_str())).collect();
        let page = Page { active, time_us, snapshot: Some(Snapshot::default()), waited: Duration::ZERO };
        if !waiting.contains(&true) {
            return Ok(page);
        }
        let wires = batch.wires().zip(waiting).filter_map(|(wire, waits)| waits.then_some(wire));
        Ok(self.after_wait(page, wires).await)
    }

    fn parts(
        &self,
        page: &Page,
        batch: &Batch<'_>,
        lets: impl Fn(&Placement) -> Result<(), Refused>,
    ) -> Vec<Result<Decided, Refused>> {
        let mut taken: Vec<Arc<str>> = Vec::new();
        let part = |wire: Wire<'_>| {
            find(&page.active, wire.placement.as_str(), &lets)?;
            let decided = self.one(page, &wire, &taken)?;
            if batch.distinct {
                let record = &decided.decision.record;
                taken.extend(record.choices.iter().map(|choice| record.candidates[choice.candidate as usize].clone()));
            }
            Ok(decided)
        };
        batch.wires().map(part).collect()
    }

    /// The release and the time of a decision, from its first step to its last. Whom it is for says whether a canary decides.
    fn begin(&self, unit: Option<&str>) -> Result<(Arc<Active>, TimeUs), Refused> {
        let active = self.releases.of(unit).ok_or(Refused::NotReady)?;
        Ok((active, self.clock.now_us()))
    }

    /// A page when whom it sees for the first time was waited for. Its time is that after the wait: what came meanwhile, rows and
    /// events, is not from the future.
    async fn after_wait<'a>(&self, page: Page, wires: impl Iterator<Item = impl Borrow<Wire<'a>>>) -> Page {
        let waited = first_sight::wait(&page.active, wires, page.time_us).await;
        Page { time_us: self.clock.now_us(), waited, ..page }
    }

    async fn one_in_time(&self, wire: &Wire<'_>) -> Result<Decided, Refused> {
        let (active, time_us) = self.begin(wire.unit())?;
        let waits = first_sight::waiting(&active, wire.placement.as_str()).is_some();
        let page = Page { active, time_us, snapshot: None, waited: Duration::ZERO };
        let page = if waits { self.after_wait(page, std::iter::once(wire)).await } else { page };
        self.one(&page, wire, &[])
    }

    fn one(&self, page: &Page, wire: &Wire<'_>, taken: &[Arc<str>]) -> Result<Decided, Refused> {
        self.one_as(page, wire, taken, self.mint(page.time_us))
    }

    /// An id, and the how-manieth it is.
    fn mint(&self, time_us: TimeUs) -> (DecisionId, u32) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        (DecisionId::new(time_us, self.tag, count), count)
    }

    fn one_as(
        &self,
        page: &Page,
        wire: &Wire<'_>,
        taken: &[Arc<str>],
        (id, count): (DecisionId, u32),
    ) -> Result<Decided, Refused> {
        thread_local! {
            // Rows are kept between the decisions of a thread: at 1,000 features that is 8 KB not allocated each time.
            static ROWS: RefCell<(Rows, Contests)> = RefCell::default();
        }
        let active = &page.active;
        let placement = find(active, wire.placement.as_str(), |_| Ok(()))?;
        // Of a page, each part has its own deadline: the first must not eat that of the last. A wait belongs to who asked
        // for it.
        let waited = if first_sight::waits(placement) { page.waited } else { Duration::ZERO };
        let started = Instant::now();
        let started = started.checked_sub(waited).unwrap_or(started);
        let request = request::typed(placement, wire, taken)?;
        let moment = Moment {
            id,
            time_us: page.time_us,
            release: active.digest,
            explain: wire.explain,
            explores: active.explores(&placement.key),
        };
        let source = Source::new(active, page.time_us, page.snapshot.as_ref());
        let calls = Calls::new(active, started, placement.deadline_us);
        let mut calls = calls.under(&self.load, self.load.sheds(wire.unit(), count));
        ROWS.with_borrow_mut(|(rows, contests)| {
            let mut learned = Known { active, contests };
            let world = World { features: &source, modules: &mut calls, learned: &mut learned };
            let decision = decide(placement, &request, moment, world, rows)?;
            let explanation = wire.explain.then(|| Explanation::new(&active.plan, placement, &decision, rows));
            let overdue = (rows.late, rows.old);
            rows.shrink();
            Ok(Decided { active: active.clone(), decision, explanation, overdue, took: started.elapsed() })
        })
    }

    /// Renders the answer, then gives the record away: it is written before the reply is.
    fn conclude<T>(&self, decided: Decided, render: impl FnOnce(&Decided) -> T) -> T {
        self.count(&decided);
        let answer = render(&decided);
        self.outbox.append_record(decided.decision.record);
        answer
    }

    fn count(&self, decided: &Decided) {
        let record = &decided.decision.record;
        self.metrics.decided(record, decided.overdue, decided.took);
        // What a node had no time for says nothing of its release, neither for it nor against it.
        if record.faults.iter().all(|fault| fault.fault != Fault::Shed) {
            let faulted = record.faults.iter().any(|fault| fault.fault.is_the_releases());
            decided.active.counters.count(decided.took, faulted, record.reason == Reason::Fallback);
        }
        rows::count(&decided.active, &decided.decision);
    }
}

/// The placement of that key, if `lets` lets it be asked for; only such are named as what was meant.
fn find<'a>(
    active: &'a Active,
    key: &str,
    lets: impl Fn(&Placement) -> Result<(), Refused>,
) -> Result<&'a Placement, Refused> {
    let found = active.plan.placements.get(key).map(|placement| lets(placement).map(|()| placement));
    found.unwrap_or_else(|| {
        // A key has at most 100 bytes: of a longer one only the beginning is compared and told.
        let key: String = key.chars().take(100).collect();
        let known = active.plan.placements.iter().filter(|(_, placement)| lets(placement).is_ok()).map(|(key, _)| key);
        let near =
            known.map(|known| (strsim::jaro_winkler(&key, known), known)).filter(|(likeness, _)| *likeness > 0.8);
        let near = near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known.clone());
        Err(Refused::UnknownPlacement { key, near })
    })
}
