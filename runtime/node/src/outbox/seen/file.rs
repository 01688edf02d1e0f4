//! The window on disk: files `seen-<number>.ids` beside the segments, 16 bytes an id, appended before anybody is told that its
//! event is stored. Owns these files and what a start makes of them.
//!
//! A process that ends at any moment forgets no id: what was appended is the system's to write, and an id that was not
//! appended yet is in the newest segment. When the power fails, the system may lose what was not synced; therefore the file is
//! synced before a segment ends, and only segments that have ended are ever deleted.

use std::io;
use std::time::{Duration, Instant};

use super::window::Window;
use super::{Claim, Key, Seen};
use crate::outbox::Lane;
use crate::outbox::block::{self, Items};
use crate::outbox::files::{Disk, DiskFile};
use crate::outbox::segments::{Found, OldSegment, Scan};

/// What a file begins with, as long as an id.
const HEADER: [u8; KEY_BYTES] = *b"selvedge-seen-1\n";
const KEY_BYTES: usize = 16;
/// How long after a failure the next file is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// Appends ids. A file that the disk failed is left, and the next one begins with the whole window.
#[derive(Debug)]
pub(in crate::outbox) struct SeenFile {
    disk: Disk,
    capacity: usize,
    open: Option<Open>,
    /// The number of the newest file.
    number: u64,
    /// Not before, after a failure.
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    file: DiskFile,
    /// Bytes in it.
    end: u64,
    is_synced: bool,
}

/// The window of at most `capacity` ids that earlier runs left: what the files have, and what only the newest segments do.
pub(super) fn restore(disk: &Disk, capacity: usize, old: &[OldSegment]) -> Window {
    let mut window = Window::new(capacity);
    if capacity == 0 {
        return window;
    }
    let mut keys = Vec::new();
    for (_, name) in names(disk) {
        match std::fs::read(disk.path(&name)) {
            Ok(bytes) if bytes.starts_with(&HEADER) => {
                let (ids, _) = bytes[KEY_BYTES..].as_chunks();
                keys.extend(ids.iter().map(|id| Key(u128::from_le_bytes(*id))));
            }
            Ok(_) => tracing::error!(name, "a file of message ids is damaged: copies of those may be stored again"),
            Err(error) => tracing::error!(name, %error, "cannot read message ids: copies of those may be stored again"),
        }
    }
    // What the system had not written when the power failed reads as zeros, and there may be such holes anywhere.
    let has_holes = keys.contains(&Key(0));
    keys.retain(|key| *key != Key(0));
    keys.iter().skip(keys.len().saturating_sub(capacity)).for_each(|key| window.insert(*key));
    let newest = old.iter().map(|segment| segment.id.epoch).max();
    for lane in Lane::ALL {
        let of_lane = |segment: &&OldSegment| segment.id.lane == lane && Some(segment.id.epoch) == newest;
        if let Some(segment) = old.iter().rfind(of_lane)
            && let Err(error) = add(segment, has_holes, &mut window)
        {
            tracing::error!(file = %segment.path.display(), %error, "cannot read its message ids");
        }
    }
    window
}

/// Adds the ids of a segment's events that the window has not. The newest blocks are those that may not have come into the
/// file: it ends at the first block, from the end, whose ids are all there, unless there `may_be_more`.
fn add(segment: &OldSegment, may_be_more: bool, window: &mut Window) -> io::Result<()> {
    let mut scan = Scan::open(&segment.path, segment.id, 0)?;
    let mut blocks = Vec::new();
    while let Some(found) = scan.next(segment.end)? {
        if let Found::Block { bytes, .. } = found {
            blocks.push(bytes);
        }
    }
    let mut missing = Vec::new();
    for bytes in blocks.iter().rev() {
        // A block that is damaged is told where it is sent.
        let keys: Vec<Key> = match block::decode(bytes) {
            Ok((_, Items::Events(events))) => {
                events.iter().filter_map(|event| event.message_id.as_deref()).map(Key::of).collect()
            }
            Ok((_, Items::Records(records))) => {
                records.iter().filter(|record| record.id.is_of_a_page()).map(Key::of_record).collect()
            }
            Err(_) => continue,
        };
        if !may_be_more && !keys.is_empty() && keys.iter().all(|key| window.contains(*key)) {
            break;
        }
        missing.extend(keys.into_iter().rev());
    }
    missing.into_iter().rev().for_each(|key| window.insert(key));
    Ok(())
}

