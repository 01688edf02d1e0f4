//! Features for the core, out of the node's tables.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use selvedge_decision::TimeUs;
use selvedge_decision::gather::{Absence, Features};
use selvedge_decision::layout::NO_SYMBOL;

use super::active::{Active, Bound};

/// The active release's views at one time.
pub(super) struct Source<'a> {
    active: &'a Active,
    now_us: TimeUs,
    snapshot: Option<&'a Snapshot>,
    session_seq: Cell<u64>,
}

/// The rows that the decisions of one page have read: the second reads what the first saw, whatever came in between.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    rows: RefCell<HashMap<(usize, String), Option<Kept>>>,
    session_seq: Cell<u64>,
}

/// A row's event time and cells.
type Kept = (TimeUs, Vec<u64>);

// === impl Source ===

impl<'a> Source<'a> {
    pub(super) fn new(active: &'a Active, now_us: TimeUs, snapshot: Option<&'a Snapshot>) -> Self {
        Self { active, now_us, snapshot, session_seq: Cell::new(0) }
    }

    fn read_now(&self, view: usize, entity: &str, cells: &mut [u64]) -> Option<TimeUs> {
        match self.active.view(view)? {
            Bound::Table(view) => view.read(entity, cells, self.now_us),
            Bound::Sessions(view) => {
                let (time_us, seq) = view.read(entity, self.now_us, cells);
                let known = self.snapshot.map_or(&self.session_seq, |snapshot| &snapshot.session_seq);
                known.set(known.get().max(seq));
                Some(time_us)
            }
        }
    }
}

impl Features for Source<'_> {
    fn read(&self, view: usize, entity: &str, cells: &mut [u64]) -> Option<TimeUs> {
        let Some(snapshot) = self.snapshot else { return self.read_now(view, entity, cells) };
        let mut rows = snapshot.rows.borrow_mut();
        let row = rows
            .entry((view, entity.to_owned()))
            .or_insert_with(|| self.read_now(view, entity, cells).map(|time_us| (time_us, cells.to_vec())));
        let (time_us, kept) = row.as_ref()?;
        cells.copy_from_slice(kept);
        Some(*time_us)
    }

    fn absence(&self, view: usize, entity: &str) -> Absence {
        match self.active.view(view) {
            Some(Bound::Table(view)) => view.absence(entity, self.now_us),
            Some(Bound::Sessions(_)) | None => Absence::NoRow,
        }
    }

    fn session_seq(&self) -> u64 {
        self.snapshot.map_or(&self.session_seq, |snapshot| &snapshot.session_seq).get()
    }

    fn lag_us(&self, view: usize) -> i64 {
        match self.active.view(view) {
            Some(Bound::Table(view)) => view.lag_us(self.now_us),
            Some(Bound::Sessions(view)) => view.lag_us(self.now_us),
            None => 0,
        }
    }

    fn symbol(&self, cell: u64) -> f64 {
        if cell == NO_SYMBOL { f64::NAN } else { self.active.number(cell) }
    }

    fn number(&self, text: &str) -> f64 {
        self.active.plan.symbols.number(text)
    }

    fn text(&self, cell: u64) -> Option<Arc<str>> {
        self.active.text(cell)
    }

    fn entities(&self, view: usize, limit: usize) -> Result<Vec<Arc<str>>, usize> {
        let Some(Bound::Table(view)) = self.active.view(view) else { return Ok(Vec::new()) };
        view.entities(limit)
    }
}
