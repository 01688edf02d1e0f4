//! A lake as commands reach it: where it lies, or a word on why nothing can lie there.

use selvedge_core::lake::{Store, StoreError};

use crate::output::Usage;

/// Opens a lake, whose directory is made unless it is there.
pub(crate) fn open(place: &str) -> anyhow::Result<Store> {
    Store::open(place).map_err(usage)
}

/// Opens a lake that is there.
pub(crate) fn open_existing(place: &str) -> anyhow::Result<Store> {
    Store::open_existing(place).map_err(usage)
}

fn usage(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::BadPlace { .. } => Usage(error.to_string()).into(),
        other => other.into(),
    }
}
