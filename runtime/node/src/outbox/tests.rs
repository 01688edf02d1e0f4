//! The outbox as its users see it: what is durable when, what is refused when, what is left after a failing disk.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use super::files::FileFault;
use super::reader::{Entry, Item, Reader};
use super::samples::{event, events, node, record, reward};
use super::*;

/// These tests send the same events again and mean it: what becomes of second copies is in `seen/tests.rs`.
fn config(dir: &Path) -> OutboxConfig {
    OutboxConfig { record_delay: Duration::from_millis(1), dedupe_ids: 0, ..OutboxConfig::new(dir) }
}

fn open(config: OutboxConfig) -> Outbox {
    Outbox::open(config, node(), Clock::new()).unwrap()
}

/// Everything on disk, each item once, and the reader that counted.
fn on_disk(dir: &Path) -> (Vec<Entry>, Reader) {
    let mut reader = Reader::new();
    let mut entries = Vec::new();
    for block in reader::segments(dir).unwrap() {
        entries.extend(reader.block(&block.unwrap()).unwrap());
    }
    (entries, reader)
}

fn message_ids(entries: &[Entry]) -> Vec<String> {
    let ids = entries.iter().filter_map(|entry| match &entry.item {
        Item::Event(event) => event.message_id.clone(),
        Item::Record(_) => None,
    });
    let mut ids: Vec<String> = ids.collect();
    ids.sort();
    ids
}

fn gaps(reader: &Reader) -> Vec<(u64, u64)> {
    reader.gaps().map(|gap| (gap.seqs.start, gap.seqs.end)).collect()
}

fn assert_balanced(status: &OutboxStatus) {
    for lane in &status.lanes {
        assert_eq!(lane.accepted, lane.stored + lane.refused + lane.dropped + lane.resting, "{lane:?}");
    }
}

#[tokio::test]
async fn what_was_answered_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(config(dir.path()));
    let mixed = vec![event(1), reward(2), event(3), reward(4), event(5)];
    let accepted = outbox.append_events(mixed).await.unwrap();
    assert_eq!(accepted.events, Some(SeqRange { first: 1, count: 3 }));
    assert_eq!(accepted.rewards, Some(SeqRange { first: 1, count: 2 }));
    // Read beside the running writer, as a crash would leave it.
    let (entries, reader) = on_disk(dir.path());
    assert_eq!(message_ids(&entries), ["m-1", "m-2", "m-3", "m-4", "m-5"]);
    assert_eq!((reader.count(Lane::Events), reader.count(Lane::Rewards)), (3, 2));
    let status = outbox.status();
    assert_balanced(&status);
    assert_eq!(status.lanes[Lane::Events as usize].stored, 3);
    assert!(status.lanes[Lane::Events as usize].oldest_age_ms.is_some());
    assert_eq!(outbox.append_events(Vec::new()).await.unwrap(), Accepted::default());
}

#[tokio::test]
async fn records_are_written_soon_and_come_back_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(config(dir.path()));
    (0..100).for_each(|n| outbox.append_record(record(n)));
    outbox.flush().await;
    let (entries, reader) = on_disk(dir.path());
    assert_eq!(reader.gaps().count(), 0);
    for (n, entry) in entries.iter().enumerate() {
        assert_eq!(entry.seq, n as u64 + 1);
        match &entry.item {
            Item::Record(found) => assert_eq!(found.to_bytes(), record(n as u64).to_bytes()),
            Item::Event(found) => panic!("{found:?} in the lane of decisions"),
        }
    }
    assert_eq!(entries.len(), 100);
    // Without anybody asking, too.
    outbox.append_record(record(100));
    let deadline = Instant::now() + Duration::from_secs(5);
    while outbox.status().lanes[Lane::Decisions as usize].stored < 101 {
        assert!(Instant::now() < deadline, "the record was not written by itself");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_appenders_share_groups_and_the_counts_balance() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(OutboxConfig { segment_bytes: 8 << 10, ..config(dir.path()) });
    let appenders: Vec<_> = (0..16u64)
        .map(|appender| {
            let outbox = outbox.clone();
            tokio::spawn(async move {
                for batch in 0..20 {
                    let first = appender * 1000 + batch * 10;
                    outbox.append_record(record(first));
                    outbox.append_events(events(first..first + 10)).await.unwrap();
                }
            })
        })
        .collect();
    for appender in appenders {
        appender.await.unwrap();
    }
    outbox.flush().await;
    let status = outbox.status();
    assert_balanced(&status);
    let (entries, reader) = on_disk(dir.path());
    assert_eq!((reader.count(Lane::Events), reader.count(Lane::Decisions)), (3200, 320));
    assert_eq!((reader.seen_again(), reader.gaps().count()), (0, 0));
    let mut ids = message_ids(&entries);
    ids.dedup();
    assert_eq!(ids.len(), 3200);
    assert!(status.lanes.iter().any(|lane| lane.files > 1), "segments are closed when they are large");
}

