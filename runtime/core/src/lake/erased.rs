//! Erased persons. Owns the tombstones, one JSON object a person in the folder `erased`, and whose rows they cover: those of the
//! subject, and those of their sessions that do not say whose they are, from before the time it was erased. Whoever comes back
//! begins anew.

use std::collections::BTreeMap;

use selvedge_decision::{Digest, TimeUs};
use selvedge_node::events::rfc3339;
use serde::{Deserialize, Serialize};

use super::store::{Store, StoreError};
use crate::table::TableError;

/// The folder of the tombstones.
const FOLDER: &str = "erased";

/// Whose rows nobody may see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Erased {
    subjects: BTreeMap<String, TimeUs>,
    sessions: BTreeMap<String, TimeUs>,
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

#[derive(Serialize, Deserialize)]
struct Tombstone {
    subject: String,
    at: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sessions: Vec<String>,
}

// === impl Erased ===

impl Erased {
    /// All tombstones of a lake.
    pub async fn read(store: &Store) -> Result<Self, ErasedError> {
        let mut erased = Self::default();
        // What is being written there has another ending.
        for (path, _) in store.list(FOLDER).await?.into_iter().filter(|(path, _)| path.ends_with(".json")) {
            let Some(bytes) = store.read(&path).await? else { continue };
            let bad = |why: String| ErasedError::Bad { path: path.clone(), why: TableError(why) };
            let tombstone: Tombstone = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
            let at_us = rfc3339::parse(&tombstone.at)
                .ok_or_else(|| bad(format!("at: {:?} is no time in RFC 3339", tombstone.at)))?;
            later(&mut erased.subjects, tombstone.subject, at_us);
            tombstone.sessions.into_iter().for_each(|session| later(&mut erased.sessions, session, at_us));
        }
        Ok(erased)
    }

    /// Leaves the tombstone of a person; with `dry_run` it only says where. Its path.
    pub async fn mark(
        store: &Store,
        subject: &str,
        sessions: &[String],
        at_us: TimeUs,
        dry_run: bool,
    ) -> Result<String, StoreError> {
        let path = format!("{FOLDER}/{}.json", Digest::of(subject.as_bytes()).hex());
        if !dry_run {
            let (subject, at, sessions) = (subject.to_owned(), rfc3339::format(at_us), sessions.to_vec());
            // Texts only: writing them cannot fail.
            let json = serde_json::to_vec(&Tombstone { subject, at, sessions }).unwrap_or_default();
            store.overwrite(&path, json).await?;
        }
        Ok(path)
    }

    /// Whether a row of this subject, or of this session and nobody, from this time is erased.
    pub fn covers(&self, subject: Option<&str>, session: Option<&str>, time_us: TimeUs) -> bool {
        let at_us = match subject {
            Some(subject) => self.subjects.get(subject),
            None => session.and_then(|session| self.sessions.get(session)),
        };
        at_us.is_some_and(|at_us| time_us < *at_us)
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }
}

fn later(known: &mut BTreeMap<String, TimeUs>, id: String, at_us: TimeUs) {
    let at = known.entry(id).or_insert(at_us);
    *at = at_us.max(*at);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn a_tombstone_covers_a_person_and_their_sessions_that_do_not_say_whose_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().display().to_string()).unwrap();
        let at_us = 1_795_593_600_000_000;
        assert!(Erased::read(&store).await.unwrap().is_empty());
        let sessions = ["s-1".to_owned()];
        let path = Erased::mark(&store, "u-1", &sessions, at_us, true).await.unwrap();
        assert!(Erased::read(&store).await.unwrap().is_empty(), "a dry run leaves nothing");
        assert_eq!(Erased::mark(&store, "u-1", &sessions, at_us, false).await.unwrap(), path);
        let erased = Erased::read(&store).await.unwrap();
        let before = at_us - 1;
        assert!(erased.covers(Some("u-1"), None, before) && erased.covers(None, Some("s-1"), before));
        assert!(!erased.covers(Some("u-1"), Some("s-1"), at_us), "what came since is theirs anew");
        assert!(!erased.covers(Some("u-2"), Some("s-1"), before), "a session that somebody else goes on with");
        assert!(!erased.covers(None, Some("s-2"), before) && !erased.covers(None, None, before));
    }
}
