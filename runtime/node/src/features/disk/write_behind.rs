//! What is in memory but not yet on disk, for one view: changes by entity, the latest of each, and the checkpoint they lead
//! to. Owns when they are written and how many may wait; must not know tables or links.
//!
//! The checkpoint travels with the changes: both are taken under one lock, and it is written with the last of them.
//! A store that fails is left as it is, complete up to its checkpoint, and not written again by this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::{Notify, watch};

use super::{Change, Checkpoint, Disk, DiskError, DiskView};

/// How much may wait to be written, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteBehindLimits {
    /// The longest a change waits.
    pub(crate) every: Duration,
    /// Changes that may wait; then [`WriteBehind::room`] does.
    pub(crate) rows: usize,
    /// Bytes of changes that may wait; then [`WriteBehind::room`] does.
    pub(crate) bytes: usize,
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
}

/// How far the writing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    count: u64,
    /// The store failed; nothing is written any more.
    pub(crate) failed: bool,
}

#[derive(Default)]
struct Pending {
    changes: Changes,
    bytes: usize,
    /// What is being written right now still weighs.
    writing: (usize, usize),
    checkpoint: Mark,
    count: u64,
    hurry: bool,
}

type Changes = HashMap<Arc<str>, Change, RandomState>;

/// What becomes of the checkpoint on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mark {
    #[default]
    Keep,
    Forget,
    Set(Checkpoint),
}

/// At most this many changes are one batch of the store.
const BATCH_ROWS: usize = 5_000;
/// What an entry weighs besides its text and JSON.
const ENTRY_BYTES: usize = 64;

// === impl WriteBehind: what waits ===

impl WriteBehind {
    /// Nothing waits yet. [`WriteBehind::run`] does the writing.
    pub(crate) fn new(disk: Disk, view: DiskView, limits: WriteBehindLimits) -> Self {
        Self {
            disk,
            view,
            limits,
            pending: Mutex::default(),
            wake: Notify::new(),
            written: watch::Sender::new(Written::default()),
        }
    }

    /// The rows on disk.
    pub(crate) fn view(&self) -> &DiskView {
        &self.view
    }

    /// Takes a change. A later one of the same entity replaces it.
    pub(crate) fn push(&self, entity: &str, change: Change) {
        if self.has_failed() {
            return;
        }
        let mut pending = self.pending();
        let bytes = weight(entity, &change);
        if let Some(previous) = pending.changes.insert(Arc::from(entity), change) {
            pending.bytes -= weight(entity, &previous);
        }
        pending.bytes += bytes;
        pending.count += 1;
        drop(pending);
        self.wake.notify_one();
    }

    /// All that was pushed leads to `checkpoint`.
    pub(crate) fn reached(&self, checkpoint: Checkpoint) {
        self.mark(Mark::Set(checkpoint));
    }

    /// The rows are complete up to nowhere until [`WriteBehind::reached`] says otherwise.
    pub(crate) fn forget(&self) {
        self.mark(Mark::Forget);
    }

    /// Whether the store failed and nothing is written any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.written.borrow().failed
    }

    /// Whether as much waits as may.
    pub(crate) fn is_full(&self) -> bool {
        let pending = self.pending();
        let (rows, bytes) = pending.writing;
        pending.changes.len() + rows >= self.limits.rows || pending.bytes + bytes >= self.limits.bytes
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
            }
            if let Err(error) = self.write().await {
                on_error(&error);
                self.written.send_modify(|written| written.failed = true);
                *self.pending() = Pending::default();
                return;
            }
        }
        // Whoever waits for this view is told, even though nothing runs any more.
        self.written.send_modify(|written| written.count = u64::MAX);
    }

    /// Lets changes come together for a while. Whether it is time to stop.
    async fn gather(&self, stop: &mut watch::Receiver<bool>) -> bool {
        let deadline = tokio::time::Instant::now() + self.limits.every;
        loop {
            let enough = {
                let pending = self.pending();
                pending.hurry || pending.changes.len() >= BATCH_ROWS
            };
            if enough {
                return false;
            }
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return false,
                () = self.wake.notified() => {}
                _ = stop.wait_for(|stop| *stop) => return true,
            }
        }
    }

    /// Writes all that waits.
    async fn write(&self) -> Result<(), DiskError> {
        let (changes, mark, count, hurry) = {
            let mut pending = self.pending();
            let changes = std::mem::take(&mut pending.changes);
            pending.writing = (changes.len(), std::mem::take(&mut pending.bytes));
            let mark = std::mem::take(&mut pending.checkpoint);
            (changes, mark, pending.count, std::mem::take(&mut pending.hurry))
        };
        if !changes.is_empty() || mark != Mark::Keep || hurry {
            let (disk, view) = (self.disk.clone(), self.view.clone());
            let written = tokio::task::spawn_blocking(move || {
                write(&view, changes, mark)?;
                if hurry { disk.flush() } else { Ok(()) }
            });
            written.await.unwrap_or_else(|_| Err(DiskError::broke_off()))?;
        }
        self.pending().writing = (0, 0);
        self.written.send_modify(|written| written.count = count);
        Ok(())
    }
}

/// Rows first, the checkpoint with the last of them: a crash in between leaves rows ahead of it, never behind.
fn write(view: &DiskView, changes: Changes, mark: Mark) -> Result<(), DiskError> {
    if mark == Mark::Forget {
        view.forget_checkpoint()?;
    }
    let changes: Vec<_> = changes.into_iter().collect();
    let mut batches = changes.chunks(BATCH_ROWS).peekable();
    let checkpoint = if let Mark::Set(checkpoint) = mark { Some(checkpoint) } else { None };
    if batches.peek().is_none() {
        return view.apply([], checkpoint);
    }
    while let Some(batch) = batches.next() {
        let last = batches.peek().is_none();
        let rows = batch.iter().map(|(entity, change)| (&**entity, change));
        view.apply(rows, checkpoint.filter(|_| last))?;
    }
    Ok(())
}

fn weight(entity: &str, change: &Change) -> usize {
    ENTRY_BYTES + entity.len() + change.as_ref().map_or(0, |row| row.row.len())
}
