//! Erased persons. Owns the tombstones, one JSON object a person in the folder `erased`, and whose rows they cover: those of the
//! subject up to the time it was erased, so that whoever comes back begins anew.

use std::collections::BTreeMap;

use selvedge_decision::TimeUs;
use selvedge_node::events::rfc3339;
use serde::Deserialize;

use super::store::{Store, StoreError};
use crate::table::TableError;

/// The folder of the tombstones.
const FOLDER: &str = "erased";

/// Whose rows nobody may see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Erased {
    until_us: BTreeMap<String, TimeUs>,
}

/// Why tombstones cannot be read; rows are not shown then.
#[derive(Debug, thiserror::Error)]
pub enum ErasedError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tombstone says nothing that can be followed.
    #[error("{path}: {why}; expected {{\"subject\": \"u-1\", \"at\": \"2026-11-26T10:00:00Z\"}}")]
    Bad {
        /// The object.
        path: String,
        /// What is wrong.
        why: TableError,
    },
}

#[derive(Deserialize)]
struct Tombstone {
    subject: String,
    at: String,
}

// === impl Erased ===

impl Erased {
    /// All tombstones of a lake.
    pub async fn read(store: &Store) -> Result<Self, ErasedError> {
        let mut until_us = BTreeMap::new();
        for (path, _) in store.list(FOLDER).await? {
            let Some(bytes) = store.read(&path).await? else { continue };
            let bad = |why: String| ErasedError::Bad { path: path.clone(), why: TableError(why) };
            let tombstone: Tombstone = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
            let at_us = rfc3339::parse(&tombstone.at)
                .ok_or_else(|| bad(format!("at: {:?} is no time in RFC 3339", tombstone.at)))?;
            let until = until_us.entry(tombstone.subject).or_insert(at_us);
            *until = at_us.max(*until);
        }
        Ok(Self { until_us })
    }

    /// Whether a row of `subject` from this time is erased.
    pub fn covers(&self, subject: Option<&str>, time_us: TimeUs) -> bool {
        subject.and_then(|subject| self.until_us.get(subject)).is_some_and(|until_us| time_us <= *until_us)
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.until_us.is_empty()
    }
}
