//! Release files kept on the node's disk, by digest. Owns their folder and its bound; believes nothing it reads: whoever
//! reads a file from here opens and checks it as if it came from the core.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use selvedge_decision::Digest;

use super::journal::write_durably;

const ENDING: &str = "release";

/// The folder of release files.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    dir: PathBuf,
    /// One write at a time: one that nobody waits for any more must not meet the next of the same release.
    turn: Arc<Mutex<()>>,
}

// === impl Cache ===

impl Cache {
    /// The cache in `dir`, which is created.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), turn: Arc::default() })
    }

    /// The bytes kept for `release`, at most `limit` of them.
    pub(super) fn read(&self, release: &Digest, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match fs::File::open(self.path(release)) {
            Ok(file) => {
                file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps `bytes` for `release`; durable when this returns.
    pub(super) fn write(&self, release: &Digest, bytes: &[u8]) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        write_durably(&self.path(release), bytes)
    }

    /// Forgets `release`.
    pub(super) fn remove(&self, release: &Digest) -> io::Result<()> {
        match fs::remove_file(self.path(release)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes the oldest files beyond `count`, but never one of `keep`.
    pub(super) fn prune(&self, keep: &[Digest], count: usize) -> io::Result<()> {
        let keep: Vec<_> = keep.iter().map(|release| self.path(release)).collect();
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let is_release = path.extension().is_some_and(|ending| ending == ENDING);
            if is_release && !keep.contains(&path) {
                let modified = fs::metadata(&path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                others.push((modified, path));
            }
        }
        others.sort();
        let too_many = (others.len() + keep.len()).saturating_sub(count);
        others.into_iter().take(too_many).try_for_each(|(_, path)| fs::remove_file(path))
    }

    fn path(&self, release: &Digest) -> PathBuf {
        self.dir.join(release.hex()).with_extension(ENDING)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_keeps_what_it_must() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("releases")).unwrap();
        let releases: Vec<_> = (0u8..6).map(|i| Digest::of(&[i])).collect();
        for release in &releases {
            cache.write(release, release.hex().as_bytes()).unwrap();
        }
        cache.prune(&releases[..2], 3).unwrap();
        let left = releases.iter().filter(|release| cache.read(release, 64).unwrap().is_some()).count();
        assert_eq!(left, 3);
        assert_eq!(cache.read(&releases[0], 64).unwrap().unwrap(), releases[0].hex().as_bytes());
        assert_eq!(
            cache.read(&releases[1], 3).unwrap().unwrap().len(),
            4,
            "one more than the limit shows that it is over"
        );
        cache.remove(&releases[0]).unwrap();
        cache.remove(&releases[0]).unwrap();
        assert_eq!(cache.read(&releases[0], 64).unwrap(), None);
    }
}
