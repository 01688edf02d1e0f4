//! Everybody's rows, as pages ask for them: by the hundred after a swap, and the same for each. Owns that they are read once a second
//! at most, on no thread that decides, and kept in both forms in which they go out.
//!
//! An answer carries the node's clock and how late its views were, so it is another one in each second though no row changed. What a
//! page has is left to it as long as it is the same but for these: the lag that it says is then right to [`SAME_LAG_US`], since whoever
//! looked again found the same rows; the clock is that of when it was written, [`KEPT`] ago at most. A page that names somebody gets the
//! clock with the rows of who that is, which are never kept. One that names nobody has no other clock, and gets rows of this second.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_decision::Digest;
use selvedge_decision::page::PageRelease;
use tokio::sync::Semaphore;

use super::rows::Rows;
use super::{Allowed, Asked, BadRows, PageAnswer, page_of};
use crate::clock::Clock;
use crate::decide::{Active, Decider, Refused};

/// How often rows are read again, at most.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer of which only time has passed is told again.
const KEPT: Duration = Duration::from_secs(60);
/// How much later a view may be than an answer says, and the answer the same. Views are proven current about once a second.
const SAME_LAG_US: u64 = 2_000_000;
/// The most answers that are kept, by release and by what keys may ask for, and the bytes of all.
const MOST: usize = 64;
const MOST_BYTES: usize = 64 << 20;

/// Makes the packed form of rows, where that is smaller.
pub(super) type Pack = fn(&[u8]) -> Option<Bytes>;

/// The answers that were made lately.
pub(in super::super) struct Everybodys {
    /// The one that was asked for last stands last.
    kept: Mutex<Vec<Arc<Kept>>>,
    /// One is made at a time: however many keys there are, the rest of the processor decides.
    turn: Arc<Semaphore>,
}

/// Everybody's rows as they go out.
#[derive(Debug)]
pub struct PageBody {
    /// In the form of [`selvedge_decision::page::PageRows`].
    pub bytes: Bytes,
    /// The same, packed, where that makes it smaller.
    pub packed: Option<Bytes>,
    /// The hash of the bytes.
    pub etag: String,
}

/// What is kept for keys with one list of placements.
struct Kept {
    release: Digest,
    allowed: Allowed,
    made: tokio::sync::Mutex<Option<Made>>,
    bytes: AtomicUsize,
}

/// An answer, and what is known of it.
#[derive(Clone)]
struct Made {
    /// When rows were read last and found to be these.
    read: Instant,
    written: Instant,
    /// What it comes to without clock and lags.
    content: Digest,
    lags_us: Vec<i64>,
    /// `None` where there are more rows than a page gets.
    body: Option<Arc<PageBody>>,
}

// === impl Decider ===

impl Decider {
    /// Everybody's rows by which a page decides. `pack` makes their packed form.
    ///
    /// # Errors
    ///
    /// When the node has no release, or when there are more than a page gets.
    pub async fn page_rows(&self, asked: Asked<'_>, pack: Pack) -> Result<Arc<PageBody>, BadRows> {
        let active = self.releases.of(asked.unit()).ok_or(Refused::NotReady)?;
        let answer = page_of(&active, asked.allowed).await?;
        self.rows_of_all(&active, &answer, asked, pack).await
    }

    /// The same of a release that is at hand.
    pub(super) async fn rows_of_all(
        &self,
        active: &Arc<Active>,
        answer: &Arc<PageAnswer>,
        asked: Asked<'_>,
        pack: Pack,
    ) -> Result<Arc<PageBody>, BadRows> {
        let Asked { allowed, limit, .. } = asked;
        let kept = self.everybodys.of(active.digest, allowed);
        // Whoever comes meanwhile waits here, and finds what was made.
        let mut made = kept.made.lock().await;
        let has_clock = asked.unit().is_some();
        let now = match made.as_ref().filter(|made| made.is_of_now(has_clock)) {
            Some(made) => made.clone(),
            None => {
                let turn = Arc::clone(&self.everybodys.turn).acquire_owned().await.map_err(|_| Refused::NotReady)?;
                let (before, clock) = (made.clone(), self.clock.clone());
                let (active, answer) = (Arc::clone(active), Arc::clone(answer));
                let again = tokio::task::spawn_blocking(move || {
                    let made = Made::again(&active, &answer.page, before.filter(|_| has_clock), &clock, limit, pack);
                    drop(turn);
                    made
                });
                // Only a stop cuts it short.
                let again = again.await.map_err(|_| Refused::NotReady)?;
                kept.bytes.store(again.bytes(), Ordering::Relaxed);
                made.insert(again).clone()
            }
        };
        now.body.ok_or(BadRows::TooMany { limit })
    }
}

// === impl Everybodys ===

