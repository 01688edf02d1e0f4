//! Attaching tables to a source: from then on updates reach them, and what came before is read from disk. Owns that no
//! update is lost in between.

use std::sync::Arc;

use selvedge_decision::TimeUs;
use selvedge_decision::layout::RowLayout;

use super::{Attached, Source};
use crate::features::disk::RowLimits;
use crate::features::metrics::{ResyncCause, StoreFailure};
use crate::features::row::RowReader;
use crate::features::shard::Shard;
use crate::features::symbols::Symbols;
use crate::features::table::{Room, Table};

// === impl Source ===

impl Source {
    /// The shard at `layout` and with that room, if somebody holds it.
    pub(in crate::features) fn shard_at(&self, layout: &RowLayout, room: Room) -> Option<Arc<Shard>> {
        // Collected first: dropping the last `Arc` of a shard takes the lock.
        let views: Vec<_> = self.rows().attached.iter().filter_map(|attached| attached.shard.upgrade()).collect();
        views.into_iter().find(|shard| **shard.layout() == *layout && shard.table.room() == room)
    }

    /// From here every update reaches the shard; [`Source::fill`] brings the rows from before.
    pub(in crate::features) fn attach(&self, shard: &Arc<Shard>, symbols: &Arc<Symbols>) {
        shard.table.begin_load();
        let reader = RowReader::new(Arc::clone(shard.layout()), Arc::clone(symbols));
        let mut rows = self.rows();
        rows.attached.retain(|attached| attached.table.is_some());
        let (table, filled) = (Some(Arc::clone(&shard.table)), shard.filled().clone());
        let schema = reader.schema();
        rows.attached.push(Attached { shard: Arc::downgrade(shard), table, filled, reader });
        let Room { entities, bytes, .. } = shard.table.room();
        rows.limits = RowLimits { max_entities: entities, max_bytes: bytes, schema, ..rows.limits };
        if rows.refused_by.is_some_and(|then| then != rows.limits) {
            rows.must_resync = Some(ResyncCause::Limits);
            self.again.notify_one();
        }
        if let Some(resync) = &mut rows.resyncing {
            resync.must_restart = true;
            self.again.notify_one();
        }
    }

    /// A view is dropped: its table takes no update any more. Whom an on-demand source held only there it does not hold any
    /// longer, and nobody would keep that row on disk fresh. The last table leaves its rows for the next start.
    pub(in crate::features) fn detach(&self, table: &Arc<Table>) {
        let mut rows = self.rows();
        let of = |attached: &&mut Attached| attached.table.as_ref().is_some_and(|its| Arc::ptr_eq(its, table));
        if let Some(attached) = rows.attached.iter_mut().find(of) {
            attached.table = None;
        }
        let Some(write_behind) = self.write_behind.as_ref().filter(|_| self.sights.is_some()) else { return };
        if rows.tables().next().is_some() {
            let only_there = table.entities().filter(|entity| !rows.hold(entity));
            only_there.for_each(|entity| write_behind.push(&*entity, None));
        }
    }

    /// Fills an attached shard from disk, pending writes included. `false` when there is no such copy, and all rows must come
    /// from the core.
    pub(in crate::features) async fn fill(self: &Arc<Self>, shard: &Arc<Shard>, symbols: &Arc<Symbols>) -> bool {
        self.loads.send_modify(|loads| *loads += 1);
        let filled = self.fill_from_disk(shard, symbols).await;
        shard.table.end_load();
        if filled {
            shard.filled().send_replace(true);
        }
        self.loads.send_modify(|loads| *loads -= 1);
        filled
    }

    async fn fill_from_disk(self: &Arc<Self>, shard: &Arc<Shard>, symbols: &Arc<Symbols>) -> bool {
        let Some(write_behind) = &self.write_behind else { return false };
        if !write_behind.flush().await {
            return false;
        }
        let disk = write_behind.view().clone();
        let (into, symbols) = (Arc::clone(shard), Arc::clone(symbols));
        let (source, no_room) = (Arc::clone(self), Arc::clone(write_behind));
        let started = std::time::Instant::now();
        let load = move || {
            disk.load(|| {
                let mut reader = RowReader::new(Arc::clone(into.layout()), Arc::clone(&symbols));
                let (shard, source, no_room) = (Arc::clone(&into), &source, &no_room);
                move |entity: &str, time_us: TimeUs, sent: &[u8]| {
                    let (is_full, why) = match reader.read(sent) {
                        Ok(row) => match shard.table.load(entity, time_us, row.cells) {
                            Ok(()) => return,
                            Err(full) => (true, full.to_string()),
                        },
                        // It was read once before it got there, so it is one, but it may be of another schema.
                        Err(error) => {
                            source.metrics.refused_schema.inc();
                            source.tell_refused(&mut source.rows(), entity, &error);
                            (false, error.to_string())
                        }
                    };
                    tracing::debug!(view = shard.name, entity, why, "a row on disk is not in memory");
                    match source.sights() {
                        None if is_full => {
                            source.metrics.refused_full.inc();
                        }
                        None => {}
                        // Nobody would keep it fresh, so it must not come back. Under one lock with whoever may hold it now.
                        Some(_) => {
                            let rows = source.rows();
                            if !rows.hold(entity) {
                                no_room.push(entity, None);
                            }
                        }
                    }
                }
            })
        };
        match tokio::task::spawn_blocking(load).await {
            Ok(Ok(_)) => {
                let took_ms = started.elapsed().as_millis() as u64;
                tracing::info!(view = self.name, rows = shard.table.len(), took_ms, "rows read from disk");
                true
            }
            Ok(Err(error)) => {
                tracing::error!(view = self.name, %error, "rows on disk cannot be read; all come from the core again");
                self.metrics.store_failed(StoreFailure::Read);
                false
            }
            Err(error) => {
                tracing::error!(view = self.name, %error, "reading rows on disk broke off; all come from the core again");
                self.metrics.store_failed(StoreFailure::Read);
                false
            }
        }
    }

    /// Makes the feed read all rows again.
    pub(in crate::features) fn resync(&self, cause: ResyncCause) {
        self.rows().must_resync = Some(cause);
        self.again.notify_one();
    }

    /// Resolves when the feed has to begin again.
    pub(in crate::features) async fn again(&self) {
        self.again.notified().await;
    }

    /// Writes all pending changes. `false` when the store failed.
    pub(in crate::features) async fn flush(&self) -> bool {
        match &self.write_behind {
            None => true,
            Some(write_behind) => write_behind.flush().await,
        }
    }
}