#[tokio::test]
async fn a_full_lane_refuses_events_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(OutboxConfig { events_bytes: 20_000, retry_after_s: 7, ..config(dir.path()) });
    let mut stored = 0;
    let refused = loop {
        match outbox.append_events(events(stored..stored + 10)).await {
            Ok(_) => stored += 10,
            Err(refused) => break refused,
        }
        assert!(stored < 10_000, "the bound does not hold");
    };
    assert_eq!(refused, Refused::Full { retry_after_s: 7 });
    assert!(outbox.status().lanes[Lane::Events as usize].backlog_bytes <= 20_000);
    outbox.append_events(vec![reward(1)]).await.unwrap();
    let both = [events(0..10), vec![reward(2)]].concat();
    assert!(matches!(outbox.append_events(both).await, Err(Refused::Full { .. })), "all of a batch or nothing");
    outbox.append_record(record(1));
    outbox.flush().await;
    let (_, reader) = on_disk(dir.path());
    let counts = Lane::ALL.map(|lane| reader.count(lane));
    assert_eq!(counts, [1, 1, stored]);
    assert_balanced(&outbox.status());
}

#[tokio::test]
async fn records_lose_their_inputs_first_and_then_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(OutboxConfig { decisions_bytes: 24_000, ..config(dir.path()) });
    for n in 0..400 {
        outbox.append_record(record(n * 10));
        if n % 10 == 0 {
            outbox.flush().await;
        }
    }
    outbox.flush().await;
    let status = outbox.status();
    assert_balanced(&status);
    let lane = &status.lanes[Lane::Decisions as usize];
    assert!(lane.inputs_dropped > 0 && lane.dropped > 0, "{lane:?}");
    assert!(lane.backlog_bytes <= 24_000);
    let (entries, reader) = on_disk(dir.path());
    assert_eq!(entries.len() as u64, lane.stored);
    let has_inputs = |entry: &Entry| matches!(&entry.item, Item::Record(record) if record.inputs.is_some());
    assert!(has_inputs(&entries[0]));
    assert_eq!(entries.iter().filter(|entry| !has_inputs(entry)).count() as u64, lane.inputs_dropped);
    // The gaps say how many are missing, but for those at the very end, which the counter has.
    let missing: u64 = reader.gaps().map(|gap| gap.seqs.end - gap.seqs.start).sum();
    assert!(missing <= lane.dropped);
    assert_eq!(entries.last().unwrap().seq, lane.stored + missing);
}

#[tokio::test]
async fn more_records_than_may_rest_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let waits = OutboxConfig { record_delay: Duration::from_secs(60), resting_records: 10, ..config(dir.path()) };
    let outbox = open(waits);
    (0..25).for_each(|n| outbox.append_record(record(n)));
    outbox.flush().await;
    outbox.append_record(record(25));
    outbox.flush().await;
    let lane = outbox.status().lanes[Lane::Decisions as usize].clone();
    assert_eq!((lane.accepted, lane.stored, lane.dropped), (26, 11, 15));
    let (_, reader) = on_disk(dir.path());
    assert_eq!(gaps(&reader), vec![(11, 26)]);
}

