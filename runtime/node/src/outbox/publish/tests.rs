//! The publisher over the local link; the suite has it over a real NATS server.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::clock::Clock;
use crate::outbox::OutboxConfig;
use crate::outbox::files::{Disk, MAX_DAMAGED_FILES};
use crate::outbox::log::Done;
use crate::outbox::samples::{events, node, record, reward};

struct Drained {
    lines: Vec<serde_json::Value>,
}

fn open(dir: &Path) -> Outbox {
    let config =
        OutboxConfig { segment_bytes: 64 << 10, record_delay: Duration::from_millis(1), ..OutboxConfig::new(dir) };
    Outbox::open(config, node(), Clock::new()).unwrap()
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

fn told(out: &Path, lane: Lane) -> Drained {
    let text = std::fs::read_to_string(out.join(format!("{lane}.jsonl"))).unwrap();
    Drained { lines: text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() }
}

impl Drained {
    fn places(&self) -> Vec<(String, u64)> {
        let place =
            |line: &serde_json::Value| (line["epoch"].as_str().unwrap().to_owned(), line["seq"].as_u64().unwrap());
        self.lines.iter().map(place).collect()
    }
}

#[tokio::test]
async fn everything_is_told_in_order_and_then_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let outbox = open(&dir.path().join("outbox"));
    for batch in 0..50 {
        outbox.append_events(events(batch * 100..batch * 100 + 100)).await.unwrap();
    }
    outbox.append_events(vec![reward(5_000)]).await.unwrap();
    (0..30).for_each(|n| outbox.append_record(record(n)));
    outbox.flush().await;
    assert!(outbox.status().lanes[Lane::Events as usize].files > 1);
    drain(&outbox, &out).await;
    let events = told(&out, Lane::Events);
    assert_eq!(events.lines.len(), 5000);
    assert!(events.places().is_sorted());
    assert_eq!(events.lines[7]["properties"]["n"], 7);
    assert_eq!(events.lines[7]["event"], "add_to_cart");
    assert_eq!(told(&out, Lane::Rewards).lines[0]["event"], "$reward");
    let decisions = told(&out, Lane::Decisions);
    assert_eq!(decisions.lines.len(), 30);
    assert_eq!(decisions.lines[1]["choices"][0]["id"], "action-1");
    assert_eq!(decisions.lines[1]["reason"], "SCORED");
    let status = outbox.status();
    assert!(status.is_drained());
    assert!(status.lanes.iter().all(|lane| lane.files <= 1 && lane.oldest_age_ms.is_none()), "{status:?}");
    let published: Vec<u64> = status.lanes.iter().map(|lane| lane.published).collect();
    assert_eq!(published, [1, 30, 5000]);
    outbox.close();
    let left = std::fs::read_dir(dir.path().join("outbox"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "seg"));
    assert_eq!(left.count(), 0, "a stopped node that told everything leaves no segment");
}

#[tokio::test]
async fn what_arrives_while_it_runs_is_told_too() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let outbox = open(&dir.path().join("outbox"));
    let link = LocalLink::new(out.join("unused"), out.clone(), &Clock::new());
    let (stop, stopped) = watch::channel(false);
    let publisher = tokio::spawn(outbox.drain(Link::Local(Arc::new(link)), stopped));
    for batch in 0..20 {
        outbox.append_events(events(batch * 10..batch * 10 + 10)).await.unwrap();
        if batch % 5 == 0 {
            tokio::time::timeout(Duration::from_secs(30), outbox.drained()).await.unwrap();
        }
    }
    tokio::time::timeout(Duration::from_secs(30), outbox.drained()).await.unwrap();
    drop(stop);
    publisher.await.unwrap();
    let places = told(&out, Lane::Events).places();
    assert_eq!(places.len(), 200);
    assert_eq!(places.into_iter().collect::<BTreeSet<_>>().len(), 200);
}

// Killed after the file was written and before the segment was deleted: the next run tells it again, and its place in the
// order shows that it is the same.
#[tokio::test]
async fn what_is_told_twice_has_the_same_place() {
    let dir = tempfile::tempdir().unwrap();
    let (out, data, copy) = (dir.path().join("out"), dir.path().join("outbox"), dir.path().join("copy"));
    let outbox = open(&data);
    outbox.append_events(events(0..10)).await.unwrap();
    outbox.close();
    drop(outbox);
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(&data).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    for run in [&data, &copy] {
        let outbox = open(run);
        drain(&outbox, &out).await;
    }
    let places = told(&out, Lane::Events).places();
    assert_eq!(places.len(), 20);
    assert_eq!(places.into_iter().collect::<BTreeSet<_>>().len(), 10);
}