impl Default for Everybodys {
    fn default() -> Self {
        Self { kept: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Everybodys {
    /// What is kept of a release for such keys; what was not asked for the longest makes room for it.
    fn of(&self, release: Digest, allowed: &Allowed) -> Arc<Kept> {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|kept| kept.release == release && kept.allowed == *allowed);
        let one = known.map(|at| all.remove(at)).unwrap_or_else(|| Arc::new(Kept::new(release, allowed.clone())));
        let bytes = |kept: &Kept| kept.bytes.load(Ordering::Relaxed);
        let mut whole = bytes(&one) + all.iter().map(|kept| bytes(kept)).sum::<usize>();
        while !all.is_empty() && (all.len() >= MOST || whole > MOST_BYTES) {
            whole -= bytes(&all.remove(0));
        }
        all.push(Arc::clone(&one));
        one
    }
}

// === impl Kept ===

impl Kept {
    fn new(release: Digest, allowed: Allowed) -> Self {
        Self { release, allowed, made: tokio::sync::Mutex::default(), bytes: AtomicUsize::new(0) }
    }
}

// === impl Made ===

impl Made {
    /// Reads the rows, and writes the answer unless that before says the same.
    fn again(
        active: &Active,
        page: &PageRelease,
        before: Option<Self>,
        clock: &Clock,
        limit: usize,
        pack: Pack,
    ) -> Self {
        let read = Instant::now();
        let Ok(rows) = Rows::of_all(active, page, clock.now_us(), limit) else {
            return Self { read, written: read, content: Digest([0; 32]), lags_us: Vec::new(), body: None };
        };
        let mut whole = rows.whole(active, page, None);
        let bytes = whole.to_bytes();
        let lags_us: Vec<i64> = whole.tables.iter_mut().map(|table| std::mem::take(&mut table.lag_us)).collect();
        whole.time_us = 0;
        let content = Digest::of(&whole.to_bytes());
        if let Some(before) = before.filter(|before| before.says(content, &lags_us)) {
            return Self { read, ..before };
        }
        let (packed, etag) = (pack(&bytes), Digest::of(&bytes).hex()[..32].to_owned());
        let body = PageBody { bytes: bytes.into(), packed, etag };
        Self { read, written: read, content, lags_us, body: Some(Arc::new(body)) }
    }

    /// Whether it need not be looked at again for a page that has its clock from elsewhere, or that has not.
    fn is_of_now(&self, has_clock: bool) -> bool {
        self.read.elapsed() < EVERY && (has_clock || self.written.elapsed() < EVERY)
    }

    /// Whether it says this of rows that were just read.
    fn says(&self, content: Digest, lags_us: &[i64]) -> bool {
        let is_same = |(then, now): (&i64, &i64)| then.abs_diff(*now) <= SAME_LAG_US;
        self.body.is_some()
            && self.written.elapsed() < KEPT
            && self.content == content
            && self.lags_us.iter().zip(lags_us).all(is_same)
    }

    fn bytes(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.bytes.len() + body.packed.as_ref().map_or(0, Bytes::len))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;

    fn allowed(at: usize) -> Allowed {
        Some(Arc::new(BTreeSet::from([format!("p-{at}")])))
    }

    #[test]
    fn what_is_kept_is_bounded_by_number_and_by_bytes() {
        let all = Everybodys::default();
        let release = Digest([1; 32]);
        let first = all.of(release, &allowed(0));
        for at in 1..MOST {
            all.of(release, &allowed(at));
        }
        assert!(Arc::ptr_eq(&first, &all.of(release, &allowed(0))));
        assert!(!Arc::ptr_eq(&first, &all.of(Digest([2; 32]), &allowed(0))), "another release has other rows");
        assert_eq!(all.kept.lock().unwrap().len(), MOST);
        let second = all.of(release, &allowed(1));
        first.bytes.store(MOST_BYTES, Ordering::Relaxed);
        assert!(Arc::ptr_eq(&first, &all.of(release, &allowed(0))), "one of them has room");
        second.bytes.store(1, Ordering::Relaxed);
        assert!(Arc::ptr_eq(&second, &all.of(release, &allowed(1))), "what is asked for stays");
        assert!(!Arc::ptr_eq(&first, &all.of(release, &allowed(0))), "there was no room for both");
    }

    #[test]
    fn an_answer_stays_while_nothing_but_time_passes() {
        let made = |written: Duration| {
            let body = PageBody { bytes: Bytes::from_static(b"rows"), packed: None, etag: "tag".into() };
            let (read, content, lags_us) = (Instant::now(), Digest::of(b"rows"), vec![500_000, i64::MAX]);
            let written = read.checked_sub(written).unwrap();
            Made { read, written, content, lags_us, body: Some(Arc::new(body)) }
        };
        let now = [900_000, i64::MAX];
        assert!(made(KEPT / 2).says(Digest::of(b"rows"), &now));
        assert!(!made(KEPT).says(Digest::of(b"rows"), &now), "its clock is too old");
        assert!(!made(KEPT / 2).says(Digest::of(b"other"), &now));
        assert!(!made(KEPT / 2).says(Digest::of(b"rows"), &[3_000_000, i64::MAX]), "the view is later than it says");
        let none = Made { body: None, ..made(KEPT / 2) };
        assert!(!none.says(Digest::of(b"rows"), &now), "there was none");
        assert!(made(KEPT / 2).is_of_now(true) && !made(KEPT / 2).is_of_now(false));
        assert!(made(EVERY / 4).is_of_now(false));
    }
}
