//! Retention by age: whole days at once. What is removed and still in the stream may land again; the next pass removes it.

use serde::Serialize;

use super::part::{Day, LANES, Part};
use super::store::{Store, StoreError};

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Removed {
    /// Parts.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes the parts of all days before `first`, of every lane.
pub async fn remove_older(store: &Store, first: Day) -> Result<Removed, StoreError> {
    let mut removed = Removed::default();
    for lane in LANES {
        let parts = store.list(lane.as_str()).await?;
        let old: Vec<_> =
            parts.into_iter().filter(|(path, _)| Part::at(path).is_some_and(|part| part.day < first)).collect();
        removed.parts += old.len() as u64;
        removed.bytes += old.iter().map(|(_, bytes)| bytes).sum::<u64>();
        store.remove(old.into_iter().map(|(path, _)| path)).await?;
    }
    Ok(removed)
}
