//! Items back from the parts of a day, each once. Owns which parts are read: those that no other covers, in the order of their items.

use selvedge_decision::{Epoch, NodeId};
use selvedge_node::outbox::Lane;

use super::compact::whole;
use super::part::{Day, Part};
use super::rows;
use super::store::{Store, StoreError};
use crate::table::{Cell, Kind, Reading, Shape, Spec, TableError, read};

/// The items of one lane, of one day or of many, in the order (node, epoch, seq), one part in memory at a time.
pub(crate) struct Items {
    store: Store,
    columns: Vec<Spec>,
    parts: std::vec::IntoIter<Part>,
    open: Option<(Part, Reading)>,
    /// The last item that was read, of its run.
    last: Option<(NodeId, Epoch, i64)>,
}

/// The days from `first` to `last` of which a lane has something.
pub(crate) async fn days(store: &Store, lane: Lane, first: Day, last: Day) -> Result<Vec<Day>, StoreError> {
    let folders = store.folders(lane.as_str()).await?;
    let days = folders.iter().filter_map(|name| name.strip_prefix("day=")?.parse::<Day>().ok());
    Ok(days.filter(|day| (first..=last).contains(day)).collect())
}

/// Items cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ItemsError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part is broken or gone.
    #[error("{part}: {error}")]
    Part {
        /// Its path.
        part: String,
        /// What is wrong.
        error: TableError,
    },
}

// === impl Items ===

impl Items {
    /// The items of a day; a row has the named columns, in that order.
    pub(crate) async fn of(store: &Store, lane: Lane, day: Day, names: &[&str]) -> Result<Self, StoreError> {
        let found = store.list(&format!("{}/day={day}", lane.as_str())).await?;
        Ok(Self::of_parts(store, lane, found, |_| true, names))
    }

    /// The items of all days up to `last`.
    pub(crate) async fn of_days(store: &Store, lane: Lane, last: Day, names: &[&str]) -> Result<Self, StoreError> {
        let found = store.list(lane.as_str()).await?;
        Ok(Self::of_parts(store, lane, found, |part| part.day <= last, names))
    }

    fn of_parts(
        store: &Store,
        lane: Lane,
        found: Vec<(String, u64)>,
        is_wanted: impl Fn(&Part) -> bool,
        names: &[&str],
    ) -> Self {
        let found = found.into_iter().filter_map(|(path, bytes)| Some((Part::at(&path)?, bytes)));
        let found = found.filter(|(part, _)| is_wanted(part)).collect();
        let mut parts: Vec<Part> = whole(found).0.into_iter().map(|(part, _)| part).collect();
        // A run goes on over midnight, and a node's clock may be set back between two of its runs.
        parts.sort_by(|a, b| (&a.node, a.epoch, a.first).cmp(&(&b.node, b.epoch, b.first)));
        let known = rows::columns(lane);
        let spec = |name: &&str| known.iter().find(|spec| spec.name == **name).cloned();
        let seq = Spec::new("seq", Kind::Whole, Shape::One);
        let columns = names.iter().filter_map(spec).chain([seq]).collect();
        Self { store: store.clone(), columns, parts: parts.into_iter(), open: None, last: None }
    }

    /// Of which run the row is that was read last, and its number.
    pub(crate) fn place(&self) -> Option<(&NodeId, Epoch, u64)> {
        self.last.as_ref().map(|(node, epoch, seq)| (node, *epoch, seq.unsigned_abs()))
    }

    /// The next row.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Cell>>, ItemsError> {
        loop {
            if let Some((part, rows)) = &mut self.open {
                let failed = |error| ItemsError::Part { part: part.path(), error };
                match rows.next() {
                    None => self.open = None,
                    Some(row) => {
                        let mut row = row.map_err(failed)?;
                        let seq = row.pop().and_then(|seq| seq.as_whole()).unwrap_or_default();
                        // Parts overlap where two processes landed into one bucket for a moment.
                        let is_again = self.last.as_ref().is_some_and(|(node, epoch, last)| {
                            (node, *epoch) == (&part.node, part.epoch) && seq <= *last
                        });
                        if !is_again {
                            self.last = Some((part.node.clone(), part.epoch, seq));
                            return Ok(Some(row));
                        }
                    }
                }
                continue;
            }
            let Some(part) = self.parts.next() else { return Ok(None) };
            let failed = |error| ItemsError::Part { part: part.path(), error };
            let Some(bytes) = self.store.read(&part.path()).await? else {
                return Err(failed(TableError("it was removed meanwhile; try again".to_owned())));
            };
            let rows = read(bytes, &self.columns).map_err(failed)?;
            self.open = Some((part, rows));
        }
    }
}