#[tokio::test]
async fn damage_is_stepped_over_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (out, data) = (dir.path().join("out"), dir.path().join("outbox"));
    let outbox = open(&data);
    for batch in 0..3 {
        outbox.append_events(events(batch * 10..batch * 10 + 10)).await.unwrap();
    }
    drop(outbox);
    let segment = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let segment =
        segment.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "seg")).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let second = bytes.len() / 2;
    bytes[second] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let outbox = open(&data);
    outbox.append_events(events(30..40)).await.unwrap();
    drain(&outbox, &out).await;
    let lane = outbox.status().lanes[Lane::Events as usize].clone();
    assert!(lane.lost_bytes > 100, "{lane:?}");
    assert_eq!(lane.published, 30);
    let seqs: Vec<u64> = told(&out, Lane::Events).places().into_iter().map(|(_, seq)| seq).collect();
    let expected: Vec<u64> = (1..=10).chain(21..=30).chain(1..=10).collect();
    assert_eq!(seqs, expected);
    let mut kept = segment.clone().into_os_string();
    kept.push(".damaged");
    assert!(!segment.exists());
    assert_eq!(std::fs::read(kept).unwrap(), bytes, "what could not be read is kept for whoever can");
}

#[test]
fn the_newest_damaged_segments_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path()).unwrap();
    for n in 0..MAX_DAMAGED_FILES + 3 {
        let path = disk.path(&format!("events-{n:02}.seg"));
        let file = std::fs::File::create(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(n as u64)).unwrap();
        disk.discard(&Done { path, damaged: true });
    }
    let mut names = disk.names().unwrap();
    names.sort();
    let expected: Vec<String> = (3..MAX_DAMAGED_FILES + 3).map(|n| format!("events-{n:02}.seg.damaged")).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_link_that_cannot_write_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // A file stands where the directory should be.
    std::fs::write(&out, "in the way").unwrap();
    let outbox = open(&dir.path().join("outbox"));
    outbox.append_events(events(0..10)).await.unwrap();
    let link = LocalLink::new(out.join("unused"), out.clone(), &Clock::new());
    let (stop, stopped) = watch::channel(false);
    let publisher = tokio::spawn(outbox.drain(Link::Local(Arc::new(link)), stopped));
    let deadline = Instant::now() + Duration::from_secs(10);
    while outbox.status().stuck.is_none() {
        assert!(Instant::now() < deadline, "the trouble is not told");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    std::fs::remove_file(&out).unwrap();
    tokio::time::timeout(Duration::from_secs(30), outbox.drained()).await.unwrap();
    assert_eq!(outbox.status().stuck, None);
    assert_eq!(told(&out, Lane::Events).lines.len(), 10);
    stop.send_replace(true);
    publisher.await.unwrap();
}

#[tokio::test]
async fn a_line_cut_off_by_a_crash_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let whole = "{\"epoch\":\"0\",\"seq\":1}\n";
    std::fs::write(out.join("events.jsonl"), format!("{whole}{{\"epoch\":\"0\",\"se")).unwrap();
    let outbox = open(&dir.path().join("outbox"));
    outbox.append_events(events(0..2)).await.unwrap();
    drain(&outbox, &out).await;
    assert_eq!(told(&out, Lane::Events).lines.len(), 3);
}

// A lane without rewards said "stuck" for ever after the link had broken once, and the node "degraded".
#[tokio::test]
async fn a_lane_with_nothing_to_tell_is_not_stuck() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = open(dir.path());
    outbox.append_events(events(0..1)).await.unwrap();
    let broken = || Failure::Publish(PublishFailure::Link("the connection was lost".to_owned()));
    Sending::new(Arc::clone(&outbox.shared), Lane::Rewards).go_back(broken()).await;
    assert_eq!(outbox.status().stuck, None);
    Sending::new(Arc::clone(&outbox.shared), Lane::Events).go_back(broken()).await;
    let stuck = outbox.status().stuck.unwrap();
    assert_eq!(stuck.why, "events: the connection was lost");
    let refused = Failure::Publish(PublishFailure::Refused("no".to_owned()));
    Sending::new(Arc::clone(&outbox.shared), Lane::Events).go_back(refused).await;
    let changed = outbox.status().stuck.unwrap();
    assert!(changed.why != stuck.why && changed.since_us == stuck.since_us, "{changed:?}: it began when it began");
}
