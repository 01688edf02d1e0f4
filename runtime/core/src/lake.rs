//! The lake: events, rewards and decision records as files of Parquet in a directory or an object store. Owns how its files are
//! named and what is promised of them: a part holds a range of one lane of one run, of one day and without a hole, and is created
//! once and never written again. So the names say which items are landed, each (node, epoch, lane, seq) once.
//!
//! `land` reads the stream and writes parts, `rows` says what their columns are, `part` names them, `store` keeps them, `keep`
//! removes old days, `compact` puts the parts of a day together, `items` reads them back, `events` for whoever counts them again,
//! `recorded` as the items they were, `erased` says whose rows nobody may see any more.

mod compact;
mod erased;
mod events;
mod items;
mod keep;
mod land;
mod part;
mod recorded;
mod rows;
mod store;

pub use compact::{CompactError, Compacted, compact};
pub use erased::{Erased, ErasedError};
pub use events::{Events, EventsError};
pub use items::ItemsError;
pub(crate) use items::{Items, days};
pub use keep::{Removed, remove_older};
pub use land::{LandError, Landed, Lander, Limits};
pub use part::{BadDay, Day, Part};
pub use recorded::{Recorded, RecordedError};
pub use store::{Store, StoreError};
