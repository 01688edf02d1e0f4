//! Retention by age: whole days at once, and the blocks that could not be read from before then. What is removed and still in the stream may land again; the next pass removes it.

use serde::Serialize;

use super::land::BROKEN;
use super::part::{Day, LANES, Part};
use super::store::{Store, StoreError};

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Removed {
    /// Parts.
    pub parts: u64,
    /// Blocks that could not be read.
    pub broken: u64,
    /// The bytes of both.
    pub bytes: u64,
}

/// Removes the parts of all days before `first`, of every lane, and what could not be read and was put aside before it.
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
    let broken = store.list_before(BROKEN, first.start_us()).await?;
    removed.broken = broken.len() as u64;
    removed.bytes += broken.iter().map(|(_, bytes)| bytes).sum::<u64>();
    store.remove(broken.into_iter().map(|(path, _)| path)).await?;
    Ok(removed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::{Duration, SystemTime};

    use super::*;

    #[tokio::test]
    async fn what_is_older_goes_and_what_could_not_be_read_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        let of = |day: &str| format!("events/day={day}/e-0000000300000abc-000000000001-000000000002.parquet");
        let paths =
            [of("2026-11-25"), of("2026-11-26"), "broken/EVENTS-1.block".into(), "broken/EVENTS-2.block".into()];
        for path in &paths {
            store.create(path, b"x".to_vec()).await.unwrap();
        }
        let first: Day = "2026-11-26".parse().unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_micros(first.start_us().unsigned_abs());
        for (path, time) in [(&paths[2], start - Duration::from_secs(1)), (&paths[3], start + Duration::from_secs(1))] {
            std::fs::File::options().write(true).open(folder.path().join(path)).unwrap().set_modified(time).unwrap();
        }
        let removed = remove_older(&store, first).await.unwrap();
        assert_eq!(removed, Removed { parts: 1, broken: 1, bytes: 2 });
        assert_eq!(paths.map(|path| folder.path().join(path).exists()), [false, true, false, true]);
    }
}
