#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use selvedge_node::events::Event;
use selvedge_node::outbox::block::{Items as BlockItems, Stamp, encode};

use super::*;
use crate::lake::{Day, Items};

/// 2026-11-26T00:00:00Z.
const MIDNIGHT_US: TimeUs = 1_795_651_200_000_000;
const STATE: StreamState = StreamState { created_us: 1, first: 1, last: 1_000 };

/// Event number `n`: one a second, number 50 the first of its day.
fn event(n: u64) -> Event {
    let time_us = MIDNIGHT_US + (n as i64 - 50) * 1_000_000;
    Event {
        time_us,
        received_us: time_us,
        name: "view_item".to_owned(),
        subject: Some(format!("u-{}", n % 3)),
        session: None,
        item: Some(format!("sku-{n}")),
        decision_id: None,
        message_id: Some(format!("m-{n}")),
        properties: "{\"value\":1.5,\"currency\":\"EUR\"}".to_owned(),
        joined: None,
    }
}

/// Events `first` to `last` of a node as the stream's message `sequence`.
fn message(node: &str, first: u64, last: u64, sequence: u64) -> BlockMessage {
    let node = node.parse().unwrap();
    let stamp = Stamp { lane: Lane::Events, node, epoch: Epoch::new(1, 2), first_seq: first, sealed_us: 0 };
    let items = BlockItems::Events((first..=last).map(event).collect());
    BlockMessage { bytes: encode(&stamp, &items).unwrap().into(), sequence, pending: 0, stored_us: 0 }
}

fn limits(rows: usize) -> Limits {
    Limits { rows, wait: Duration::from_secs(60), bytes: 1 << 20 }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> Store {
        Store::open(self.0.path().to_str().unwrap()).unwrap()
    }

    async fn open(&self, rows: usize) -> Lander {
        Lander::open(self.store(), limits(rows), "EVENTS", STATE).await.unwrap()
    }

    async fn parts(&self) -> Vec<String> {
        let listed = self.store().list("events").await.unwrap();
        listed.into_iter().map(|(path, _)| path.trim_start_matches("events/").to_owned()).collect()
    }

    /// How often each item is in the parts, read without looking at their names.
    async fn times(&self) -> BTreeMap<(String, i64), u32> {
        let columns = rows::columns(Lane::Events);
        let mut times = BTreeMap::new();
        for (path, _) in self.store().list("events").await.unwrap() {
            let bytes = self.store().read(&path).await.unwrap().unwrap();
            for row in crate::table::read(bytes, columns).unwrap() {
                let row = row.unwrap();
                *times.entry((row[0].as_text().unwrap().to_owned(), row[2].as_whole().unwrap())).or_default() += 1;
            }
        }
        times
    }
}

#[tokio::test]
async fn a_part_holds_a_range_of_one_day_without_a_hole() {
    let place = Place::new();
    let mut lander = place.open(100).await;
    let now = Instant::now();
    lander.take(&message("edge-1", 40, 60, 1), now).await.unwrap();
    lander.take(&message("edge-1", 70, 71, 2), now).await.unwrap();
    lander.take(&message("edge-2", 60, 60, 3), now).await.unwrap();
    lander.tick(now).await.unwrap();
    assert_eq!(place.parts().await, [""; 0], "they wait for others");
    assert_eq!(lander.next_tick(now), now + Duration::from_secs(60));
    lander.tick(now + Duration::from_secs(60)).await.unwrap();
    let epoch = "0000000100000002";
    let expected = [
        format!("day=2026-11-25/edge-1-{epoch}-000000000040-000000000049.parquet"),
        format!("day=2026-11-26/edge-1-{epoch}-000000000050-000000000060.parquet"),
        format!("day=2026-11-26/edge-1-{epoch}-000000000070-000000000071.parquet"),
        format!("day=2026-11-26/edge-2-{epoch}-000000000060-000000000060.parquet"),
    ];
    assert_eq!(place.parts().await, expected);
    assert_eq!((lander.landed().events, lander.landed().parts), (24, 4));
    assert_eq!(place.times().await.len(), 24);
}

#[tokio::test]
async fn an_item_that_waits_holds_the_position_back() {
    let place = Place::new();
    let mut lander = place.open(10).await;
    let now = Instant::now();
    lander.take(&message("edge-1", 50, 52, 7), now).await.unwrap();
    lander.take(&message("edge-2", 50, 59, 8), now).await.unwrap();
    assert_eq!(place.parts().await.len(), 1, "ten rows are a part");
    lander.tick(now).await.unwrap();
    drop(lander);
    let mut lander = place.open(10).await;
    assert_eq!(lander.position(), 6);
    lander.take(&message("edge-1", 50, 52, 7), now).await.unwrap();
    lander.take(&message("edge-2", 50, 59, 8), now).await.unwrap();
    lander.finish().await.unwrap();
    drop(lander);
    assert_eq!(place.open(10).await.position(), 8);
    assert_eq!(place.times().await.values().copied().collect::<Vec<_>>(), [1; 13]);
}

#[tokio::test]
async fn a_stream_that_was_made_anew_is_landed_from_its_start() {
    let place = Place::new();
    let mut lander = place.open(10).await;
    lander.take(&message("edge-1", 50, 59, 9), Instant::now()).await.unwrap();
    lander.finish().await.unwrap();
    drop(lander);
    let check = async |stream: &str, state: StreamState, expected: u64| {
        let lander = Lander::open(place.store(), limits(10), stream, state).await.unwrap();
        let position = lander.position();
        assert_eq!(position, expected, "{stream} {state:?}");
        // It wrote that position: what was there before is put back for the next check.
        drop(lander);
        let mut lander = place.open(10).await;
        lander.take(&message("edge-1", 50, 59, 9), Instant::now()).await.unwrap();
        lander.finish().await.unwrap();
        assert_eq!(lander.landed().again, 10);
    };
    check("EVENTS", STATE, 9).await;
    check("EVENTS", StreamState { created_us: 2, ..STATE }, 0).await;
    check("EVENTS", StreamState { last: 8, ..STATE }, 0).await;
    check("OTHER", STATE, 0).await;
    assert_eq!(place.times().await.len(), 10);
}

