//! Second copies: in one batch, in two at a time, after a refusal, after a restart and after a crash.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use futures_util::poll;
use tokio::sync::watch;

use super::*;
use crate::clock::Clock;
use crate::link::{Link, LocalLink};
use crate::outbox::files::FileFault;
use crate::outbox::samples::{event, events, node, reward};
use crate::outbox::{Accepted, Outbox, OutboxConfig, Refused, reader};

fn config(dir: &Path) -> OutboxConfig {
    OutboxConfig { dedupe_ids: 1000, ..OutboxConfig::new(dir) }
}

fn open_with(config: OutboxConfig) -> Outbox {
    Outbox::open(config, node(), Clock::new()).unwrap()
}

/// How many events were stored, and how many were there.
async fn send(outbox: &Outbox, events: Vec<Event>) -> (u64, u64) {
    let Accepted { rewards, events, duplicates } = outbox.append_events(events).await.unwrap();
    (rewards.map_or(0, |range| range.count) + events.map_or(0, |range| range.count), duplicates)
}

/// Message ids on disk, sorted.
fn on_disk(dir: &Path) -> Vec<String> {
    let mut reader = reader::Reader::new();
    let blocks = reader::segments(dir).unwrap().map(|block| block.unwrap());
    let entries: Vec<_> = blocks.flat_map(|block| reader.block(&block).unwrap()).collect();
    let id = |entry: reader::Entry| match entry.item {
        reader::Item::Event(event) => event.message_id,
        reader::Item::Record(_) => None,
    };
    let mut ids: Vec<String> = entries.into_iter().filter_map(id).collect();
    ids.sort();
    ids
}

/// A copy of a directory, as a crash at this moment would leave it.
fn copy(dir: &Path) -> tempfile::TempDir {
    let copied = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copied.path().join(file.file_name())).unwrap();
    }
    copied
}

fn files(dir: &Path, end: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(end));
    files.sort();
    files
}

#[tokio::test]
async fn a_second_copy_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open_with(config(dir.path()));
    assert_eq!(send(&outbox, vec![event(1), reward(2), event(3)]).await, (3, 0));
    assert_eq!(send(&outbox, vec![event(1), reward(2), event(3)]).await, (0, 3));
    assert_eq!(
        send(&outbox, vec![event(3), event(4), event(4), reward(2), reward(5)]).await,
        (2, 3),
        "two in one batch"
    );
    // An id is one of all events, whatever else they say.
    assert_eq!(send(&outbox, vec![Event { name: "other".to_owned(), ..event(1) }]).await, (0, 1));
    let nameless = || Event { message_id: None, ..event(1) };
    assert_eq!(send(&outbox, vec![nameless(), nameless()]).await, (2, 0), "without an id nothing is a copy");
    assert_eq!(on_disk(dir.path()), ["m-1", "m-2", "m-3", "m-4", "m-5"]);
    let status = outbox.status();
    assert_eq!((status.duplicates, status.remembered_ids), (7, 5));
}

#[tokio::test]
async fn none_is_remembered_when_none_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open_with(OutboxConfig { dedupe_ids: 0, ..config(dir.path()) });
    assert_eq!(send(&outbox, vec![event(1), event(1)]).await, (2, 0));
    assert_eq!(send(&outbox, vec![event(1)]).await, (1, 0));
    assert!(files(dir.path(), ".ids").is_empty());
}

