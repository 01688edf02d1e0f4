//! What a lake holds, as it was told: records and events back from their rows, each once, without those of erased persons. For who
//! reads a lake as others read the stream.

use selvedge_node::outbox::Lane;
use selvedge_node::outbox::reader::Item;

use super::items::{Items, ItemsError};
use super::part::{Day, Part};
use super::rows;
use super::store::{Store, StoreError};
use super::{Erased, ErasedError};

/// The items of some lanes and days, in the order of their days.
pub struct Recorded {
    store: Store,
    erased: Erased,
    left: std::vec::IntoIter<(Lane, Day)>,
    open: Option<(Lane, Day, Items)>,
}

/// A lake cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whose rows are erased is not known.
    #[error(transparent)]
    Erased(#[from] ErasedError),
    /// A part is broken or gone.
    #[error(transparent)]
    Items(#[from] ItemsError),
    /// A row is no item: something else wrote the part.
    #[error("{lane} of {day}: a row that is none of this lake's", lane = .lane.as_str())]
    Row {
        /// The lane.
        lane: Lane,
        /// The day.
        day: Day,
    },
}

// === impl Recorded ===

impl Recorded {
    /// The items of `lanes`, of the days that `wanted` says yes to, as far as the lake has them.
    pub async fn of(store: &Store, lanes: &[Lane], wanted: impl Fn(Lane, Day) -> bool) -> Result<Self, RecordedError> {
        let erased = Erased::read(store).await?;
        let mut days = Vec::new();
        for &lane in lanes {
            let found = store.list(lane.as_str()).await?;
            let mut of: Vec<Day> = found.iter().filter_map(|(path, _)| Some(Part::at(path)?.day)).collect();
            of.sort_unstable();
            of.dedup();
            days.extend(of.into_iter().filter(|day| wanted(lane, *day)).map(|day| (lane, day)));
        }
        days.sort_by_key(|(_, day)| *day);
        Ok(Self { store: store.clone(), erased, left: days.into_iter(), open: None })
    }

    /// The next item.
    pub async fn next(&mut self) -> Result<Option<Item>, RecordedError> {
        loop {
            let Some((lane, day, items)) = &mut self.open else {
                let Some((lane, day)) = self.left.next() else { return Ok(None) };
                let names: Vec<&str> = rows::own(lane).iter().map(|spec| spec.name.as_str()).collect();
                self.open = Some((lane, day, Items::of(&self.store, lane, day, &names).await?));
                continue;
            };
            let Some(row) = items.next().await? else {
                self.open = None;
                continue;
            };
            let item = rows::item(*lane, &row).ok_or(RecordedError::Row { lane: *lane, day: *day })?;
            let (subject, session, time_us) = match &item {
                Item::Event(event) => (&event.subject, &event.session, event.received_us),
                Item::Record(record) => (&record.subject, &record.session, record.time_us),
            };
            if !self.erased.covers(subject.as_deref(), session.as_deref(), time_us) {
                return Ok(Some(item));
            }
        }
    }
}