/// Record number `n`, as a page sends one.
fn of_a_page(n: u64) -> Record {
    let record = record(n);
    Record { id: DecisionId::of_a_page(record.time_us, 9, n as u32), ..record }
}

// A key that anybody can read sent records until the node's own lost their inputs and were dropped.
#[tokio::test]
async fn records_of_pages_leave_half_of_the_lane_to_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(OutboxConfig { decisions_bytes: 40_000, ..config(dir.path()) });
    let lane = || outbox.status().lanes[Lane::Decisions as usize].clone();
    let mut sent = 0;
    while outbox.append_page_records((sent..sent + 10).map(of_a_page).collect()).await.is_ok() {
        sent += 10;
        assert!(sent < 10_000, "the bound does not hold");
    }
    assert!(sent > 0 && lane().backlog_bytes <= 20_000, "{:?}", lane());
    // One has its inputs.
    outbox.append_record(record(10_000));
    outbox.flush().await;
    assert_eq!((lane().stored, lane().inputs_dropped, lane().dropped), (sent + 1, 0, 0));
    assert_balanced(&outbox.status());
}

#[tokio::test]
async fn records_of_pages_are_half_of_those_that_rest() {
    let dir = tempfile::tempdir().unwrap();
    let waits = OutboxConfig { record_delay: Duration::from_secs(60), resting_records: 10, ..config(dir.path()) };
    let outbox = open(waits);
    (0..4).for_each(|n| outbox.append_record(record(n)));
    let two = (10..12).map(of_a_page).collect();
    assert!(matches!(outbox.append_page_records(two).await, Err(Refused::Full { .. })), "there would be six");
    (4..10).for_each(|n| outbox.append_record(record(n)));
    outbox.flush().await;
    let lane = outbox.status().lanes[Lane::Decisions as usize].clone();
    assert_eq!((lane.stored, lane.refused, lane.dropped), (10, 2, 0));
}

#[tokio::test]
async fn a_group_too_large_for_a_message_becomes_several_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(OutboxConfig { block_bytes: 4096, ..config(dir.path()) });
    outbox.append_events(events(0..1000)).await.unwrap();
    (0..200).for_each(|n| outbox.append_record(record(n)));
    // One that fits only without its inputs, and one that never fits.
    let noise = |n: u64| f64::from_bits((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut wide = record(200);
    wide.inputs.as_mut().unwrap().shared = (0..2000).map(noise).collect();
    outbox.append_record(wide);
    let mut huge = record(201);
    huge.values = (0..2000).map(noise).collect();
    outbox.append_record(huge);
    outbox.flush().await;
    for block in reader::segments(dir.path()).unwrap() {
        assert!(block.unwrap().len() <= 4096);
    }
    let (entries, reader) = on_disk(dir.path());
    assert_eq!((reader.count(Lane::Events), reader.count(Lane::Decisions)), (1000, 201));
    assert_eq!(entries.iter().filter(|entry| entry.lane == Lane::Decisions).map(|entry| entry.seq).max(), Some(201));
    let status = outbox.status();
    assert_balanced(&status);
    let lane = &status.lanes[Lane::Decisions as usize];
    assert_eq!((lane.inputs_dropped, lane.dropped), (1, 1));
}

// One such event made every batch it was in fail, for ever.
#[tokio::test]
async fn an_event_of_half_a_block_always_fits() {
    for block_bytes in [1024, 4096, 64 << 10] {
        let dir = tempfile::tempdir().unwrap();
        let config = OutboxConfig { block_bytes, ..config(dir.path()) };
        let mut large = event(4);
        // Text that does not compress much.
        let mut state = 1u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + (state >> 57) as u8 % 95)
        });
        large.properties.extend(noise.take(config.max_event_bytes() - large.weight()));
        assert_eq!(large.weight(), config.max_event_bytes());
        let outbox = open(config.clone());
        outbox.append_events(vec![large.clone(), event(1), large.clone(), large.clone()]).await.unwrap();
        large.properties.push(' ');
        let refused = outbox.append_events(vec![large]).await.unwrap_err().to_string();
        assert!(refused.contains("outbox.block"), "{refused}");
        let blocks: Vec<_> = reader::segments(dir.path()).unwrap().map(|block| block.unwrap().len()).collect();
        assert!(blocks.iter().all(|&bytes| bytes <= block_bytes), "{blocks:?}");
        assert_eq!(on_disk(dir.path()).0.len(), 4);
        assert_balanced(&outbox.status());
    }
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(config(dir.path()));
    assert!(matches!(Outbox::open(config(dir.path()), node(), Clock::new()), Err(OpenError::InUse { .. })));
    drop(first);
    open(config(dir.path()));
}

