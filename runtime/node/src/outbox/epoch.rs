//! The epoch: a counter made durable at every start, before the first event, and 32 bits drawn with it. Owns the file
//! `epoch`; a copied or restored directory draws other bits, so no two runs ever stamp the same (node, epoch, lane, seq).

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};
use selvedge_decision::{Epoch, TimeUs};

const FILE: &str = "epoch";
const FIRST_WORD: &str = "selvedge-epoch-1";

/// Why there is no new epoch.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// The file could not be read, or not be made durable.
    #[error("cannot write the epoch in {dir}: {error}")]
    Io {
        /// The directory.
        dir: String,
        /// What went wrong.
        error: io::Error,
    },
    /// The counter has no next value.
    #[error("the epoch's counter has reached its end: give the node a new name and an empty data directory")]
    Exhausted,
}

/// What stands in for a lost counter. A counter begins with the clock and goes up by one a start, so it stays behind the
/// clock as long as starts are a second apart.
fn from_clock(now_us: TimeUs) -> u32 {
    (now_us / 1_000_000).clamp(0, i64::from(u32::MAX) - 1) as u32
}

/// Mints the next epoch of the directory and makes it durable. `seen` is the largest epoch among the segments there: with a
/// lost or damaged file it is what the counter must exceed, and so must the counters that were forgotten, which the
/// seconds since 1970 stand in for.
pub(super) fn mint(dir: &Path, seen: Option<Epoch>, now_us: TimeUs) -> Result<Epoch, EpochError> {
    let io = |error| EpochError::Io { dir: dir.display().to_string(), error };
    let kept = match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => {
            let counter = std::str::from_utf8(&bytes).ok().and_then(read);
            if counter.is_none() {
                tracing::error!(file = %dir.join(FILE).display(), "the epoch's file is damaged: going on from the clock");
            }
            counter
        }
        // The first start, or a file that was lost: nothing tells them apart when everything had been sent.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(io(error)),
    };
    let before = kept.unwrap_or_else(|| from_clock(now_us));
    let before = before.max(seen.map_or(0, Epoch::counter));
    let counter = before.checked_add(1).ok_or(EpochError::Exhausted)?;
    let epoch = Epoch::new(counter, random().map_err(io)?);
    write(dir, epoch).map_err(io)?;
    Ok(epoch)
}

/// The counter of a file's text, if it is whole.
fn read(text: &str) -> Option<u32> {
    let (body, crc) = text.trim_end().rsplit_once(' ')?;
    let whole = u32::from_str_radix(crc, 16).ok()? == crc32c::crc32c(body.as_bytes());
    let epoch: Epoch = body.strip_prefix(FIRST_WORD)?.trim_start().parse().ok()?;
    whole.then(|| epoch.counter())
}

/// Replaces the file: the old or the new one is there after a crash, never a mixture.
fn write(dir: &Path, epoch: Epoch) -> io::Result<()> {
    let body = format!("{FIRST_WORD} {epoch}");
    let fresh = dir.join("epoch.new");
    let mut file = File::create(&fresh)?;
    file.write_all(format!("{body} {:08x}\n", crc32c::crc32c(body.as_bytes())).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}

fn random() -> io::Result<u32> {
    let mut bytes = [0; 4];
    loop {
        match getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(4) => return Ok(u32::from_le_bytes(bytes)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_start_has_a_new_epoch_and_the_counter_goes_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut last = mint(dir.path(), None, 0).unwrap();
        assert_eq!(last.counter(), 1);
        for _ in 0..5 {
            let next = mint(dir.path(), None, 0).unwrap();
            assert!(next > last);
            assert_eq!(next.counter(), last.counter() + 1);
            last = next;
        }
        assert_eq!(mint(dir.path(), Some(Epoch::new(40, 1)), 0).unwrap().counter(), 41, "segments outlive the file");
    }

    // A virtual machine was cloned while its node was stopped: both copies start from the same file.
    #[test]
    fn clones_of_a_directory_never_share_an_epoch() {
        let original = tempfile::tempdir().unwrap();
        mint(original.path(), None, 0).unwrap();
        let epochs: std::collections::BTreeSet<Epoch> = (0..50)
            .map(|_| {
                let clone = tempfile::tempdir().unwrap();
                std::fs::copy(original.path().join(FILE), clone.path().join(FILE)).unwrap();
                mint(clone.path(), None, 0).unwrap()
            })
            .collect();
        assert_eq!(epochs.len(), 50);
        assert!(epochs.iter().all(|epoch| epoch.counter() == 2));
    }

    #[test]
    fn a_lost_file_never_brings_an_old_counter_back() {
        let dir = tempfile::tempdir().unwrap();
        let now_us = 1_700_000_000_000_000;
        let mut last = mint(dir.path(), None, now_us).unwrap();
        for _ in 0..5 {
            last = mint(dir.path(), None, now_us).unwrap();
        }
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        assert!(mint(dir.path(), None, now_us + 60_000_000).unwrap() > last, "not even when no segment is left");
        // Whatever the clock says, there is a next counter, also for a file that is no text.
        for clock_us in [i64::MIN, -1, i64::MAX] {
            std::fs::write(dir.path().join(FILE), [0xff; 20]).unwrap();
            assert!(mint(dir.path(), Some(last), clock_us).unwrap() > last, "at {clock_us}");
        }
    }

    #[test]
    fn a_damaged_file_never_brings_an_old_epoch_back() {
        let dir = tempfile::tempdir().unwrap();
        let first_us = 1_700_000_000_000_000;
        let first = mint(dir.path(), None, first_us).unwrap();
        let now_us = first_us + 1_000_000;
        let whole = std::fs::read(dir.path().join(FILE)).unwrap();
        for at in 0..whole.len() - 1 {
            let mut torn = whole.clone();
            torn[at] ^= 0x11;
            std::fs::write(dir.path().join(FILE), &torn).unwrap();
            assert!(mint(dir.path(), None, now_us).unwrap() > first, "flipped at {at}");
            std::fs::write(dir.path().join(FILE), &whole[..at]).unwrap();
            assert!(mint(dir.path(), None, now_us).unwrap() > first, "cut at {at}");
        }
    }
}
