//! Segments: files of whole blocks, one after another, nothing else. Owns their names, the scan that finds the blocks of a
//! damaged file again, and what a start makes of the files it finds. Writes nothing but the cut of a torn tail; what the disk
//! does not give, and what a newer version wrote, is neither damage nor a torn tail.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use selvedge_decision::{Epoch, TimeUs};

use super::Lane;
use super::block::{BadBlock, HEADER_BYTES, Header, MAGIC};
use super::files::Disk;

/// What a segment holds: blocks of one lane and epoch from `first_seq` on. Ordered as the core should get them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentId {
    pub(super) lane: Lane,
    pub(super) epoch: Epoch,
    pub(super) first_seq: u64,
}

/// A segment of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OldSegment {
    pub(super) id: SegmentId,
    pub(super) path: PathBuf,
    /// Bytes up to the end of the last whole block.
    pub(super) end: u64,
    /// When its first block was sealed.
    pub(super) sealed_us: TimeUs,
}

/// What a scan finds next.
#[derive(Debug)]
pub(super) enum Found {
    /// A whole block; `end` is where the next begins.
    Block { header: Header, bytes: Vec<u8>, end: u64 },
    /// Bytes that are no block, up to the next whole one or, with `tail`, to the end.
    Corrupt { from: u64, end: u64, tail: bool },
}

/// Reads a segment's blocks in order.
#[derive(Debug)]
pub(super) struct Scan {
    file: File,
    id: SegmentId,
    at: u64,
}

// === impl SegmentId ===

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:020}.seg", self.lane, self.epoch, self.first_seq)
    }
}

impl FromStr for SegmentId {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let mut parts = name.strip_suffix(".seg").ok_or(())?.split('-');
        let (Some(lane), Some(epoch), Some(seq), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        let lane = Lane::ALL.into_iter().find(|known| known.as_str() == lane).ok_or(())?;
        Ok(Self { lane, epoch: epoch.parse().map_err(|_| ())?, first_seq: seq.parse().map_err(|_| ())? })
    }
}

// === impl Scan ===