#[tokio::test]
async fn a_closed_outbox_has_written_what_it_took() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(OutboxConfig { record_delay: Duration::from_secs(60), ..config(dir.path()) });
    outbox.append_record(record(1));
    outbox.close();
    let (_, reader) = on_disk(dir.path());
    assert_eq!(reader.count(Lane::Decisions), 1);
    assert!(matches!(outbox.append_events(events(0..1)).await, Err(Refused::Failed { .. })));
    outbox.append_record(record(2));
    outbox.flush().await;
    assert_balanced(&outbox.status());
}

#[tokio::test]
async fn epochs_and_seqs_never_repeat_over_restarts_and_clones() {
    let dir = tempfile::tempdir().unwrap();
    let clone = tempfile::tempdir().unwrap();
    let mut reader = Reader::new();
    let mut total = 0;
    for start in 0..4 {
        let outbox = open(config(dir.path()));
        outbox.append_events(events(start * 10..start * 10 + 10)).await.unwrap();
        drop(outbox);
        total += 10;
    }
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), clone.path().join(file.file_name())).unwrap();
    }
    for place in [dir.path(), clone.path()] {
        let outbox = open(config(place));
        outbox.append_events(events(0..10)).await.unwrap();
        drop(outbox);
        total += 10;
        for block in reader::segments(place).unwrap() {
            reader.block(&block.unwrap()).unwrap();
        }
    }
    assert_eq!(reader.count(Lane::Events), total, "what the clones share is counted once, what they do not, twice");
    assert_eq!(reader.seen_again(), 40);
}

// The sender of such a batch was told to come again, for ever.
#[tokio::test]
async fn a_batch_that_never_fits_is_not_told_to_come_again() {
    let check = |changed: fn(&mut OutboxConfig), batch: Vec<Event>, expected: Option<usize>| async move {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        changed(&mut config);
        let outbox = open(config);
        match (outbox.append_events(batch).await, expected) {
            (Ok(_), None) => {}
            (Err(Refused::TooLarge { limit, .. }), Some(expected)) => assert_eq!(limit, expected),
            (other, _) => panic!("{other:?}, expected a limit of {expected:?}"),
        }
        assert_balanced(&outbox.status());
    };
    check(|_| {}, events(0..100), None).await;
    check(|config| config.events_bytes = 5_000, events(0..100), Some(5_000)).await;
    check(|config| config.resting_bytes = 4_000, events(0..100), Some(4_000)).await;
    let rewards: Vec<_> = (0..100).map(reward).collect();
    check(|config| config.events_bytes = 5_000, rewards.clone(), None).await;
    check(|config| config.rewards_bytes = 5_000, rewards, Some(5_000)).await;
    let long = Event { properties: "x".repeat(20_000), ..event(1) };
    check(|config| config.block_bytes = 32_000, vec![long], Some(16_000)).await;
}

/// An outbox whose disk does as told.
fn open_faulty(config: OutboxConfig) -> (Outbox, files::Faults) {
    let disk = Disk::open(&config.dir).unwrap();
    let faults = disk.faults.clone();
    (Outbox::open_on(disk, config, node(), Clock::new()).unwrap(), faults)
}

