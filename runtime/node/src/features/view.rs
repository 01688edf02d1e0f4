//! A view as a release sees it: its shards, of which every entity has one. Owns which; each shard is a bucket of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_decision::TimeUs;
use selvedge_decision::gather::Absence;
use selvedge_decision::layout::RowLayout;

use crate::features::entity::shard_of;
use crate::features::shard::{Fetching, Shard};

/// One view at one layout. While it lives, its rows are kept fresh.
#[derive(Debug)]
pub struct View {
    /// The view's name.
    pub name: String,
    layout: Arc<RowLayout>,
    /// By number; one for a view that has no shards.
    shards: Box<[Arc<Shard>]>,
}

// === impl View ===

impl View {
    pub(super) fn new(name: &str, layout: Arc<RowLayout>, shards: Vec<Arc<Shard>>) -> Self {
        Self { name: name.to_owned(), layout, shards: shards.into() }
    }

    /// How the cells of a row are to be read.
    pub fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    /// Its shards, by number.
    pub fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// Copies the row of an entity into `cells` and says the time of its event. `None` when there is none; an on-demand
    /// view then fetches it for the next reader, unless the core is known not to have it or cannot be reached.
    pub fn read(&self, entity: &str, cells: &mut [u64], now_us: TimeUs) -> Option<TimeUs> {
        self.shard(entity).read(entity, cells, now_us)
    }

    /// Sees to it that the row of an entity is there for a reader that can wait: what to wait for when it is being fetched.
    /// Nothing when it is held, when there is none, or when nobody would answer.
    pub fn fetch(&self, entity: &str, now_us: TimeUs) -> Option<Fetching> {
        self.shard(entity).fetch(entity, now_us)
    }

    /// Why there is no row of an entity.
    pub fn absence(&self, entity: &str, now_us: TimeUs) -> Absence {
        self.shard(entity).absence(entity, now_us)
    }

    /// Entities held.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.table.len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entities, in no order; how many there are when they are more than `limit`.
    pub fn entities(&self, limit: usize) -> Result<Vec<Arc<str>>, usize> {
        let found = self.len();
        if found > limit {
            return Err(found);
        }
        Ok(self.shards.iter().flat_map(|shard| shard.table.entities()).take(limit).collect())
    }

    /// Microseconds since all of it was last proven current; `i64::MAX` when it never was.
    pub fn lag_us(&self, now_us: TimeUs) -> i64 {
        self.shards.iter().map(|shard| shard.lag_us(now_us)).max().unwrap_or(i64::MAX)
    }

    /// Whether all of it was ever complete at this schema.
    pub fn is_synced(&self) -> bool {
        self.shards.iter().all(|shard| shard.is_synced())
    }

    /// Waits until [`View::is_synced`], at most `within`. Whether it is.
    pub async fn synced(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        for shard in &self.shards {
            if !shard.synced(end.saturating_duration_since(Instant::now())).await {
                return false;
            }
        }
        true
    }

    /// Whether both read the same tables.
    pub fn is(&self, other: &Self) -> bool {
        self.shards.len() == other.shards.len()
            && self.shards.iter().zip(&other.shards).all(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
    }

    /// Whether dropping it frees a table.
    pub fn is_last(&self) -> bool {
        self.shards.iter().any(|shard| Arc::strong_count(shard) == 1)
    }

    /// The shard that has an entity. There is one at least.
    fn shard(&self, entity: &str) -> &Shard {
        match &*self.shards {
            [one] => one,
            many => &many[shard_of(entity, many.len() as u32) as usize],
        }
    }
}