impl Scan {
    /// Opens a segment at `at`, where a block begins.
    pub(super) fn open(path: &Path, id: SegmentId, at: u64) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, id, at })
    }

    /// Which segment this reads.
    pub(super) fn id(&self) -> SegmentId {
        self.id
    }

    /// The next thing before `end`, `None` when it is reached. An error when the disk fails or a newer version wrote what
    /// comes next: the bytes may be whole, so they are not damage.
    pub(super) fn next(&mut self, end: u64) -> io::Result<Option<Found>> {
        if self.at >= end {
            return Ok(None);
        }
        let from = self.at;
        if let Some((header, bytes)) = self.block_at(from, end)? {
            self.at = from + bytes.len() as u64;
            return Ok(Some(Found::Block { header, bytes, end: self.at }));
        }
        let whole = self.search(from + 1, end)?;
        self.at = whole.unwrap_or(end);
        Ok(Some(Found::Corrupt { from, end: self.at, tail: whole.is_none() }))
    }

    /// The block at `at`, if a whole one of this segment begins there.
    fn block_at(&self, at: u64, end: u64) -> io::Result<Option<(Header, Vec<u8>)>> {
        if end.saturating_sub(at) < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut head = [0; HEADER_BYTES];
        if !self.fill(&mut head, at)? {
            return Ok(None);
        }
        let header = match Header::read(&head) {
            Ok(header) => header,
            // Its checksum holds: this is a block, and only this program does not know how to read it.
            Err(newer @ BadBlock::Version(_)) => return Err(io::Error::new(io::ErrorKind::Unsupported, newer)),
            Err(_) => return Ok(None),
        };
        let bytes = header.block_bytes();
        if end - at < bytes as u64 || header.lane != self.id.lane || header.epoch != self.id.epoch {
            return Ok(None);
        }
        let mut block = vec![0; bytes];
        block[..HEADER_BYTES].copy_from_slice(&head);
        if !self.fill(&mut block[HEADER_BYTES..], at + HEADER_BYTES as u64)? || header.body(&block).is_err() {
            return Ok(None);
        }
        Ok(Some((header, block)))
    }

    /// Where the next whole block begins, from `from` on.
    fn search(&self, from: u64, end: u64) -> io::Result<Option<u64>> {
        const WINDOW_BYTES: usize = 64 * 1024;
        const SECTOR_BYTES: u64 = 4096;
        let mut window = vec![0; WINDOW_BYTES];
        let mut at = from;
        while end.saturating_sub(at) >= HEADER_BYTES as u64 {
            let length = WINDOW_BYTES.min((end - at) as usize);
            if !self.fill(&mut window[..length], at)? {
                // A file that is shorter than it should be: on, as far as there is any.
                at += SECTOR_BYTES - at % SECTOR_BYTES;
                continue;
            }
            for (offset, found) in window[..length].windows(MAGIC.len()).enumerate() {
                if found == MAGIC && self.block_at(at + offset as u64, end)?.is_some() {
                    return Ok(Some(at + offset as u64));
                }
            }
            // The next window begins with the last bytes of this one, in which a block may begin.
            at += (length - (MAGIC.len() - 1)) as u64;
        }
        Ok(None)
    }

    /// Whether the file has as many bytes.
    fn fill(&self, bytes: &mut [u8], at: u64) -> io::Result<bool> {
        match self.file.read_exact_at(bytes, at) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The segments that earlier runs left, in order. The last of each lane and epoch may end in a write that a crash cut off:
/// that tail was never acknowledged and goes. Damage before the tail stays, for the publisher to step over and count. A file
/// that cannot be read, or that a newer version wrote, is left as it is and named in the error.
pub(super) fn recover(disk: &Disk) -> io::Result<Vec<OldSegment>> {
    let mut ids: Vec<SegmentId> = disk.names()?.iter().filter_map(|name| name.parse().ok()).collect();
    ids.sort_unstable();
    let last: BTreeMap<(Lane, Epoch), SegmentId> = ids.iter().map(|id| ((id.lane, id.epoch), *id)).collect();
    let mut segments = Vec::new();
    for id in ids {
        let path = disk.path(&id.to_string());
        let named = |error| name_file(&path, &error);
        let length = std::fs::metadata(&path).map_err(named)?.len();
        let is_last = last.get(&(id.lane, id.epoch)) == Some(&id);
        let end = if is_last { cut_tail(&path, id, length).map_err(named)? } else { length };
        if end == 0 {
            disk.delete(&path);
            continue;
        }
        let first = Scan::open(&path, id, 0).and_then(|mut scan| scan.next(end)).map_err(named)?;
        let sealed_us = match first {
            Some(Found::Block { header, .. }) => header.sealed_us,
            _ => 0,
        };
        segments.push(OldSegment { id, path, end, sealed_us });
    }
    Ok(segments)
}

/// The error with the file it is about and the way out.
pub(super) fn name_file(path: &Path, error: &io::Error) -> io::Error {
    let out = "it is kept as it is; to go on without it, move it out of the directory";
    io::Error::new(error.kind(), format!("{}: {error}; {out}", path.display()))
}

/// Cuts what follows the last whole block; the length that stays.
fn cut_tail(path: &Path, id: SegmentId, length: u64) -> io::Result<u64> {
    let mut scan = Scan::open(path, id, 0)?;
    let mut end = 0;
    while let Some(found) = scan.next(length)? {
        match found {
            Found::Block { end: whole, .. } => end = whole,
            Found::Corrupt { from, end, tail: false } => {
                tracing::error!(file = %path.display(), from, end, "a segment is damaged in the middle");
            }
            Found::Corrupt { from, tail: true, .. } => {
                tracing::warn!(file = %path.display(), bytes = length - from, "cut the torn tail of a segment");
                let file = OpenOptions::new().write(true).open(path)?;
                file.set_len(from)?;
                file.sync_all()?;
                end = from;
            }
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests;