// The lesson of PostgreSQL's fsync trouble of 2018: a second fdatasync of the same file may say yes to pages that are gone.
#[tokio::test]
async fn a_failed_sync_refuses_the_group_and_leaves_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, faults) = open_faulty(config(dir.path()));
    outbox.append_events(events(0..10)).await.unwrap();
    faults.add(FileFault::Sync);
    let refused = outbox.append_events(events(10..20)).await.unwrap_err();
    assert!(matches!(refused, Refused::Failed { .. }), "{refused}");
    assert!(outbox.status().failing.is_some());
    outbox.append_events(events(10..20)).await.unwrap();
    assert_eq!(outbox.status().failing, None);
    let (entries, reader) = on_disk(dir.path());
    assert_eq!(entries.len(), 20, "what was refused is not there, what was sent again is there once");
    assert_eq!(gaps(&reader), vec![(11, 21)], "seqs that may be on disk are not used again");
    let status = outbox.status();
    assert_balanced(&status);
    let lane = &status.lanes[Lane::Events as usize];
    assert_eq!((lane.stored, lane.refused, lane.files), (20, 10, 2), "a new segment was begun");
}

#[tokio::test]
async fn a_group_of_two_lanes_is_stored_whole_or_not_at_all() {
    for fault in [FileFault::Sync, FileFault::WriteStopsAfter(30), FileFault::Create] {
        let dir = tempfile::tempdir().unwrap();
        let (outbox, faults) = open_faulty(config(dir.path()));
        if fault != FileFault::Create {
            outbox.append_events(vec![event(1), reward(2)]).await.unwrap();
        }
        let before = message_ids(&on_disk(dir.path()).0);
        faults.add(fault);
        outbox.append_events(vec![event(3), reward(4)]).await.unwrap_err();
        assert_eq!(message_ids(&on_disk(dir.path()).0), before, "{fault:?}");
        outbox.append_events(vec![event(3), reward(4)]).await.unwrap();
        drop(outbox);
        // Nor does the next start find what was refused.
        let outbox = open(config(dir.path()));
        assert_eq!(message_ids(&on_disk(dir.path()).0).len(), before.len() + 2, "{fault:?}");
        drop(outbox);
    }
}

#[tokio::test]
async fn short_writes_are_completed() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, faults) = open_faulty(config(dir.path()));
    for bytes in [1, 7, 84, 85, 300] {
        faults.add(FileFault::ShortWrite(bytes));
    }
    for n in 0..5 {
        outbox.append_events(events(n * 10..n * 10 + 10)).await.unwrap();
    }
    assert_eq!(on_disk(dir.path()).0.len(), 50);
}

#[tokio::test]
async fn a_full_disk_refuses_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, faults) = open_faulty(OutboxConfig { retry_after_s: 3, ..config(dir.path()) });
    outbox.append_events(events(0..10)).await.unwrap();
    for bytes in [0, 1, 83, 84, 200] {
        faults.add(FileFault::WriteStopsAfter(bytes));
        let refused = outbox.append_events(events(10..20)).await.unwrap_err();
        assert_eq!(refused, Refused::Full { retry_after_s: 3 });
    }
    outbox.append_events(events(10..20)).await.unwrap();
    let (entries, _) = on_disk(dir.path());
    assert_eq!(entries.len(), 20);
    assert_eq!(outbox.status().lanes[Lane::Events as usize].files, 1, "the file is still good");
    assert_balanced(&outbox.status());
}

#[tokio::test]
async fn a_file_that_cannot_even_be_cut_is_left_and_sent_up_to_its_durable_end() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, faults) = open_faulty(config(dir.path()));
    outbox.append_events(events(0..10)).await.unwrap();
    faults.add(FileFault::Sync);
    faults.add(FileFault::Truncate);
    outbox.append_events(events(10..20)).await.unwrap_err();
    outbox.append_events(events(20..30)).await.unwrap();
    let log = outbox.shared.log(Lane::Events);
    let mut cursor = log::Cursor::default();
    let mut reader = Reader::new();
    while let Some(next) = cursor.next(log).unwrap() {
        match next {
            log::Next::Block { bytes, .. } => drop(reader.block(&bytes).unwrap()),
            log::Next::Lost { bytes, .. } => panic!("{bytes} bytes lost"),
        }
    }
    assert_eq!(reader.count(Lane::Events), 20);
}

