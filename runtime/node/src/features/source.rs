//! One view's rows on their way from the feed into every table that shows them, and to disk. Owns the position in the stream,
//! the proof of being current and who is attached; must not know how rows travel.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use selvedge_decision::TimeUs;
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::features::disk::write_behind::WriteBehind;
use crate::features::disk::{Checkpoint, RowLimits};
use crate::features::metrics::{ResyncCause, ViewMetrics};
use crate::features::row::RowReader;
use crate::features::shard::{Condition, Shard, ViewStatus};
use crate::features::table::Table;

mod apply;
mod attach;
mod hold;
pub(super) mod sights;

use sights::Sights;

/// What keeps a source's feed running. The feed stops when the last view that holds it is dropped.
pub(super) struct SourceHandle {
    source: Arc<Source>,
    /// Never sent: its end is the message.
    _alive: watch::Sender<bool>,
}

/// One view's rows, whatever the layouts they are shown in.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) metrics: Arc<ViewMetrics>,
    pub(super) clock: Clock,
    write_behind: Option<Arc<WriteBehind>>,
    /// For a source that holds only whom decisions asked for.
    sights: Option<Sights>,
    rows: Mutex<Rows>,
    loads: watch::Sender<usize>,
    /// Somebody wants the feed to begin again.
    again: Notify,
    applied_seq: AtomicU64,
    last_seq: AtomicU64,
    proven_us: AtomicI64,
    /// The proof that the checkpoint on disk tells.
    kept_proof_us: AtomicI64,
    synced: watch::Sender<bool>,
    condition: Mutex<(Condition, TimeUs, String)>,
}

struct Rows {
    attached: Vec<Attached>,
    /// Those of the table that was attached last.
    limits: RowLimits,
    /// Bucket and sequence that the rows are complete up to.
    position: Option<Position>,
    /// All rows are being read again; what is not among them goes.
    resyncing: Option<Resync>,
    /// The next session must read all rows, for this reason.
    must_resync: Option<ResyncCause>,
    /// Since all rows were read last, some were refused for being beyond these limits, or of another schema.
    refused_by: Option<RowLimits>,
    /// When it was said last that rows are refused.
    told_refused_us: TimeUs,
}

#[derive(Clone, Copy)]
struct Resync {
    cause: ResyncCause,
    /// A table came after some rows had been read already: it cannot be swept by what came since.
    must_restart: bool,
    /// How far it is.
    passed: Option<Position>,
}

struct Attached {
    shard: Weak<Shard>,
    /// Taken away when the shard is dropped.
    table: Option<Arc<Table>>,
    /// The shard's, to tell that its table has every row.
    filled: watch::Sender<bool>,
    reader: RowReader,
}

/// Up to where the rows are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// When the bucket was created.
    pub(crate) created_us: TimeUs,
    /// The last sequence applied.
    pub(crate) seq: u64,
}

/// Where a source stands when a feed begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its rows are complete up to here; up to nowhere when there is no position.
    At(Option<Position>),
    /// All rows must be read, for this reason.
    MustResync(ResyncCause),
    /// All rows are being read and were, for this reason, up to here: the rest is enough.
    Resyncing(ResyncCause, Position),
}

/// A change of one entity.
#[derive(Debug)]
pub(super) enum Update {
    /// This is its row now.
    Put {
        /// As it was sent.
        row: Bytes,
    },
    /// It is gone.
    Delete,
}

const NEVER: TimeUs = TimeUs::MIN;

// === impl Position ===

impl Position {
    /// Complete, because there is no bucket. No bucket was made in 1970: the first that appears is read in full.
    pub(crate) const NO_BUCKET: Self = Self { created_us: 0, seq: 0 };
}

// === impl SourceHandle ===

impl SourceHandle {
    /// A handle, and what tells the feed that the handle is gone.
    pub(super) fn new(source: Arc<Source>) -> (Self, watch::Receiver<bool>) {
        let (alive, gone) = watch::channel(false);
        (Self { source, _alive: alive }, gone)
    }
}

impl std::ops::Deref for SourceHandle {
    type Target = Arc<Source>;

    fn deref(&self) -> &Arc<Source> {
        &self.source
    }
}

// === impl Source ===

