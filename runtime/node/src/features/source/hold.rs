//! What an on-demand view holds: rows that decisions asked for, as the fetches and the feed bring them. Owns that a row is
//! held everywhere or nowhere: in tables, on disk, and among the absent.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use selvedge_decision::TimeUs;

use super::sights::{Sights, Worth};
use super::{Rows, Source, Update};
use crate::features::disk::StoredRow;
use crate::features::metrics::ResyncCause;
use crate::features::table::Table;
use crate::link::nats::features::fetch::Fetched;
use crate::link::nats::features::follow::Operation;

// === impl Source ===

impl Source {
    /// What is known of whom it does not hold; none for a source that holds everybody.
    pub(in crate::features) fn sights(&self) -> Option<&Sights> {
        self.sights.as_ref()
    }

    /// Takes a change from the feed. Of a source that holds only whom decisions asked for, the others pass by. The time of
    /// the event that is usable from now on, if there is one.
    pub(in crate::features) fn change(
        &self,
        entity: &str,
        update: Update,
        seq: u64,
        time_us: TimeUs,
    ) -> Option<TimeUs> {
        let Some(sights) = &self.sights else { return self.apply(entity, update, time_us) };
        let mut rows = self.rows();
        let asked = sights.changed(entity, seq, matches!(update, Update::Put { .. }));
        if rows.tables().next().is_none() {
            // The rows on disk may be about it, and the next table is filled from them.
            rows.must_resync = Some(ResyncCause::Behind);
            self.again.notify_one();
            return None;
        }
        if !asked && !rows.hold(entity) {
            sights.metrics.passed_by.inc();
            return None;
        }
        match update {
            Update::Put { row } => self.hold(sights, &mut rows, entity, row, time_us, asked),
            Update::Delete => {
                self.let_go(sights, &rows, entity);
                None
            }
        }
    }

    /// Takes the core's answer to a fetch; `Err` when there was none. Whether it has to be fetched again.
    pub(in crate::features) fn fetched(&self, entity: &str, answer: Result<Option<Fetched>, ()>) -> bool {
        let Some(sights) = &self.sights else { return false };
        let Ok(answer) = answer else {
            sights.failed();
            return false;
        };
        // Under one lock with the feed: what it brings is before or after, never in between.
        let mut rows = self.rows();
        match (sights.answered(entity, answer.as_ref().map(|fetched| fetched.seq)), answer) {
            (Worth::Unknown, _) => return true,
            (Worth::Stale, _) => {}
            (Worth::Current, Some(Fetched { operation: Operation::Put(row), stored_us, .. })) => {
                sights.metrics.fetched_row.inc();
                self.hold(sights, &mut rows, entity, row, stored_us, true);
            }
            (Worth::Current, Some(Fetched { operation: Operation::Delete, .. }) | None) => {
                sights.metrics.fetched_none.inc();
                self.let_go(sights, &rows, entity);
            }
        }
        false
    }

    /// An entity is about to be fetched although it is held. `false` when somebody fetches it already.
    pub(in crate::features) fn fetch_again(&self, entity: &Arc<str>) -> bool {
        self.sights.as_ref().is_some_and(|sights| sights.again(entity))
    }

    /// Everybody it holds.
    pub(in crate::features) fn held(&self) -> HashSet<Arc<str>> {
        self.rows().tables().flat_map(Table::entities).collect()
    }

    /// Puts a row into every table that holds its entity, or into all when somebody asked for it. A table that is being filled
    /// from disk takes it, too: the disk may still bring the row from before. A row that is refused leaves the old one; where
    /// there is none, the entity counts as absent for a while.
    fn hold(
        &self,
        sights: &Sights,
        rows: &mut Rows,
        entity: &str,
        row: Bytes,
        time_us: TimeUs,
        asked: bool,
    ) -> Option<TimeUs> {
        let mut gone = Vec::new();
        let put = self.put(rows, entity, &row, time_us, |table, time_us, cells| {
            if asked || table.holds(entity) || table.is_loading() {
                table.admit(entity, time_us, cells, &mut gone)
            } else {
                Ok(())
            }
        });
        let Some(time_us) = put else {
            super::apply::keep(rows, entity);
            if !rows.hold(entity) {
                sights.is_absent(entity, self.clock.now_us());
            }
            return None;
        };
        self.metrics.puts.inc();
        if let Some(write_behind) = &self.write_behind {
            write_behind.push(entity, Some(StoredRow { time_us, row }));
        }
        for entity in gone {
            sights.metrics.evictions.inc();
            if let Some(write_behind) = self.write_behind.as_ref().filter(|_| !rows.hold(&entity)) {
                write_behind.push(&*entity, None);
            }
        }
        Some(time_us)
    }

    /// The core does not have an entity any more, or never had.
    fn let_go(&self, sights: &Sights, rows: &Rows, entity: &str) {
        let mut was_held = false;
        for table in rows.tables() {
            was_held |= table.remove(entity);
        }
        if was_held {
            self.metrics.deletes.inc();
            if let Some(write_behind) = &self.write_behind {
                write_behind.push(entity, None);
            }
        }
        sights.is_absent(entity, self.clock.now_us());
    }
}

// === impl Rows ===

impl Rows {
    /// Whether any table has a row of an entity.
    pub(super) fn hold(&self, entity: &str) -> bool {
        self.tables().any(|table| table.holds(entity))
    }
}
