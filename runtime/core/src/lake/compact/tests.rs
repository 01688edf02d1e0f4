#![allow(clippy::unwrap_used, reason = "tests")]

use selvedge_decision::Epoch;

use super::*;
use crate::lake::Items;
use crate::table::Cell;

const DAY: &str = "2026-11-26";

fn part(first: u64, last: u64) -> Part {
    let (day, node) = (DAY.parse().unwrap(), "edge-1".parse().unwrap());
    Part { lane: Lane::Events, day, node, epoch: Epoch::new(1, 2), first, last }
}

/// Writes a part whose event `n` is of subject `u-N` at second `n` of the day.
async fn write(store: &Store, first: u64, last: u64) {
    let part = part(first, last);
    let columns = rows::columns(Lane::Events);
    let mut writing = Writing::new(Vec::new(), columns).unwrap();
    for n in first..=last {
        let row = columns.iter().map(|column| match column.name.as_str() {
            "node" => Cell::text("edge-1"),
            "epoch" => Cell::text(part.epoch.to_string()),
            "seq" => Cell::Whole(n as i64),
            "received" | "time" => Cell::Whole(part.day.start_us() + n as i64 * 1_000_000),
            "event" => Cell::text("view_item"),
            "subject" => Cell::text(format!("u-{n}")),
            "properties" => Cell::text("{}"),
            _ => Cell::Null,
        });
        writing.push(row).unwrap();
    }
    assert!(store.create(&part.path(), writing.finish().unwrap()).await.unwrap());
}

async fn names(store: &Store) -> Vec<String> {
    store.list("events").await.unwrap().into_iter().map(|(path, _)| path).collect()
}

/// The seqs as this crate reads them.
async fn seqs(store: &Store) -> Vec<String> {
    let mut items = Items::of(store, Lane::Events, DAY.parse().unwrap(), &["subject"]).await.unwrap();
    let mut seen = Vec::new();
    while let Some(row) = items.next().await.unwrap() {
        seen.push(row[0].as_text().unwrap().trim_start_matches("u-").to_owned());
    }
    seen
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().to_str().unwrap()).unwrap();
    (folder, store)
}

#[tokio::test]
async fn parts_that_follow_each_other_become_one() {
    let (_folder, store) = store();
    for (first, last) in [(1, 2), (3, 5), (6, 6), (9, 10)] {
        write(&store, first, last).await;
    }
    let done = compact(&store, DAY.parse().unwrap()).await.unwrap();
    assert_eq!(done, Compacted { parts_before: 4, parts: 2, erased: 0 });
    assert_eq!(names(&store).await, [part(1, 6).path(), part(9, 10).path()]);
    assert_eq!(seqs(&store).await, ["1", "2", "3", "4", "5", "6", "9", "10"]);
    assert_eq!(compact(&store, DAY.parse().unwrap()).await.unwrap().parts_before, 2, "nothing is left to do");
}

#[tokio::test]
async fn rows_of_erased_persons_are_gone_and_the_name_still_covers_them() {
    let (_folder, store) = store();
    write(&store, 1, 3).await;
    write(&store, 7, 8).await;
    for (subject, at) in
        [("u-2", "2026-11-26T00:00:02.1Z"), ("u-7", "2026-11-26T00:00:06.9Z"), ("u-8", "2027-01-01T00:00:00Z")]
    {
        let tombstone = format!("{{\"subject\":{subject:?},\"at\":{at:?}}}");
        store.create(&format!("erased/{subject}.json"), tombstone.into_bytes()).await.unwrap();
    }
    let done = compact(&store, DAY.parse().unwrap()).await.unwrap();
    assert_eq!(done, Compacted { parts_before: 2, parts: 2, erased: 2 });
    assert_eq!(names(&store).await, [part(1, 3).path(), part(7, 8).path()]);
    assert_eq!(seqs(&store).await, ["1", "3", "7"], "u-7 came back after it was erased");
}

#[tokio::test]
async fn killed_half_way_every_item_is_read_once_and_the_next_pass_ends_it() {
    let (_folder, store) = store();
    for (first, last) in [(1, 4), (1, 2), (3, 4), (4, 6)] {
        write(&store, first, last).await;
    }
    assert_eq!(seqs(&store).await, ["1", "2", "3", "4", "5", "6"]);
    compact(&store, DAY.parse().unwrap()).await.unwrap();
    assert_eq!(names(&store).await, [part(1, 4).path(), part(4, 6).path()]);
    assert_eq!(seqs(&store).await, ["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn a_tombstone_that_says_nothing_stops_everything() {
    let (_folder, store) = store();
    write(&store, 1, 3).await;
    store.create("erased/x.json", b"{\"subject\":\"u-1\",\"at\":\"today\"}".to_vec()).await.unwrap();
    let why = compact(&store, DAY.parse().unwrap()).await.unwrap_err().to_string();
    assert!(why.contains("erased/x.json: at: \"today\" is no time") && why.contains("expected"), "{why}");
}