#[tokio::test]
async fn records_of_a_failed_group_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (outbox, faults) = open_faulty(OutboxConfig { record_delay: Duration::from_secs(60), ..config(dir.path()) });
    (0..5).for_each(|n| outbox.append_record(record(n)));
    faults.add(FileFault::Sync);
    outbox.flush().await;
    (5..8).for_each(|n| outbox.append_record(record(n)));
    outbox.flush().await;
    let status = outbox.status();
    assert_balanced(&status);
    let lane = &status.lanes[Lane::Decisions as usize];
    assert_eq!((lane.stored, lane.dropped), (3, 5));
    assert_eq!(gaps(&on_disk(dir.path()).1), vec![(1, 6)]);
}

// Killed at any byte of the last write: what was answered before is there, and the next run's items do not collide.
#[tokio::test]
async fn a_crash_at_any_byte_loses_nothing_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(config(dir.path()));
    outbox.append_events(events(0..3)).await.unwrap();
    let segment = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "seg")).unwrap();
    let answered = std::fs::metadata(&segment).unwrap().len();
    outbox.append_events(events(3..6)).await.unwrap();
    drop(outbox);
    let bytes = std::fs::read(&segment).unwrap();
    for length in (answered..=bytes.len() as u64).step_by(13) {
        let crashed = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), crashed.path().join(file.file_name())).unwrap();
        }
        std::fs::write(crashed.path().join(segment.file_name().unwrap()), &bytes[..length as usize]).unwrap();
        let outbox = open(config(crashed.path()));
        outbox.append_events(events(6..9)).await.unwrap();
        let (entries, reader) = on_disk(crashed.path());
        let expected = if length == bytes.len() as u64 { 9 } else { 6 };
        assert_eq!(entries.len(), expected, "cut at {length}");
        assert_eq!(reader.seen_again(), 0);
    }
}

#[tokio::test]
async fn metrics_show_the_balance() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(OutboxConfig { events_bytes: 10_000, ..config(dir.path()) });
    while outbox.append_events(events(0..20)).await.is_ok() {}
    outbox.reject_events([RejectCode::ForgedToken, RejectCode::TooOld, RejectCode::ForgedToken]);
    let mut registry = prometheus_client::registry::Registry::default();
    outbox.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let value = |line: &str| -> f64 {
        let found = text.lines().find_map(|text| text.strip_prefix(line));
        found.unwrap_or_else(|| panic!("no {line} in\n{text}")).trim().parse().unwrap()
    };
    let accepted = value("selvedge_outbox_accepted_total{lane=\"events\"}");
    let stored = value("selvedge_outbox_stored_total{lane=\"events\"}");
    let refused = value("selvedge_outbox_refused_total{lane=\"events\",cause=\"full\"}");
    assert_eq!(accepted, stored + refused);
    assert!(stored > 0.0 && refused == 20.0);
    for code in RejectCode::ALL {
        let expected = match code {
            RejectCode::ForgedToken => 2.0,
            RejectCode::TooOld => 1.0,
            _ => 0.0,
        };
        let name = format!("selvedge_outbox_rejected_total{{code=\"{}\"}}", code.as_str());
        assert_eq!(value(&name), expected, "{code:?}: a code has a counter of its own, from the start");
    }
    assert!(value("selvedge_outbox_backlog_bytes{lane=\"events\"}") > 0.0);
    assert_eq!(value("selvedge_outbox_backlog_bytes{lane=\"rewards\"}"), 0.0);
    assert!(value("selvedge_outbox_oldest_seconds{lane=\"events\"}") >= 0.0);
}