// The 202 of a copy says that its event is durable: it must not come before the first one's.
#[tokio::test]
async fn a_copy_waits_for_what_becomes_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open_with(config(dir.path()));
    let seen = &outbox.shared.seen;
    for stored in [true, false] {
        let id = if stored { 1 } else { 2 };
        let (mut first, mut second, mut other) =
            (vec![event(id)], vec![event(9 + id), event(id)], vec![event(19 + id)]);
        let claim = seen.claim(&mut first).await;
        assert_eq!(first.len(), 1);
        let mut waits = Box::pin(seen.claim(&mut second));
        assert!(poll!(&mut waits).is_pending());
        drop(seen.claim(&mut other).await);
        assert_eq!(other.len(), 1, "another id does not wait");
        seen.settle(&mut vec![claim], stored);
        drop(waits.await);
        assert_eq!(second.len(), if stored { 1 } else { 2 }, "stored: {stored}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_copies_at_once_one_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open_with(config(dir.path()));
    let senders: Vec<_> = (0..16u64)
        .map(|sender| {
            let outbox = outbox.clone();
            tokio::spawn(async move {
                let mut stored = 0;
                for batch in 0..30 {
                    // In different orders and cuts.
                    let mut batch: Vec<Event> = events(batch * 5..batch * 5 + 5 + sender % 7);
                    batch.rotate_left((sender % 3) as usize);
                    stored += send(&outbox, batch).await.0;
                }
                stored
            })
        })
        .collect();
    let mut stored = 0;
    for sender in senders {
        stored += sender.await.unwrap();
    }
    let mut ids = on_disk(dir.path());
    let found = ids.len();
    ids.dedup();
    assert_eq!((found, ids.len(), stored), (156, 156, 156));
}

#[tokio::test]
async fn what_was_refused_is_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path()).unwrap();
    let faults = disk.faults.clone();
    let full = OutboxConfig { rewards_bytes: 4000, ..config(dir.path()) };
    let outbox = Outbox::open_on(disk, full, node(), Clock::new()).unwrap();
    for fault in [FileFault::Create, FileFault::WriteStopsAfter(5), FileFault::Sync] {
        faults.add(fault);
        outbox.append_events(events(0..10)).await.unwrap_err();
    }
    assert_eq!(outbox.status().remembered_ids, 0);
    assert_eq!(send(&outbox, events(0..10)).await, (10, 0));
    // The lane is full of rewards: the events of such a batch are refused with them.
    let mut stored = 100;
    let refused = loop {
        match outbox.append_events(vec![reward(stored), event(1000 + stored)]).await {
            Ok(_) => stored += 1,
            Err(refused) => break refused,
        }
        assert!(stored < 10_000, "the bound does not hold");
    };
    assert!(matches!(refused, Refused::Full { .. }));
    assert_eq!(send(&outbox, vec![event(1000 + stored)]).await, (1, 0));
    outbox.close();
    outbox.append_events(vec![event(50_000)]).await.unwrap_err();
    assert!(outbox.shared.seen.lock().pending.is_empty());
}

// A sender that does not wait for its answer sends again: its batch is under way all the same.
#[tokio::test]
async fn whoever_goes_away_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open_with(config(dir.path()));
    {
        let mut gone = Box::pin(outbox.append_events(events(0..10)));
        assert!(poll!(&mut gone).is_pending());
    }
    assert_eq!(send(&outbox, events(0..10)).await, (0, 10));
    assert_eq!(on_disk(dir.path()).len(), 10);
}

/// Runs the publisher until nothing is left to send.
async fn drain(outbox: &Outbox, out: &Path) {
    let link = LocalLink::new(out.join("unused"), out.to_owned(), &Clock::new());
    let (stop, stopped) = watch::channel(false);
    let publisher = tokio::spawn(outbox.drain(Link::Local(Arc::new(link)), stopped));
    tokio::time::timeout(Duration::from_secs(30), outbox.drained()).await.unwrap();
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(5), publisher).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Segments end after every few batches, and are deleted when they are sent.
    let config = || OutboxConfig { segment_bytes: 2000, ..config(dir.path()) };
    for run in 0..4u64 {
        let outbox = open_with(config());
        for batch in 0..run * 10 {
            assert_eq!(send(&outbox, events(batch * 10..batch * 10 + 10)).await, (0, 10), "run {run}, batch {batch}");
        }
        for batch in run * 10..run * 10 + 10 {
            assert_eq!(send(&outbox, events(batch * 10..batch * 10 + 10)).await, (10, 0), "run {run}, batch {batch}");
        }
        drain(&outbox, out.path()).await;
        assert_eq!(files(dir.path(), ".ids").len(), 1);
    }
    assert!(files(dir.path(), ".seg").is_empty(), "the ids must come from their own file");
}

// A process that is killed between storing events and noting their ids must not take their copies for new ones; nor may the
// copies of what was deleted meanwhile be.
#[tokio::test]
async fn a_crash_forgets_nothing() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outbox = open_with(OutboxConfig { segment_bytes: 2000, ..config(dir.path()) });
    let mut sent = Vec::new();
    for batch in 0..20 {
        let batch = [events(batch * 10..batch * 10 + 9), vec![reward(batch * 10 + 9)]].concat();
        // What a crash leaves when the file was written up to here, and the segments up to the next batch.
        let before = files(dir.path(), ".ids").first().map(|file| std::fs::metadata(file).unwrap().len());
        assert_eq!(send(&outbox, batch.clone()).await, (10, 0));
        sent.extend(batch);
        let crashed = copy(dir.path());
        match (files(crashed.path(), ".ids").as_slice(), before) {
            ([file], Some(before)) => {
                let bytes = std::fs::read(file).unwrap();
                // In the middle of an id, too.
                std::fs::write(file, &bytes[..before as usize + 7]).unwrap();
            }
            (files, _) => files.iter().for_each(|file| std::fs::remove_file(file).unwrap()),
        }
        let again = open_with(config(crashed.path()));
        assert_eq!(send(&again, sent.clone()).await, (0, sent.len() as u64));
        drain(&outbox, out.path()).await;
        let again = open_with(config(copy(dir.path()).path()));
        assert_eq!(send(&again, sent.clone()).await, (0, sent.len() as u64), "with the segments sent and deleted");
    }
}