/// The files and their numbers, oldest first.
fn names(disk: &Disk) -> Vec<(u64, String)> {
    let number = |name: &str| name.strip_prefix("seen-")?.strip_suffix(".ids")?.parse().ok();
    // Whoever cannot list the directory cannot open it either, which is told there.
    let names = disk.names().unwrap_or_default().into_iter();
    let mut names: Vec<(u64, String)> = names.filter_map(|name| Some((number(&name)?, name))).collect();
    names.sort_unstable();
    names
}

// === impl SeenFile ===

impl SeenFile {
    /// Begins a file with all of `window`, in place of those that are there.
    pub(super) fn open(disk: Disk, window: &Window) -> Self {
        let names = names(&disk);
        let number = names.last().map_or(0, |(number, _)| *number);
        let mut file = Self { disk, capacity: window.capacity(), open: None, number, retry_at: None };
        if window.capacity() == 0 {
            // Ids that are not kept up would one day be taken for the newest.
            file.delete_before(u64::MAX);
        } else if !names.is_empty() || window.len() > 0 {
            file.renew(window.iter());
        }
        file
    }

    /// Appends the ids of events that are durable. A failure is told in the log and costs nobody their answer.
    pub(in crate::outbox) fn append(&mut self, claims: &[Claim], seen: &Seen) {
        if claims.is_empty() {
            return;
        }
        let keys = || claims.iter().flat_map(|claim| claim.keys.iter().copied());
        if self.open.is_none() {
            if self.retry_at.is_none_or(|at| at <= Instant::now()) {
                let window: Vec<Key> = seen.lock().window.iter().collect();
                self.renew(window.into_iter().chain(keys()));
            }
            return;
        }
        let appended = self.write(keys()).and_then(|()| self.turn_over());
        self.note(appended);
    }

    /// Makes everything that was appended durable.
    pub(in crate::outbox) fn sync(&mut self) {
        let Some(open) = self.open.as_mut().filter(|open| !open.is_synced) else { return };
        let synced = open.file.sync();
        open.is_synced = synced.is_ok();
        self.note(synced);
    }

    /// Begins a file with `keys`, which are all there are, and deletes the others.
    fn renew(&mut self, keys: impl Iterator<Item = Key>) {
        self.retry_at = None;
        let begun = self.begin().and_then(|()| self.write(keys));
        self.note(begun);
        self.sync();
        if self.open.is_some() {
            self.delete_before(self.number);
        }
    }

    /// Goes on with a new file when this one alone holds as many ids as the window; the one before it is not needed then.
    fn turn_over(&mut self) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|open| open.end / (KEY_BYTES as u64) <= self.capacity as u64) {
            return Ok(());
        }
        self.sync();
        if self.open.is_some() {
            self.begin()?;
            self.delete_before(self.number - 1);
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        self.number += 1;
        let file = self.disk.create(&format!("seen-{:020}.ids", self.number))?;
        file.write_all_at(&HEADER, 0)?;
        self.open = Some(Open { file, end: KEY_BYTES as u64, is_synced: false });
        Ok(())
    }

    fn write(&mut self, keys: impl Iterator<Item = Key>) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let bytes: Vec<u8> = keys.flat_map(|key| key.0.to_le_bytes()).collect();
        open.is_synced = false;
        open.file.write_all_at(&bytes, open.end)?;
        open.end += bytes.len() as u64;
        Ok(())
    }

    fn note(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
            tracing::warn!(%error, "cannot keep message ids: after a restart, copies of events may be stored again");
            self.open = None;
            self.retry_at = Some(Instant::now() + PAUSE);
        }
    }

    /// The pause after a failure is over.
    #[cfg(test)]
    pub(super) fn retry_now(&mut self) {
        self.retry_at = None;
    }

    fn delete_before(&self, number: u64) {
        for (_, name) in names(&self.disk).iter().filter(|(older, _)| *older < number) {
            self.disk.delete(&self.disk.path(name));
        }
    }
}
