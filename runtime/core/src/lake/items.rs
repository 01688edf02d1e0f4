//! Items back from the parts of a day, each once. Owns which parts are read: those that no other covers, in the order of their items.

use selvedge_decision::{Epoch, NodeId};
use selvedge_node::outbox::Lane;

use super::compact::whole;
use super::part::{Day, Part};
use super::rows;
use super::store::{Store, StoreError};
use crate::table::{Cell, Kind, Reading, Shape, Spec, TableError, read};

/// The items of one lane and day, in the order (node, epoch, seq), one part in memory at a time.
pub(crate) struct Items<'a> {
    store: &'a Store,
    columns: Vec<Spec>,
    parts: std::vec::IntoIter<Part>,
    open: Option<(Part, Reading)>,
    /// The last item that was read, of its run.
    last: Option<(NodeId, Epoch, i64)>,
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

impl<'a> Items<'a> {
    /// The items of a day; a row has the named columns, in that order.
    pub(crate) async fn of(store: &'a Store, lane: Lane, day: Day, names: &[&str]) -> Result<Self, StoreError> {
        let found = store.list(&format!("{}/day={day}", lane.as_str())).await?;
        let found = found.into_iter().filter_map(|(path, bytes)| Some((Part::at(&path)?, bytes))).collect();
        let parts: Vec<Part> = whole(found).0.into_iter().map(|(part, _)| part).collect();
        let known = rows::columns(lane);
        let spec = |name: &&str| known.iter().find(|spec| spec.name == **name).cloned();
        let seq = Spec::new("seq", Kind::Whole, Shape::One);
        let columns = names.iter().filter_map(spec).chain([seq]).collect();
        Ok(Self { store, columns, parts: parts.into_iter(), open: None, last: None })
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