impl Source {
    /// A source without rows, at `checkpoint` when there is a complete copy on disk. A copy that lacks rows because limits
    /// refused them is used, but all rows are read again when the limits are others now. With `sights` it holds only whom
    /// decisions asked for, and a copy is complete when it is up to date.
    pub(super) fn new(
        name: &str,
        metrics: Arc<ViewMetrics>,
        clock: Clock,
        limits: RowLimits,
        copy: Option<(Arc<WriteBehind>, Option<Checkpoint>)>,
        sights: Option<Sights>,
    ) -> Self {
        let (write_behind, checkpoint) = copy.unzip();
        let checkpoint = checkpoint.flatten();
        let position = checkpoint.map(|at| Position { created_us: at.created_us, seq: at.last_seq });
        let proven_us = checkpoint.map_or(NEVER, |at| at.proven_us);
        let now_us = clock.now_us();
        let refused_by = checkpoint.and_then(|at| at.refused_by);
        let must_resync = refused_by.filter(|then| *then != limits).map(|_| ResyncCause::Limits);
        Self {
            name: name.to_owned(),
            metrics,
            clock,
            write_behind,
            rows: Mutex::new(Rows {
                attached: Vec::new(),
                limits,
                position,
                resyncing: None,
                must_resync,
                refused_by,
                told_refused_us: NEVER,
            }),
            loads: watch::Sender::new(0),
            again: Notify::new(),
            applied_seq: AtomicU64::new(position.map_or(0, |at| at.seq)),
            last_seq: AtomicU64::new(0),
            proven_us: AtomicI64::new(proven_us),
            kept_proof_us: AtomicI64::new(proven_us),
            // Who is not held yet is fetched when seen: there is nothing to be complete.
            synced: watch::Sender::new(checkpoint.is_some() || sights.is_some()),
            sights,
            condition: Mutex::new((Condition::Starting, now_us, String::new())),
        }
    }

    pub(super) fn lag_us(&self, now_us: TimeUs) -> i64 {
        match self.proven_us.load(Ordering::Relaxed) {
            NEVER => i64::MAX,
            proven_us => now_us.saturating_sub(proven_us).max(0),
        }
    }

    pub(super) fn proven_us(&self) -> Option<TimeUs> {
        Some(self.proven_us.load(Ordering::Relaxed)).filter(|&proven_us| proven_us != NEVER)
    }

    pub(super) fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// [`Source::is_synced`] as it changes.
    pub(super) fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    /// Whether no table has any entity.
    pub(super) fn is_empty(&self) -> bool {
        self.rows().tables().all(Table::is_empty)
    }

    /// Entities in the table that was attached last.
    pub(super) fn entities(&self) -> u64 {
        self.rows().tables().last().map_or(0, |table| table.len() as u64)
    }

    pub(super) fn status(&self, now_us: TimeUs) -> ViewStatus {
        let (entities, bytes) = (self.entities(), self.rows().tables().map(Table::bytes).sum());
        let (condition, since_us, detail) = self.condition().clone();
        let lag_us = Some(self.lag_us(now_us)).filter(|&lag_us| lag_us != i64::MAX);
        let disk = self.write_behind.as_ref().map(|write_behind| write_behind.behind()).unwrap_or_default();
        ViewStatus {
            view: self.name.clone(),
            on_demand: self.sights.is_some(),
            absent: self.sights.as_ref().map_or(0, Sights::absent) as u64,
            entities,
            bytes,
            applied_seq: self.applied_seq.load(Ordering::Relaxed),
            last_seq: self.last_seq.load(Ordering::Relaxed),
            lag_ms: lag_us.map(|lag_us| lag_us as u64 / 1_000),
            synced: self.is_synced(),
            disk_waiting: disk.changes as u64,
            disk_behind_ms: disk.since.map_or(0, |since| since.as_millis() as u64),
            condition,
            since_us,
            detail,
        }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn condition(&self) -> MutexGuard<'_, (Condition, TimeUs, String)> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Rows ===

impl Rows {
    fn tables(&self) -> impl Iterator<Item = &Table> {
        self.attached.iter().filter_map(|attached| attached.table.as_deref())
    }
}

#[cfg(test)]
mod tests;
