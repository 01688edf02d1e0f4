//! A view as a release sees it: one table at one layout, and how late it is. Owns nothing but that; holding it keeps the
//! view's feed running.

use std::sync::Arc;
use std::time::Duration;

use selvedge_decision::TimeUs;
use selvedge_decision::layout::RowLayout;
use serde::Serialize;
use tokio::sync::watch;

use crate::features::source::SourceHandle;
use crate::features::table::Table;

/// One view at one layout. While one `Arc` of it lives, its rows are kept fresh.
pub struct View {
    /// The view's name.
    pub name: String,
    /// Its rows.
    pub table: Table,
    layout: Arc<RowLayout>,
    source: Arc<SourceHandle>,
    /// Its table has every row its source has; before that it may lack rows although the source is complete.
    filled: watch::Sender<bool>,
}

/// How a view is, for status pages and readiness.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewStatus {
    /// Its name.
    pub view: String,
    /// Entities held.
    pub entities: u64,
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

// === impl View ===

impl View {
    pub(super) fn new(name: &str, layout: Arc<RowLayout>, max_entities: u32, source: Arc<SourceHandle>) -> Self {
        let (table, filled) = (Table::new(layout.cells(), max_entities), watch::Sender::new(false));
        Self { name: name.to_owned(), table, layout, source, filled }
    }

    /// Every row the source has is in the table; from now on both learn of every change.
    pub(super) fn set_filled(&self) {
        self.filled.send_if_modified(|filled| !std::mem::replace(filled, true));
    }

    /// How the cells of a row are to be read.
    pub fn layout(&self) -> &Arc<RowLayout> {
        &self.layout
    }

    /// Microseconds since the view was last proven current; `i64::MAX` when it never was.
    pub fn lag_us(&self, now_us: TimeUs) -> i64 {
        self.source.lag_us(now_us)
    }

    /// How the view is.
    pub fn status(&self, now_us: TimeUs) -> ViewStatus {
        self.source.status(now_us)
    }

    /// Whether this table was ever complete: filled from a complete copy on disk, or in sync with the core. A table at
    /// another schema of the same view may be while this one is not.
    pub fn is_synced(&self) -> bool {
        *self.filled.borrow() && self.source.is_synced()
    }

    /// Waits until [`View::is_synced`], at most `within`. Whether it is.
    pub async fn synced(&self, within: Duration) -> bool {
        let (mut filled, mut synced) = (self.filled.subscribe(), self.source.synced());
        let both = async { filled.wait_for(|is| *is).await.is_ok() && synced.wait_for(|is| *is).await.is_ok() };
        tokio::time::timeout(within, both).await.unwrap_or(false)
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("name", &self.name).field("table", &self.table).finish_non_exhaustive()
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