// The power failed: the system wrote some pages of the file and not others, and the segments are synced.
#[tokio::test]
async fn what_was_not_synced_is_found_in_the_segment() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open_with(config(dir.path()));
    for batch in 0..20 {
        assert_eq!(send(&outbox, events(batch * 10..batch * 10 + 10)).await, (10, 0));
    }
    let whole = std::fs::read(&files(dir.path(), ".ids")[0]).unwrap();
    let all = whole.len();
    for (from, to) in [(all, all), (16, 17 * 16), (100 * 16, 150 * 16), (200 * 16, all), (17 * 16, all), (0, all)] {
        for is_cut in [false, true] {
            let failed = copy(dir.path());
            let mut bytes = whole.clone();
            if is_cut {
                bytes.truncate(from)
            } else {
                bytes[from..to].fill(0)
            }
            std::fs::write(&files(failed.path(), ".ids")[0], bytes).unwrap();
            let outbox = open_with(config(failed.path()));
            assert_eq!(send(&outbox, events(0..200)).await, (0, 200), "{from} to {to}, cut: {is_cut}");
        }
    }
}

#[tokio::test]
async fn a_damaged_file_costs_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open_with(config(dir.path()));
    assert_eq!(send(&outbox, events(0..50)).await, (50, 0));
    drop(outbox);
    files(dir.path(), ".seg").iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let whole = std::fs::read(&files(dir.path(), ".ids")[0]).unwrap();
    for at in (0..whole.len()).step_by(5) {
        let damaged = copy(dir.path());
        let file = &files(damaged.path(), ".ids")[0];
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(file, bytes).unwrap();
        let outbox = open_with(config(damaged.path()));
        assert_eq!(send(&outbox, events(1000..1050)).await, (50, 0), "flipped at {at}: new events are new");
        let (stored, copies) = send(&outbox, events(0..50)).await;
        let expected = if at < 16 { (50, 0) } else { (1, 49) };
        assert_eq!((stored, copies), expected, "flipped at {at}: one id is forgotten, or all with the header");
    }
}

#[tokio::test]
async fn the_window_is_bounded_over_restarts_and_so_are_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let config = || OutboxConfig { dedupe_ids: 100, ..config(dir.path()) };
    for start in [0, 200, 400] {
        let outbox = open_with(config());
        for n in start..start + 200 {
            assert_eq!(send(&outbox, vec![event(n)]).await, (1, 0), "{n}");
            let files = files(dir.path(), ".ids");
            let bytes: u64 = files.iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
            assert!(files.len() <= 2 && bytes <= 2 * 16 * 102, "{} files, {bytes} bytes", files.len());
        }
        assert_eq!(outbox.status().remembered_ids, 100);
    }
    let outbox = open_with(config());
    assert_eq!(send(&outbox, events(500..600)).await, (0, 100));
    assert_eq!(send(&outbox, events(499..500)).await, (1, 0), "the oldest is forgotten");
    assert_eq!(send(&outbox, events(500..501)).await, (1, 0), "and makes the next one be");
    drop(outbox);
    let outbox = open_with(OutboxConfig { dedupe_ids: 10, ..config() });
    assert_eq!(outbox.status().remembered_ids, 10);
    drop(outbox);
    drop(open_with(OutboxConfig { dedupe_ids: 0, ..config() }));
    assert!(files(dir.path(), ".ids").is_empty());
}

#[test]
fn a_file_that_the_disk_fails_is_written_anew() {
    for fault in [FileFault::WriteStopsAfter(3), FileFault::Sync, FileFault::Create] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let (seen, mut file) = open(&disk, 100, &[]);
        let store = |numbers: std::ops::Range<u64>, file: &mut SeenFile| {
            let keys = numbers.map(|n| Key::of(&format!("m-{n}"))).collect();
            let mut claims = vec![Claim { seen: Arc::clone(&seen), keys }];
            file.append(&claims, &seen);
            seen.settle(&mut claims, true);
        };
        store(0..10, &mut file);
        disk.faults.add(fault);
        store(10..20, &mut file);
        file.sync();
        // A full file begins another.
        store(20..110, &mut file);
        store(110..120, &mut file);
        file.retry_now();
        store(120..130, &mut file);
        file.sync();
        let kept: Vec<Key> = file::restore(&disk, 100, &[]).iter().collect();
        let expected: Vec<Key> = (30..130).map(|n| Key::of(&format!("m-{n}"))).collect();
        assert_eq!(kept, expected, "{fault:?}");
        assert!(names_of(&disk).len() <= 2, "{fault:?}");
    }
}

fn names_of(disk: &Disk) -> Vec<String> {
    disk.names().unwrap().into_iter().filter(|name| name.ends_with(".ids")).collect()
}
