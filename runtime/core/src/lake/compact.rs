//! The parts of a day put together, without the rows of erased persons. The order is: the part that covers others is durable, then
//! those are removed; a part that stands alone is replaced at once. So no row is ever missing. Until the covered parts are gone
//! their rows stand there twice: this crate reads the part that covers them ([`whole`]), others should not read that day meanwhile.
//! Killed in between, the next pass ends it.

use selvedge_node::outbox::Lane;
use serde::Serialize;

use super::erased::{Erased, ErasedError};
use super::part::{Day, LANES, Part};
use super::rows;
use super::store::{Store, StoreError};
use crate::table::{TableError, Writing, read};

/// Bytes of the parts that become one, at most: that one is in memory, and one of them.
const MAX_BYTES: u64 = 128 << 20;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Compacted {
    /// Parts there were.
    pub parts_before: u64,
    /// Parts there are.
    pub parts: u64,
    /// Rows of erased persons that are gone.
    pub erased: u64,
}

/// A day is not put together.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whose rows are erased is not known.
    #[error(transparent)]
    Erased(#[from] ErasedError),
    /// A part cannot be read or written.
    #[error("{path}: {error}")]
    Table {
        /// The part.
        path: String,
        /// What went wrong.
        error: TableError,
    },
}

/// Puts the parts of one day together, of every lane.
pub async fn compact(store: &Store, day: Day) -> Result<Compacted, CompactError> {
    let erased = Erased::read(store).await?;
    let mut done = Compacted::default();
    for lane in LANES {
        let found: Vec<_> = store.list(&format!("{}/day={day}", lane.as_str())).await?;
        let found: Vec<(Part, u64)> =
            found.into_iter().filter_map(|(path, bytes)| Some((Part::at(&path)?, bytes))).collect();
        done.parts_before += found.len() as u64;
        let (whole, covered) = whole(found);
        // What a pass before this one left.
        store.remove(covered.iter().map(Part::path)).await?;
        for group in groups(whole) {
            done.parts += 1;
            done.erased += join(store, &group, lane, &erased).await?;
        }
    }
    Ok(done)
}

/// Parts that no other covers, in order, and those that another does.
pub(crate) fn whole(mut parts: Vec<(Part, u64)>) -> (Vec<(Part, u64)>, Vec<Part>) {
    // Of two that begin with the same item, the one that covers the other comes first.
    parts.sort_by(|(a, _), (b, _)| {
        (a.lane, a.day, &a.node, a.epoch, a.first, b.last).cmp(&(b.lane, b.day, &b.node, b.epoch, b.first, a.last))
    });
    let mut whole: Vec<(Part, u64)> = Vec::new();
    let mut covered = Vec::new();
    for (part, bytes) in parts {
        match whole.last() {
            Some((last, _)) if is_same_run(last, &part) && part.last <= last.last => covered.push(part),
            _ => whole.push((part, bytes)),
        }
    }
    (whole, covered)
}

fn is_same_run(a: &Part, b: &Part) -> bool {
    (a.lane, a.day, &a.node, a.epoch) == (b.lane, b.day, &b.node, b.epoch)
}

/// Parts that follow each other without a hole, as many as may become one.
fn groups(parts: Vec<(Part, u64)>) -> Vec<Vec<Part>> {
    let mut groups: Vec<Vec<Part>> = Vec::new();
    let mut size = 0;
    for (part, bytes) in parts {
        match groups.last_mut() {
            Some(group)
                if size + bytes <= MAX_BYTES
                    && group.last().is_some_and(|last| is_same_run(last, &part) && last.last + 1 == part.first) =>
            {
                size += bytes;
                group.push(part);
            }
            _ => {
                size = bytes;
                groups.push(vec![part]);
            }
        }
    }
    groups
}

/// Makes one part of a group; how many rows were erased.
async fn join(store: &Store, group: &[Part], lane: Lane, erased: &Erased) -> Result<u64, CompactError> {
    let ([first, ..], [.., last]) = (group, group) else { return Ok(0) };
    if group.len() == 1 && erased.is_empty() {
        return Ok(0);
    }
    let columns = rows::columns(lane);
    let place = |name: &str| columns.iter().position(|column| column.name == name).unwrap_or(usize::MAX);
    let [subject, session] = ["subject", "session"].map(place);
    let time = place(if lane == Lane::Decisions { "time" } else { "received" });
    let joined = Part { last: last.last, ..first.clone() };
    let unwritten = |error| CompactError::Table { path: joined.path(), error };
    let mut writing = Writing::new(Vec::new(), columns).map_err(unwritten)?;
    let mut gone = 0;
    for part in group {
        let failed = |error| CompactError::Table { path: part.path(), error };
        let Some(bytes) = store.read(&part.path()).await? else {
            return Err(failed(TableError("it was removed meanwhile; is another compaction at work?".to_owned())));
        };
        for row in read(bytes, columns).map_err(failed)? {
            let row = row.map_err(failed)?;
            let text = |place: usize| row.get(place).and_then(|cell| cell.as_text());
            let when = row.get(time).and_then(|cell| cell.as_whole()).unwrap_or(i64::MIN);
            if erased.covers(text(subject), text(session), when) {
                gone += 1;
            } else {
                writing.push(row).map_err(unwritten)?;
            }
        }
    }
    if group.len() == 1 && gone == 0 {
        return Ok(0);
    }
    let bytes = writing.finish().map_err(unwritten)?;
    // Of one part the name stays the same: a reader sees it before or after. A larger one may be there from a pass that was killed,
    // with rows of somebody who was erased since.
    store.overwrite(&joined.path(), bytes).await?;
    let covered = group.iter().filter(|part| **part != joined);
    store.remove(covered.map(Part::path)).await?;
    Ok(gone)
}

#[cfg(test)]
mod tests;
