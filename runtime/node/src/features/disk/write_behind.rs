//! What is in memory but not yet on disk, for one view: changes by entity, the latest of each, and the checkpoint they lead
//! to. Owns when they are written and how many may wait; must not know tables or links.
//!
//! The store takes some 20,000 rows a second, and the core sends ten times as many. So changes wait: in memory first, and beyond
//! its bound their rows lie in a file, until that is full, too; only then the feed waits. While all rows are read again, nothing
//! on disk counts before they are complete: they rest until then, in the file from the first one on, and are written in the order of their
//! keys, which takes the store half the time.
//!
//! The checkpoint travels with the changes: both are taken under one lock, and it is written with the last of them.
//! A store that fails is left as it is, complete up to its checkpoint, and not written again by this process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::scratch::Scratch;
use super::{Change, Checkpoint, Disk, DiskError, DiskView};
use pending::{Changes, Mark, Pending, Waiting, weight};

mod pending;

/// How much may wait to be written, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteBehindLimits {
    /// The longest a change waits.
    pub(crate) every: Duration,
    /// Changes that may wait in memory; the rows of more go to a file.
    pub(crate) rows: usize,
    /// The same for their bytes.
    pub(crate) bytes: usize,
    /// Bytes of that file; then [`WriteBehind::room`] waits. Without any, it does when memory is full.
    pub(crate) scratch_bytes: u64,
}

/// The changes of one view on their way to disk.
pub(crate) struct WriteBehind {
    disk: Disk,
    view: DiskView,
    limits: WriteBehindLimits,
    pending: Mutex<Pending>,
    /// There is something to write, or somebody waits for it.
    wake: Notify,
    /// The count of the last change that is on disk.
    written: watch::Sender<Written>,
    /// It is time to stop: more than memory may hold is not waited for.
    ending: Arc<AtomicBool>,
}

/// What waits to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Entities with a change that is not on disk.
    pub(crate) changes: usize,
    /// How long the oldest of those changes has waited.
    pub(crate) since: Option<Duration>,
}

/// How far the writing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    count: u64,
    /// The store failed; nothing is written any more.
    pub(crate) failed: bool,
}

/// What a write left undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Rows, and the checkpoint that would speak of them.
    Rest,
}

/// So many changes are written without waiting for more.
const ENOUGH_ROWS: usize = 5_000;
/// At most this many, and this many bytes unless one row is more, are one batch of the store, which keeps all that a batch replaces until
/// the batch is over.
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 256 << 10;

// === impl WriteBehind: what waits ===

impl WriteBehind {
    /// Nothing waits yet. [`WriteBehind::run`] does the writing.
    pub(crate) fn new(disk: Disk, view: DiskView, limits: WriteBehindLimits) -> Self {
        Self {
            pending: Mutex::new(Pending::new(&disk.dir)),
            disk,
            view,
            limits,
            wake: Notify::new(),
            written: watch::Sender::new(Written::default()),
            ending: Arc::default(),
        }
    }

    /// The rows on disk.
    pub(crate) fn view(&self) -> &DiskView {
        &self.view
    }

    /// Takes a change. A later one of the same entity replaces it.
    pub(crate) fn push(&self, entity: impl Into<Arc<str>>, change: Change) {
        if self.has_failed() {
            return;
        }
        let mut pending = self.pending();
        let waiting = pending.place(change, &self.limits);
        let entity = entity.into();
        pending.bytes += weight(&entity, &waiting);
        if let Some(previous) = pending.changes.insert(Arc::clone(&entity), waiting) {
            pending.bytes -= weight(&entity, &previous);
        }
        pending.count += 1;
        pending.since.get_or_insert_with(Instant::now);
        let rests = pending.rests;
        drop(pending);
        if !rests {
            self.wake.notify_one();
        }
    }

    /// All that was pushed leads to `checkpoint`.
    pub(crate) fn reached(&self, checkpoint: Checkpoint) {
        self.mark(Mark::Set(checkpoint));
    }

    /// The rows are complete up to nowhere until [`WriteBehind::reached`] says otherwise.
    pub(crate) fn forget(&self) {
        self.mark(Mark::Forget);
    }

