//! A file for rows that wait to be written and are not to take memory meanwhile. Owns where in it a row lies; must not know whose it is.
//!
//! The file has no name: a crash leaves nothing behind, and nothing here is meant to survive one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use selvedge_decision::TimeUs;

use super::StoredRow;

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

/// Where a row lies. A million of them wait beside their entities, so the row's length lies with the row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(u64);

/// Bytes written at once.
const TAIL_BYTES: usize = 256 << 10;
/// Bytes read at once: most rows are no longer.
const READ_BYTES: usize = 1 << 10;
/// Before a row: how many bytes it has, and its time.
const HEAD_BYTES: usize = 4 + 8;

// === impl Scratch ===

impl Scratch {
    /// Nothing waits yet. The file will be in `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), file: None, tail: Vec::new(), written: 0 }
    }

    /// Puts a row at the end.
    pub(super) fn put(&mut self, row: &StoredRow) -> io::Result<Place> {
        let len = u32::try_from(row.row.len()).map_err(io::Error::other)?;
        if self.tail.len() + HEAD_BYTES + row.row.len() > TAIL_BYTES {
            let file = match &self.file {
                Some(file) => file,
                None => self.file.insert(nameless(&self.dir)?),
            };
            file.write_all_at(&self.tail, self.written)?;
            self.written += self.tail.len() as u64;
            self.tail.clear();
        }
        let place = Place(self.bytes());
        self.tail.extend_from_slice(&len.to_le_bytes());
        self.tail.extend_from_slice(&row.time_us.to_le_bytes());
        self.tail.extend_from_slice(&row.row);
        Ok(place)
    }

    /// The row at a place that [`Scratch::put`] gave.
    pub(super) fn get(&self, Place(at): Place) -> io::Result<StoredRow> {
        let no_place = || io::Error::other("no such place in the scratch file");
        if let Some(in_tail) = at.checked_sub(self.written) {
            let tail = self.tail.get(in_tail as usize..).ok_or_else(no_place)?;
            let (len, time_us, row) = split_head(tail).ok_or_else(no_place)?;
            let row = row.get(..len).ok_or_else(no_place)?;
            return Ok(StoredRow { time_us, row: Bytes::copy_from_slice(row) });
        }
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("the scratch file is gone"))?;
        let first = (self.written - at).min(READ_BYTES as u64) as usize;
        let mut bytes = [0; READ_BYTES];
        file.read_exact_at(&mut bytes[..first], at)?;
        let (len, time_us, start) = split_head(&bytes[..first]).ok_or_else(no_place)?;
        if (HEAD_BYTES + len) as u64 > self.written - at {
            return Err(no_place());
        }
        let mut row = Vec::with_capacity(len);
        row.extend_from_slice(&start[..start.len().min(len)]);
        if row.len() < len {
            let read = row.len();
            row.resize(len, 0);
            file.read_exact_at(&mut row[read..], at + (HEAD_BYTES + read) as u64)?;
        }
        Ok(StoredRow { time_us, row: row.into() })
    }

    /// Bytes that lie here, those that a later row of the same entity made useless among them.
    pub(super) fn bytes(&self) -> u64 {
        self.written + self.tail.len() as u64
    }
}

/// How long a row is, its time, and what comes after that.
fn split_head(bytes: &[u8]) -> Option<(usize, TimeUs, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    Some((u32::from_le_bytes(*len) as usize, TimeUs::from_le_bytes(*time), rest))
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
        let row = |at: usize| StoredRow { time_us: at as TimeUs - 7, row: format!("row {at}").repeat(at % 700).into() };
        let mut places: Vec<_> = (0..2_000).map(|at| scratch.put(&row(at)).unwrap()).collect();
        assert!(scratch.written > TAIL_BYTES as u64 && !scratch.tail.is_empty());
        // Larger than what is written at once, by its own: in the file, and behind it.
        let long = |at: usize| StoredRow { time_us: 1, row: format!("{at}").repeat(TAIL_BYTES).into() };
        let long_places = [1, 2].map(|at| scratch.put(&long(at)).unwrap());
        places.push(scratch.put(&row(2_000)).unwrap());
        for (at, place) in places.iter().enumerate() {
            assert_eq!(scratch.get(*place).unwrap(), row(at));
        }
        for (at, place) in [1, 2].into_iter().zip(long_places) {
            assert_eq!(scratch.get(place).unwrap(), long(at));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
        scratch.get(Place(scratch.bytes())).unwrap_err();
    }
}