#[tokio::test]
async fn what_the_store_refused_is_written_under_the_same_name() {
    let place = Place::new();
    let mut lander = place.open(5).await;
    let (now, day) = (Instant::now(), place.0.path().join("events/day=2026-11-26"));
    std::fs::create_dir_all(day.parent().unwrap()).unwrap();
    std::fs::write(&day, "in the way").unwrap();
    let failed = lander.take(&message("edge-1", 46, 54, 1), now).await.unwrap_err();
    assert!(failed.to_string().contains("cannot create events/day=2026-11-26/edge-1"), "{failed}");
    assert!(lander.take(&message("edge-1", 55, 56, 2), now).await.is_err(), "nothing is added meanwhile");
    std::fs::remove_file(&day).unwrap();
    lander.take(&message("edge-1", 55, 56, 2), now).await.unwrap();
    lander.finish().await.unwrap();
    let ranges: Vec<_> =
        place.parts().await.iter().map(|path| path[path.len() - 33..path.len() - 8].to_owned()).collect();
    assert_eq!(ranges, ["000000000046-000000000049", "000000000050-000000000054", "000000000055-000000000056"]);
    assert_eq!(place.times().await.values().copied().collect::<Vec<_>>(), [1; 11]);
}

#[tokio::test]
async fn a_block_that_cannot_be_read_is_kept_and_passed() {
    let place = Place::new();
    let mut lander = place.open(5).await;
    let broken = BlockMessage { bytes: "no block".into(), sequence: 3, pending: 0, stored_us: 0 };
    lander.take(&broken, Instant::now()).await.unwrap();
    lander.finish().await.unwrap();
    assert_eq!((lander.landed().broken, lander.position()), (1, 3));
    let kept = place.store().read("broken/EVENTS-000000000003.block").await.unwrap();
    assert_eq!(kept.as_deref(), Some(&b"no block"[..]));
}

#[tokio::test]
async fn memory_is_bounded_by_writing_the_largest_run() {
    let place = Place::new();
    let small = Limits { rows: 1_000, wait: Duration::from_secs(60), bytes: 3_000 };
    let mut lander = Lander::open(place.store(), small, "EVENTS", STATE).await.unwrap();
    lander.take(&message("edge-1", 50, 51, 1), Instant::now()).await.unwrap();
    assert_eq!(place.parts().await.len(), 0);
    lander.take(&message("edge-2", 50, 69, 2), Instant::now()).await.unwrap();
    assert_eq!(place.parts().await.len(), 1);
    assert!(place.parts().await[0].contains("edge-2"));
}

/// Blocks in any order and more than once, and a lander that is dropped at any moment, as a kill would: every item is there once.
#[test]
fn killed_at_any_moment_every_item_is_landed_once() {
    proptest::proptest!(proptest::prelude::ProptestConfig::with_cases(16), |(
        order in proptest::collection::vec(0..20u64, 0..60),
        kills in proptest::collection::vec(1..12usize, 0..8),
        rows in 1..15usize,
    )| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            // The stream: each block at least once, and some again.
            let blocks: Vec<u64> = order.iter().copied().chain(0..20).collect();
            let stream: Vec<_> = blocks.iter().enumerate().map(|(at, block)| {
                let first = 1 + 5 * block;
                message(if block % 4 == 0 { "edge-2" } else { "edge-1" }, first, first + 4, 1 + at as u64)
            }).collect();
            let mut kills = kills.into_iter();
            loop {
                let mut lander = place.open(rows).await;
                let until = kills.next().unwrap_or(usize::MAX);
                let from = lander.position() as usize;
                let mut now = Instant::now();
                for message in stream[from..].iter().take(until) {
                    // Some runs have waited long enough, others have not.
                    now += Duration::from_secs(25);
                    lander.take(message, now).await.unwrap();
                    lander.tick(now).await.unwrap();
                }
                if until == usize::MAX {
                    lander.finish().await.unwrap();
                    break;
                }
            }
            let times = place.times().await;
            assert_eq!(times.len(), 100);
            assert!(times.values().all(|times| *times == 1), "{times:?}");
        });
    });
}

#[tokio::test]
async fn items_read_back_in_their_order() {
    let place = Place::new();
    let mut lander = place.open(4).await;
    for (at, first) in [61, 51, 56].into_iter().enumerate() {
        lander.take(&message("edge-1", first, first + 4, 1 + at as u64), Instant::now()).await.unwrap();
    }
    lander.finish().await.unwrap();
    let (store, day) = (place.store(), Day::of(MIDNIGHT_US));
    let mut items = Items::of(&store, Lane::Events, day, &["message_id", "value", "currency"]).await.unwrap();
    let mut seen = Vec::new();
    while let Some(row) = items.next().await.unwrap() {
        assert_eq!((row[1].as_number(), row[2].as_text()), (Some(1.5), Some("EUR")));
        seen.push(row[0].as_text().unwrap().to_owned());
    }
    assert_eq!(seen, (51..=65).map(|n| format!("m-{n}")).collect::<Vec<_>>());
}
