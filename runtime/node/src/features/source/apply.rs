//! What a feed does to a source: changes, positions, proofs, and reading everything again. Owns the order in which tables,
//! disk and position learn of a change.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use selvedge_decision::TimeUs;

use super::{Position, Resync, Rows, Source, Standing, Update};
use crate::features::disk::{Checkpoint, StoredRow};
use crate::features::metrics::ResyncCause;
use crate::features::row::BadRow;
use crate::features::shard::Condition;
use crate::features::table::{Table, TableFull};

/// How much older than the proof in memory the one on disk may become while nothing changes.
const PROOF_KEPT_EVERY_US: i64 = 10_000_000;
/// How often, at most, it is said aloud that rows are refused for a limit or a schema.
const TELL_REFUSED_EVERY_US: i64 = 60_000_000;
/// What to do about a limit.
const NO_ROOM: &str = "raise max_bytes of the view, or [features] max_view, max_entities or max_row of this node";

// === impl Source ===

impl Source {
    /// What the feed does now. `detail` is for people.
    pub(in crate::features) fn tell(&self, now: Condition, detail: impl Into<String>) {
        let detail = detail.into();
        let mut told = self.condition();
        if told.0 != now {
            tracing::info!(view = self.name, condition = now.as_str(), detail, "feature view");
            *told = (now, self.clock.now_us(), detail);
        } else {
            told.2 = detail;
        }
    }

    /// Where the source stands. A resync that was asked for is asked for once.
    pub(in crate::features) fn standing(&self) -> Standing {
        let mut rows = self.rows();
        if let Some(cause) = rows.must_resync.take() {
            return Standing::MustResync(cause);
        }
        match rows.resyncing {
            None => Standing::At(rows.position),
            Some(Resync { cause, must_restart: false, passed: Some(passed) }) => Standing::Resyncing(cause, passed),
            Some(Resync { cause, .. }) => Standing::MustResync(cause),
        }
    }

    /// All rows come again, of so many entities as far as that is known; until [`Source::end_resync`] the old ones stay.
    pub(in crate::features) fn begin_resync(&self, cause: ResyncCause, entities: usize) {
        let mut rows = self.rows();
        rows.resyncing = Some(Resync { cause, must_restart: false, passed: None });
        rows.position = None;
        rows.refused_by = None;
        if let Some(sights) = &self.sights {
            sights.begin_anew();
        }
        let mut most = 0;
        for table in rows.tables() {
            table.begin_marks();
            table.expect(entities);
            most = most.max(table.room().entities);
        }
        if let Some(write_behind) = &self.write_behind {
            write_behind.forget();
            write_behind.expect(entities.min(most as usize));
        }
    }

    /// All rows came, up to `position`: what was not among them goes. Nothing to do when none were asked for. `false` when
    /// they have to come once more, because a table was attached meanwhile, or none is left that could tell what is gone.
    pub(in crate::features) async fn end_resync(&self, position: Position) -> bool {
        // A table that is still being filled from disk could get a row back that was swept.
        if self.loads.subscribe().wait_for(|loads| *loads == 0).await.is_err() {
            return false;
        }
        let mut rows = self.rows();
        match rows.resyncing {
            None => return true,
            Some(resync) if resync.must_restart || rows.tables().next().is_none() => return false,
            Some(_) => {}
        }
        rows.resyncing = None;
        let mut gone = 0;
        for attached in &rows.attached {
            let Some(table) = &attached.table else { continue };
            let swept = table.sweep();
            attached.filled.send_replace(true);
            gone = gone.max(swept.len());
            if let Some(write_behind) = &self.write_behind {
                swept.into_iter().for_each(|entity| write_behind.push(entity, None));
            }
        }
        drop(rows);
        tracing::debug!(view = self.name, gone, "all rows read");
        self.reached(position);
        true
    }

    /// Applies one change; `time_us` is its time unless the row names one. A refused row leaves the old one as it is. The
    /// time of the event that is usable from now on, if there is one.
    pub(in crate::features) fn apply(&self, entity: &str, update: Update, time_us: TimeUs) -> Option<TimeUs> {
        let mut rows = self.rows();
        let change = match update {
            Update::Put { row } => {
                let into = |table: &Table, time_us, cells: &[u64]| table.put(entity, time_us, cells);
                let Some(time_us) = self.put(&mut rows, entity, &row, time_us, into) else {
                    keep(&rows, entity);
                    return None;
                };
                self.metrics.puts.inc();
                Some(StoredRow { time_us, row })
            }
            Update::Delete => {
                for table in rows.tables() {
                    table.remove(entity);
                }
                self.metrics.deletes.inc();
                None
            }
        };
        let time_us = change.as_ref().map(|row| row.time_us);
        if let Some(write_behind) = &self.write_behind {
            // One text for both: of two that were made in turn, the memory of the one that goes lies between those that stay.
            let key = rows.tables().next().and_then(|table| table.key(entity));
            write_behind.push(key.unwrap_or_else(|| Arc::from(entity)), change);
        }
        time_us
    }