    /// So many changes are about to come, and may rest together.
    pub(crate) fn expect(&self, changes: usize) {
        let mut pending = self.pending();
        let most = if pending.may_spill(&self.limits) { changes } else { changes.min(self.limits.rows) };
        let more = most.saturating_sub(pending.changes.len());
        if pending.changes.try_reserve(more).is_err() {
            tracing::debug!(more, "no room is made ahead for what is to come");
        }
    }

    /// Whether the store failed and nothing is written any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.written.borrow().failed
    }

    /// Whether as much waits as may.
    pub(crate) fn is_full(&self) -> bool {
        self.pending().is_full(&self.limits)
    }

    /// How far the disk is behind.
    pub(crate) fn behind(&self) -> Behind {
        let pending = self.pending();
        let since = pending.writing_since.or(pending.since).map(|since| since.elapsed());
        Behind { changes: pending.changes.len() + pending.writing.0, since }
    }

    /// Waits until more may wait.
    pub(crate) async fn room(&self) {
        let mut written = self.written.subscribe();
        while self.is_full() && !written.borrow_and_update().failed {
            self.wake.notify_one();
            if written.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until all that was pushed is on disk. `false` when the store failed.
    pub(crate) async fn flush(&self) -> bool {
        let wanted = {
            let mut pending = self.pending();
            pending.hurry = true;
            pending.count
        };
        self.wake.notify_one();
        let mut written = self.written.subscribe();
        let done = written.wait_for(|written| written.failed || written.count >= wanted).await;
        done.is_ok_and(|written| !written.failed)
    }

    fn mark(&self, mark: Mark) {
        let mut pending = self.pending();
        pending.checkpoint = mark;
        pending.rests &= mark == Mark::Forget;
        pending.count += 1;
        drop(pending);
        self.wake.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl WriteBehind: writing ===

impl WriteBehind {
    /// Writes until `stop` turns true or its sender is gone, then what is left, and returns.
    pub(crate) async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>, on_error: impl Fn(&DiskError) + Send) {
        let mut stopping = false;
        while !stopping {
            tokio::select! {
                () = self.wake.notified() => {}
                _ = stop.wait_for(|stop| *stop) => stopping = true,
            }
            stopping = stopping || self.gather(&mut stop).await;
            if stopping {
                self.pending().hurry = true;
                self.ending.store(true, Ordering::Relaxed);
            }
            let write = self.write();
            tokio::pin!(write);
            let written = tokio::select! {
                left = &mut write => Some(left),
                _ = stop.wait_for(|stop| *stop), if !stopping => None,
            };
            let left = match written {
                Some(left) => left,
                None => {
                    self.ending.store(true, Ordering::Relaxed);
                    write.await
                }
            };
            match left {
                Ok(Left::Nothing) => {}
                Ok(Left::Rest) => {
                    tracing::info!(
                        "the feature store is left as far behind as it is; the rest comes from the core again"
                    );
                    break;
                }
                Err(error) => {
                    on_error(&error);
                    self.written.send_modify(|written| written.failed = true);
                    *self.pending() = Pending::new(&self.disk.dir);
                    return;
                }
            }
        }
        // Whoever waits for this view is told, even though nothing runs any more.
        self.written.send_modify(|written| written.count = u64::MAX);
    }

    /// Lets changes come together for a while. Whether it is time to stop.
    async fn gather(&self, stop: &mut watch::Receiver<bool>) -> bool {
        let deadline = tokio::time::Instant::now() + self.limits.every;
        loop {
            let (enough, rests) = {
                let pending = self.pending();
                let rests = pending.rests && !pending.is_full(&self.limits);
                (pending.hurry || (!rests && pending.changes.len() >= ENOUGH_ROWS), rests)
            };
            if enough {
                return false;
            }
            tokio::select! {
                () = tokio::time::sleep_until(deadline), if !rests => return false,
                () = self.wake.notified() => {}
                _ = stop.wait_for(|stop| *stop) => return true,
            }
        }
    }

    /// Writes all that waits.
    async fn write(&self) -> Result<Left, DiskError> {
        let (changes, scratch, mark, count, hurry) = {
            let mut pending = self.pending();
            let changes = std::mem::take(&mut pending.changes);
            let scratch = std::mem::replace(&mut pending.scratch, Scratch::new(&self.disk.dir));
            // One that failed may have had no more than a full disk.
            (pending.scratch_bytes, pending.no_scratch) = (0, false);
            pending.writing = (changes.len(), std::mem::take(&mut pending.bytes));
            pending.writing_since = pending.since.take();
            let mark = std::mem::take(&mut pending.checkpoint);
            // From here to the next checkpoint, all rows are on their way.
            pending.rests |= mark == Mark::Forget && pending.may_spill(&self.limits);
            (changes, scratch, mark, pending.count, std::mem::take(&mut pending.hurry))
        };
        let mut left = Left::Nothing;
        if !changes.is_empty() || mark != Mark::Keep || hurry {
            let (disk, view) = (self.disk.clone(), self.view.clone());
            let (ending, most) = (Arc::clone(&self.ending), self.limits.rows);
            let written = tokio::task::spawn_blocking(move || {
                let give_up = |left: usize| left > most && ending.load(Ordering::Relaxed);
                let left = write(&view, changes, &scratch, mark, give_up)?;
                if hurry {
                    disk.flush()?;
                }
                Ok(left)
            });
            left = written.await.unwrap_or_else(|_| Err(DiskError::broke_off()))?;
        }
        let mut pending = self.pending();
        (pending.writing, pending.writing_since) = ((0, 0), None);
        drop(pending);
        self.written.send_modify(|written| written.count = count);
        Ok(left)
    }
}

/// Rows first, in the order of their keys, the checkpoint with the last of them: a crash in between leaves rows ahead of it,
/// never behind. Ends early where `give_up` says so of how many are left.
fn write(
    view: &DiskView,
    changes: Changes,
    scratch: &Scratch,
    mark: Mark,
    give_up: impl Fn(usize) -> bool,
) -> Result<Left, DiskError> {
    if mark == Mark::Forget {
        view.forget_checkpoint()?;
    }
    let checkpoint = if let Mark::Set(checkpoint) = mark { Some(checkpoint) } else { None };
    if changes.is_empty() {
        return view.apply([], checkpoint).map(|()| Left::Nothing);
    }
    let mut left = changes.len();
    for batch in sorted(changes) {
        if give_up(left) {
            return Ok(Left::Rest);
        }
        left -= batch.len();
        let batch = batch.into_iter().map(|(entity, waiting)| Ok((entity, waiting.into_change(scratch)?)));
        let batch = batch.collect::<Result<Vec<_>, DiskError>>()?;
        let mut rest = &batch[..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(first_batch(rest));
            rest = after;
            let is_last = left == 0 && rest.is_empty();
            view.apply(part.iter().map(|(entity, change)| (&**entity, change)), checkpoint.filter(|_| is_last))?;
        }
    }
    Ok(Left::Nothing)
}

/// How many of these changes are one batch by their bytes: one at least.
fn first_batch(changes: &[(Arc<str>, Change)]) -> usize {
    let mut bytes = 0;
    let fits = |(entity, change): &&(Arc<str>, Change)| {
        bytes += entity.len() + change.as_ref().map_or(0, |row| row.row.len());
        bytes <= BATCH_BYTES
    };
    changes.iter().take_while(fits).count().max(1)
}

/// The changes in the order of their keys, in batches. Each is memory of its own, given back when it is written: one piece for all would
/// be kept until the last one is.
fn sorted(changes: Changes) -> Vec<Vec<(Arc<str>, Waiting)>> {
    let mut changes: Vec<_> = changes.into_iter().collect();
    changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut batches = Vec::with_capacity(changes.len().div_ceil(BATCH_ROWS));
    let mut changes = changes.into_iter();
    while changes.len() > 0 {
        batches.push(changes.by_ref().take(BATCH_ROWS).collect());
    }
    batches
}
