//! What waits to be written, the latest of each entity: its row in memory, or in a file: beyond the bound of memory, and while all
//! rows are read again. Owns what waits where; must not know when it is written.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::WriteBehindLimits;
use crate::features::disk::scratch::{Place, Scratch};
use crate::features::disk::{Change, Checkpoint, DiskError, StoredRow};

/// All that waits, and what is said of it.
pub(super) struct Pending {
    pub(super) changes: Changes,
    pub(super) bytes: usize,
    /// The rows of those changes that are not in memory.
    pub(super) scratch: Scratch,
    /// What they take, those that later changes made useless among them.
    pub(super) scratch_bytes: u64,
    /// The file failed: all that waits, waits in memory.
    pub(super) no_scratch: bool,
    /// When the oldest change came.
    pub(super) since: Option<Instant>,
    /// What is being written right now still weighs.
    pub(super) writing: (usize, usize),
    pub(super) writing_since: Option<Instant>,
    pub(super) checkpoint: Mark,
    pub(super) count: u64,
    pub(super) hurry: bool,
    /// Nothing is written before there is a checkpoint to go with it.
    pub(super) rests: bool,
}

/// A change that waits, with its row or the place of that. Of a first sync a million may wait: so it is small.
pub(super) enum Waiting {
    Gone,
    Here(Box<StoredRow>),
    There(Place),
}

/// By entity.
pub(super) type Changes = HashMap<Arc<str>, Waiting, RandomState>;

/// What becomes of the checkpoint on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Mark {
    #[default]
    Keep,
    Forget,
    Set(Checkpoint),
}

/// What an entry weighs besides its text and row.
const ENTRY_BYTES: usize = 64;

// === impl Pending ===

impl Pending {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            changes: Changes::default(),
            bytes: 0,
            scratch: Scratch::new(dir),
            scratch_bytes: 0,
            no_scratch: false,
            since: None,
            writing: (0, 0),
            writing_since: None,
            checkpoint: Mark::Keep,
            count: 0,
            hurry: false,
            rests: false,
        }
    }

    /// Puts the row of a change where it waits: into the file when memory holds as much as it may, and when all rest.
    pub(super) fn place(&mut self, change: Change, limits: &WriteBehindLimits) -> Waiting {
        let Some(row) = change else { return Waiting::Gone };
        if !((self.rests || self.memory_is_full(limits)) && self.may_spill(limits)) {
            return Waiting::Here(row.into());
        }
        match self.scratch.put(&row) {
            Ok(place) => {
                self.scratch_bytes += (row.row.len() + ENTRY_BYTES) as u64;
                Waiting::There(place)
            }
            Err(error) => {
                tracing::warn!(%error, "rows cannot wait in a file beside the feature store; the feed waits instead");
                self.no_scratch = true;
                Waiting::Here(row.into())
            }
        }
    }

    fn memory_is_full(&self, limits: &WriteBehindLimits) -> bool {
        let (rows, bytes) = self.writing;
        self.changes.len() + rows >= limits.rows || self.bytes + bytes >= limits.bytes
    }

    pub(super) fn may_spill(&self, limits: &WriteBehindLimits) -> bool {
        !self.no_scratch && self.scratch_bytes < limits.scratch_bytes
    }

    pub(super) fn is_full(&self, limits: &WriteBehindLimits) -> bool {
        self.memory_is_full(limits) && !self.may_spill(limits)
    }
}

// === impl Waiting ===

impl Waiting {
    pub(super) fn into_change(self, scratch: &Scratch) -> Result<Change, DiskError> {
        match self {
            Self::Gone => Ok(None),
            Self::Here(row) => Ok(Some(*row)),
            Self::There(place) => scratch.get(place).map(Some).map_err(|error| DiskError(error.into())),
        }
    }
}

/// What it weighs in memory.
pub(super) fn weight(entity: &str, waiting: &Waiting) -> usize {
    let row = if let Waiting::Here(row) = waiting { size_of::<StoredRow>() + row.row.len() } else { 0 };
    ENTRY_BYTES + entity.len() + row
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_rests_waits_in_the_file_and_other_rows_in_memory_while_they_may() {
        let dir = tempfile::tempdir().unwrap();
        let limits = WriteBehindLimits {
            every: Duration::ZERO,
            rows: 2,
            bytes: usize::MAX,
            scratch_bytes: 3 * ENTRY_BYTES as u64,
        };
        let row = || Some(StoredRow { time_us: 7, row: "{}".into() });
        let mut pending = Pending::new(dir.path());
        assert!(matches!(pending.place(row(), &limits), Waiting::Here(_)));
        pending.rests = true;
        let Waiting::There(place) = pending.place(row(), &limits) else { panic!("a row that rests is in memory") };
        assert_eq!(pending.scratch.get(place).unwrap(), row().unwrap());
        assert!(matches!(pending.place(None, &limits), Waiting::Gone));
        // Until the file is full, too.
        for _ in 0..2 {
            assert!(matches!(pending.place(row(), &limits), Waiting::There(_)));
        }
        assert!(matches!(pending.place(row(), &limits), Waiting::Here(_)));
    }
}