    /// Reads a row for every table and puts it there by `into`. The time it has now, or none when it was refused.
    pub(super) fn put(
        &self,
        rows: &mut Rows,
        entity: &str,
        row: &[u8],
        time_us: TimeUs,
        mut into: impl FnMut(&Table, TimeUs, &[u64]) -> Result<(), TableFull>,
    ) -> Option<TimeUs> {
        if row.len() as u64 > rows.limits.max_row_bytes {
            rows.refused_by = Some(rows.limits);
            self.metrics.refused_size.inc();
            let bytes = row.len();
            let why = format_args!("a row of {bytes} bytes is larger than features.max_row: {NO_ROOM}");
            self.tell_refused(rows, entity, &why);
            return None;
        }
        let (mut put, mut full, mut other) = (None, None, None);
        let last = rows.attached.len().saturating_sub(1);
        for (index, attached) in rows.attached.iter_mut().enumerate() {
            let row = match attached.reader.read(row) {
                Ok(row) => row,
                // Another table may be of its schema. That the one of a release before is not any more is no news.
                Err(error @ BadRow::Schema { .. }) => {
                    other = Some(error).filter(|_| index == last);
                    continue;
                }
                Err(error) => {
                    match error {
                        BadRow::Binary(_) => self.metrics.refused_binary.inc(),
                        _ => self.metrics.refused_json.inc(),
                    };
                    tracing::debug!(view = self.name, entity, %error, "row refused");
                    return None;
                }
            };
            if index == last {
                self.metrics.values_wrong.inc_by(u64::from(row.wrong));
                self.metrics.values_cut.inc_by(u64::from(row.cut));
                self.metrics.values_unknown.inc_by(u64::from(row.unknown));
            }
            let time_us = row.time_us.unwrap_or(time_us);
            // A table that was dropped a moment ago takes nothing, but the row belongs on disk: the position will say so.
            let Some(table) = &attached.table else {
                put = put.or(Some(time_us));
                continue;
            };
            match into(table, time_us, row.cells) {
                Ok(()) => put = Some(time_us),
                Err(error) => full = Some(error),
            }
        }
        if let Some(error) = other {
            rows.refused_by = Some(rows.limits);
            self.metrics.refused_schema.inc();
            self.tell_refused(rows, entity, &error);
        }
        if let Some(error) = full {
            rows.refused_by = Some(rows.limits);
            self.metrics.refused_full.inc();
            self.tell_refused(rows, entity, &format_args!("{error}: {NO_ROOM}"));
        }
        put
    }

    /// Says why a row was refused that is one; for people, so not for every row.
    pub(super) fn tell_refused(&self, rows: &mut Rows, entity: &str, why: &dyn std::fmt::Display) {
        let now_us = self.clock.now_us();
        if now_us.saturating_sub(rows.told_refused_us) < TELL_REFUSED_EVERY_US {
            return tracing::debug!(view = self.name, entity, %why, "row refused");
        }
        rows.told_refused_us = now_us;
        tracing::warn!(
            view = self.name,
            entity,
            %why,
            "rows are refused and their old ones stay; counted in selvedge_features_rows_refused"
        );
    }

    /// All changes up to `position` are applied. While all rows are read again that is progress, but not yet where to resume.
    pub(in crate::features) fn reached(&self, position: Position) {
        self.applied_seq.store(position.seq, Ordering::Relaxed);
        let mut rows = self.rows();
        if let Some(resync) = &mut rows.resyncing {
            resync.passed = Some(position);
            return;
        }
        if self.sights.is_some() && rows.must_resync.is_some() {
            // Changes passed by that should not have.
            return;
        }
        rows.position = Some(position);
        let refused_by = rows.refused_by;
        drop(rows);
        if let Some(write_behind) = &self.write_behind {
            let proven_us = self.proven_us.load(Ordering::Relaxed);
            self.kept_proof_us.store(proven_us, Ordering::Relaxed);
            let Position { created_us, seq } = position;
            write_behind.reached(Checkpoint { created_us, last_seq: seq, proven_us, refused_by });
        }
    }

    /// The stream's last sequence, as it was told.
    pub(in crate::features) fn last_seq_is(&self, seq: u64) {
        self.last_seq.store(seq, Ordering::Relaxed);
    }

    /// The view was current at `at_us`.
    pub(in crate::features) fn proven(&self, at_us: TimeUs) {
        self.proven_us.fetch_max(at_us, Ordering::Relaxed);
        self.synced.send_if_modified(|synced| !std::mem::replace(synced, true));
        let kept_us = self.kept_proof_us.load(Ordering::Relaxed);
        let position = self.rows().position;
        if let Some(position) = position.filter(|_| at_us.saturating_sub(kept_us) >= PROOF_KEPT_EVERY_US) {
            self.reached(position);
        }
    }

    /// There is nothing at the core: when no table has rows either, the view was as it should be at `at_us`.
    pub(in crate::features) fn proven_empty(&self, at_us: TimeUs) {
        // A table that is being filled from disk is empty for a moment only.
        if *self.loads.borrow() > 0 || !self.is_empty() {
            return;
        }
        for attached in &self.rows().attached {
            attached.filled.send_replace(true);
        }
        self.proven(at_us);
        if self.rows().position.is_none() {
            // On disk as well: a start without the core then knows that there was nothing to miss.
            self.reached(Position::NO_BUCKET);
        }
    }

    /// Waits until more changes may wait to be written.
    pub(in crate::features) async fn room(&self) {
        if let Some(write_behind) = &self.write_behind {
            write_behind.room().await;
        }
    }
}

/// A row that was refused is in the core all the same: a sweep must not take the old one.
pub(super) fn keep(rows: &Rows, entity: &str) {
    for table in rows.tables() {
        table.keep(entity);
    }
}
