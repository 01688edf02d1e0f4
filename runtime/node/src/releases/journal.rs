//! The journal: which release runs, which ran before, which is the canary, and the highest counter seen of each channel. Owns its file, written
//! whole and atomically before a swap is announced, so that a node starts with what it ran and an old pointer stays
//! refused after a restart.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use selvedge_build::channel::Canary;
use selvedge_decision::{Digest, TimeUs};
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

/// The largest journal that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What the journal says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    /// The release that runs.
    pub(super) active: Option<Ran>,
    /// The one before it, to which a rollback goes.
    pub(super) previous: Option<Ran>,
    /// The highest pointer seen, by channel.
    #[serde(default)]
    pub(super) seen: BTreeMap<String, Seen>,
    /// The release this node took back by itself.
    #[serde(default)]
    pub(super) quarantine: Option<Quarantine>,
    /// The canary beside what runs.
    #[serde(default)]
    pub(super) canary: Option<RanBeside>,
    /// The canary this node dropped by itself.
    #[serde(default)]
    pub(super) dropped: Option<Quarantine>,
}

/// A canary that this node ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RanBeside {
    /// The release, and for whom.
    pub(super) canary: Canary,
    /// The pointer's counter by which it came.
    pub(super) counter: u64,
    /// Since when.
    pub(super) since_us: TimeUs,
}

/// A release that this node ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ran {
    /// The release.
    #[serde(with = "text")]
    pub(super) release: Digest,
    /// The pointer's counter by which it came.
    pub(super) counter: u64,
    /// Since when.
    pub(super) since_us: TimeUs,
}

/// The highest pointer seen of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// Its counter.
    pub(super) counter: u64,
    /// Where it points.
    #[serde(with = "text")]
    pub(super) release: Digest,
    /// And its canary, all of it as text.
    #[serde(default)]
    pub(super) canary: Option<String>,
}

/// A release that this node took back by itself; it is not run again until the channel's counter changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// The release.
    #[serde(with = "text")]
    pub release: Digest,
    /// The counter by which it had come.
    pub counter: u64,
    /// Why it was taken back.
    pub why: String,
    /// When.
    pub since_us: TimeUs,
}

/// The journal's file and what it says.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    state: State,
}

// === impl Journal ===

impl Journal {
    /// Opens the journal in `dir`, which is created. One that cannot be understood is moved aside, and the second value
    /// says so: then neither the running release nor the counters are known.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Option<String>)> {
        fs::create_dir_all(dir)?;
        let path = dir.join("journal.json");
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => drop(file.take(MAX_BYTES).read_to_end(&mut bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self { path, state: State::default() }, None));
            }
            Err(error) => return Err(error),
        }
        let why = match serde_json::from_slice::<State>(&bytes) {
            Ok(state) if state.version == VERSION => return Ok((Self { path, state }, None)),
            Ok(state) => format!("version {} is unknown", state.version),
            Err(error) => error.to_string(),
        };
        let aside = dir.join("journal.json.broken");
        fs::rename(&path, &aside)?;
        let problem = format!("{}: {why}; moved to {}", path.display(), aside.display());
        Ok((Self { path, state: State::default() }, Some(problem)))
    }

    /// What it says.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Writes what `change` makes of it: durable when this returns, or unchanged when it fails.
    pub(super) async fn write(&mut self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut next = self.state.clone();
        change(&mut next);
        next.version = VERSION;
        if next != self.state {
            let (path, bytes) = (self.path.clone(), serde_json::to_vec_pretty(&next)?);
            blocking(move || write_durably(&path, &bytes)).await?;
            self.state = next;
        }
        Ok(())
    }
}

/// Runs what waits for the disk, or reads and hashes whole files, where it holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Writes a file whole or not at all: beside it, synced, renamed over it, folder synced.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("tmp");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Digests as text.
mod text {
    use selvedge_decision::Digest;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn seen(counter: u64) -> Seen {
        Seen { counter, release: Digest::of(b"r"), canary: None }
    }

    #[tokio::test]
    async fn what_was_written_is_read_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, problem) = Journal::open(&dir.path().join("new")).unwrap();
        assert_eq!((journal.state(), problem), (&State::default(), None));
        journal
            .write(|state| {
                state.active = Some(Ran { release: Digest::of(b"r"), counter: 7, since_us: 9 });
                state.seen.insert("prod".into(), seen(7));
                let (release, salt) = (Digest::of(b"next"), "next".to_owned());
                let canary = Canary { release, share_bp: 500, salt, on: [("region".into(), "eu".into())].into() };
                state.canary = Some(RanBeside { canary, counter: 7, since_us: 9 });
            })
            .await
            .unwrap();
        let (again, problem) = Journal::open(&dir.path().join("new")).unwrap();
        assert_eq!((again.state(), problem), (journal.state(), None));
        assert_eq!(again.state().seen["prod"], seen(7));
    }

    #[tokio::test]
    async fn a_write_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        journal.write(|state| state.seen = [("prod".into(), seen(1))].into()).await.unwrap();
        // A folder stands where the new file would be written.
        fs::create_dir(dir.path().join("journal.tmp")).unwrap();
        journal.write(|state| state.seen = [("prod".into(), seen(2))].into()).await.unwrap_err();
        assert_eq!(journal.state().seen["prod"], seen(1));
        assert_eq!(Journal::open(dir.path()).unwrap().0.state().seen["prod"], seen(1));
    }

    #[test]
    fn a_broken_journal_is_moved_aside_and_told() {
        for broken in ["", "{", "{\"version\":9,\"active\":null,\"previous\":null}"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("journal.json"), broken).unwrap();
            let (journal, problem) = Journal::open(dir.path()).unwrap();
            assert_eq!(journal.state(), &State::default());
            assert!(problem.unwrap().contains("moved to"));
            assert_eq!(fs::read_to_string(dir.path().join("journal.json.broken")).unwrap(), broken);
        }
    }
}
