//! One bucket's rows in one table at one layout: how late they are, and what is known of whom it does not hold. Owns nothing
//! but that; holding it keeps the bucket's feed running.

use std::sync::Arc;
use std::time::Duration;

use selvedge_decision::TimeUs;
use selvedge_decision::gather::Absence;
use selvedge_decision::layout::RowLayout;
use serde::Serialize;
use tokio::sync::watch;

use crate::features::source::SourceHandle;
use crate::features::source::sights::Sight;
use crate::features::table::{Room, Table};

/// A view, or one shard of it, at one layout. While one `Arc` of it lives, its rows are kept fresh.
pub struct Shard {
    /// What the bucket is called behind its prefix: the view's name, or with the shard's number.
    pub name: String,
    /// Its rows.
    pub table: Arc<Table>,
    layout: Arc<RowLayout>,
    source: Arc<SourceHandle>,
    /// Its table has every row its source has; before that it may lack rows although the source is complete.
    filled: watch::Sender<bool>,
}

/// A row on its way, for whoever wants to wait for it.
pub struct Fetching {
    over: watch::Receiver<()>,
    source: Arc<SourceHandle>,
}

/// How a view is, or a shard of one, for status pages and readiness.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewStatus {
    /// Its name; of a shard with its number.
    pub view: String,
    /// Whether it holds only whom decisions asked for.
    pub on_demand: bool,
    /// Entities held.
    pub entities: u64,
    /// Of an on-demand view: entities known to have no row at the core.
    pub absent: u64,
    /// Bytes held in memory, of all layouts in use together.
    pub bytes: u64,
    /// The last sequence applied; 0 for none, and for a local link.
    pub applied_seq: u64,
    /// The stream's last sequence when it was last asked.
    pub last_seq: u64,
    /// Milliseconds since it was last proven current. None when it never was.
    pub lag_ms: Option<u64>,
    /// Whether it was ever complete: in sync with the core, or read from a complete copy on disk.
    pub synced: bool,
    /// Entities with a change that is not in the copy on disk yet.
    pub disk_waiting: u64,
    /// Milliseconds that the oldest of those changes has waited.
    pub disk_behind_ms: u64,
    /// What its feed does.
    pub condition: Condition,
    /// Since when it does that, in microseconds UTC.
    pub since_us: TimeUs,
    /// More about it, for people.
    pub detail: String,
}

/// What a feed does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It is about to begin.
    Starting,
    /// It reads what it missed, or everything.
    CatchingUp,
    /// It applies every change as it comes.
    Live,
    /// It cannot, for now.
    Waiting,
}

// === impl Shard ===

impl Shard {
    pub(super) fn new(name: &str, layout: Arc<RowLayout>, room: Room, source: Arc<SourceHandle>) -> Self {
        let (table, filled) = (Arc::new(Table::new(layout.cells(), room)), watch::Sender::new(false));
        Self { name: name.to_owned(), table, layout, source, filled }
    }

    /// Whether every row the source has is in the table, so that both learn of every change.
    pub(super) fn filled(&self) -> &watch::Sender<bool> {
        &self.filled
    }

    /// Copies the row of an entity into `cells` and says the time of its event. `None` when there is none; an on-demand
    /// view then fetches it for the next reader, unless the core is known not to have it or cannot be reached.
    pub fn read(&self, entity: &str, cells: &mut [u64], now_us: TimeUs) -> Option<TimeUs> {
        let found = self.table.resolve(entity).and_then(|slot| self.table.read(slot, cells));
        let Some(sights) = self.source.sights() else { return found };
        let counter = match found {
            Some(_) => &sights.metrics.hits,
            None => match sights.sight(entity, now_us) {
                Sight::Absent => &sights.metrics.negatives,
                Sight::Fetching(_) => &sights.metrics.misses,
                Sight::Unreachable => &sights.metrics.unreachable,
                Sight::Busy => &sights.metrics.busy,
            },
        };
        counter.inc();
        found
    }

    /// Sees to it that the row of an entity is there for a reader that can wait: what to wait for when it is being fetched.
    /// Nothing when it is held, when there is none, or when nobody would answer.
    pub fn fetch(&self, entity: &str, now_us: TimeUs) -> Option<Fetching> {
        let sights = self.source.sights().filter(|_| !self.table.holds(entity))?;
        match sights.sight(entity, now_us) {
            Sight::Fetching(over) if sights.answers() => Some(Fetching { over, source: Arc::clone(&self.source) }),
            Sight::Fetching(_) | Sight::Absent | Sight::Unreachable | Sight::Busy => None,
        }
    }

    /// Why there is no row of an entity.
    pub fn absence(&self, entity: &str, now_us: TimeUs) -> Absence {
        match self.source.sights().and_then(|sights| sights.known(entity, now_us)) {
            None if self.source.sights().is_some() => Absence::NotFetched,
            None | Some(Sight::Absent) => Absence::NoRow,
            Some(Sight::Unreachable) => Absence::Unreachable,
            Some(Sight::Fetching(_) | Sight::Busy) => Absence::NotFetched,
        }
    }

    /// How the cells of a row are to be read.
    pub fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    /// Microseconds since it was last proven current; `i64::MAX` when it never was.
    pub fn lag_us(&self, now_us: TimeUs) -> i64 {
        self.source.lag_us(now_us)
    }

    /// Whether this table was ever complete: filled from a complete copy on disk, or in sync with the core. A table at
    /// another schema of the same view may be while this one is not.
    pub fn is_synced(&self) -> bool {
        *self.filled.borrow() && self.source.is_synced()
    }

    /// Waits until [`Shard::is_synced`], at most `within`. Whether it is.
    pub async fn synced(&self, within: Duration) -> bool {
        let (mut filled, mut synced) = (self.filled.subscribe(), self.source.synced());
        let both = async { filled.wait_for(|is| *is).await.is_ok() && synced.wait_for(|is| *is).await.is_ok() };
        tokio::time::timeout(within, both).await.unwrap_or(false)
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.source.detach(&self.table);
    }
}

// === impl Fetching ===

impl Fetching {
    /// Waits until the fetch is over, whatever came of it.
    pub async fn over(&mut self) {
        // Nothing is ever sent: the channel closes.
        while self.over.changed().await.is_ok() {}
    }

    /// Counts a wait that is over: whether the fetch was over before it.
    pub fn count(&self) {
        let Some(sights) = self.source.sights() else { return };
        let served = self.over.has_changed().is_err();
        if served {
            sights.metrics.waits_served.inc()
        } else {
            sights.metrics.waits_timed_out.inc()
        };
    }
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shard").field("name", &self.name).field("table", &self.table).finish_non_exhaustive()
    }
}

impl Condition {
    /// Its name in status and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::CatchingUp => "catching_up",
            Self::Live => "live",
            Self::Waiting => "waiting",
        }
    }
}
