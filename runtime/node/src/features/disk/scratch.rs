//! A file for rows that wait to be written and find no room in memory. Owns where in it a row lies; must not know whose it is.
//!
//! The file has no name: a crash leaves nothing behind, and nothing here is meant to survive one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What waits in a file. It goes with this value.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: PathBuf,
    /// Made when there is something to put into it.
    file: Option<File>,
    /// What comes after the bytes of the file.
    tail: Vec<u8>,
    written: u64,
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    at: u64,
    len: u32,
}

/// Bytes written at once.
const TAIL_BYTES: usize = 256 << 10;

// === impl Scratch ===

impl Scratch {
    /// Nothing waits yet. The file will be in `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), file: None, tail: Vec::new(), written: 0 }
    }

    /// Puts a row at the end.
    pub(super) fn put(&mut self, row: &[u8]) -> io::Result<Place> {
        let len = u32::try_from(row.len()).map_err(io::Error::other)?;
        if self.tail.len() + row.len() > TAIL_BYTES {
            let file = match &self.file {
                Some(file) => file,
                None => self.file.insert(nameless(&self.dir)?),
            };
            file.write_all_at(&self.tail, self.written)?;
            self.written += self.tail.len() as u64;
            self.tail.clear();
        }
        let place = Place { at: self.bytes(), len };
        self.tail.extend_from_slice(row);
        Ok(place)
    }

    /// The row at a place that [`Scratch::put`] gave.
    pub(super) fn get(&self, place: Place) -> io::Result<Vec<u8>> {
        let len = place.len as usize;
        let Some(in_tail) = place.at.checked_sub(self.written) else {
            let mut row = vec![0; len];
            let file = self.file.as_ref().ok_or_else(|| io::Error::other("the scratch file is gone"))?;
            file.read_exact_at(&mut row, place.at)?;
            return Ok(row);
        };
        let row = self.tail.get(in_tail as usize..in_tail as usize + len);
        row.map(<[u8]>::to_vec).ok_or_else(|| io::Error::other("no such place in the scratch file"))
    }

    /// Bytes that lie here, those that a later row of the same entity made useless among them.
    pub(super) fn bytes(&self) -> u64 {
        self.written + self.tail.len() as u64
    }
}

/// A file that nobody finds and that goes with its handle.
fn nameless(dir: &Path) -> io::Result<File> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let path = dir.join(format!("scratch-{}", MADE.fetch_add(1, Ordering::Relaxed)));
    // A crash between these two lines may have left one of the same name; the store has one process at a time.
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_in_the_file_and_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new(dir.path());
        let row = |at: usize| format!("row {at}").repeat(at % 700).into_bytes();
        let places: Vec<_> = (0..2_000).map(|at| scratch.put(&row(at)).unwrap()).collect();
        assert!(scratch.written > TAIL_BYTES as u64 && !scratch.tail.is_empty());
        for (at, place) in places.iter().enumerate() {
            assert_eq!(scratch.get(*place).unwrap(), row(at));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
        let beyond = Place { at: scratch.bytes(), len: 1 };
        scratch.get(beyond).unwrap_err();
    }
}
